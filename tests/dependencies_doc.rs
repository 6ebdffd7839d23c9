//! `docs/dependencies.md` names exactly the crates of `Cargo.toml`, and each is used.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn declared(table: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    manifest[table]
        .as_table()
        .unwrap()
        .keys()
        .cloned()
        .collect()
}

/// The rows of the table under a heading, split into cells.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(root().join("docs/dependencies.md")).unwrap();
    let (_, section) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells
                .map(|c| c.trim().trim_matches('`').to_owned())
                .collect()
        })
        .collect()
}

fn documented(heading: &str) -> BTreeSet<String> {
    rows(heading)
        .into_iter()
        .map(|row| row[0].clone())
        .collect()
}

/// All Rust text below a folder.
fn text_below(dir: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text.push_str(&text_below(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
    text
}

#[test]
fn every_direct_dependency_is_documented_and_nothing_else() {
    assert_eq!(documented("In the program"), declared("dependencies"));
    assert_eq!(documented("In tests only"), declared("dev-dependencies"));
}

#[test]
fn every_row_says_what_for_why_and_under_which_licence() {
    for heading in ["In the program", "In tests only"] {
        for row in rows(heading) {
            assert_eq!(row.len(), 4, "{row:?}");
            assert!(row.iter().all(|cell| !cell.is_empty()), "{row:?}");
        }
    }
}

#[test]
fn every_direct_dependency_is_used() {
    let source = text_below(&root().join("src"));
    let tests = text_below(&root().join("tests"));
    for (table, text) in [("dependencies", &source), ("dev-dependencies", &tests)] {
        for name in declared(table) {
            let path = format!("{}::", name.replace('-', "_"));
            assert!(text.contains(&path), "{name} of [{table}] is not used");
        }
    }
}
