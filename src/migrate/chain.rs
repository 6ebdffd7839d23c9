//! A folder of migrations and a database: what is to be done, checked first, then done.

use tokio_postgres::Client;

use super::event::{Event, Observer};
use super::folder::{Down, Folder, Migration};
use super::guard::{self, Verdict};
use super::history::{self, Direction, History, Record, State};
use super::plan::Plan;
use super::recover;
use super::run::Run;
use super::script::Script;
use super::session::{Limits, Session};
use super::syntax;
use crate::error::{Error, Kind, Result};
use crate::pg::ConnInfo;

/// The chain of a folder unless another name is given.
pub const DEFAULT: &str = "main";

/// The chain of the state schema.
pub const STATE: &str = "crossfade";

/// What a run may do.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub to: Option<i32>,
    /// Names of dependents that may break.
    pub accept: Vec<String>,
    pub limits: Limits,
}

/// Scripts in the order in which they will run.
#[derive(Debug)]
pub struct Work<'a> {
    pub direction: Direction,
    pub migrations: Vec<(&'a Migration, &'a Script)>,
    pub verdict: Verdict,
}

/// What is to be done one way, everything looked at and nothing changed: the history
/// fits, every script is SQL, and nothing depends on what goes.
///
/// # Errors
/// The first thing that is not so; what `accept` does not name counts.
pub async fn prepare<'a>(
    client: &mut Client,
    folder: &'a Folder,
    records: &[Record],
    direction: Direction,
    options: &Options,
) -> Result<Work<'a>> {
    let numbers: Vec<i32> = {
        let plan = Plan { folder, records };
        let found = match direction {
            Direction::Up => plan.up(options.to)?,
            Direction::Down => plan.down(options.to)?,
        };
        found.iter().map(|m| m.number).collect()
    };
    let mut migrations = Vec::new();
    for migration in numbers.iter().filter_map(|n| folder.find(*n)) {
        let script = match direction {
            Direction::Up => &migration.up,
            Direction::Down => migration.down()?,
        };
        migrations.push((migration, script));
    }
    // A way back that cannot be read is found before it is needed.
    let both = migrations.iter().flat_map(|(m, script)| {
        let down = match &m.down {
            Down::Script(down) if direction == Direction::Up => Some(down),
            _ => None,
        };
        std::iter::once(*script).chain(down)
    });
    syntax::check(client, both).await?;
    let begun = |m: &Migration| {
        let mut halfway = records.iter().filter(|r| r.state != State::Applied);
        halfway.any(|r| r.number == m.number)
    };
    // Of what stands halfway the steps that are done are asked for when it goes on.
    for (migration, script) in migrations.iter().filter(|(m, _)| !begun(m)) {
        recover::traceable(script, |_| false)?;
        if let (Direction::Up, Down::Script(down)) = (direction, &migration.down) {
            recover::traceable(down, |_| false)?;
        }
    }
    let scripts: Vec<&Script> = migrations.iter().map(|(_, s)| *s).collect();
    let verdict = guard::look(client, &scripts).await?;
    verdict.accept(&options.accept)?;
    Ok(Work {
        direction,
        migrations,
        verdict,
    })
}

/// Applies what is pending, or takes back what is applied. Returns how many migrations.
///
/// # Errors
/// Those of [`prepare`] before anything is changed, and of [`Run::go`]; what was applied
/// before stays.
pub async fn run(
    info: &ConnInfo,
    chain: &str,
    folder: &Folder,
    direction: Direction,
    options: &Options,
    observer: Observer<'_>,
) -> Result<usize> {
    let mut session = Session::open(info, options.limits).await?;
    writable(&session.client).await?;
    session
        .lock(chain, &mut |holder| {
            observer(Event::Waiting { holder: &holder })
        })
        .await?;
    crate::failpoint::hit("migrate.locked").await;
    history::ensure(&mut session.client).await?;
    let records = history::read(&session.client, chain).await?;
    let work = prepare(&mut session.client, folder, &records, direction, options).await?;
    let history = History {
        chain: chain.to_owned(),
    };
    for what in &work.verdict.blind {
        observer(Event::Blind { what });
    }
    for (migration, script) in &work.migrations {
        let number = migration.number;
        let steps = history.steps(&session.client, number, direction).await?;
        recover::traceable(script, |at| {
            let mut done = steps.iter().filter(|s| s.done);
            done.any(|s| usize::try_from(s.step) == Ok(at))
        })?;
        let run = Run {
            session: &session,
            history: &history,
            migration,
            direction,
            script,
            accepted: &options.accept,
            traced: false,
        };
        run.go(observer).await?;
    }
    Ok(work.migrations.len())
}

async fn writable(client: &Client) -> Result<()> {
    let standby: bool = client
        .query_one("select pg_is_in_recovery()", &[])
        .await?
        .get(0);
    if standby {
        return Err(Error::new(
            Kind::Precondition,
            "this server is a standby: it is read only",
        )
        .remedy("connect to the primary"));
    }
    Ok(())
}
