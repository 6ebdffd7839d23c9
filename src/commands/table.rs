//! Cells in aligned columns.

use std::fmt;

/// Longer values are cut.
const WIDEST: usize = 40;

/// A header and rows; printed with two spaces in front and between.
pub struct Grid {
    rows: Vec<Vec<String>>,
    widths: Vec<usize>,
}

impl Grid {
    #[must_use]
    pub fn new(header: Vec<String>) -> Self {
        let mut grid = Self {
            widths: vec![0; header.len()],
            rows: Vec::new(),
        };
        grid.push(header.into_iter().map(Some).collect());
        let rule = grid.widths.iter().map(|w| "-".repeat(*w)).collect();
        grid.rows.push(rule);
        grid
    }

    /// Adds a row of as many cells as the header has; `None` is NULL.
    pub fn push(&mut self, cells: Vec<Option<String>>) {
        let cells: Vec<_> = cells
            .iter()
            .map(|c| c.as_deref().map_or_else(|| "NULL".to_owned(), cut))
            .collect();
        for (width, cell) in self.widths.iter_mut().zip(&cells) {
            *width = (*width).max(cell.chars().count());
        }
        self.rows.push(cells);
        if let Some(rule) = self.rows.get_mut(1) {
            *rule = self.widths.iter().map(|w| "-".repeat(*w)).collect();
        }
    }
}

/// Control characters would break the alignment or reach the terminal.
fn cut(value: &str) -> String {
    let plain: String = value
        .chars()
        .map(|c| if c.is_control() { '·' } else { c })
        .take(WIDEST + 1)
        .collect();
    if plain.chars().count() <= WIDEST {
        return plain;
    }
    let mut short: String = plain.chars().take(WIDEST - 1).collect();
    short.push('…');
    short
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&self.widths) {
                line.push_str(&format!("  {cell:width$}"));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_long_or_strange_values_are_tamed() {
        let mut grid = Grid::new(vec!["id".to_owned(), "note".to_owned()]);
        grid.push(vec![Some("1".to_owned()), None]);
        grid.push(vec![Some("1000".to_owned()), Some("a\nb".to_owned())]);
        let expected = "  id    note\n  ----  ----\n  1     NULL\n  1000  a·b\n";
        assert_eq!(grid.to_string(), expected);
        assert_eq!(cut(&"ü".repeat(41)).chars().count(), 40);
        assert_eq!(cut(&"ü".repeat(40)), "ü".repeat(40));
    }
}
