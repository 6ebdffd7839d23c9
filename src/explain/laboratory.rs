//! Where indexes are tried for real: a throwaway server with a copy of the query's
//! tables, or, with its owner's word, the given database itself.
//!
//! Invariant: nothing is ever written to the given database unless the laboratory is
//! [`Place::Here`], and there only inside transactions that are rolled back.

mod data;
mod schema;

use std::time::Duration;

use serde::Serialize;
use tokio_postgres::Client;

use super::catalog::Catalog;
use super::words::bytes;
use crate::error::{Context, Error, Kind, Result};
use crate::pg::{ConnInfo, SessionLimits, connect_with};
use crate::server::{Options, Server};

/// Which kind of place it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A server of its own, that ends with it.
    Throwaway,
    /// The given database, in transactions that are rolled back.
    Here,
}

/// A database to experiment in.
#[derive(Debug)]
pub struct Laboratory {
    pub place: Place,
    pub client: Client,
    info: ConnInfo,
    /// Kept alive for the time of the experiments.
    server: Option<Server>,
    /// The tables as they are here.
    pub catalog: Catalog,
    /// The part of the rows that was copied, where it is not all of them.
    pub sampled: Option<f64>,
    /// What is not as in the given database.
    pub notes: Vec<String>,
    /// Whether candidates can be weighed without being built.
    pub hypothetical: bool,
}

/// What goes into a throwaway server.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Tables and views that the query touches, by OID.
    pub relations: &'a [u32],
    /// Bytes of tables; of more, a sample is taken.
    pub most_bytes: f64,
}

const UNLIMITED: SessionLimits = SessionLimits {
    lock: Some(Duration::from_secs(10)),
    statement: None,
    idle_in_transaction: None,
};

impl Laboratory {
    /// Starts a server and copies tables to it. `progress` is told what goes on.
    ///
    /// # Errors
    /// [`Kind::Precondition`] where no server program is installed; what either server
    /// says.
    pub async fn throwaway(
        from: &Client,
        wanted: Wanted<'_>,
        progress: &(dyn Fn(String) + Sync),
    ) -> Result<Self> {
        let options = Options::default()
            .setting("shared_buffers", "512MB")
            .setting("max_wal_size", "8GB")
            .setting("autovacuum", "off")
            .setting("track_io_timing", "on");
        progress("starting a throwaway server".to_owned());
        let server = tokio::task::spawn_blocking(move || Server::start(options))
            .await
            .map_err(|e| Error::new(Kind::Io, format!("starting a server: {e}")))?
            .context("starting a throwaway server to measure on")?;
        let info = ConnInfo::parse(&server.socket_url("postgres"))?;
        let client = connect_with(&info, "explain laboratory", UNLIMITED).await?;
        let mut laboratory = Self {
            place: Place::Throwaway,
            client,
            info,
            server: Some(server),
            catalog: Catalog::default(),
            sampled: None,
            notes: Vec::new(),
            hypothetical: false,
        };
        laboratory.imitate(from).await?;
        laboratory.fill(from, wanted, progress).await?;
        let made = laboratory
            .client
            .batch_execute("create extension hypopg")
            .await;
        laboratory.hypothetical = made.is_ok();
        Ok(laboratory)
    }

    /// The given database itself.
    ///
    /// # Errors
    /// Connection errors.
    pub async fn here(info: &ConnInfo, catalog: Catalog) -> Result<Self> {
        Ok(Self {
            place: Place::Here,
            client: connect_with(info, "explain laboratory", UNLIMITED).await?,
            info: info.clone(),
            server: None,
            catalog,
            sampled: None,
            notes: Vec::new(),
            hypothetical: false,
        })
    }

    /// Takes over the planner's settings. One that this server's version does not have is
    /// noted.
    async fn imitate(&mut self, from: &Client) -> Result<()> {
        for (name, value) in settings(from).await? {
            let sql = format!(
                "alter database postgres set {} = {}",
                crate::pg::quote(&name),
                crate::pg::ident::literal(&value)
            );
            if self.client.batch_execute(&sql).await.is_err() {
                self.notes
                    .push(format!("the setting {name} could not be taken over"));
            }
        }
        // They hold for sessions that begin from now on.
        self.client = connect_with(&self.info, "explain laboratory", UNLIMITED).await?;
        Ok(())
    }

    /// A database that is the caller's to change: experiments are committed and taken away.
    ///
    /// # Errors
    /// Connection errors.
    pub async fn owned(info: &ConnInfo, catalog: Catalog) -> Result<Self> {
        let mut laboratory = Self::here(info, catalog).await?;
        laboratory.place = Place::Throwaway;
        let made = laboratory
            .client
            .batch_execute("create extension if not exists hypopg")
            .await;
        laboratory.hypothetical = made.is_ok();
        Ok(laboratory)
    }

    async fn fill(
        &mut self,
        from: &Client,
        wanted: Wanted<'_>,
        progress: &(dyn Fn(String) + Sync),
    ) -> Result<()> {
        progress("copying the schema".to_owned());
        let schema = schema::Schema::read(from, wanted.relations).await?;
        self.notes.extend(schema.create(&self.client).await?);
        let total: f64 = schema.tables.iter().map(|t| t.bytes).sum();
        let part = (wanted.most_bytes / total.max(1.0)).min(1.0);
        if part < 1.0 {
            self.sampled = Some(part);
            self.notes.push(format!(
                "the tables have {}, {} are allowed: of large ones {:.1} % of the pages were copied, so \
                 joins find fewer partners than they would",
                bytes(total),
                bytes(wanted.most_bytes),
                part * 100.0
            ));
        }
        for table in &schema.tables {
            progress(format!(
                "copying {} ({})",
                table.name,
                bytes(table.bytes * part)
            ));
            data::copy(from, &self.client, table, part).await?;
        }
        progress("building its indexes".to_owned());
        self.notes.extend(schema.finish(&self.client).await?);
        let oids: Vec<u32> = self
            .client
            .query(
                "select oid from pg_class where relkind in ('r', 'p', 'm') and oid >= 16384 \
                 and relnamespace <> 'pg_toast'::regnamespace",
                &[],
            )
            .await?
            .iter()
            .map(|row| row.get(0))
            .collect();
        self.catalog = Catalog::read(&self.client, &oids).await?;
        Ok(())
    }

    /// Ends the server and starts it again, so that its buffers are empty. Nothing
    /// where it is not ours.
    ///
    /// # Errors
    /// When it does not come up again.
    pub async fn chill(&mut self) -> Result<bool> {
        let Some(mut server) = self.server.take() else {
            return Ok(false);
        };
        let outcome = tokio::task::spawn_blocking(move || {
            let done = server.restart();
            (server, done)
        })
        .await
        .map_err(|e| Error::new(Kind::Io, format!("restarting the server: {e}")))?;
        self.server = Some(outcome.0);
        outcome.1?;
        self.client = connect_with(&self.info, "explain laboratory", UNLIMITED).await?;
        Ok(true)
    }
}

/// What makes the planner there choose as it does here.
async fn settings(from: &Client) -> Result<Vec<(String, String)>> {
    let rows = from
        .query(
            "select name, current_setting(name) from pg_settings \
             where (category like 'Query Tuning%' and name <> 'plan_cache_mode' \
                    or name in ('work_mem', 'hash_mem_multiplier', 'max_parallel_workers_per_gather', 'jit')) \
               and context = 'user' and setting is distinct from boot_val and name not like '%.%'",
            &[],
        )
        .await
        .context("reading the planner's settings")?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
