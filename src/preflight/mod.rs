//! Every precondition as a named check: what was found and what to do about it.
//!
//! `crossfade preflight` shows them all, and the daemon refuses on the same
//! failures before it changes anything. Nothing here changes the database: what a
//! check must try is tried in a transaction that is rolled back.
//!
//! A check is a function that returns what it found; an error it returns is the
//! check's failure, so that a server which does not even answer the question fails
//! the check with the server's own reason.

mod activity;
mod carried;
mod identity;
mod module;
mod names;
mod report;
mod role;
mod server;
mod source;
mod subscribers;
mod target;
mod way_back;
mod window;

use tokio_postgres::Client;

use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::pg::{ConnInfo, connect};
use crate::phase::Phase;
use crate::state::{install, migration};

pub use report::{Check, Finding, Outcome, Report};
pub use source::check_identity;
pub use target::check_empty;
pub use window::check_window;

/// What the checks look at.
struct Scene<'a> {
    info: &'a ConnInfo,
    config: &'a Config,
    /// The phase of a migration of this name that has already begun: its slot, its
    /// publication and rows in its targets are then as they should be.
    begun: Option<Phase>,
}

impl Scene<'_> {
    /// Whether the slot is still to be made.
    fn makes_slot(&self) -> bool {
        self.begun.is_none_or(|phase| phase == Phase::Preparing)
    }
}

/// Connects and runs every check. A server that cannot be reached is one failed
/// check, the only one.
pub async fn run(config: &Config) -> Report {
    let mut report = Report::default();
    let opened = async {
        let info = ConnInfo::parse(&config.source_url)?;
        one_database(&info, config)?;
        let client = connect(&info, "preflight").await?;
        Ok((info, client))
    };
    let (info, mut client) = match opened.await {
        Ok(opened) => opened,
        Err(e) => {
            report.add("connection", Err(e));
            return report;
        }
    };
    match begun(&client, config).await {
        Ok(begun) => report.append(examine(&mut client, &info, config, begun).await),
        // Without the phase no check knows what is right.
        Err(e) => report.add("state_schema", Err(e)),
    }
    report
}

/// The phase of this configuration's migration, where it has begun.
///
/// # Errors
/// Connection errors; [`Kind::Privilege`] where the state may not be read.
pub async fn begun(client: &Client, config: &Config) -> Result<Option<Phase>> {
    match install::current(client).await? {
        Some(_) => Ok(migration::find(client, &config.name)
            .await?
            .map(|m| m.phase)),
        None => Ok(None),
    }
}

/// Runs every check over an open session.
pub async fn examine(
    client: &mut Client,
    info: &ConnInfo,
    config: &Config,
    begun: Option<Phase>,
) -> Report {
    let scene = Scene {
        info,
        config,
        begun,
    };
    let mut report = Report::default();
    server::check(client, &scene, &mut report).await;
    role::check(client, &scene, &mut report).await;
    names::check(client, &scene, &mut report).await;
    subscribers::check(client, &mut report).await;
    if let Some(window) = &config.throttle.window {
        report.add("throttle_window", check_window(client, window).await);
    }
    activity::check(client, &scene, &mut report).await;
    if !report.connection_lost() {
        module::check(client, &scene, &mut report).await;
    }
    report
}

/// # Errors
/// [`Kind::Config`] where `[target]` names another database than `[source]`.
pub fn one_database(info: &ConnInfo, config: &Config) -> Result<()> {
    let Some(url) = &config.target_url else {
        return Ok(());
    };
    let target = ConnInfo::parse(url)?;
    if target.display() == info.display() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Config,
        "source and target are different databases, which this version does not support",
    )
    .remedy("leave [target] out and create the new schema in the source's database"))
}
