//! What went wrong lately: counted for Prometheus, kept for `status` and the page.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::error::{Error, Kind, Retry};
use crate::metrics::table;
use crate::state::recovery;

/// Errors that are kept; the same one again only counts.
const KEPT: usize = 20;

/// A session that takes longer is broken.
const STORE: Duration = Duration::from_secs(10);

/// The process's last errors, oldest first.
static LAST: Mutex<VecDeque<Entry>> = Mutex::new(VecDeque::new());

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    /// Seconds since 1970, of the last time.
    at: u64,
    kind: String,
    message: String,
    remedy: String,
    times: u64,
}

/// Counts an error and keeps it.
pub fn count(error: &Error) {
    table::ERRORS_TOTAL.add_for(error.kind.row().name, 1);
    match error.retry() {
        Retry::Soon => table::RETRIES_TOTAL.add_for("soon", 1),
        Retry::Backoff => table::RETRIES_TOTAL.add_for("backoff", 1),
        Retry::Never => {}
    }
    if let Ok(mut last) = LAST.lock() {
        let entry = Entry {
            at: now(),
            kind: error.kind.row().name.to_owned(),
            message: error.message.clone(),
            remedy: error.what_to_do().to_owned(),
            times: 1,
        };
        keep(&mut last, entry);
    }
}

fn keep(last: &mut VecDeque<Entry>, mut entry: Entry) {
    let same = |e: &Entry| e.kind == entry.kind && e.message == entry.message;
    if let Some(at) = last.iter().position(same) {
        let before = last.remove(at);
        entry.times += before.map_or(0, |e| e.times);
    }
    last.push_back(entry);
    while last.len() > KEPT {
        last.pop_front();
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// All that are kept, oldest first.
#[must_use]
pub fn all() -> Value {
    let last = LAST.lock().map(|l| l.clone()).unwrap_or_default();
    let entries = last.iter().map(|e| {
        json!({"at": e.at, "kind": e.kind, "message": e.message, "remedy": e.remedy,
               "times": e.times})
    });
    Value::Array(entries.collect())
}

/// Writes them into the state, with the reason for which a slot is lost. The session
/// may be what broke: then there is nobody to tell.
pub async fn store(client: &Client, migration: i32, error: &Error) {
    let told = async {
        if error.kind == Kind::Slot {
            recovery::lost(client, migration, &error.message).await?;
        }
        let sql = "update crossfade.daemon set errors = $2::text::jsonb where migration_id = $1";
        client
            .execute(sql, &[&migration, &all().to_string()])
            .await?;
        Ok::<_, Error>(())
    };
    if !matches!(tokio::time::timeout(STORE, told).await, Ok(Ok(()))) {
        tracing::debug!("the last error could not be stored");
    }
}

/// Takes up what the process before has kept.
pub fn take_up(stored: &Value) {
    let Ok(mut last) = LAST.lock() else { return };
    if !last.is_empty() {
        return;
    }
    for entry in stored.as_array().into_iter().flatten() {
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        last.push_back(Entry {
            at: entry["at"].as_u64().unwrap_or(0),
            kind: text("kind"),
            message: text("message"),
            remedy: text("remedy"),
            times: entry["times"].as_u64().unwrap_or(1),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: usize) -> Entry {
        Entry {
            at: n as u64,
            kind: "server".to_owned(),
            message: format!("error {n}"),
            remedy: String::new(),
            times: 1,
        }
    }

    #[test]
    fn the_last_errors_are_kept_and_the_same_one_again_only_counts() {
        let mut last = VecDeque::new();
        for n in 0..30 {
            keep(&mut last, entry(n));
        }
        assert_eq!((last.len(), last[0].at), (KEPT, 10));
        keep(
            &mut last,
            Entry {
                at: 99,
                ..entry(15)
            },
        );
        let newest = last.back().unwrap();
        assert_eq!((last.len(), newest.at, newest.times), (KEPT, 99, 2));
    }
}
