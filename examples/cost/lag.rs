//! How long a new order takes from its COMMIT until the new tables show it, asked from
//! outside and with none of crossfade's own figures.

use std::time::{Duration, Instant};

use crossfade::demo::shop;
use crossfade::error::{Error, Kind, Result};
use tokio_postgres::Client;

use super::{Bench, percentile};

/// Between two probes.
const EVERY: Duration = Duration::from_millis(50);
/// Between two looks of a probe: what it cannot resolve.
const LOOK: Duration = Duration::from_millis(2);

impl Bench {
    /// While the application writes at this rate: during the copy, and after it.
    pub async fn lag(&self, rate: u64) -> Result<()> {
        self.reset().await?;
        let _daemon = self.daemon().await?;
        println!("lag at {rate} transactions a second");
        self.probed("during the copy", rate).await?;
        self.until("select phase = 'streaming' from crossfade.migration")
            .await?;
        self.probed("after it", rate).await
    }

    async fn probed(&self, when: &str, rate: u64) -> Result<()> {
        let application = self.pgbench(rate, self.seconds + 2, &[])?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let lags = self.probe().await?;
        let phase = self.phase().await?;
        let output = application.wait_with_output()?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Error::new(Kind::Io, format!("pgbench: {text}")));
        }
        println!(
            "  {when:18} median {:7.1} ms  99 % {:7.1} ms  longest {:7.1} ms  ({} probes; {phase} at the end)",
            percentile(&lags, 50),
            percentile(&lags, 99),
            lags.last().copied().unwrap_or(f64::NAN),
            lags.len()
        );
        Ok(())
    }

    /// Milliseconds of each probe, in their order of size.
    pub async fn probe(&self) -> Result<Vec<f64>> {
        let begun = Instant::now();
        let mut probes = tokio::task::JoinSet::new();
        let mut lags = Vec::new();
        let (writer, reader) = (
            self.session().await?,
            std::sync::Arc::new(self.session().await?),
        );
        while begun.elapsed() < Duration::from_secs(self.seconds) {
            let row = writer
                .query_one(
                    "insert into legacy.orders (customer_id, status, created_at, total_cents, items)
                     values (1, 'probe', 1700000000, 1, '[]') returning id",
                    &[],
                )
                .await?;
            let (id, committed): (i64, _) = (row.get(0), Instant::now());
            let reader = reader.clone();
            probes.spawn(async move { shown(&reader, id, committed).await });
            tokio::time::sleep(EVERY).await;
        }
        while let Some(done) = probes.join_next().await {
            let lag = done.map_err(|e| Error::new(Kind::Io, format!("a probe broke: {e}")))??;
            lags.push(lag.as_secs_f64() * 1000.0);
        }
        lags.sort_by(f64::total_cmp);
        Ok(lags)
    }

    async fn session(&self) -> Result<Client> {
        shop::connect(&self.server.url("postgres")).await
    }
}

async fn shown(reader: &Client, id: i64, committed: Instant) -> Result<Duration> {
    let sql = "select exists(select from shop.orders where id = $1)";
    let statement = reader.prepare(sql).await?;
    while !reader
        .query_one(&statement, &[&id])
        .await?
        .get::<_, bool>(0)
    {
        if committed.elapsed() > Duration::from_secs(120) {
            return Err(Error::new(Kind::Io, format!("order {id} never arrived")));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(committed.elapsed())
}
