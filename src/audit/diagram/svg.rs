//! A drawing as SVG.
//!
//! Colours come from classes, so that one picture serves light and dark, and the report
//! can show today's schema, the proposed one or both. Every text is escaped.

use std::fmt::Write;

use super::graph::{Graph, Mark, Table};
use super::layout::{Drawing, LONGEST_TITLE, Placed, Wire, caption_height};
use super::shape::{GUTTER, HEADER, ROW, Row, clip, name_text, text_width, title, type_text};
use super::sheet::pill_text;

/// Around the drawing.
const EDGE: i32 = 24;
/// Of the rounded corners of wires.
const RADIUS: i32 = 6;

/// Colours and fonts, in two themes; the report brings it along in its own style.
pub const STYLE: &str = include_str!("svg.css");

/// A picture that stands alone, with its style in it.
#[must_use]
pub fn standalone(graph: &Graph, drawing: &Drawing) -> String {
    let mut svg = String::new();
    open(&mut svg, graph, drawing);
    let _ = write!(svg, "<style>{STYLE}</style>");
    let _ = write!(
        svg,
        "<rect class=\"paper\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>",
        -EDGE,
        -EDGE,
        drawing.w + 2 * EDGE,
        drawing.h + 2 * EDGE
    );
    body(&mut svg, graph, drawing);
    svg.push_str("</svg>\n");
    svg
}

/// The same within a page that has the style already.
#[must_use]
pub fn inline(graph: &Graph, drawing: &Drawing) -> String {
    let mut svg = String::new();
    open(&mut svg, graph, drawing);
    body(&mut svg, graph, drawing);
    svg.push_str("</svg>\n");
    svg
}

fn open(svg: &mut String, graph: &Graph, drawing: &Drawing) {
    let (w, h) = (drawing.w + 2 * EDGE, drawing.h + 2 * EDGE);
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"er\" width=\"{w}\" height=\"{h}\" \
         viewBox=\"{} {} {w} {h}\" role=\"img\" aria-label=\"Entity-relationship diagram of {} tables\">",
        -EDGE,
        -EDGE,
        graph.tables.len()
    );
}

fn body(svg: &mut String, graph: &Graph, drawing: &Drawing) {
    let caption = caption_height(graph);
    for (at, area) in drawing.areas.iter().enumerate() {
        let _ = write!(
            svg,
            "<g class=\"area hue{}{}{}\"><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"14\"/>\
             <text x=\"{}\" y=\"{}\">{} <tspan class=\"count\">{} table{}</tspan></text></g>",
            at % 6,
            if caption > 40 { " big" } else { "" },
            if area.tight { " tight" } else { "" },
            area.at.x,
            area.at.y,
            area.at.w,
            area.at.h,
            area.at.x + 18,
            area.at.y + caption - 7,
            escape(&clip(&area.title, LONGEST_TITLE)),
            area.tables,
            if area.tables == 1 { "" } else { "s" },
        );
    }
    // What is marked lies above what is not, where ways are shared.
    for marked in [false, true] {
        for wire in &drawing.wires {
            if graph.references[wire.reference].mark.is_kept() != marked {
                draw_wire(svg, graph, wire);
            }
        }
    }
    for pill in &drawing.pills {
        let table = &graph.tables[pill.table];
        let _ = write!(
            svg,
            "<g class=\"pill {}\" data-t=\"{}\"><title>{}</title><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"12\"/>\
             <text x=\"{}\" y=\"{}\">{}</text></g>",
            table.mark.word(),
            pill.table,
            escape(&format!("{}, drawn with its own cluster", table.label())),
            pill.at.x,
            pill.at.y,
            pill.at.w,
            pill.at.h,
            pill.at.x + 11,
            pill.at.y + 16,
            escape(&pill_text(graph, pill.table)),
        );
    }
    for placed in &drawing.boxes {
        draw_box(svg, graph, placed);
    }
}

