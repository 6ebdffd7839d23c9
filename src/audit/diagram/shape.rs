//! How a table's box looks: which rows it has and how large it is.

use super::graph::{Graph, Table};

/// Heights and widths are in pixels at a zoom of 1.
pub const ROW: i32 = 18;
pub const HEADER: i32 = 28;
/// Left of a row's text: the marks `PK`, `FK`.
pub const GUTTER: i32 = 30;
/// Below the last row.
pub const FOOT: i32 = 5;

const LONGEST_NAME: usize = 30;
const LONGEST_TYPE: usize = 22;

/// How much of a table is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// All columns of tables that are not very wide.
    All,
    /// Keys, referencing columns, and what changes.
    Keys,
}

/// With more columns than this a table shows as many and then says how many more.
const TALLEST: usize = 22;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// An index into the table's columns.
    Column(usize),
    /// So many columns are not shown.
    More(usize),
}

#[derive(Debug, Clone)]
pub struct Shape {
    pub w: i32,
    pub h: i32,
    pub rows: Vec<Row>,
}

impl Shape {
    /// The box of table `at` of `graph`.
    #[must_use]
    pub fn of(graph: &Graph, at: usize, detail: Detail) -> Self {
        let table = &graph.tables[at];
        let rows = rows(table, &needed(graph, at), detail);
        let mut w = text_width(&clip(&title(graph, table), LONGEST_NAME + 12)) * 13 / 12 + 28;
        for row in &rows {
            if let Row::Column(c) = row {
                let column = &table.columns[*c];
                let name = clip(&column.name, LONGEST_NAME);
                let kind = type_text(&column.type_sql, column.not_null);
                w = w.max(GUTTER + text_width(&name) + 16 + text_width(&kind) + 10);
            }
        }
        let h = HEADER + ROW * i32::try_from(rows.len()).unwrap_or(0) + FOOT;
        Self {
            w: w.max(120),
            h,
            rows,
        }
    }

    /// Where a wire that belongs to a column ends, down from the box's upper edge.
    #[must_use]
    pub fn port(&self, column: Option<usize>) -> i32 {
        let row = self
            .rows
            .iter()
            .position(|r| matches!((r, column), (Row::Column(c), Some(wanted)) if *c == wanted));
        match row {
            Some(row) => HEADER + ROW * i32::try_from(row).unwrap_or(0) + ROW / 2,
            None => HEADER / 2,
        }
    }
}

/// The columns that a reader of the references needs, in the table's order.
fn needed(graph: &Graph, at: usize) -> Vec<usize> {
    let table = &graph.tables[at];
    (0..table.columns.len())
        .filter(|c| {
            let column = &table.columns[*c];
            column.key
                || !column.mark.is_kept()
                || graph.references.iter().any(|r| {
                    (r.child == at && r.child_columns.contains(c))
                        || (r.parent == at && r.parent_columns.contains(c))
                })
        })
        .collect()
}

fn rows(table: &Table, needed: &[usize], detail: Detail) -> Vec<Row> {
    let count = table.columns.len();
    let mut shown: Vec<usize> = match detail {
        Detail::All if count <= TALLEST => (0..count).collect(),
        Detail::All => {
            let mut shown = needed.to_vec();
            let others = (0..count).filter(|c| !needed.contains(c));
            shown.extend(others.take((TALLEST - 1).saturating_sub(needed.len())));
            shown.sort_unstable();
            shown
        }
        Detail::Keys => needed.to_vec(),
    };
    // A table without a key and references still shows something.
    if shown.is_empty() {
        shown.extend(0..count.min(3));
    }
    let hidden = count - shown.len();
    let mut rows: Vec<Row> = shown.into_iter().map(Row::Column).collect();
    if hidden > 0 {
        rows.push(Row::More(hidden));
    }
    rows
}

/// What stands in the header: the schema only where there are several.
#[must_use]
pub fn title(graph: &Graph, table: &Table) -> String {
    let first = graph.tables.first().map(|t| t.schema.as_str());
    if graph
        .tables
        .iter()
        .all(|t| Some(t.schema.as_str()) == first)
    {
        table.name.clone()
    } else {
        table.label()
    }
}

/// The type as a row shows it: short names for the long ones, `?` where NULL may be.
#[must_use]
pub fn type_text(type_sql: &str, not_null: bool) -> String {
    let short = type_sql
        .replace("timestamp with time zone", "timestamptz")
        .replace("timestamp without time zone", "timestamp")
        .replace("time without time zone", "time")
        .replace("character varying", "varchar")
        .replace("double precision", "float8");
    let text = clip(&short, LONGEST_TYPE);
    if not_null { text } else { format!("{text}?") }
}

#[must_use]
pub fn name_text(name: &str) -> String {
    clip(name, LONGEST_NAME)
}

/// At most `longest` characters, the last an ellipsis where something is left out.
/// Control characters would end a line or a label: they are shown as a box.
#[must_use]
pub fn clip(text: &str, longest: usize) -> String {
    let shown = |c: char| if c.is_control() { '\u{25a1}' } else { c };
    let mut clipped: String = text.chars().take(longest).map(shown).collect();
    if text.chars().nth(longest).is_some() {
        clipped.pop();
        clipped.push('\u{2026}');
    }
    clipped
}

/// Width of a text in the 12 pixel monospaced font; wide characters count twice.
#[must_use]
pub fn text_width(text: &str) -> i32 {
    let cells: i32 = text.chars().map(|c| 1 + i32::from(is_wide(c))).sum();
    cells * 29 / 4
}

fn is_wide(c: char) -> bool {
    matches!(u32::from(c), 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd)
}
