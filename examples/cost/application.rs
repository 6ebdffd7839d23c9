//! The application: pgbench at a fixed rate, its latencies counted from when each
//! transaction should have begun.

use std::process::{Child, Command, Stdio};

use crossfade::error::{Error, Kind, Result};

use super::{Bench, percentile};

/// Reads, changes of an order, changes of its lines, new orders.
const SCRIPTS: [(&str, u32, &str); 4] = [
    (
        "read",
        4,
        "\\set id random(1, :orders)\nselect * from legacy.orders where id = :id;\n",
    ),
    (
        "status",
        3,
        "\\set id random(1, :orders)\nbegin;\nselect status from legacy.orders where id = :id;\nupdate legacy.orders set status = 'paid' where id = :id;\nend;\n",
    ),
    (
        "lines",
        1,
        "\\set id random(1, :orders)\nupdate legacy.orders set items = items || '{\"sku\": \"P1\", \"qty\": 1, \"unit_cents\": 5}' where id = :id;\n",
    ),
    (
        "new",
        2,
        "insert into legacy.orders (customer_id, status, created_at, total_cents, items) values (1, 'new', 1700000000, 100, '[{\"sku\": \"P1\", \"qty\": 1, \"unit_cents\": 5}, {\"sku\": \"P2\", \"qty\": 2, \"unit_cents\": 7}]');\n",
    ),
];
const CLIENTS: &str = "8";

/// What the application saw.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Transactions a second.
    pub rate: f64,
    /// Milliseconds.
    pub median: f64,
    pub p99: f64,
}

impl Bench {
    /// Runs it to its end.
    pub fn application(&self, rate: u64) -> Result<Run> {
        let log = self.dir.join("pgbench_log");
        let child = self.pgbench(
            rate,
            self.seconds,
            &["-l", "--log-prefix", &log.to_string_lossy()],
        )?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Error::new(Kind::Io, format!("pgbench: {text}")));
        }
        let mut latencies = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if name.starts_with("pgbench_log") {
                let text = std::fs::read_to_string(&path)?;
                let micros = text
                    .lines()
                    .filter_map(|l| l.split(' ').nth(2)?.parse::<f64>().ok());
                latencies.extend(micros.map(|m| m / 1000.0));
                std::fs::remove_file(&path)?;
            }
        }
        latencies.sort_by(f64::total_cmp);
        #[allow(clippy::cast_precision_loss)]
        let rate = latencies.len() as f64 / self.seconds as f64;
        Ok(Run {
            rate,
            median: percentile(&latencies, 50),
            p99: percentile(&latencies, 99),
        })
    }

    /// Starts it.
    pub fn pgbench(&self, rate: u64, seconds: u64, more: &[&str]) -> Result<Child> {
        let program = self.server.bin_dir().join("pgbench");
        let mut command = Command::new(&program);
        for (name, weight, text) in SCRIPTS {
            let file = self.dir.join(format!("{name}.sql"));
            std::fs::write(&file, text)?;
            command
                .arg("-f")
                .arg(format!("{}@{weight}", file.display()));
        }
        command
            .args(["-n", "-M", "prepared", "-c", CLIENTS, "-j", "2"])
            .args(["-R", &rate.to_string(), "-T", &seconds.to_string()])
            .args(["-D", &format!("orders={}", self.orders)])
            .args(more)
            .arg(self.server.url("postgres"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command.spawn().map_err(|e| {
            Error::new(Kind::Io, format!("cannot run {}: {e}", program.display()))
                .remedy("install PostgreSQL with its client programs")
        })
    }
}

/// Prints the medians of the runs, beside another row's; returns them.
pub fn row(what: &str, runs: &[Run], beside: Option<Run>) -> Run {
    let median = |of: fn(&Run) -> f64| {
        let mut all: Vec<f64> = runs.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let run = Run {
        rate: median(|r| r.rate),
        median: median(|r| r.median),
        p99: median(|r| r.p99),
    };
    let each: Vec<_> = runs.iter().map(|r| format!("{:.1}", r.p99)).collect();
    let ratio = beside.map_or_else(String::new, |b| {
        format!(
            "  {:.1} % of the throughput, {:.2} × the 99 %",
            run.rate / b.rate * 100.0,
            run.p99 / b.p99
        )
    });
    println!(
        "  {what:34} {:7.1} tps  median {:6.2} ms  99 % {:7.2} ms (runs {}){ratio}",
        run.rate,
        run.median,
        run.p99,
        each.join(", ")
    );
    run
}
