//! Every command line of `docs/RUNBOOK.md` is one that the program takes, and every exit
//! code in it is one that the program ends with.

use std::collections::BTreeSet;

use crossfade::cutover::Outcome;
use crossfade::cutover::gates::ADVISORY;
use crossfade::error::TABLE;
use crossfade::state::switchover::Step;

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/RUNBOOK.md");
    std::fs::read_to_string(path).unwrap()
}

/// Lines that begin with `crossfade`, in blocks and between backticks.
fn commands(page: &str) -> Vec<String> {
    let lines = page.lines().filter(|line| line.starts_with("crossfade "));
    let inline = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|text| text.starts_with("crossfade "));
    lines.chain(inline).map(str::to_owned).collect()
}

#[test]
fn every_command_line_is_understood() {
    let page = page();
    let commands = commands(&page);
    assert!(commands.len() > 20, "{commands:?}");
    for command in &commands {
        let words = command.split_whitespace();
        let parsed = crossfade::cli::command().try_get_matches_from(words);
        assert!(parsed.is_ok(), "{command}: {}", parsed.unwrap_err());
    }
    let wrong = crossfade::cli::command().try_get_matches_from(["crossfade", "swich"]);
    assert!(wrong.is_err(), "the check itself");
}

#[test]
fn every_command_of_the_course_is_in_it() {
    let commands = commands(&page()).join("\n");
    for verb in crossfade::cli::command().get_subcommands() {
        let name = verb.get_name();
        // For the first hour with the program, not for the night of a migration.
        if ["init", "demo", "help"].contains(&name) || verb.is_hide_set() {
            continue;
        }
        let line = format!("crossfade {name}");
        assert!(commands.contains(&line), "{line} is missing");
    }
}

#[test]
fn every_exit_code_exists() {
    let mut known: BTreeSet<u8> = TABLE.iter().map(|row| row.exit).collect();
    for outcome in [
        Outcome::Switched,
        Outcome::Rehearsed,
        Outcome::Unknown,
        Outcome::NotSwitched(String::new()),
    ] {
        known.insert(outcome.exit_code());
    }
    let page = page();
    let mut found = 0;
    for paragraph in page.split("\n\n").filter(|p| p.starts_with("Exit codes:")) {
        for word in paragraph.split('`').skip(1).step_by(2) {
            if let Ok(code) = word.parse::<u8>() {
                found += 1;
                assert!(known.contains(&code), "{code} in: {paragraph}");
            }
        }
    }
    assert!(found > 25, "{found}");
}

#[test]
fn every_step_and_every_advisory_gate_is_explained() {
    let page = page();
    for name in Step::ALL.iter().map(|s| s.name()).chain(ADVISORY) {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}
