//! The daemon's own verification: everything once the copy is complete, then every
//! few seconds the keys that changed since, and everything again now and then.
//!
//! It is nobody's precondition: whatever happens here is logged and counted, and the
//! daemon goes on. At the end of a range it gives way to whoever waits for the
//! verification's lock, and it stays out while a switch is under way: the switch
//! wants the source's lock, and a comparison under way would delay it and the
//! writers behind it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_postgres::Client;

use super::{Shared, count, session};
use crate::config::{Config, Verify};
use crate::error::{Error, Kind, Result};
use crate::metrics::table;
use crate::phase::Phase;
use crate::state::certificate::{self, Certificate};
use crate::state::{migration, place, verification};
use crate::verify::{self, Options, Outcome, Progress, Report, Source, Subject, basis};

/// Between two looks at what changed.
const ROUND: Duration = Duration::from_secs(3);
/// After a pass that left keys undecided, or an error; the latter doubles.
const AGAIN: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);
/// After a difference: somebody has to look at it, and to read everything over and
/// over would not mend it.
const DIFFERENT: Duration = Duration::from_secs(900);
/// Changed keys are counted up to here.
const COUNTED: i64 = 1_000_000;

/// What is to be verified next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Everything,
    Changed,
}

/// Decides by the certificate: without one that stands, or when its pass is older
/// than asked for, everything.
fn next(
    certificate: Option<&Certificate>,
    basis: &certificate::Basis,
    age: f64,
    verify: &Verify,
) -> Next {
    match certificate {
        Some(c) if c.basis == *basis && age < verify.full_every_hours * 3600.0 => Next::Changed,
        _ => Next::Everything,
    }
}

/// Verifies until the daemon ends.
pub async fn run(shared: Shared, config: Config, until_copied: bool) {
    if !config.verify.continuous || until_copied {
        return;
    }
    let mut verifier = Verifier {
        sources: shared.prepared.sources.clone(),
        module_hash: shared.prepared.migration.module_hash.clone(),
        client: None,
        shared,
        config,
    };
    let mut failed = AGAIN;
    let mut stop = verifier.shared.stop.clone();
    loop {
        let pause = match verifier.round().await {
            Ok(pause) => {
                failed = AGAIN;
                pause
            }
            // Somebody else verifies, or keys wait for an applier that is slow: both
            // pass by themselves.
            Err(e) if e.kind == Kind::Contention => {
                tracing::debug!(error = %e, "the verification comes back later");
                ROUND
            }
            Err(e) => {
                count(&e);
                tracing::warn!(error = %e, "the verification broke off; again in {failed:?}");
                let pause = failed;
                failed = (failed * 2).min(LONGEST);
                pause
            }
        };
        tokio::select! {
            () = verifier.wait(pause) => {}
            _ = stop.wait_for(|s| *s) => return,
        }
    }
}

struct Verifier {
    shared: Shared,
    config: Config,
    sources: Vec<Source>,
    module_hash: String,
    /// Kept from round to round; it holds no lock.
    client: Option<Client>,
}

impl Verifier {
    async fn client(&mut self) -> Result<Client> {
        match self.client.take() {
            Some(client) if !client.is_closed() => Ok(client),
            _ => session(&self.shared.conninfo, "verify rounds").await,
        }
    }

    /// One verification; returns how long to wait before the next.
    async fn round(&mut self) -> Result<Duration> {
        let mut client = self.client().await?;
        let done = self.verify(&mut client).await;
        self.client = Some(client);
        done
    }

    async fn verify(&mut self, client: &mut Client) -> Result<Duration> {
        let id = self.shared.prepared.migration.id;
        let row = migration::require(client, &self.config.name).await?;
        // After the switch the way back keeps the old tables up to date; the daemon runs
        // only if there is one.
        let ready = matches!(row.phase, Phase::Streaming | Phase::Switched);
        if !ready || verification::heed(client, id).await?.wanted {
            return Ok(ROUND);
        }
        let subject = self.subject(client).await?;
        let basis = basis::current(client, &subject).await?;
        let certificate = certificate::read(client, id).await?;
        let age = certificate::age(client, id).await?.unwrap_or(f64::MAX);
        let options = Options {
            workers: usize::try_from(self.config.verify.workers).unwrap_or(1),
            range_rows: verify::range_rows(self.config.copy.batch_rows),
            resume: true,
            polite: true,
            ..Options::default()
        };
        let info = &self.shared.conninfo;
        let next = next(certificate.as_ref(), &basis, age, &self.config.verify);
        let report = match next {
            Next::Changed => verify::verify_changed(info, &subject, &options).await?,
            Next::Everything => {
                let (progress, _) = watch::channel(Progress::default());
                verify::verify_all(info, &subject, &options, &progress).await?
            }
        };
        tell(next, &report);
        self.publish(client).await?;
        Ok(match report.outcome() {
            Outcome::Different => DIFFERENT,
            Outcome::Undecided if !report.yielded => AGAIN,
            Outcome::Undecided | Outcome::Identical => ROUND,
        })
    }