fn draw_box(svg: &mut String, graph: &Graph, placed: &Placed) {
    let table = &graph.tables[placed.table];
    let (x, y, w, h) = (placed.x, placed.y, placed.shape.w, placed.shape.h);
    let _ = write!(
        svg,
        "<g class=\"table {}\" data-t=\"{}\" transform=\"translate({x} {y})\"><title>{}</title>\
         <rect class=\"box\" width=\"{w}\" height=\"{h}\" rx=\"7\"/>\
         <path class=\"head\" d=\"M0 {HEADER}V7a7 7 0 0 1 7 -7H{}a7 7 0 0 1 7 7V{HEADER}z\"/>\
         <text class=\"name\" x=\"11\" y=\"19\">{}{}</text>",
        table.mark.word(),
        placed.table,
        escape(&tooltip(table)),
        w - 7,
        sign(table.mark),
        escape(&clip(&title(graph, table), 42)),
    );
    for (at, row) in placed.shape.rows.iter().enumerate() {
        let top = HEADER + ROW * i32::try_from(at).unwrap_or(0);
        match row {
            Row::Column(column) => draw_row(svg, graph, placed, *column, top),
            Row::More(count) => {
                let _ = write!(
                    svg,
                    "<text class=\"more\" x=\"{GUTTER}\" y=\"{}\">+ {count} more</text>",
                    top + 13
                );
            }
        }
    }
    draw_afar(svg, graph, placed);
    svg.push_str("</g>");
}

/// From afar the rows say nothing, and the name says all: as large as the box takes it,
/// on two lines where it is long.
fn draw_afar(svg: &mut String, graph: &Graph, placed: &Placed) {
    let (w, h) = (placed.shape.w, placed.shape.h);
    let name = clip(&title(graph, &graph.tables[placed.table]), 42);
    let lines = halves(&name);
    let count = i32::try_from(lines.len()).unwrap_or(1);
    let widest = lines
        .iter()
        .map(|l| text_width(l))
        .max()
        .unwrap_or(1)
        .max(1);
    let size = ((w - 8) * 12 / widest).min((h - 4) / count).clamp(9, 40);
    for (at, line) in (0..count).zip(lines) {
        let y = h / 2 + size / 3 + (2 * at - count + 1) * size * 11 / 20;
        let _ = write!(
            svg,
            "<text class=\"afar\" x=\"{}\" y=\"{y}\" style=\"font-size:{size}px\">{}</text>",
            w / 2,
            escape(line)
        );
    }
}

/// A long name in two parts, cut behind the mark nearest to its middle.
fn halves(name: &str) -> Vec<&str> {
    if name.chars().count() < 12 {
        return vec![name];
    }
    let middle = name.len() / 2;
    let cut = name
        .match_indices(['_', '.', ' ', '-'])
        .map(|(at, mark)| at + mark.len())
        .filter(|&at| at > 2 && at + 2 < name.len())
        .min_by_key(|at| at.abs_diff(middle));
    match cut {
        Some(at) => vec![&name[..at], &name[at..]],
        None => vec![name],
    }
}

fn draw_row(svg: &mut String, graph: &Graph, placed: &Placed, at: usize, top: i32) {
    let table = &graph.tables[placed.table];
    let column = &table.columns[at];
    let refers = graph
        .references
        .iter()
        .any(|r| r.child == placed.table && r.child_columns.contains(&at));
    let w = placed.shape.w;
    let _ = write!(svg, "<g class=\"row {}\">", column.mark.word());
    if let Some(note) = &column.note {
        let _ = write!(svg, "<title>{}</title>", escape(note));
    }
    if !column.mark.is_kept() {
        let _ = write!(
            svg,
            "<rect class=\"stripe\" x=\"1\" y=\"{top}\" width=\"{}\" height=\"{ROW}\"/>\
             <text class=\"sign\" x=\"{}\" y=\"{}\">{}</text>",
            w - 2,
            GUTTER - 9,
            top + 13,
            column.mark.sign(),
        );
    }
    let badge = match (column.key, refers) {
        (true, _) => "PK",
        (false, true) => "FK",
        _ => "",
    };
    if !badge.is_empty() {
        let _ = write!(
            svg,
            "<text class=\"badge {}\" x=\"7\" y=\"{}\">{badge}</text>",
            if column.key { "pk" } else { "fk" },
            top + 12
        );
    }
    let _ = write!(
        svg,
        "<text class=\"col{}\" x=\"{GUTTER}\" y=\"{}\">{}</text>\
         <text class=\"type\" x=\"{}\" y=\"{}\">{}</text></g>",
        if column.key { " key" } else { "" },
        top + 13,
        escape(&name_text(&column.name)),
        w - 9,
        top + 13,
        escape(&type_text(&column.type_sql, column.not_null)),
    );
}

