//! The schema for Graphviz: `dot -Tsvg`.

use std::fmt::Write;

use super::cluster::Clusters;
use super::graph::{Graph, Mark, Reference};
use super::shape::type_text;
use super::svg::escape;

/// One text; the clusters are Graphviz's too.
#[must_use]
pub fn text(graph: &Graph) -> String {
    let mut dot = String::from(
        "digraph schema {\n  graph [rankdir=RL, ranksep=1.0, nodesep=0.3, fontname=\"Helvetica\"];\n  \
         node [shape=plain, fontname=\"Helvetica\", fontsize=11];\n  \
         edge [color=\"#8a94a6\", arrowhead=tee, arrowtail=crow, dir=both];\n",
    );
    let clusters = Clusters::of(graph);
    let several = clusters.connected.len() > 1;
    for (at, members) in clusters.connected.iter().enumerate() {
        if several {
            let _ = writeln!(
                dot,
                "  subgraph cluster_{at} {{ color=\"#c6ccd8\"; style=rounded;"
            );
        }
        for &table in members {
            node(&mut dot, graph, table);
        }
        if several {
            dot.push_str("  }\n");
        }
    }
    for &table in &clusters.loose {
        node(&mut dot, graph, table);
    }
    for reference in &graph.references {
        edge(&mut dot, reference);
    }
    dot.push_str("}\n");
    dot
}

fn colors(mark: Mark) -> (&'static str, &'static str) {
    match mark {
        Mark::Kept => ("#8a94a6", "#eef1f6"),
        Mark::New => ("#15803d", "#dcfce7"),
        Mark::Changed => ("#b45309", "#fef3c7"),
        Mark::Dropped => ("#b91c1c", "#fee2e2"),
    }
}

/// A table as an HTML-like label, one port a column.
fn node(dot: &mut String, graph: &Graph, at: usize) {
    let table = &graph.tables[at];
    let (line, fill) = colors(table.mark);
    let _ = write!(
        dot,
        "  t{at} [label=<<table border=\"0\" cellborder=\"1\" cellspacing=\"0\" cellpadding=\"4\" color=\"{line}\">\
         <tr><td colspan=\"2\" bgcolor=\"{fill}\"><b>{}{}</b></td></tr>",
        table.mark.sign(),
        label(&table.label())
    );
    for (c, column) in table.columns.iter().enumerate() {
        let fill = if column.mark.is_kept() {
            "#ffffff"
        } else {
            colors(column.mark).1
        };
        let name = label(&column.name);
        let name = if column.key {
            format!("<b>{name}</b>")
        } else {
            name
        };
        let _ = write!(
            dot,
            "<tr><td align=\"left\" port=\"c{c}\" bgcolor=\"{fill}\">{}{name}</td>\
             <td align=\"left\" bgcolor=\"{fill}\"><font color=\"#667085\">{}</font></td></tr>",
            column.mark.sign(),
            label(&type_text(&column.type_sql, column.not_null))
        );
    }
    dot.push_str("</table>>];\n");
}

/// Graphviz takes no empty cell text, and a line break would end a row.
fn label(text: &str) -> String {
    if text.trim().is_empty() {
        return "&#160;".to_owned();
    }
    escape(&super::shape::clip(text, 80))
}

fn edge(dot: &mut String, reference: &Reference) {
    let port = |table: usize, columns: &[usize]| match columns.first() {
        Some(c) => format!("t{table}:c{c}"),
        None => format!("t{table}"),
    };
    let mut attributes = Vec::new();
    if reference.one {
        attributes.push("arrowtail=tee".to_owned());
    }
    if !reference.mark.is_kept() {
        attributes.push(format!(
            "color=\"{}\", penwidth=2",
            colors(reference.mark).0
        ));
    }
    if reference.mark == Mark::Dropped {
        attributes.push("style=dashed".to_owned());
    }
    let _ = writeln!(
        dot,
        "  {} -> {}{};",
        port(reference.child, &reference.child_columns),
        port(reference.parent, &reference.parent_columns),
        if attributes.is_empty() {
            String::new()
        } else {
            format!(" [{}]", attributes.join(", "))
        }
    );
}
