//! The same rows by nothing but PostgreSQL's own means, in small transactions and at a
//! given speed: what any copy at this speed costs the application on this machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossfade::demo::shop;
use crossfade::error::{Context, Result};
use tokio_postgres::{Client, Statement};

/// Orders of a transaction: as many as crossfade copies at a time while others wait.
const CHUNK: i64 = 250;

/// A copy that goes on until it is stopped.
pub struct Plain {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<i64>>,
}

impl Plain {
    /// Copies this many orders a second, by one session.
    pub async fn start(url: &str, a_second: f64) -> Result<Self> {
        let client = shop::connect(url).await?;
        let statements = statements(&client).await?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let begun = Instant::now();
            let mut above = 0;
            while !stopped.load(Ordering::Relaxed) {
                chunk(&client, &statements, above).await?;
                above += CHUNK;
                #[allow(clippy::cast_precision_loss)]
                let due = begun + Duration::from_secs_f64(above as f64 / a_second);
                tokio::time::sleep_until(due.into()).await;
            }
            Ok(above)
        });
        Ok(Self { stop, task })
    }

    /// Ends it; the orders that it has copied.
    pub async fn stop(self) -> Result<i64> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap_or(Ok(0))
    }
}

async fn statements(client: &Client) -> Result<Vec<Statement>> {
    let mut statements = Vec::new();
    for (table, select) in shop::TARGETS {
        let query = format!(
            "with source as (select * from legacy.orders where id > $1 and id <= $2)
             select * from ({select}) q"
        );
        let columns: Vec<_> = client
            .prepare(&query)
            .await?
            .columns()
            .iter()
            .map(|c| c.name().to_owned())
            .collect();
        let insert = format!(
            "insert into {table} ({}) overriding system value {query}",
            columns.join(", ")
        );
        statements.push(client.prepare(&insert).await?);
    }
    Ok(statements)
}

async fn chunk(client: &Client, statements: &[Statement], above: i64) -> Result<()> {
    client.batch_execute("begin").await?;
    for statement in statements {
        client
            .execute(statement, &[&above, &(above + CHUNK)])
            .await
            .context("copying by hand")?;
    }
    client.batch_execute("commit").await?;
    Ok(())
}
