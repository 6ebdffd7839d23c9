//! The schema as Mermaid's `erDiagram`.
//!
//! Mermaid draws no text longer than 50,000 characters. A schema that is larger is
//! folded to keys and references, and one that still is, is cut by clusters; each part
//! says what it leaves out.

use std::fmt::Write;

use super::cluster::Clusters;
use super::graph::{Column, Graph, Mark, Table};
use super::shape::{Detail, Row, Shape};

/// Mermaid's `maxTextSize`, with some room for what embeds it.
pub const LONGEST: usize = 49_000;

#[derive(Debug, Clone)]
pub struct Part {
    /// What of the schema it shows, for people.
    pub title: String,
    pub text: String,
}

/// The whole schema in one part, or in as few as it takes.
#[must_use]
pub fn parts(graph: &Graph) -> Vec<Part> {
    let all: Vec<usize> = (0..graph.tables.len()).collect();
    for detail in [Detail::All, Detail::Keys] {
        let text = text(graph, &all, detail, "");
        if text.len() <= LONGEST {
            return vec![Part {
                title: folded(detail, "all tables"),
                text,
            }];
        }
    }
    let clusters = Clusters::of(graph);
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let few = clusters.loose.chunks(20).map(<[usize]>::to_vec);
    for members in clusters.connected.iter().cloned().chain(few) {
        let fits = |group: &Vec<usize>| {
            let both: Vec<usize> = group.iter().chain(&members).copied().collect();
            text(graph, &both, Detail::Keys, "").len() + 200 <= LONGEST
        };
        match groups.last_mut() {
            Some(last) if fits(last) => last.extend(members),
            _ => groups.push(members),
        }
    }
    let count = groups.len();
    groups
        .iter()
        .enumerate()
        .map(|(at, members)| {
            let title = folded(
                Detail::Keys,
                &format!("part {} of {count}, {} tables", at + 1, members.len()),
            );
            let note = "references to tables of other parts are left out";
            Part {
                text: text(graph, members, Detail::Keys, note),
                title,
            }
        })
        .collect()
}

fn folded(detail: Detail, what: &str) -> String {
    match detail {
        Detail::All => what.to_owned(),
        Detail::Keys => format!("{what}; keys, references and changes only"),
    }
}

fn text(graph: &Graph, members: &[usize], detail: Detail, note: &str) -> String {
    let mut out = String::new();
    if detail == Detail::Keys {
        out.push_str("%% Only keys, references and changes: the whole is too long for Mermaid.\n");
    }
    if !note.is_empty() {
        let _ = writeln!(out, "%% {note}");
    }
    out.push_str("erDiagram\n");
    let names = names(graph);
    for &at in members {
        let table = &graph.tables[at];
        let _ = writeln!(out, "    {} {{", names[at]);
        let rows = match detail {
            Detail::All => (0..table.columns.len()).map(Row::Column).collect(),
            Detail::Keys => Shape::of(graph, at, detail).rows,
        };
        for row in rows {
            if let Row::Column(c) = row {
                attribute(&mut out, graph, at, c);
            }
        }
        out.push_str("    }\n");
    }
    for reference in &graph.references {
        if !members.contains(&reference.child) || !members.contains(&reference.parent) {
            continue;
        }
        let child = &graph.tables[reference.child];
        let optional = reference
            .child_columns
            .iter()
            .any(|&c| !child.columns[c].not_null);
        let columns: Vec<_> = reference
            .child_columns
            .iter()
            .map(|&c| child.columns[c].name.as_str())
            .collect();
        let label = match reference.mark {
            Mark::Kept => columns.join(", "),
            mark => format!("{}: {}", mark.word(), columns.join(", ")),
        };
        let _ = writeln!(
            out,
            "    {} {}--o{} {} : \"{}\"",
            names[reference.parent],
            if optional { "|o" } else { "||" },
            if reference.one { "|" } else { "{" },
            names[reference.child],
            quoted(&label),
        );
    }
    out
}

fn attribute(out: &mut String, graph: &Graph, at: usize, c: usize) {
    let table: &Table = &graph.tables[at];
    let column: &Column = &table.columns[c];
    let refers = graph
        .references
        .iter()
        .any(|r| r.child == at && r.child_columns.contains(&c));
    let keys = match (column.key, refers) {
        (true, true) => " PK, FK",
        (true, false) => " PK",
        (false, true) => " FK",
        (false, false) => "",
    };
    let plain = word(&column.name);
    let mut remarks = Vec::new();
    if plain != column.name {
        remarks.push(quoted(&column.name));
    }
    let mark = match (table.mark, column.mark) {
        (Mark::New, _) | (_, Mark::New) => Mark::New,
        (Mark::Dropped, _) | (_, Mark::Dropped) => Mark::Dropped,
        (_, mark) => mark,
    };
    if !mark.is_kept() {
        remarks.push(mark.word().to_owned());
    }
    if let Some(note) = &column.note {
        remarks.push(quoted(note));
    }
    let remark = if remarks.is_empty() {
        String::new()
    } else {
        format!(" \"{}\"", remarks.join("; "))
    };
    let kind = super::shape::type_text(&column.type_sql, true);
    let _ = writeln!(out, "        {} {plain}{keys}{remark}", word(&kind));
}

/// Entities' names, in quotes. Two that would be one after what Mermaid cannot take is
/// replaced get a number.
fn names(graph: &Graph) -> Vec<String> {
    let mut seen = std::collections::BTreeMap::new();
    graph
        .tables
        .iter()
        .map(|table| {
            let name = quoted(&table.label());
            let count: &mut u32 = seen.entry(name.clone()).or_default();
            *count += 1;
            match *count {
                1 => format!("\"{name}\""),
                n => format!("\"{name} ({n})\""),
            }
        })
        .collect()
}

/// Text that stands in quotes: without what ends it, and without what Mermaid takes for
/// markup.
fn quoted(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '"' => '\'',
            '%' | '\\' | '<' | '>' | '&' | '#' | ';' | '`' => '_',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect()
}

/// A type or an attribute's name: letters, digits and a few signs, a letter first.
fn word(text: &str) -> String {
    let mut word: String = text
        .chars()
        .map(|c| match c {
            c if c.is_ascii_alphanumeric() => c,
            '_' | '-' | '[' | ']' | '(' | ')' => c,
            '\u{c0}'..='\u{ffff}' => c,
            _ => '_',
        })
        .collect();
    if !word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c >= '\u{c0}') {
        word.insert(0, '_');
    }
    word
}
