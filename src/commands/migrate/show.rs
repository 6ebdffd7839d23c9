//! A run as it goes: lines for people, a JSON object an event for machines.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::super::Output;
use crate::migrate::event::Event;
use crate::migrate::history::Direction;
use crate::migrate::lint::seconds;
use crate::migrate::lock::Lock;
use crate::migrate::watch::Seen;

/// Progress of a batched step is told this often where no bar can be drawn.
const LINE_EVERY: Duration = Duration::from_secs(5);

pub(super) fn way(direction: Direction, in_transaction: bool) -> String {
    let how = if in_transaction {
        "one transaction"
    } else {
        "each step commits on its own"
    };
    format!("{}, {how}", direction.name())
}

pub(super) fn lock(lock: &Lock) -> String {
    format!(
        "{} on {}: {} wait",
        lock.mode,
        lock.table,
        lock.mode.blocks().words()
    )
    .replace(
        "neither reads nor writes wait",
        "nobody who reads or writes waits",
    )
}

/// Prints events.
pub(super) struct Printer {
    output: Output,
    bar: Option<ProgressBar>,
    last_line: Option<Instant>,
    /// A statement's line is open: its time comes at the end.
    open: bool,
}

impl Printer {
    pub fn new(output: Output) -> Self {
        Self {
            output,
            bar: None,
            last_line: None,
            open: false,
        }
    }

    /// Ends an open line, as before an error.
    pub fn close(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if std::mem::take(&mut self.open) && self.output == Output::Text {
            println!();
        }
    }

    pub fn see(&mut self, event: &Event<'_>) {
        if self.output == Output::Json {
            if let Some(json) = json_of(event) {
                println!("{json}");
            }
            return;
        }
        self.text(event);
        let _ = std::io::stdout().flush();
    }

    fn text(&mut self, event: &Event<'_>) {
        match event {
            Event::Waiting { holder } => println!("waiting for another run: {holder}"),
            Event::File {
                migration,
                direction,
                in_transaction,
                done,
            } => {
                println!(
                    "{}  {}",
                    migration.label(),
                    way(*direction, *in_transaction)
                );
                if *done > 0 {
                    println!("         goes on: {done} steps are done already");
                }
            }
            Event::Statement { statement, locks } => {
                self.close();
                print!("  {:>5}  {}", statement.place.line, statement.headline());
                for l in *locks {
                    print!("\n         {}", lock(l));
                }
                self.open = true;
            }
            Event::Blocked { seen } => {
                self.close();
                println!("         waits for {}{}", seen.blockers(), behind(seen));
            }
            Event::StatementDone { took, seen, .. } => {
                let took = match seconds(*took).as_str() {
                    "no time" => "1 ms".to_owned(),
                    time => time.to_owned(),
                };
                if self.open {
                    println!("; done in {took}{}", behind(seen));
                } else {
                    println!("         done in {took}{}", behind(seen));
                }
                self.open = false;
            }
            Event::Retry {
                attempt,
                of,
                pause,
                seen,
            } => {
                self.close();
                let who = match seen.blockers() {
                    who if who.is_empty() => String::new(),
                    who => format!(" ({who})"),
                };
                println!(
                    "         no lock{who}{}; undone, attempt {} of {of} in {}",
                    behind(seen),
                    attempt + 1,
                    seconds(*pause)
                );
            }
            Event::Batch {
                rows,
                total,
                elapsed,
                own,
                last,
                ..
            } => {
                self.batch(*rows, *total, *elapsed, *own, *last);
            }
            Event::Standby { name, seconds } => {
                self.close();
                println!("         waits for the standby {name}, {seconds:.0} s behind");
            }
            Event::Blind { what } => println!("note: {what}"),
            // Only of a run that is traced.
            Event::Begun { .. } | Event::Held { .. } | Event::Outside { .. } => {}
            Event::Mended { what } => {
                self.close();
                println!("         mended: {what}");
            }
            Event::FileDone {
                migration, took, ..
            } => {
                self.close();
                println!("{}  done in {}", migration.label(), seconds(*took));
            }
        }
    }

