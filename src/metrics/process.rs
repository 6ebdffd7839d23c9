//! What the operating system says of this process, by Prometheus's standard names.
//!
//! Rendered by hand: processor time is a counter of fractions, and the recorder's
//! counters are whole numbers.

use std::fmt::Write as _;

use super::table::{
    Metric, PROCESS_CPU, PROCESS_FILES, PROCESS_MEMORY, PROCESS_START, PROCESS_THREADS,
};

/// The unit of times in `/proc`. Linux has been telling user space 100 a second on
/// every architecture for which this is built.
const TICKS: f64 = 100.0;

/// A look at `/proc/self`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Process {
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
    pub threads: u64,
    pub open_files: u64,
    /// Since 1970.
    pub started_seconds: f64,
}

/// `None` where there is no `/proc`.
#[must_use]
pub fn read() -> Option<Process> {
    let text = |path: &str| std::fs::read_to_string(path).ok();
    let mut process = parse(
        &text("/proc/self/stat")?,
        &text("/proc/self/status")?,
        &text("/proc/stat")?,
    )?;
    process.open_files = std::fs::read_dir("/proc/self/fd").map_or(0, |d| d.count() as u64);
    Some(process)
}

fn parse(stat: &str, status: &str, machine: &str) -> Option<Process> {
    // The command's name may hold blanks and parentheses: count from its end. The
    // first field behind it is number 3 of proc(5).
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    #[allow(clippy::cast_precision_loss)]
    let seconds = |ticks: u64| ticks as f64 / TICKS;
    let of = |text: &str, key: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(key))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    #[allow(clippy::cast_precision_loss)]
    let booted = of(machine, "btime")? as f64;
    Some(Process {
        cpu_seconds: seconds(field(14)? + field(15)?),
        resident_bytes: of(status, "VmRSS:")? * 1024,
        threads: field(20)?,
        open_files: 0,
        started_seconds: booted + seconds(field(22)?),
    })
}

/// The lines for Prometheus; nothing where there is no `/proc`.
#[must_use]
pub fn render(migration: &str) -> String {
    let Some(process) = read() else {
        return String::new();
    };
    let mut text = String::new();
    let mut put = |metric: &Metric, value: &dyn std::fmt::Display| {
        let (name, kind) = (metric.name, metric.kind.name());
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "# HELP {name} {}\n# TYPE {name} {kind}\n{name}{{migration=\"{migration}\"}} {value}\n",
            metric.help
        );
    };
    put(&PROCESS_CPU, &process.cpu_seconds);
    put(&PROCESS_MEMORY, &process.resident_bytes);
    put(&PROCESS_FILES, &process.open_files);
    put(&PROCESS_THREADS, &process.threads);
    put(&PROCESS_START, &process.started_seconds);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 6 0 300 1 2";
        let found = parse(stat, "VmRSS:\t  2048 kB\n", "cpu 1\nbtime 1000\n").unwrap();
        assert_eq!(
            found,
            Process {
                cpu_seconds: 2.0,
                resident_bytes: 2 << 20,
                threads: 6,
                open_files: 0,
                started_seconds: 1003.0,
            }
        );
    }

    #[test]
    fn this_process_has_memory_threads_and_files() {
        let process = read().unwrap();
        assert!(process.resident_bytes > 1 << 20 && process.threads > 0);
        assert!(process.open_files > 2 && process.started_seconds > 1e9);
    }
}
