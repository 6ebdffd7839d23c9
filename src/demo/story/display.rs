//! Tells the story on standard error while it happens: a live line on a
//! terminal, a plain line every few seconds elsewhere.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const PLAIN_EVERY: Duration = Duration::from_secs(3);

const SPINNER: &str = "{spinner} {prefix}  {wide_msg} {elapsed}";
const BAR: &str = "{spinner} {prefix}  {bar:20} {wide_msg} {elapsed}";

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// Where the telling stands.
#[derive(Debug)]
pub struct Display {
    bar: ProgressBar,
    live: bool,
    quiet: bool,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    step: String,
    begun: Instant,
    last_line: Instant,
}

impl Display {
    /// A quiet display tells nothing.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        let live = !quiet && std::io::stderr().is_terminal();
        let target = if live {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(style(SPINNER));
        bar.enable_steady_tick(Duration::from_millis(120));
        let now = Instant::now();
        Self {
            bar,
            live,
            quiet,
            current: Mutex::new(Current {
                step: String::new(),
                begun: now,
                last_line: now,
            }),
        }
    }

    /// A new step begins.
    pub fn begin(&self, step: &str) {
        let now = Instant::now();
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Current {
            step: step.to_owned(),
            begun: now,
            last_line: now,
        };
        self.bar.set_prefix(step.to_owned());
        self.bar.set_message("");
        self.bar.set_style(style(SPINNER));
        self.bar.unset_length();
        self.bar.reset_elapsed();
        if !self.live {
            self.line(&format!("… {step}"));
        }
    }

    /// How far the step has come, of a whole that is known.
    pub fn progress_of(&self, done: u64, whole: u64, detail: &str) {
        if self.bar.length() != Some(whole) {
            self.bar.set_length(whole);
            self.bar.set_style(style(BAR));
        }
        self.bar.set_position(done.min(whole));
        self.progress(detail);
    }

    /// How far the step has come.
    pub fn progress(&self, detail: &str) {
        self.bar.set_message(detail.to_owned());
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.live && current.last_line.elapsed() >= PLAIN_EVERY {
            current.last_line = Instant::now();
            self.line(&format!("  {}: {detail}", current.step));
        }
    }

    /// The step has ended well.
    pub fn done(&self, detail: &str) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let took = current.begun.elapsed().as_secs_f64();
        let comma = if detail.is_empty() { "" } else { ": " };
        self.line(&format!("✓ {}{comma}{detail} ({took:.1} s)", current.step));
    }

    /// A text as it is, indented.
    pub fn show(&self, text: &str) {
        for line in text.lines() {
            self.line(&format!("  │ {line}"));
        }
    }

    /// The last step has ended; nothing more is drawn.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn line(&self, text: &str) {
        if self.live {
            self.bar.suspend(|| eprintln!("{text}"));
        } else if !self.quiet {
            eprintln!("{text}");
        }
    }
}

/// `2300000` as `2,300,000`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_grouped() {
        let texts = [0, 999, 1_000, 2_300_000].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "2,300,000"]);
    }
}
