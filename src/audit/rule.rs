//! The rules: one file each, and the table of them all.
//!
//! A rule is a pure function from [`Facts`] to claims. Its page is `docs/rules/<id>.md`.

use super::facts::Facts;
use super::finding::{Category, Finding, Severity};
use super::question::Claim;

/// A rule of the audit.
#[derive(Clone, Copy)]
pub struct Rule {
    /// Stable: users write it in `--rule`, `--ignore` and baselines.
    pub id: &'static str,
    pub category: Category,
    /// What it finds, in one line.
    pub finds: &'static str,
    pub check: fn(&Facts) -> Vec<Claim>,
}

impl Rule {
    /// Begins a finding of this rule.
    fn finding(&self, severity: Severity, title: String) -> Finding {
        Finding::new(self.id, self.category, severity, title)
    }
}

macro_rules! rules {
    ($($module:ident),* $(,)?) => {
        $(mod $module;)*
        /// Every rule, in the order of the report.
        pub const RULES: &[Rule] = &[$($module::RULE),*];
    };
}

rules! {
    // Structure.
    no_primary_key,
    json_array,
    repeating_group,
    list_in_text,
    entity_attribute_value,
    functional_dependency,
    derivable_column,
    wide_table,
    reference_cycle,
    orphan_table,
    // References.
    missing_foreign_key,
    reference_type_mismatch,
    not_valid_constraint,
    duplicate_foreign_key,
    polymorphic_reference,
    // Types.
    mixed_timestamps,
    time_as_text,
    time_as_number,
    timestamp_without_zone,
    same_name_different_type,
    money_type,
    padded_char,
    float_for_money,
    integer_overflow,
    // Names.
    naming_outlier,
    // Indexes.
    foreign_key_without_index,
    duplicate_index,
    redundant_index,
    invalid_index,
    unused_index,
    missing_index,
    boolean_first_index,
    too_many_indexes,
    bloat,
}

mod superfluous_index;

/// The rule of this id.
#[must_use]
pub fn find(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|r| r.id == id)
}

/// `a, b and c`, for people.
fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [front @ .., last] => format!("{} and {last}", front.join(", ")),
    }
}

/// `12,345`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A ratio of counts as a number.
#[allow(clippy::cast_precision_loss, reason = "shown rounded")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// A count as a measure.
#[allow(clippy::cast_precision_loss, reason = "a measure")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
pub mod testing;