    fn batch(&mut self, rows: i64, total: i64, elapsed: Duration, own: i64, last: bool) {
        if self.open {
            println!();
            self.open = false;
        }
        let line = progress(rows, total, elapsed, own);
        if last {
            if let Some(bar) = self.bar.take() {
                bar.finish_and_clear();
            }
            self.last_line = None;
            println!("         {line}; done");
        } else if std::io::stderr().is_terminal() {
            let bar = self.bar.get_or_insert_with(|| {
                let style = ProgressStyle::with_template("         {bar:30.cyan/blue} {msg}");
                let bar = ProgressBar::new(0);
                style.map_or(bar.clone(), |style| bar.with_style(style))
            });
            bar.set_length(u64::try_from(total.max(rows)).unwrap_or(0));
            bar.set_position(u64::try_from(rows).unwrap_or(0));
            bar.set_message(line);
        } else if self.last_line.is_none_or(|at| at.elapsed() > LINE_EVERY) {
            self.last_line = Some(Instant::now());
            println!("         {line}");
        }
    }
}

/// `20000 of about 230000 rows, 41000/s, 5 seconds to go`.
fn progress(rows: i64, total: i64, elapsed: Duration, own: i64) -> String {
    #[allow(clippy::cast_precision_loss)]
    let rate = own as f64 / elapsed.as_secs_f64().max(0.001);
    let mut line = if total > rows {
        format!("{rows} of about {total} rows")
    } else {
        format!("{rows} rows")
    };
    line.push_str(&format!(", {rate:.0}/s"));
    if total > rows && rate > 1.0 {
        #[allow(clippy::cast_precision_loss)]
        let left = (total - rows) as f64 / rate;
        line.push_str(&format!(
            ", {} to go",
            HumanDuration(Duration::from_secs_f64(left))
        ));
    }
    line
}

/// Who waited for the statement's locks.
fn behind(seen: &Seen) -> String {
    match seen.behind.sessions {
        0 => String::new(),
        1 => format!("; 1 session waited behind it, {:.1} s", seen.behind.seconds),
        n => format!(
            "; {n} sessions waited behind it, at most {:.1} s",
            seen.behind.seconds
        ),
    }
}

fn json_of(event: &Event<'_>) -> Option<Value> {
    let ms = |time: &Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let seen_of = |seen: &Seen| {
        json!({
            "blockers": seen.blockers.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "behind": {"sessions": seen.behind.sessions, "seconds": seen.behind.seconds},
        })
    };
    Some(match event {
        Event::Waiting { holder } => json!({"event": "waiting", "holder": holder}),
        Event::File {
            migration,
            direction,
            in_transaction,
            done,
        } => json!({
            "event": "file", "migration": migration.label(), "direction": direction.name(),
            "in_transaction": in_transaction, "steps_done": done}),
        Event::Statement { statement, locks } => json!({
            "event": "statement", "line": statement.place.line, "statement": statement.headline(),
            "locks": locks.iter().map(|l| json!({"table": l.table.to_string(),
                "mode": l.mode.to_string(), "work": l.work.words()})).collect::<Vec<_>>()}),
        Event::Blocked { seen } => json!({"event": "blocked", "seen": seen_of(seen)}),
        Event::StatementDone {
            statement,
            took,
            seen,
        } => json!({
            "event": "statement_done", "line": statement.place.line, "ms": ms(took),
            "seen": seen_of(seen)}),
        Event::Retry {
            attempt,
            of,
            pause,
            seen,
        } => json!({
            "event": "retry", "attempt": attempt + 1, "of": of, "pause_ms": ms(pause),
            "seen": seen_of(seen)}),
        Event::Batch {
            rows,
            total,
            elapsed,
            last,
            ..
        } => json!({
            "event": "batch", "rows": rows, "estimate": total, "ms": ms(elapsed), "last": last}),
        Event::Standby { name, seconds } => {
            json!({"event": "standby", "name": name, "behind_seconds": seconds})
        }
        Event::Blind { what } => json!({"event": "note", "text": what}),
        Event::Begun { .. } | Event::Held { .. } | Event::Outside { .. } => return None,
        Event::Mended { what } => json!({"event": "mended", "what": what}),
        Event::FileDone {
            migration,
            direction,
            took,
        } => json!({
            "event": "file_done", "migration": migration.label(), "direction": direction.name(),
            "ms": ms(took)}),
    })
}
