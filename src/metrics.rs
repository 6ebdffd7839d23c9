//! Counting where things happen. What there is to count is in [`table`]; nothing is
//! kept unless a recorder was installed, so counting costs next to nothing without.

pub mod page;
pub mod process;
pub mod table;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::error::{Error, Kind, Result};
pub use table::{Metric, TABLE, Type};

/// Seconds from a millisecond to two minutes.
pub const DURATIONS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0,
];
/// Rows from one to a million.
pub const SIZES: &[f64] = &[
    1.0,
    3.0,
    10.0,
    30.0,
    100.0,
    300.0,
    1000.0,
    3000.0,
    10_000.0,
    100_000.0,
    1_000_000.0,
];

impl Metric {
    /// Adds to a counter.
    pub fn add(&self, count: u64) {
        debug_assert!(self.kind == Type::Counter && self.label.is_none());
        metrics::counter!(self.name).increment(count);
    }

    /// Adds to a counter's series of this label value.
    pub fn add_for(&self, value: &'static str, count: u64) {
        debug_assert!(self.kind == Type::Counter);
        metrics::counter!(self.name, self.key(value) => value).increment(count);
    }

    /// Sets a gauge.
    pub fn set(&self, value: f64) {
        debug_assert!(self.kind == Type::Gauge && self.label.is_none());
        metrics::gauge!(self.name).set(value);
    }

    /// Sets a gauge to a count.
    pub fn set_count(&self, count: usize) {
        self.set(value(count));
    }

    /// Sets a gauge's series of this label value.
    pub fn set_for(&self, label: &'static str, value: f64) {
        debug_assert!(self.kind == Type::Gauge);
        metrics::gauge!(self.name, self.key(label) => label).set(value);
    }

    /// Sets the series of one label value to 1 and those of all others to 0.
    pub fn set_only(&self, label: &str) {
        for known in self.label.iter().flat_map(|l| (l.values)()) {
            self.set_for(known, if known == label { 1.0 } else { 0.0 });
        }
    }

    /// Records one observation of a histogram.
    pub fn record(&self, value: f64) {
        debug_assert!(self.kind == Type::Histogram);
        metrics::histogram!(self.name).record(value);
    }

    /// The label's name; a value outside of the closed set is a bug.
    fn key(&self, value: &str) -> &'static str {
        let Some(label) = &self.label else {
            return "label";
        };
        debug_assert!((label.values)().contains(&value), "{}: {value}", self.name);
        label.name
    }
}

/// A count as a gauge's value.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn value(count: usize) -> f64 {
    count as f64
}

/// What has been counted, as Prometheus reads it.
#[derive(Clone)]
pub struct Recorder {
    handle: PrometheusHandle,
    migration: String,
}

impl Recorder {
    /// Begins to count, for the whole process.
    ///
    /// # Errors
    /// [`Kind::Io`] when something else counts already.
    pub fn install(migration: &str) -> Result<Self> {
        let failed = |e: &dyn std::fmt::Display| {
            Error::new(Kind::Io, format!("cannot install the metrics: {e}"))
        };
        let recorder = PrometheusBuilder::new()
            .add_global_label("migration", migration)
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), DURATIONS)
            .and_then(|b| b.set_buckets_for_metric(Matcher::Suffix("_rows".to_owned()), SIZES))
            .map_err(|e| failed(&e))?
            .build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|e| failed(&e))?;
        describe();
        table::BUILD_INFO.set_for(env!("CARGO_PKG_VERSION"), 1.0);
        Ok(Self {
            handle,
            migration: migration.to_owned(),
        })
    }

    /// Everything, in the text format of Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        // Histograms are folded here; nobody else would do it.
        self.handle.run_upkeep();
        let mut text = self.handle.render();
        text.push_str(&process::render(&self.migration));
        text
    }
}

fn describe() {
    for metric in TABLE {
        match metric.kind {
            Type::Counter => metrics::describe_counter!(metric.name, metric.help),
            Type::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Type::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
}
