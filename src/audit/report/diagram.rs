//! The diagram of the page: the picture, its controls, and the data behind it.

use std::fmt::Write;

use serde_json::{Value, json};

use super::super::diagram::graph::Mark;
use super::super::diagram::{Drawing, Graph, Table, svg};
use super::super::finding::Object;
use super::{Report, findings};

/// The section with the picture.
pub fn section(page: &mut String, graph: &Graph, drawing: &Drawing) {
    page.push_str(
        "<section id=\"diagram\" aria-label=\"Diagram\"><div class=\"map\"><div class=\"bar\">\
         <div class=\"seek\"><input type=\"search\" id=\"seek\" placeholder=\"Find a table or column ( / )\" aria-label=\"Find a table or column\" role=\"combobox\" aria-expanded=\"false\" aria-controls=\"found\" autocomplete=\"off\"><ul class=\"found\" id=\"found\" role=\"listbox\" hidden></ul></div>",
    );
    if graph.has_changes() {
        page.push_str(
            "<div class=\"seg\" role=\"group\" aria-label=\"Which schema\"><button type=\"button\" data-mode=\"today\" aria-pressed=\"false\">Today</button>\
             <button type=\"button\" data-mode=\"proposed\" aria-pressed=\"true\">Proposed</button></div>",
        );
    }
    page.push_str(
        "<div class=\"seg\" role=\"group\" aria-label=\"Zoom\"><button type=\"button\" id=\"out\" aria-label=\"Zoom out\">\u{2212}</button>\
         <button type=\"button\" id=\"fit\">Fit</button><button type=\"button\" id=\"in\" aria-label=\"Zoom in\">+</button></div></div>\
         <div class=\"stage\" tabindex=\"0\" role=\"group\" aria-label=\"Diagram: arrow keys move, plus and minus zoom, 0 fits\">",
    );
    page.push_str(&svg::inline(graph, drawing));
    page.push_str("<div class=\"legend\"><span><b>PK</b> key</span><span><b>FK</b> reference</span><span><b>?</b> may be NULL</span>");
    if graph.has_changes() {
        page.push_str("<span class=\"n\"><b>+</b> new</span><span class=\"c\"><b>~</b> changed</span><span class=\"d\"><b>\u{2212}</b> dropped</span>");
    }
    page.push_str(
        "</div><aside class=\"panel\" aria-label=\"Table\" hidden></aside></div></div></section>\n",
    );
}

/// What the script knows of tables and references: `<` cannot end the element.
pub fn data(page: &mut String, report: &Report<'_>, graph: &Graph, drawing: &Drawing) {
    let tables: Vec<Value> = (0..graph.tables.len())
        .map(|at| table(report, graph, drawing, at))
        .collect();
    let references: Vec<Value> = graph
        .references
        .iter()
        .map(|r| {
            let child = &graph.tables[r.child];
            let on: Vec<_> = r
                .child_columns
                .iter()
                .map(|&c| child.columns[c].name.as_str())
                .collect();
            json!({"c": r.child, "p": r.parent, "on": on.join(", "), "m": r.mark.word()})
        })
        .collect();
    let text = json!({"tables": tables, "references": references}).to_string();
    let _ = writeln!(
        page,
        "<script type=\"application/json\" id=\"data\">{}</script>",
        text.replace('<', "\\u003c").replace('>', "\\u003e")
    );
}

fn table(report: &Report<'_>, graph: &Graph, drawing: &Drawing, at: usize) -> Value {
    let table = &graph.tables[at];
    let columns: Vec<Value> = table
        .columns
        .iter()
        .enumerate()
        .map(|(c, column)| {
            let refers = graph
                .references
                .iter()
                .any(|r| r.child == at && r.child_columns.contains(&c));
            let key = match (column.key, refers) {
                (true, _) => "PK",
                (_, true) => "FK",
                _ => "",
            };
            let kind = if column.not_null {
                column.type_sql.clone()
            } else {
                format!("{}?", column.type_sql)
            };
            let mark = match table.mark {
                Mark::Kept => column.mark,
                mark => mark,
            };
            json!([column.name, kind, key, mark.word(), column.note])
        })
        .collect();
    let place = drawing.boxes.iter().find(|b| b.table == at);
    json!({
        "n": table.label(),
        "m": if table.mark.is_kept() { "" } else { table.mark.word() },
        "r": table.rows,
        "c": columns,
        "at": place.map(|b| [b.x, b.y, b.shape.w, b.shape.h]),
        "f": about(report, table),
    })
}

/// The findings about a table.
fn about(report: &Report<'_>, table: &Table) -> Vec<String> {
    let is_it = |object: &Object| {
        object
            .of_table()
            .is_some_and(|t| t.schema == table.schema && t.name == table.name)
    };
    report
        .findings
        .iter()
        .enumerate()
        .filter(|(_, f)| f.objects.iter().any(is_it))
        .map(|(at, _)| findings::id(at))
        .collect()
}
