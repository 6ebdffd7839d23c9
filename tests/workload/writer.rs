//! One writer: a session that runs random transactions until told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use tokio_postgres::{Client, NoTls};

use super::changes;

pub struct Writer {
    url: String,
    rng: Rng,
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicU64>,
}

/// What a transaction that failed means to the writer.
enum Failed {
    /// Another writer was in the way: roll back and go on.
    Conflict,
    /// The server went away: connect again.
    Gone,
}

impl Writer {
    pub fn new(url: String, seed: u64, stop: Arc<AtomicBool>, committed: Arc<AtomicU64>) -> Self {
        Self {
            url,
            rng: Rng::with_seed(seed),
            stop,
            committed,
        }
    }

    pub async fn run(mut self) {
        let mut client = None;
        while !self.stop.load(Ordering::Relaxed) {
            let Some(open) = &client else {
                client = self.connect().await;
                continue;
            };
            match self.transaction(open).await {
                Ok(()) => {}
                Err(Failed::Conflict) => {
                    if open.batch_execute("rollback").await.is_err() {
                        client = None;
                    }
                }
                Err(Failed::Gone) => client = None,
            }
            self.pause(6).await;
        }
    }

    /// `None` while the server is away.
    async fn connect(&self) -> Option<Client> {
        let Ok((client, connection)) = tokio_postgres::connect(&self.url, NoTls).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            return None;
        };
        tokio::spawn(connection);
        // The order of the updates must not depend on the plan's mood, and a writer
        // that waits for another one's lock gives way.
        client
            .batch_execute("set lock_timeout = '3s'; set deadlock_timeout = '50ms'")
            .await
            .ok()?;
        Some(client)
    }

    async fn pause(&mut self, below: u64) {
        let pause = Duration::from_millis(self.rng.u64(0..below));
        tokio::time::sleep(pause).await;
    }

    /// One to four changes, some under savepoints that are rolled back, and a
    /// COMMIT or now and then a ROLLBACK.
    async fn transaction(&mut self, client: &Client) -> Result<(), Failed> {
        let count = if self.rng.u8(..2) == 0 {
            1
        } else {
            self.rng.u8(1..5)
        };
        execute(client, "begin").await?;
        for _ in 0..count {
            let change = changes::any(&mut self.rng);
            match self.rng.u8(..8) {
                0 => {
                    execute(client, "savepoint a").await?;
                    execute(client, &change).await?;
                    execute(client, "rollback to savepoint a").await?;
                    if self.rng.bool() {
                        execute(client, &changes::any(&mut self.rng)).await?;
                    }
                }
                1 => {
                    execute(client, "savepoint a").await?;
                    execute(client, &change).await?;
                    execute(client, "release savepoint a").await?;
                }
                _ => execute(client, &change).await?,
            }
            if self.rng.u8(..4) == 0 {
                self.pause(15).await;
            }
        }
        if self.rng.u8(..10) == 0 {
            return execute(client, "rollback").await;
        }
        execute(client, "commit").await?;
        self.committed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

async fn execute(client: &Client, sql: &str) -> Result<(), Failed> {
    let Err(error) = client.batch_execute(sql).await else {
        return Ok(());
    };
    let Some(code) = error.code() else {
        return Err(Failed::Gone);
    };
    match code.code() {
        // Unique values and keys that another row has, deadlocks, lock timeouts, a
        // TRUNCATE of a table whose deferred checks are still to come.
        "23505" | "40P01" | "40001" | "55P03" | "55006" => Err(Failed::Conflict),
        code if code.starts_with("57P") || code.starts_with("08") => Err(Failed::Gone),
        _ => panic!("{error:?}\n{sql}"),
    }
}
