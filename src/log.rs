//! Log lines on standard error: one for each thing that matters, as text or as JSON,
//! each with the migration and how far its stream is applied.
//!
//! Lines of one place in the code are bounded in rate: a database that is away for an
//! hour must not fill a disk with words about it.

use std::collections::HashMap;
use std::fmt;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, callsite};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Context, Filter, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Lines of one place in the code in [`PERIOD`]; what is more is counted.
const LINES: u32 = 20;
const PERIOD: Duration = Duration::from_secs(60);

/// The migration that this process is about, once it is known.
static MIGRATION: OnceLock<String> = OnceLock::new();
/// Up to where its stream is applied; 0 before anything is known.
static APPLIED: AtomicU64 = AtomicU64::new(0);

/// Names the migration on every line from now on.
pub fn migration(name: &str) {
    let _ = MIGRATION.set(name.to_owned());
}

/// Up to where the stream is applied.
pub fn applied(lsn: u64) {
    APPLIED.store(lsn, Ordering::Relaxed);
}

fn lsn() -> Option<String> {
    let lsn = APPLIED.load(Ordering::Relaxed);
    (lsn > 0).then(|| format!("{:X}/{:X}", lsn >> 32, lsn & 0xFFFF_FFFF))
}

/// Begins to log. `CROSSFADE_LOG` sets the level (default `info`),
/// `CROSSFADE_LOG_FORMAT=json` makes each line an object.
pub fn start() {
    let set = |name: &str| std::env::var(name).unwrap_or_default();
    let level = set("CROSSFADE_LOG").parse().unwrap_or(Level::INFO);
    let json = set("CROSSFADE_LOG_FORMAT").eq_ignore_ascii_case("json");
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .event_format(Format { json })
        .with_filter(Rate::new(json))
        .with_filter(LevelFilter::from_level(level));
    tracing_subscriber::registry().with(lines).init();
}

struct Format {
    json: bool,
}

/// The fields of an event, in their order.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.others.push((field.name(), Value::String(text)));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.others.push((field.name(), Value::from(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others.push((field.name(), Value::from(value)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.others.push((field.name(), Value::from(value)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.others.push((field.name(), Value::from(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.others.push((field.name(), Value::from(value)));
    }
}

impl<S, N> FormatEvent<S, N> for Format
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        let line = if self.json {
            json(&time, level, fields)
        } else {
            text(&time, level, &fields)
        };
        writeln!(writer, "{line}")
    }
}

fn json(time: &str, level: Level, fields: Fields) -> String {
    let mut line = Map::new();
    line.insert("time".to_owned(), Value::from(time));
    line.insert("level".to_owned(), Value::from(level.as_str()));
    line.insert("message".to_owned(), Value::from(fields.message));
    if let Some(name) = MIGRATION.get() {
        line.insert("migration".to_owned(), Value::from(name.as_str()));
    }
    if let Some(lsn) = lsn() {
        line.insert("applied_lsn".to_owned(), Value::from(lsn));
    }
    for (name, value) in fields.others {
        line.insert(name.to_owned(), value);
    }
    Value::Object(line).to_string()
}

fn text(time: &str, level: Level, fields: &Fields) -> String {
    let mut line = format!("{time} {level:>5} {}", fields.message);
    let mut put = |name: &str, value: &dyn fmt::Display| {
        line.push_str(&format!(" {name}={value}"));
    };
    for (name, value) in &fields.others {
        match value {
            // Quoted only where it would not be told apart.
            Value::String(s) if !s.contains([' ', '"']) => put(name, s),
            value => put(name, value),
        }
    }
    if let Some(name) = MIGRATION.get() {
        put("migration", name);
    }
    if let Some(lsn) = lsn() {
        put("applied_lsn", &lsn);
    }
    line
}

/// Bounds the lines of each place in the code.
struct Rate {
    json: bool,
    places: Mutex<HashMap<callsite::Identifier, Place>>,
}

struct Place {
    since: Instant,
    lines: u32,
}

impl Place {
    /// Whether another line may be written, and how many were left out in the period
    /// that has ended.
    fn admit(&mut self, now: Instant) -> (bool, u32) {
        let mut left_out = 0;
        if now.duration_since(self.since) >= PERIOD {
            left_out = self.lines.saturating_sub(LINES);
            (self.since, self.lines) = (now, 0);
        }
        self.lines = self.lines.saturating_add(1);
        (self.lines <= LINES, left_out)
    }
}

impl Rate {
    fn new(json: bool) -> Self {
        Self {
            json,
            places: Mutex::default(),
        }
    }
}

impl<S> Filter<S> for Rate {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let Ok(mut places) = self.places.lock() else {
            return true;
        };
        let now = Instant::now();
        let place = places.entry(event.metadata().callsite()).or_insert(Place {
            since: now,
            lines: 0,
        });
        let (admitted, left_out) = place.admit(now);
        if left_out > 0 {
            let message = format!("{left_out} lines like the next one were left out");
            let fields = Fields {
                message,
                others: Vec::new(),
            };
            let line = if self.json {
                json("", Level::INFO, fields)
            } else {
                text("…", Level::INFO, &fields)
            };
            // Standard error is where it would have gone; without it there is no log.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_place_are_bounded_and_what_is_left_out_is_counted() {
        let start = Instant::now();
        let mut place = Place {
            since: start,
            lines: 0,
        };
        let admitted = (0..100).filter(|_| place.admit(start).0).count();
        assert_eq!(admitted, 20);
        assert_eq!(place.admit(start + PERIOD), (true, 80));
        assert_eq!(place.admit(start + PERIOD), (true, 0));
    }

    #[test]
    fn a_line_has_its_fields_as_text_and_as_json() {
        let fields = || Fields {
            message: "it goes".to_owned(),
            others: vec![("slot", Value::from("a b")), ("mib", Value::from(3))],
        };
        let line = text("T", Level::WARN, &fields());
        assert!(
            line.starts_with("T  WARN it goes slot=\"a b\" mib=3"),
            "{line}"
        );
        let line: Value = serde_json::from_str(&json("T", Level::WARN, fields())).unwrap();
        assert_eq!((&line["level"], &line["mib"]), (&"WARN".into(), &3.into()));
    }
}
