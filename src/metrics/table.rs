//! Every metric there is: the one place for names, types, labels and what they mean.
//! Descriptions for Prometheus, `docs/metrics.md` and the tests are made from it.

use crate::error;
use crate::phase::Phase;

/// What Prometheus takes a metric for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Counter,
    Gauge,
    Histogram,
}

impl Type {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The label that a metric has besides `migration`. Its values are a closed set, so
/// that no input makes new series.
#[derive(Debug, Clone, Copy)]
pub struct Label {
    pub name: &'static str,
    pub values: fn() -> Vec<&'static str>,
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Type,
    /// What is counted or measured, for the page.
    pub unit: &'static str,
    pub label: Option<Label>,
    pub help: &'static str,
}

/// Declares a constant for each metric and the table of them all.
macro_rules! metrics {
    ($($(#[$doc:meta])* $id:ident = $name:literal, $kind:ident, $unit:literal
        $(, label $label:literal = $values:expr)?; $help:literal;)*) => {
        $(
            $(#[$doc])*
            pub const $id: Metric = Metric {
                name: $name,
                kind: Type::$kind,
                unit: $unit,
                label: metrics!(@label $($label = $values)?),
                help: $help,
            };
        )*
        /// All of them, in the order of the page.
        pub const TABLE: &[Metric] = &[$($id),*];
    };
    (@label) => { None };
    (@label $label:literal = $values:expr) => {
        Some(Label { name: $label, values: $values })
    };
}

metrics! {
    BUILD_INFO = "crossfade_build_info", Gauge, "1", label "version" = || vec![env!("CARGO_PKG_VERSION")];
        "always 1; the program's version is in the label";
    ROLE = "crossfade_role", Gauge, "0 or 1", label "role" = || ROLES.to_vec();
        "1 for what this process is: `standby` waits for the migration's lock, `owner` has it, `retrying` waits to start over after an error";
    PHASE = "crossfade_phase", Gauge, "0 or 1", label "phase" = || Phase::ALL.iter().map(|p| p.name()).collect();
        "1 for the phase the migration is in";

    COPY_ROWS = "crossfade_copy_rows", Gauge, "source rows";
        "rows in copied chunks";
    COPY_ROWS_ESTIMATED = "crossfade_copy_rows_estimated", Gauge, "source rows";
        "the planner's estimate when the daemon started; can be wrong either way";
    COPY_RATE = "crossfade_copy_rows_per_second", Gauge, "source rows a second";
        "copied over the last minute, waiting included";
    COPY_ETA = "crossfade_copy_remaining_seconds", Gauge, "seconds", label "estimate" = || vec!["low", "likely", "high"];
        "until the copy is complete at the pace of the last minutes: at the mean, the fastest and the slowest tenth of them; no series while nothing is copied";
    CHUNKS = "crossfade_chunks", Gauge, "chunks", label "state" = || vec!["pending", "copied"];
        "made so far; a part of the key space that is not split yet is in neither";
    COPY_BATCH_ROWS = "crossfade_copy_batch_rows", Gauge, "source rows";
        "size of the chunks that are split off now; moves between its bounds where `copy.batch_rows_max` is set";
    COPY_ROWS_TOTAL = "crossfade_copy_rows_total", Counter, "source rows";
        "copied by this process";
    COPY_CHUNKS_TOTAL = "crossfade_copy_chunks_total", Counter, "chunks";
        "copied by this process";
    COPY_CHUNK_SECONDS = "crossfade_copy_chunk_seconds", Histogram, "seconds";
        "from claim to release of a chunk";
    RECOPIED_CHUNKS_TOTAL = "crossfade_recopied_chunks_total", Counter, "chunks", label "outcome" = || vec!["equal", "absent", "differed"];
        "looked at again after the slot was lost: `equal` ones were left alone, `absent` ones had no target rows, what `differed` was written anew";

    COPY_PACE = "crossfade_copy_pace", Gauge, "0 to 1";
        "share of its full speed that the copy is allowed; 0 while it is held";
    COPY_THROTTLED = "crossfade_copy_throttled", Gauge, "0 or 1";
        "1 while the copy is paused, held or slowed, 0 otherwise";
    THROTTLE_PRESSURE = "crossfade_throttle_pressure", Gauge, "ratio", label "signal" = || SIGNALS.to_vec();
        "what each signal measures as a share of its limit: the copy slows from 0.7 on (for the lag, from 0.2) and stands at 1; 0 for a signal that is off";
    THROTTLE_HOLDING = "crossfade_throttle_holding", Gauge, "0 or 1", label "signal" = || SIGNALS.to_vec();
        "1 for the signal that slows or holds the copy now";
    DELAY = "crossfade_delay_seconds", Gauge, "seconds";
        "what one in ten small statements, or of the applier's commits, waits beyond the best, over the last second; 0 while nobody else is at work; measured while `throttle.max_delay_ms` is set";
    COMMIT_LATENCY = "crossfade_commit_latency_seconds", Gauge, "seconds";
        "what a small transaction waits for its COMMIT, mean of the last four; measured while `throttle.max_commit_latency_ms` is set";
    REPLICA_LAG = "crossfade_replica_lag_seconds", Gauge, "seconds";
        "how far the replay of the slowest streaming standby is behind; 0 without any; measured while `throttle.max_replica_lag_seconds` is set";
    ACTIVE_SESSIONS = "crossfade_active_sessions", Gauge, "sessions";
        "of others, that run a statement; measured while `throttle.max_active_sessions` is set";

    LAG_SECONDS = "crossfade_lag_seconds", Gauge, "seconds", label "stage" = || STAGES.to_vec();
        "how old the oldest change is that has not been received, decoded, applied; for `applied` by the commit's own time as long as something is received";
    LAG_BYTES = "crossfade_lag_bytes", Gauge, "bytes", label "stage" = || STAGES.to_vec();
        "log between what is received, decoded, applied and the server's end, other tables' log included; never quite 0";
    APPLY_ROWS_TOTAL = "crossfade_apply_rows_total", Counter, "row changes";
        "received and committed with their batch; includes changes the fence dropped because the copy holds them";
    APPLY_TRANSACTIONS_TOTAL = "crossfade_apply_transactions_total", Counter, "source transactions";
        "applied by this process";
    APPLY_STATEMENTS_TOTAL = "crossfade_apply_statements_total", Counter, "statements";
        "that wrote row images into targets";
    APPLY_REREADS_TOTAL = "crossfade_apply_rereads_total", Counter, "rows";
        "read from the source by key because the stream lacked a large value";
    APPLY_BATCH_SECONDS = "crossfade_apply_batch_seconds", Histogram, "seconds";
        "from resolving a batch to its commit";
    APPLY_BATCH_ROWS = "crossfade_apply_batch_rows", Histogram, "row changes";
        "in a batch";
    APPLY_DELAY_SECONDS = "crossfade_apply_delay_seconds", Histogram, "seconds";
        "from the commit of a batch's oldest transaction on the source to the batch's commit";

    SLOT_RETAINED = "crossfade_slot_retained_wal_bytes", Gauge, "bytes";
        "log that the server keeps because of the slot";
    SLOT_LIMIT = "crossfade_slot_wal_limit_bytes", Gauge, "bytes";
        "where the slot is lost: the smaller of `slot.give_up_wal` and the server's `max_slot_wal_keep_size`";
    SLOT_GROWTH = "crossfade_slot_wal_growth_bytes_per_second", Gauge, "bytes a second";
        "how the retained log has grown over the last two minutes; below 0 when it shrinks";
    SLOT_FORECAST = "crossfade_slot_limit_in_seconds", Gauge, "seconds";
        "until the limit is reached at this growth; +Inf while it does not grow";
    SLOT_STAGE = "crossfade_slot_guard", Gauge, "0 or 1", label "stage" = || GUARD.to_vec();
        "1 for what the WAL guard does now";
    HEARTBEATS_TOTAL = "crossfade_heartbeats_total", Counter, "messages";
        "written into the log so that an idle slot moves on";

    QUARANTINE_ROWS = "crossfade_quarantine_rows", Gauge, "source rows";
        "rows set aside, for whatever reason; looked at when the stream is idle for a moment";
    QUARANTINED_TOTAL = "crossfade_quarantined_rows_total", Counter, "source rows";
        "times a row was set aside because the targets refused it";

    VERIFY_RANGES_TOTAL = "crossfade_verify_ranges_total", Counter, "key ranges";
        "compared by this process in full passes";
    VERIFY_ROWS_TOTAL = "crossfade_verify_rows_total", Counter, "source rows";
        "compared by this process in full passes";
    VERIFY_COVERAGE = "crossfade_verify_coverage", Gauge, "0 to 1";
        "share of the copied rows that the present certificate or the pass under way covers";
    VERIFY_CERTIFICATE_AGE = "crossfade_verify_certificate_age_seconds", Gauge, "seconds";
        "since the certificate's pass ended; no series without a certificate";
    VERIFY_CHANGED_KEYS = "crossfade_verify_changed_keys", Gauge, "source keys";
        "changed since the certificate and not verified yet, counted up to a million a module; no series before the first certificate";
    VERIFY_DIFFERENCES = "crossfade_verify_differences", Gauge, "rows";
        "that differed when a verification, the daemon's or an operator's, last found something out; 0 after a clean full pass";
    VERIFY_CLEAN_AGE = "crossfade_verify_clean_age_seconds", Gauge, "seconds";
        "since a full pass last found everything identical, also when a difference was found later; no series before the first";

    ERRORS_TOTAL = "crossfade_errors_total", Counter, "errors", label "kind" = || error::TABLE.iter().map(|r| r.name).collect();
        "errors by kind, see [errors.md](errors.md), those that were retried included";
    RETRIES_TOTAL = "crossfade_retries_total", Counter, "retries", label "class" = || vec!["soon", "backoff"];
        "work that was begun again: `soon` on the same connection (deadlock, serialization, lock timeout), `backoff` after a pause with a new one";
    CONNECTIONS = "crossfade_connections", Gauge, "sessions";
        "of crossfade at the server, of every process and migration";

    PROCESS_CPU = "process_cpu_seconds_total", Counter, "seconds";
        "processor time of this process, user and system";
    PROCESS_MEMORY = "process_resident_memory_bytes", Gauge, "bytes";
        "resident memory of this process";
    PROCESS_FILES = "process_open_fds", Gauge, "files";
        "open file descriptors of this process";
    PROCESS_THREADS = "process_threads", Gauge, "threads";
        "of this process";
    PROCESS_START = "process_start_time_seconds", Gauge, "seconds since 1970";
        "when this process started";
}

/// What a process can be.
pub const ROLES: &[&str] = &["starting", "standby", "owner", "retrying"];
/// What can slow the copy, strongest first where several do.
pub const SIGNALS: &[&str] = &[
    "paused",
    "window",
    "wal_guard",
    "retained_wal",
    "lag",
    "lag_bytes",
    "replica_lag",
    "delay",
    "active_sessions",
    "commit_latency",
    "query",
];
/// Where a change is on its way.
pub const STAGES: &[&str] = &["received", "decoded", "applied"];
/// What the WAL guard does.
pub const GUARD: &[&str] = &["fine", "warn", "throttle", "give_up"];
