//! Whether the indexes that were recommended are used.
//!
//! They are known by their comment, which the migration sets.

use serde::Serialize;
use tokio_postgres::Client;

use super::migration::MARK;
use super::words::{bytes, count};
use crate::error::{Context, Result};

/// One recommended index, as the statistics see it.
#[derive(Debug, Clone, Serialize)]
pub struct Used {
    pub index: String,
    pub table: String,
    pub valid: bool,
    pub scans: i64,
    pub rows_read: i64,
    /// Scans of the whole table in the same time.
    pub table_scans: i64,
    pub bytes: f64,
    /// Seconds since it was last used; from version 16 on.
    pub last_used_seconds: Option<f64>,
    /// Seconds since the statistics were reset, or the server's start where they never were.
    pub counted_seconds: f64,
    /// The query that it was made for.
    pub made_for: String,
}

impl Used {
    /// What to think of it.
    #[must_use]
    pub fn verdict(&self) -> String {
        const DAY: f64 = 86_400.0;
        if !self.valid {
            return "invalid: its building was interrupted; drop it and build it again".to_owned();
        }
        if self.scans > 0 {
            return format!("used {} times", count(scans(self.scans)));
        }
        if self.counted_seconds < DAY {
            return "not used yet, and counted for less than a day".to_owned();
        }
        "not used: look at the query's plan again, or drop it".to_owned()
    }
}

/// Every index whose comment says that it was recommended here.
///
/// # Errors
/// What the server says.
pub async fn read(client: &Client) -> Result<Vec<Used>> {
    let version: i32 = client
        .query_one("select current_setting('server_version_num')::int", &[])
        .await?
        .get(0);
    let last = if version >= 160_000 {
        "extract(epoch from now() - s.last_idx_scan)::float8"
    } else {
        "null::float8"
    };
    let sql = format!(
        "select s.schemaname || '.' || s.indexrelname, s.schemaname || '.' || s.relname, i.indisvalid, s.idx_scan, \
                s.idx_tup_read, coalesce(t.seq_scan, 0), pg_relation_size(s.indexrelid)::float8, {last}, \
                extract(epoch from now() - coalesce(d.stats_reset, pg_postmaster_start_time()))::float8, \
                substr(obj_description(s.indexrelid, 'pg_class'), length($1) + 1) \
         from pg_stat_user_indexes s \
         join pg_index i on i.indexrelid = s.indexrelid \
         left join pg_stat_user_tables t on t.relid = s.relid \
         left join pg_stat_database d on d.datname = current_database() \
         where starts_with(obj_description(s.indexrelid, 'pg_class'), $1) \
         order by s.idx_scan, 1"
    );
    let rows = client
        .query(&sql, &[&MARK])
        .await
        .context("reading the statistics of indexes")?;
    Ok(rows
        .iter()
        .map(|row| Used {
            index: row.get(0),
            table: row.get(1),
            valid: row.get(2),
            scans: row.get(3),
            rows_read: row.get(4),
            table_scans: row.get(5),
            bytes: row.get(6),
            last_used_seconds: row.get(7),
            counted_seconds: row.get(8),
            made_for: row.get(9),
        })
        .collect())
}

/// For people.
#[must_use]
pub fn text(all: &[Used]) -> String {
    if all.is_empty() {
        return "no index here was recommended by crossfade explain (they are known by their comment)\n".to_owned();
    }
    let mut out = String::new();
    for used in all {
        out.push_str(&format!(
            "{} on {}: {}\n",
            used.index,
            used.table,
            used.verdict()
        ));
        let last = used
            .last_used_seconds
            .map_or_else(String::new, |s| format!(", last {} ago", age(s)));
        out.push_str(&format!(
            "  {} scans{last}, {} rows read, {} scans of the whole table; {}; counted for {}\n  made for: {}\n",
            count(scans(used.scans)),
            count(scans(used.rows_read)),
            count(scans(used.table_scans)),
            bytes(used.bytes),
            age(used.counted_seconds),
            used.made_for
        ));
    }
    out
}

fn age(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

#[allow(clippy::cast_precision_loss, reason = "shown, not reckoned with")]
fn scans(number: i64) -> f64 {
    number as f64
}
