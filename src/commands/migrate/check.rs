//! `crossfade migrate check`.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::json;

use super::{Context, Place, locks};
use crate::commands::Output;
use crate::error::Result;
use crate::migrate::check::{self, Judged, Options, Report};
use crate::migrate::{Folder, syntax};
use crate::pg::{ConnInfo, connect};
use crate::server;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Use scratch databases of this server instead of a throwaway server
    #[arg(long, value_name = "URL")]
    on: Option<String>,
    /// Judge only from this number on; earlier ones are applied
    #[arg(long, value_name = "NUMBER")]
    from: Option<i32>,
    /// A dependent that may break, as the drop guard names it
    #[arg(long, value_name = "NAME")]
    accept: Vec<String>,
}

pub(super) async fn run(context: &Context, place: &Place, args: &Args) -> Result<ExitCode> {
    let folder = place.folder(context)?;
    let options = Options {
        from: args.from,
        accept: args.accept.clone(),
    };
    let text = context.output == Output::Text;
    let width = folder.migrations.iter().map(|m| m.label().chars().count());
    let width = width.max().unwrap_or(0);
    let mut progress = |judged: &Judged| {
        if text {
            print!("{}", line(judged, width));
        }
    };
    let report = match &args.on {
        Some(url) => on(&ConnInfo::parse(url)?, &folder, &options, &mut progress).await?,
        None => {
            // Kept until the end: dropping it stops the server.
            let server = server::Server::start(server::Options::default())?;
            let info = ConnInfo::parse(&server.socket_url("postgres"))?;
            on(&info, &folder, &options, &mut progress).await?
        }
    };
    context.print(&json_of(&report), &summary(&report));
    Ok(ExitCode::from(u8::from(!report.is_fine())))
}

async fn on(
    info: &ConnInfo,
    folder: &Folder,
    options: &Options,
    progress: &mut (dyn FnMut(&Judged) + Send),
) -> Result<Report> {
    let mut client = connect(info, "migrate check").await?;
    syntax::check(&mut client, folder.doubts().into_iter()).await?;
    check::check(info, folder, options, progress).await
}

fn line(judged: &Judged, width: usize) -> String {
    let mut text = format!("{:width$}  {}\n", judged.label, judged.class.name());
    if !judged.class.is_fine() {
        let _ = writeln!(text, "{:width$}    file: {}", "", judged.file);
    }
    for detail in &judged.details {
        for (at, part) in detail.lines().enumerate() {
            let indent = if at == 0 { "    " } else { "      " };
            let _ = writeln!(text, "{:width$}{indent}{part}", "");
        }
    }
    for line in locks::lines(&judged.locks) {
        let _ = writeln!(text, "{:width$}    {line}", "");
    }
    let surprises = locks::surprises(&judged.locks);
    for note in judged.notes.iter().chain(&surprises) {
        let _ = writeln!(text, "{:width$}    note: {note}", "");
    }
    text
}

fn summary(report: &Report) -> String {
    let count = report.judged.len();
    let mut text = String::new();
    if report.is_fine() {
        let whole = if report.whole {
            "; the whole chain went down and up again"
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "\n{}: {count} migrations{whole}",
            report.worst().name()
        );
        return text;
    }
    let bad: Vec<&str> = report
        .judged
        .iter()
        .filter(|j| !j.class.is_fine())
        .map(|j| j.label.as_str())
        .collect();
    let _ = writeln!(
        text,
        "\n{}: {} of {count} migrations cannot be taken back exactly: {}",
        report.worst().name(),
        bad.len(),
        bad.join(", ")
    );
    if !report.unjudged.is_empty() {
        let _ = writeln!(text, "not judged: {}", report.unjudged.join(", "));
    }
    text
}

fn json_of(report: &Report) -> serde_json::Value {
    let judged: Vec<_> = report
        .judged
        .iter()
        .map(|j| {
            let locks: Vec<_> = j.locks.iter().map(locks::json_of).collect();
            json!({"migration": j.label, "class": j.class.name(), "file": j.file,
                   "details": j.details, "notes": j.notes, "locks": locks})
        })
        .collect();
    json!({"fine": report.is_fine(), "worst": report.worst().name(), "migrations": judged,
           "unjudged": report.unjudged, "whole_chain": report.whole})
}