fn tooltip(table: &Table) -> String {
    match table.rows {
        Some(rows) => format!("{}: about {rows} rows", table.label()),
        None => table.label(),
    }
}

fn sign(mark: Mark) -> String {
    if mark.is_kept() {
        String::new()
    } else {
        format!("{} ", mark.sign())
    }
}

fn draw_wire(svg: &mut String, graph: &Graph, wire: &Wire) {
    let reference = &graph.references[wire.reference];
    let (child, parent) = (
        &graph.tables[reference.child],
        &graph.tables[reference.parent],
    );
    // Where an end's table is new, the wire is seen only with it.
    let classes = format!(
        "{}{}{}",
        reference.mark.word(),
        if child.mark == Mark::New || parent.mark == Mark::New {
            " at-new"
        } else {
            ""
        },
        if child.mark == Mark::Dropped || parent.mark == Mark::Dropped {
            " at-dropped"
        } else {
            ""
        },
    );
    let _ = write!(
        svg,
        "<g class=\"wire {classes}\" data-r=\"{}\" data-c=\"{}\" data-p=\"{}\"><title>{}</title><path d=\"{}\"/>",
        wire.reference,
        reference.child,
        reference.parent,
        escape(&describe(graph, wire)),
        path(&wire.points),
    );
    let ends = (wire.points.first(), wire.points.last());
    if let (Some(&first), Some(&last)) = ends {
        // A wire leaves to the right and arrives from the left; a reference of a table
        // to itself comes back to the right side.
        let arrives = if wire.points.len() > 1 && wire.points[wire.points.len() - 2].0 > last.0 {
            1
        } else {
            -1
        };
        let ((px, py), pd, (cx, cy), cd) = if wire.to_child {
            (first, 1, last, arrives)
        } else {
            (last, arrives, first, 1)
        };
        let _ = write!(svg, "<path d=\"M{} {}v10\"/>", px + 6 * pd, py - 5);
        if reference.one {
            let _ = write!(svg, "<path d=\"M{} {}v10\"/>", cx + 6 * cd, cy - 5);
        } else {
            let tip = cx + 9 * cd;
            let _ = write!(
                svg,
                "<path d=\"M{cx} {}L{tip} {cy}L{cx} {}\"/>",
                cy - 5,
                cy + 5
            );
        }
    }
    svg.push_str("</g>");
}

fn describe(graph: &Graph, wire: &Wire) -> String {
    let reference = &graph.references[wire.reference];
    let names = |table: &Table, columns: &[usize]| {
        let names: Vec<_> = columns
            .iter()
            .map(|&c| table.columns[c].name.as_str())
            .collect();
        format!("{}({})", table.label(), names.join(", "))
    };
    format!(
        "{}: {} \u{2192} {}{}",
        reference.name,
        names(&graph.tables[reference.child], &reference.child_columns),
        names(&graph.tables[reference.parent], &reference.parent_columns),
        match reference.mark {
            Mark::Kept => "",
            Mark::New => " (proposed)",
            Mark::Changed => " (changed)",
            Mark::Dropped => " (to be dropped)",
        }
    )
}

/// Straight pieces with rounded corners.
fn path(points: &[(i32, i32)]) -> String {
    let mut d = String::new();
    for (at, &(x, y)) in points.iter().enumerate() {
        let (Some(&before), Some(&after)) = (
            at.checked_sub(1).and_then(|i| points.get(i)),
            points.get(at + 1),
        ) else {
            let _ = write!(d, "{}{x} {y}", if at == 0 { 'M' } else { 'L' });
            continue;
        };
        let into = towards((x, y), before);
        let out = towards((x, y), after);
        let _ = write!(
            d,
            "L{} {}Q{x} {y} {} {}",
            x + into.0,
            y + into.1,
            x + out.0,
            y + out.1
        );
    }
    d
}

/// The step from a corner towards another point, at most half of the way.
fn towards(from: (i32, i32), to: (i32, i32)) -> (i32, i32) {
    let step = |a: i32, b: i32| (b - a).signum() * RADIUS.min((b - a).abs() / 2);
    (step(from.0, to.0), step(from.1, to.1))
}

/// Text for XML and HTML, in content and in quoted attributes. Characters that XML 1.0
/// cannot hold are replaced.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
