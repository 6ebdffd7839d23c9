//! The rules of squawk, as plain values.

use std::ops::Range;

use squawk_linter::{Linter, Rule};
use squawk_syntax::SourceFile;

/// What a rule says about a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub rule: String,
    pub message: String,
    /// What to write instead, where the rule knows.
    pub help: Option<String>,
    pub range: Range<usize>,
}

/// What squawk's default rules but `excluded` find in a text. `in_transaction` says
/// whether the whole text runs in one. Its own comments (`-- squawk-ignore rule`) count.
#[must_use]
pub fn violations(text: &str, in_transaction: bool, excluded: &[&str]) -> Vec<Violation> {
    let excluded: Vec<Rule> = excluded.iter().filter_map(|r| r.parse().ok()).collect();
    let mut linter = Linter::with_rules(&[], &excluded);
    linter.settings.assume_in_transaction = in_transaction;
    linter
        .lint(&SourceFile::parse(text), text)
        .into_iter()
        .map(|v| Violation {
            rule: v.code.to_string(),
            message: v.message,
            help: v.help,
            range: usize::from(v.text_range.start())..usize::from(v.text_range.end()),
        })
        .collect()
}

/// Whether squawk has a rule of this name.
#[must_use]
pub fn knows(rule: &str) -> bool {
    rule.parse::<Rule>().is_ok()
}
