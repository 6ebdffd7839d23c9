//! `crossfade run`.

use std::process::ExitCode;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{Context, progress};
use crate::daemon::{self, Ended, Options, View};
use crate::error::Result;
use crate::{endpoint, log, metrics};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// End when the copy is complete and the stream has caught up.
    #[arg(long, value_name = "POINT")]
    until: Option<Until>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Until {
    Copied,
}

/// # Errors
/// What no retry can mend.
pub async fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    let config = context.load()?;
    log::migration(&config.name);
    let (view_sender, view) = watch::channel(View::default());
    if let Some(m) = &config.metrics {
        let recorder = metrics::Recorder::install(&config.name)?;
        endpoint::serve(m.listen, recorder, &config, view.clone()).await?;
    }
    let (stop_sender, stop) = watch::channel(false);
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        tracing::info!("stopping: finishing the chunks and transactions at hand");
        let _ = stop_sender.send(true);
        // Keeps the channel open for as long as anybody listens.
        stop_sender.closed().await;
    });
    let display = progress::show(view);
    let options = Options {
        until_copied: matches!(args.until, Some(Until::Copied)),
    };
    let ended = daemon::run(&config, options, view_sender, stop).await;
    display.abort();
    let (word, text) = match ended? {
        Ended::Stopped => (
            "stopped",
            "stopped; start again any time, it goes on where it was",
        ),
        Ended::Copied => (
            "copied",
            "the copy is complete and the stream has caught up",
        ),
        Ended::Switched | Ended::HandedOver => (
            "switched",
            "the new schema has taken over; `crossfade finish` cleans up",
        ),
        Ended::Asked => ("asked", "ended by request of another command"),
    };
    context.print(
        &json!({"name": config.name, "ended": word}),
        &format!("{text}\n"),
    );
    Ok(ExitCode::SUCCESS)
}