    /// The modules as the daemon was started with, bound to the columns as they are:
    /// those that no module uses may come and go, and a target's may be widened.
    async fn subject(&mut self, client: &mut Client) -> Result<Subject> {
        let subject = |sources: &[Source]| Subject {
            migration: self.shared.prepared.migration.id,
            module_hash: self.module_hash.clone(),
            switches: self.shared.prepared.migration.switches,
            sources: sources.to_vec(),
        };
        let bound = subject(&self.sources);
        match basis::check(client, &bound).await {
            Ok(()) => return Ok(bound),
            Err(e) if e.kind == Kind::SchemaChange => {}
            Err(e) => return Err(e),
        }
        let mut sources = Vec::new();
        for (plan, chunks) in &self.sources {
            let plan = place::bind(client, self.shared.prepared.migration.id, &plan.module)
                .await
                .map_err(|problems| {
                    let first = problems.into_iter().next();
                    first.unwrap_or_else(|| Error::new(Kind::Module, "the module does not fit"))
                })?;
            sources.push((Arc::new(plan), chunks.clone()));
        }
        let subject = subject(&sources);
        self.sources = sources;
        Ok(subject)
    }

    /// Waits, and looks up meanwhile: after a difference a certificate of the
    /// operator's own verification ends the wait.
    async fn wait(&mut self, pause: Duration) {
        let mut left = pause;
        while left > Duration::ZERO {
            let step = left.min(ROUND);
            tokio::time::sleep(step).await;
            left -= step;
            if left > Duration::ZERO && self.certified().await.unwrap_or(false) {
                return;
            }
        }
    }

    async fn certified(&mut self) -> Result<bool> {
        let client = self.client().await?;
        self.publish(&client).await?;
        let id = self.shared.prepared.migration.id;
        let certified = certificate::read(&client, id).await?.is_some();
        self.client = Some(client);
        Ok(certified)
    }

    /// Share of the copied rows that the certificate or the pass under way covers.
    async fn coverage(&self, client: &Client) -> Result<f64> {
        let id = self.shared.prepared.migration.id;
        let row = client
            .query_one(
                "select exists(select from crossfade.certificate
                               where migration_id = $1 and module_hash = $2),
                        (select sum((f ->> 'rows')::float8) from crossfade.verification v,
                                jsonb_array_elements(v.frontier) f where v.migration_id = $1)",
                &[&id, &self.module_hash],
            )
            .await?;
        if row.get(0) {
            return Ok(1.0);
        }
        let mut copied = 0;
        for (_, chunks) in &self.sources {
            copied += chunks.progress(client).await?.rows;
        }
        #[allow(clippy::cast_precision_loss)]
        let copied = copied.max(1) as f64;
        let covered = row.get::<_, Option<f64>>(1).unwrap_or(0.0);
        Ok((covered / copied).min(1.0))
    }

    async fn publish(&self, client: &Client) -> Result<()> {
        let id = self.shared.prepared.migration.id;
        if let Some(certificate) = certificate::read(client, id).await? {
            let mut keys = 0;
            for (_, chunks) in &self.sources {
                let (source, since) = (chunks.source_id, certificate.applied_lsn);
                keys += certificate::unverified(client, source, since, COUNTED).await?;
            }
            table::VERIFY_CHANGED_KEYS.set_count(usize::try_from(keys).unwrap_or(0));
        }
        if let Some(age) = certificate::age(client, id).await? {
            table::VERIFY_CERTIFICATE_AGE.set(age);
        }
        table::VERIFY_COVERAGE.set(self.coverage(client).await?);
        let last = verification::last(client, id).await?.unwrap_or_default();
        let rows: u64 = last.differences.values().sum();
        table::VERIFY_DIFFERENCES.set_count(usize::try_from(rows).unwrap_or(usize::MAX));
        if let Some(seconds) = last.clean_seconds {
            table::VERIFY_CLEAN_AGE.set(seconds);
        }
        Ok(())
    }
}

/// Logs what was found: tables and counts, never keys.
fn tell(next: Next, report: &Report) {
    for (table, rows) in report.by_table() {
        tracing::error!(
            table,
            rows,
            "rows differ from what the module makes: see `crossfade verify`"
        );
    }
    if next == Next::Everything && report.outcome() == Outcome::Identical {
        tracing::info!(
            seconds = report.seconds,
            "everything is verified and identical"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_verified_without_a_certificate_that_stands_and_when_it_is_old() {
        let basis = |hash: &str| certificate::Basis {
            module_hash: hash.to_owned(),
            columns_hash: String::new(),
        };
        let certificate = Certificate {
            applied_lsn: crate::pg::Lsn(1),
            basis: basis("a"),
            version: String::new(),
            detail: serde_json::Value::Null,
            began_at: None,
            verified_at: String::new(),
            moved_at: String::new(),
        };
        let verify = Verify::default();
        let of = |basis: &certificate::Basis, age| next(Some(&certificate), basis, age, &verify);
        assert_eq!(next(None, &basis("a"), 0.0, &verify), Next::Everything);
        assert_eq!(of(&basis("a"), 10.0), Next::Changed);
        assert_eq!(of(&basis("b"), 10.0), Next::Everything);
        assert_eq!(of(&basis("a"), 24.1 * 3600.0), Next::Everything);
    }
}
