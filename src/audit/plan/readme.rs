//! The plan in words: what to do in which order, and what can go wrong.

use std::fmt::Write;

use super::migration::Phase;
use super::{Left, Plan};

/// Where the plan's migrations are, and under which name their history is kept.
const MIGRATIONS: &str = "--dir migrations --chain audit";

/// `README.md` of the plan's folder.
#[must_use]
pub fn text(plan: &Plan) -> String {
    let mut out = String::from(
        "# Plan\n\nWritten by `crossfade audit --plan`. Nothing has been applied. Read every file, change what\n\
         does not fit, and try it on a copy of the database first: running all of it makes the findings\nbelow go away.\n",
    );
    steps(&mut out, plan);
    table(&mut out, plan);
    modules(&mut out, plan);
    left(&mut out, &plan.left);
    out
}

fn last(plan: &Plan, phase: Phase) -> Option<usize> {
    plan.migrations
        .iter()
        .rposition(|m| m.migration.phase == phase)
        .map(|at| at + 1)
}

/// The last of those that only drop statistics objects.
fn statistics(plan: &Plan) -> Option<usize> {
    plan.migrations
        .iter()
        .rposition(|m| {
            m.migration.phase == Phase::Contract && m.migration.name.starts_with("statistics_")
        })
        .map(|at| at + 1)
}

fn steps(out: &mut String, plan: &Plan) {
    out.push_str("\n## In this order\n\nFrom this folder, with the database in `CROSSFADE_SOURCE_URL` or in the configuration.\n\n");
    let mut number = 0;
    let mut step = |out: &mut String, text: &str| {
        number += 1;
        let _ = writeln!(out, "{number}. {text}");
    };
    if let Some(last) = last(plan, Phase::Expand) {
        step(
            out,
            &format!(
                "**Expand.** The application of today goes on unchanged.\n\n   ```\n   crossfade migrate {MIGRATIONS} lint --live\n   crossfade migrate {MIGRATIONS} up --dry-run --to {last}\n   crossfade migrate {MIGRATIONS} up --to {last}\n   ```\n"
            ),
        );
    }
    if !plan.modules.is_empty() {
        move_rows(out, plan, &mut step);
    }
    if last(plan, Phase::Contract).is_some() {
        let first = statistics(plan)
            .map(|number| format!("crossfade migrate {MIGRATIONS} up --to {number}\n   "))
            .unwrap_or_default();
        let why = if first.is_empty() {
            ""
        } else {
            "\n   Statistics objects go first, in a run of their own: in one with the columns they are over they\n   would count as lost with these, and be refused."
        };
        step(
            out,
            &format!(
                "**Contract.** Only when every client reads and writes the new columns and tables.{why}\n\n   ```\n   {first}crossfade migrate {MIGRATIONS} up\n   ```\n"
            ),
        );
    }
    let over = plan
        .migrations
        .iter()
        .position(|m| m.migration.name.starts_with("new_statistics_"))
        .map(|at| {
            format!(
                " Below {at} in two runs, the first of them `down --to {at}`: statistics objects go\n\
                 before the columns they are over."
            )
        })
        .unwrap_or_default();
    let _ = writeln!(
        out,
        "Back: `crossfade migrate {MIGRATIONS} down --to N`, which restores what was there, values\nincluded.{over}\n\n\
         - These migrations have a history of their own, so that their numbers are not in the way of yours.\n  \
         To make them yours, copy them into your folder under its next numbers.\n\
         - A smaller plan: `--rule` and `--ignore` of `crossfade audit`.\n\
         - What is dropped is refused while `pg_stat_statements` knows a query that uses it, this audit's own\n  \
         among them: `select pg_stat_statements_reset()` once the application has moved, and wait until\n  \
         every job has run."
    );
}

