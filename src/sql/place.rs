//! Places in a text: line, column, and the line with a caret below.

use std::fmt;

/// Line and column, both from 1; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

impl Place {
    /// The place of a byte; beyond the end it is the end.
    #[must_use]
    pub fn of(text: &str, byte: usize) -> Self {
        let mut byte = byte.min(text.len());
        while !text.is_char_boundary(byte) {
            byte -= 1;
        }
        let before = &text[..byte];
        let begin = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[begin..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// The longest part of a line that is shown on either side of the caret.
const ASIDE: usize = 60;

/// The line that holds `byte`, and below it a caret under that character.
#[must_use]
pub fn caret(text: &str, byte: usize) -> String {
    let place = Place::of(text, byte);
    let line: Vec<char> = text
        .lines()
        .nth(place.line - 1)
        .unwrap_or_default()
        .chars()
        // A tab would shift the caret.
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let at = (place.column - 1).min(line.len());
    let from = at.saturating_sub(ASIDE);
    let to = (at + ASIDE).min(line.len());
    let shown: String = line[from..to].iter().collect();
    let number = place.line.to_string();
    let margin = " ".repeat(number.len());
    let before = " ".repeat(at - from);
    format!(
        "{margin} |\n{number} | {}\n{margin} | {before}^\n",
        shown.trim_end()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_character_that_is_meant() {
        let text = "select 1;\n\tselect 'ä' frm t;\n";
        let at = text.find("frm").unwrap();
        assert_eq!(Place::of(text, at).to_string(), "2:13");
        assert_eq!(
            caret(text, at),
            "  |\n2 |  select 'ä' frm t;\n  |             ^\n"
        );
        assert_eq!(Place::of("", 7).to_string(), "1:1");
        assert_eq!(caret("", 7), "  |\n1 | \n  | ^\n");
    }
}
