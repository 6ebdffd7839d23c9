//! The locks that `crossfade migrate check` has measured, as text and as JSON.

use serde_json::{Value, json};

use crate::migrate::lock::{Mode, Work};
use crate::migrate::trace::{Entry, Taken};

/// One line for what one or several statements of a file do alike.
pub(super) fn lines(entries: &[Entry]) -> Vec<String> {
    let mut groups: Vec<(&Entry, String, Vec<String>)> = Vec::new();
    for entry in entries {
        let effect = effect(entry);
        let line = entry.line.to_string();
        let same = groups
            .iter_mut()
            .find(|(of, text, _)| of.direction == entry.direction && *text == effect);
        match same {
            Some((_, _, lines)) if lines.last() == Some(&line) => {}
            Some((_, _, lines)) => lines.push(line),
            None => groups.push((entry, effect, vec![line])),
        }
    }
    let shown = groups.into_iter().map(|(entry, effect, lines)| {
        let word = if lines.len() == 1 { "line" } else { "lines" };
        format!(
            "{}, {word} {}: {effect}",
            entry.direction.name(),
            lines.join(", ")
        )
    });
    shown.collect()
}

fn effect(entry: &Entry) -> String {
    let mut parts = Vec::new();
    if !entry.measured {
        parts.push("locks not measured, it commits by itself".to_owned());
    }
    let mut modes: Vec<Mode> = entry.tables.iter().filter_map(|t| t.mode).collect();
    modes.sort_unstable();
    modes.dedup();
    for mode in modes.into_iter().rev() {
        let tables = entry.tables.iter().filter(|t| t.mode == Some(mode));
        let names: Vec<String> = tables.map(named).collect();
        parts.push(format!("{mode} on {}", names.join(", ")));
    }
    let rewritten = entry.tables.iter().filter(|t| t.rewritten);
    let names: Vec<String> = rewritten.map(|t| t.table.to_string()).collect();
    if !names.is_empty() {
        parts.push(format!("rewrites {}", names.join(", ")));
    }
    parts.join("; ")
}

fn named(taken: &Taken) -> String {
    match &taken.index {
        Some(index) => format!("{} (by its index {})", taken.table, index.name),
        None => taken.table.to_string(),
    }
}

/// What `lint` and `up` say wrongly of these statements.
pub(super) fn surprises(entries: &[Entry]) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in entries {
        let place = format!("{}, line {}", entry.direction.name(), entry.line);
        for taken in &entry.tables {
            if let Some(mode) = taken.mode.filter(|_| !taken.lock_was_foreseen()) {
                let said = match taken.predicted {
                    Some((predicted, _)) => format!("{predicted} was predicted"),
                    None => "no lock was predicted".to_owned(),
                };
                texts.push(format!("{place}: {mode} on {}: {said}", taken.table));
            }
            if !taken.rewrite_was_foreseen() {
                texts.push(format!(
                    "{place}: that it rewrites {} was not predicted",
                    taken.table
                ));
            }
        }
    }
    texts
}

pub(super) fn json_of(entry: &Entry) -> Value {
    let tables: Vec<Value> = entry.tables.iter().map(table).collect();
    json!({"direction": entry.direction.name(), "line": entry.line,
           "statement": entry.statement, "measured": entry.measured, "tables": tables})
}

fn table(taken: &Taken) -> Value {
    json!({
        "table": taken.table.to_string(),
        "mode": taken.mode.map(|m| m.to_string()),
        "blocks": taken.mode.map(|m| m.blocks().words()),
        "index": taken.index.as_ref().map(ToString::to_string),
        "rewrites": taken.rewritten,
        "predicted": taken.predicted.map(|(mode, work)| json!({
            "mode": mode.to_string(), "rewrites": work == Work::Rewrite})),
        "foreseen": taken.lock_was_foreseen() && taken.rewrite_was_foreseen(),
    })
}