/// The modules, one after the other or at once: each has a daemon of its own.
fn move_rows(out: &mut String, plan: &Plan, step: &mut impl FnMut(&mut String, &str)) {
    let config = match &plan.modules[..] {
        [only] => plan.config_of(only),
        _ => "$MODULE.toml".to_owned(),
    };
    let with = if config == "crossfade.toml" {
        String::new()
    } else {
        format!("--config {config} ")
    };
    let (each, module) = match &plan.modules[..] {
        [only] => (format!("of {}", only.parent), only.name.clone()),
        several => {
            let names: Vec<_> = several.iter().map(|m| format!("`{}`", m.name)).collect();
            (
                format!("for each `MODULE` of {}", names.join(", ")),
                "$MODULE".to_owned(),
            )
        }
    };
    step(
        out,
        &format!(
            "**Move the rows** {each}. `run` copies and goes on following changes:\n   leave it running, in a second terminal or as a service.\n\n   ```\n   \
             crossfade {with}preflight\n   crossfade {with}preview transforms/{module}\n   crossfade {with}run\n   ```\n"
        ),
    );
    step(
        out,
        &format!(
            "**Switch**, once an application that writes the new tables is ready. Its old form gets SQLSTATE\n   55000 from then on; `switch --back` returns without loss. `finish` ends that, when nobody wants to\n   go back any more, and writes the migration that drops the old columns.\n\n   ```\n   \
             crossfade {with}verify\n   crossfade {with}switch --rehearse\n   crossfade {with}switch\n   crossfade {with}finish\n   ```\n"
        ),
    );
}

fn table(out: &mut String, plan: &Plan) {
    if plan.migrations.is_empty() {
        return;
    }
    out.push_str("\n## Migrations\n\n| file | phase | what it does | what to know |\n| --- | --- | --- | --- |\n");
    for (at, entry) in plan.migrations.iter().enumerate() {
        let phase = match entry.migration.phase {
            Phase::Expand => "expand",
            Phase::Contract => "contract",
        };
        let _ = writeln!(
            out,
            "| `{:04}_{}` | {phase} | {} | {} |",
            at + 1,
            entry.migration.name,
            cell(&entry.migration.about),
            cell(&entry.migration.risks.join("; "))
        );
    }
}

fn modules(out: &mut String, plan: &Plan) {
    if plan.modules.is_empty() {
        return;
    }
    out.push_str("\n## Transform modules\n");
    for module in &plan.modules {
        let _ = writeln!(
            out,
            "\n`transforms/{}`, configured by `{}`:\n",
            module.name,
            plan.config_of(module)
        );
        for child in &module.children {
            if child.moved().is_empty() {
                let _ = writeln!(
                    out,
                    "- The rest of that document moves to {}, one row a row.",
                    plain(&child.name.to_string())
                );
                continue;
            }
            let _ = writeln!(
                out,
                "- {} of {} become rows of {}.",
                plain(&child.moved().join(", ")),
                plain(&module.parent.to_string()),
                plain(&child.name.to_string())
            );
        }
        if !module.way_back {
            out.push_str(
                "- There is no way back: the old column's text could not be rebuilt exactly.\n",
            );
        }
        for note in &module.notes {
            let _ = writeln!(out, "- {}", plain(note));
        }
    }
}

fn left(out: &mut String, left: &[Left]) {
    if left.is_empty() {
        return;
    }
    out.push_str("\n## Left to you\n\nThe plan has nothing for these findings.\n\n");
    for item in left {
        let _ = writeln!(out, "- {}: {}", plain(&item.finding), plain(&item.why));
        if let Some(steps) = &item.steps {
            let lines: Vec<_> = steps
                .lines()
                .map(|l| format!("  {l}").trim_end().to_owned())
                .collect();
            let _ = writeln!(out, "\n  ```sql\n{}\n  ```\n", lines.join("\n"));
        }
    }
}

/// A text in a table's cell: one line, no bars, no markup.
fn cell(text: &str) -> String {
    plain(text).replace('|', "\\|")
}

fn plain(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\r' | '\t' => ' ',
            '<' => '\u{2039}',
            '>' => '\u{203a}',
            c => c,
        })
        .collect()
}
