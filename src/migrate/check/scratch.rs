//! A database that is made for a check and dropped after it.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::contents::Contents;
use crate::error::{Error, Result};
use crate::migrate::folder::{Down, Migration};
use crate::migrate::history::{self, Direction, History};
use crate::migrate::run::Run;
use crate::migrate::script::Script;
use crate::migrate::session::{Limits, Session};
use crate::migrate::snapshot::Snapshot;
use crate::migrate::trace::{Entry, Trace};
use crate::pg::{ConnInfo, connect, quote};

/// How long a session of the database may take to end when it was told to.
const ENDING: Duration = Duration::from_secs(60);

pub(super) struct Scratch {
    admin: Client,
    info: ConnInfo,
    name: String,
    pub session: Session,
}

impl Scratch {
    pub async fn create(info: &ConnInfo) -> Result<Self> {
        let admin = connect(info, "migrate check").await?;
        let name = format!(
            "crossfade_check_{}_{:08x}",
            std::process::id(),
            fastrand::u32(..)
        );
        let info = info.with_database(&name);
        let session = renew(&admin, &info, &name).await?;
        Ok(Self {
            admin,
            info,
            name,
            session,
        })
    }

    /// Makes the database anew, empty.
    pub async fn renew(&mut self) -> Result<()> {
        self.session = renew(&self.admin, &self.info, &self.name).await?;
        Ok(())
    }

    pub async fn drop(self) -> Result<()> {
        drop(self.session);
        drop_database(&self.admin, &self.name).await
    }

    /// Runs one migration with the very engine that runs it in production.
    pub async fn apply(&self, migration: &Migration, direction: Direction) -> Result<()> {
        self.run(migration, direction, None).await
    }

    /// The same, and says which locks it took.
    pub async fn trace(&self, migration: &Migration, direction: Direction) -> Result<Vec<Entry>> {
        let mut trace = Trace::new(direction);
        self.run(migration, direction, Some(&mut trace)).await?;
        Ok(trace.finish())
    }

    async fn run(
        &self,
        migration: &Migration,
        direction: Direction,
        mut trace: Option<&mut Trace>,
    ) -> Result<()> {
        let script = match (direction, &migration.down) {
            (Direction::Up, _) => &migration.up,
            (Direction::Down, Down::Script(script)) => script,
            (Direction::Down, Down::Irreversible(_)) => return Ok(()),
        };
        let history = History {
            chain: "check".to_owned(),
        };
        Run {
            session: &self.session,
            history: &history,
            migration,
            direction,
            script,
            accepted: &[],
            traced: trace.is_some(),
        }
        .go(&mut |event| {
            if let Some(trace) = &mut trace {
                trace.see(&event);
            }
        })
        .await
    }

    pub async fn seed(&self, script: &Script) -> Result<()> {
        let client = &self.session.client;
        for statement in script.statements() {
            if let Err(e) = client.batch_execute(&statement.text).await {
                return Err(crate::migrate::run::explain(script, statement, e));
            }
        }
        Ok(())
    }

    pub async fn snapshot(&mut self) -> Result<Snapshot> {
        Snapshot::take(&mut self.session.client).await
    }

    pub async fn contents(&self) -> Result<Contents> {
        Contents::read(&self.session.client).await
    }
}

/// Sessions of the database before are ended by the drop.
async fn renew(admin: &Client, info: &ConnInfo, name: &str) -> Result<Session> {
    drop_database(admin, name).await?;
    admin
        .batch_execute(&format!(
            "create database {} template template0",
            quote(name)
        ))
        .await
        .map_err(|e| {
            Error::from(e).context("making a scratch database").remedy(
                "use a role with CREATEDB, or leave out --on: a throwaway server is started then",
            )
        })?;
    let mut session = Session::open(info, Limits::default()).await?;
    history::ensure(&mut session.client).await?;
    Ok(session)
}

async fn drop_database(admin: &Client, name: &str) -> Result<()> {
    let sql = format!("drop database if exists {} with (force)", quote(name));
    let since = Instant::now();
    loop {
        match admin.batch_execute(&sql).await.map_err(Error::from) {
            // The server has told them to end, and has waited for five seconds.
            Err(e) if e.is_sqlstate("55006") && since.elapsed() < ENDING => {}
            done => return done.map_err(|e| e.context("dropping the scratch database")),
        }
    }
}
