//! How well `crossfade explain` ranks indexes: for queries of many shapes every
//! candidate is built and timed, and the one it would recommend is compared with the
//! best of all.
//!
//! Arguments: `--scale N` (thousands of orders, default 300), `--only TEXT` (queries whose
//! name holds it), `--hypopg 0` (without, where it is installed).

mod shapes;

use std::time::Duration;

use crossfade::error::Result;
use crossfade::explain::candidate::{self, Candidate};
use crossfade::explain::examine;
use crossfade::explain::experiment::{Change, Experiment, Outcome};
use crossfade::explain::laboratory::Laboratory;
use crossfade::explain::run::Effort;
use crossfade::explain::statement::Statement;
use crossfade::explain::words::time;
use crossfade::pg::{ConnInfo, connect};
use crossfade::server::{Options, Server};

const EFFORT: Effort = Effort {
    runs: 7,
    timeout: Duration::from_secs(60),
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let scale: u32 = argument("--scale")
        .and_then(|a| a.parse().ok())
        .unwrap_or(300);
    let only = argument("--only").unwrap_or_default();
    let hypothetical = argument("--hypopg").as_deref() != Some("0");
    let server = Server::start(
        Options::default()
            .setting("shared_buffers", "1GB")
            .setting("jit", "off"),
    )?;
    let info = ConnInfo::parse(&server.socket_url("postgres"))?;
    let client = connect(&info, "ranking").await?;
    client.batch_execute("set statement_timeout = 0").await?;
    for statement in shapes::tables(scale).split(";\n") {
        client.batch_execute(statement).await?;
    }
    let hypothetical = hypothetical
        && client
            .batch_execute("create extension hypopg")
            .await
            .is_ok();
    println!("{scale},000 orders; HypoPG: {hypothetical}\n");
    println!(
        "| query | without | candidates | put first | its time | best of all | its time | ratio |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut worst: f64 = 0.0;
    let mut good = 0;
    let mut count = 0;
    for (name, text) in shapes::SHAPES
        .iter()
        .filter(|(name, _)| name.contains(&only))
    {
        let ratio = rank(&info, name, text, hypothetical).await?;
        worst = worst.max(ratio);
        good += usize::from(ratio <= 1.2);
        count += 1;
    }
    println!("\n{good} of {count} within 20 % of the best; the worst is {worst:.2} times the best");
    println!("\n| already at its best | said |\n| --- | --- |");
    for (name, text) in shapes::AT_THEIR_BEST
        .iter()
        .filter(|(name, _)| name.contains(&only))
    {
        let said = advised(&info, text, hypothetical).await?;
        println!("| {name} | {said} |");
    }
    Ok(())
}

/// The value after an option.
fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args();
    arguments.find(|a| a == name)?;
    arguments.next()
}

/// One row of the table; returns how many times the best one's time the first one's is.
async fn rank(info: &ConnInfo, name: &str, text: &str, hypothetical: bool) -> Result<f64> {
    let mut client = connect(info, "ranking").await?;
    let watcher = connect(info, "ranking").await?;
    let statement = Statement::read(text, &[], false)?;
    let examined = examine::examine(&mut client, &watcher, &statement, EFFORT).await?;
    let candidates = candidate::enumerate(&examined.uses, &examined.catalog, text);
    let mut laboratory = Laboratory::here(info, examined.catalog.clone()).await?;
    laboratory.hypothetical = hypothetical;
    let mut experiment = Experiment {
        laboratory: &mut laboratory,
        statement: &statement,
        effort: EFFORT,
        kept: Vec::new(),
        progress: &|_| (),
    };
    let search = experiment.search(&candidates, Vec::new()).await?;
    let first = search.steps.first().map(|s| s.trial.change.clone());
    experiment.kept.clear();
    let (ms, best, best_ms) = compare(
        &mut experiment,
        &candidates,
        first.as_ref(),
        search.baseline.score,
    )
    .await?;
    let ratio = ms / best_ms;
    let label = |change: &Option<Change>| {
        change
            .as_ref()
            .map_or_else(|| "none".to_owned(), Change::label)
    };
    println!(
        "| {name} | {} | {} | {} | {} | {} | {} | {ratio:.2} |",
        time(search.baseline.score),
        candidates.len(),
        label(&first),
        time(ms),
        label(&best),
        time(best_ms)
    );
    Ok(ratio)
}

/// Times every candidate; then the best few and the first one again, in turn, so that
/// both are timed under the same conditions.
async fn compare(
    experiment: &mut Experiment<'_>,
    candidates: &[Candidate],
    first: Option<&Change>,
    baseline: f64,
) -> Result<(f64, Option<Change>, f64)> {
    let mut timed: Vec<(f64, Change)> = Vec::new();
    for candidate in candidates {
        let change = Change::Index(candidate.clone());
        if let Outcome::Measured { ms, .. } = experiment.attempt(&change, baseline).await?.outcome {
            timed.push((ms, change));
        }
    }
    timed.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut finalists: Vec<Change> = timed.into_iter().take(3).map(|(_, c)| c).collect();
    if let Some(first) = first.filter(|f| !finalists.contains(f)) {
        finalists.push(first.clone());
    }
    let mut best_of: Vec<(Change, Vec<f64>)> =
        finalists.into_iter().map(|c| (c, Vec::new())).collect();
    for _ in 0..3 {
        for (change, times) in &mut best_of {
            if let Some(ms) = experiment.attempt(change, baseline * 3.0).await?.score() {
                times.push(ms);
            }
        }
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().unwrap_or(f64::MAX)
    };
    let mut scored: Vec<(f64, Change)> = best_of
        .into_iter()
        .map(|(c, mut t)| (median(&mut t), c))
        .collect();
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    let of_first = scored
        .iter()
        .find(|(_, c)| Some(c) == first)
        .map(|(ms, _)| *ms);
    match scored.first() {
        Some((ms, _)) if *ms > baseline => Ok((of_first.unwrap_or(baseline), None, baseline)),
        Some((ms, change)) => Ok((of_first.unwrap_or(baseline), Some(change.clone()), *ms)),
        None => Ok((baseline, None, baseline)),
    }
}

/// What would be recommended.
async fn advised(info: &ConnInfo, text: &str, hypothetical: bool) -> Result<String> {
    let mut client = connect(info, "ranking").await?;
    let watcher = connect(info, "ranking").await?;
    let statement = Statement::read(text, &[], false)?;
    let examined = examine::examine(&mut client, &watcher, &statement, EFFORT).await?;
    let candidates = candidate::enumerate(&examined.uses, &examined.catalog, text);
    let mut laboratory = Laboratory::here(info, examined.catalog.clone()).await?;
    laboratory.hypothetical = hypothetical;
    let mut experiment = Experiment {
        laboratory: &mut laboratory,
        statement: &statement,
        effort: EFFORT,
        kept: Vec::new(),
        progress: &|_| (),
    };
    let search = experiment.search(&candidates, Vec::new()).await?;
    let labels: Vec<String> = search
        .steps
        .iter()
        .map(|s| s.trial.change.label())
        .collect();
    Ok(if labels.is_empty() {
        format!(
            "nothing helps ({} candidates, {} tried)",
            candidates.len(),
            search.trials.len()
        )
    } else {
        labels.join("; ")
    })
}
