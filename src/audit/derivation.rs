//! Columns that other columns of the same row already say: sums, products, copies, names
//! put together.

use super::probe::Sample;
use super::schema::{Column, Table, TypeClass};
use crate::pg::quote;

/// A formula over fewer rows proves nothing.
const FEWEST_ROWS: usize = 50;
/// Each part must take several values, or any formula holds.
const FEWEST_VALUES: usize = 4;
/// Tables with more numbers are not searched for sums of three.
const MOST_NUMBERS: usize = 14;

/// `column` is what `formula` gives, on the whole sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derivation {
    pub column: String,
    /// The columns it is made of.
    pub parts: Vec<String>,
    /// SQL over the row, with the names quoted.
    pub formula: String,
    /// SQL that is true where the column differs from the formula.
    pub differs: String,
}

struct Numbers<'a> {
    name: &'a str,
    class: TypeClass,
    values: Vec<Option<f64>>,
}

struct Texts<'a> {
    name: &'a str,
    values: Vec<Option<&'a str>>,
}

/// At most one derivation for each column, the simplest.
#[must_use]
pub fn find(table: &Table, sample: &Sample) -> Vec<Derivation> {
    if sample.rows.len() < FEWEST_ROWS {
        return Vec::new();
    }
    let mut found = numbers(table, sample);
    found.extend(texts(table, sample));
    found
}

/// Not keys, references and codes: that two of those agree is another matter.
fn is_plain(table: &Table, column: &Column) -> bool {
    let key = table.keys().any(|k| k.columns.contains(&column.name))
        || table.in_foreign_key(&column.name)
        || column.identity.is_some();
    !key && !column.generated
}

fn numbers(table: &Table, sample: &Sample) -> Vec<Derivation> {
    let columns: Vec<Numbers<'_>> = sample
        .columns
        .iter()
        .enumerate()
        .filter_map(|(place, sampled)| {
            let column = table.column(&sampled.name)?;
            let class = column.data_type.class;
            let number =
                class.is_integer() || matches!(class, TypeClass::Numeric | TypeClass::Float);
            let code = super::dependency::names_a_code(&column.name);
            if !number || code || !is_plain(table, column) {
                return None;
            }
            let values: Vec<Option<f64>> = sample
                .rows
                .iter()
                .map(|r| r[place].as_deref().and_then(|v| v.parse().ok()))
                .collect();
            (different(&values) >= FEWEST_VALUES).then_some(Numbers {
                name: &sampled.name,
                class,
                values,
            })
        })
        .collect();
    let mut found: Vec<Derivation> = Vec::new();
    // `a + b` is what people mean where `c - b` holds, too.
    for signs in [&['*', '+'][..], &['-'][..]] {
        for result in &columns {
            let known = |a: &str, b: &str| {
                found
                    .iter()
                    .any(|f| f.column == a && (b.is_empty() || f.parts.iter().any(|p| p == b)))
            };
            if known(result.name, "") {
                continue;
            }
            // A part of a formula is not derived from its result again.
            let others: Vec<&Numbers<'_>> = columns
                .iter()
                .filter(|c| c.name != result.name && !known(c.name, result.name))
                .collect();
            if let Some((parts, formula)) = formula(result, &others, signs) {
                found.push(Derivation {
                    column: result.name.to_owned(),
                    // A cent of rounding is no difference.
                    differs: format!("abs({} - ({formula})) > 0.005", quote(result.name)),
                    parts,
                    formula,
                });
            }
        }
    }
    found
}

fn formula(
    result: &Numbers<'_>,
    others: &[&Numbers<'_>],
    signs: &[char],
) -> Option<(Vec<String>, String)> {
    type Two = (char, fn(f64, f64) -> f64);
    const TWO: [Two; 3] = [
        ('*', |a, b| a * b),
        ('+', |a, b| a + b),
        ('-', |a, b| a - b),
    ];
    for (i, a) in others.iter().enumerate() {
        for (j, b) in others.iter().enumerate() {
            for (sign, apply) in TWO {
                // a + b is b + a.
                if i == j || (sign != '-' && j < i) || !signs.contains(&sign) {
                    continue;
                }
                if holds(&result.values, |row| {
                    Some(apply(a.values[row]?, b.values[row]?))
                }) {
                    let sql = format!("{} {sign} {}", first(result, &[a, b], sign), quote(b.name));
                    return Some((vec![a.name.to_owned(), b.name.to_owned()], sql));
                }
            }
        }
    }
    if others.len() > MOST_NUMBERS {
        return None;
    }
    for (i, a) in others.iter().enumerate() {
        for (j, b) in others.iter().enumerate().skip(i + 1) {
            for (k, c) in others.iter().enumerate() {
                if k == i || k == j {
                    continue;
                }
                for (between, sign) in [('+', '+'), ('+', '-'), ('*', '*')] {
                    if sign != '-' && k < j || !signs.contains(&sign) {
                        continue;
                    }
                    let made = |row: usize| {
                        let (a, b, c) = (a.values[row]?, b.values[row]?, c.values[row]?);
                        Some(match sign {
                            '+' => a + b + c,
                            '-' => a + b - c,
                            _ => a * b * c,
                        })
                    };
                    if holds(&result.values, made) {
                        let names = [a.name, b.name, c.name];
                        let sql = format!(
                            "{} {between} {} {sign} {}",
                            first(result, &[a, b, c], sign),
                            quote(b.name),
                            quote(c.name)
                        );
                        return Some((names.map(str::to_owned).to_vec(), sql));
                    }
                }
            }
        }
    }
    None
}

/// The first operand; a product of narrow integers can be too large for their own type.
fn first(result: &Numbers<'_>, parts: &[&Numbers<'_>], sign: char) -> String {
    let name = quote(parts[0].name);
    let narrow = |n: &Numbers<'_>| matches!(n.class, TypeClass::Integer(2 | 4));
    if sign == '*' && !narrow(result) && parts.iter().all(|p| narrow(p)) {
        return format!("{name}::bigint");
    }
    name
}

/// Whether the formula gives the value in every row that has all parts.
fn holds(values: &[Option<f64>], formula: impl Fn(usize) -> Option<f64>) -> bool {
    let mut seen = 0;
    for (row, value) in values.iter().enumerate() {
        let (Some(value), Some(made)) = (value, formula(row)) else {
            continue;
        };
        let off = (value - made).abs();
        if off.is_nan() || off > 0.005 {
            return false;
        }
        // Of a value as small as what is rounded away any formula of small numbers holds.
        seen += usize::from(value.abs() >= 0.1 || off <= value.abs() * 1e-6);
    }
    seen >= FEWEST_ROWS
}

fn different(values: &[Option<f64>]) -> usize {
    let mut bits: Vec<u64> = values.iter().flatten().map(|v| v.to_bits()).collect();
    bits.sort_unstable();
    bits.dedup();
    bits.len()
}

fn texts(table: &Table, sample: &Sample) -> Vec<Derivation> {
    const BETWEEN: [&str; 3] = [" ", ", ", ""];
    let columns: Vec<Texts<'_>> = sample
        .columns
        .iter()
        .enumerate()
        .filter_map(|(place, sampled)| {
            let column = table.column(&sampled.name)?;
            if column.data_type.class != TypeClass::Text || column.generated {
                return None;
            }
            let values: Vec<_> = sample.rows.iter().map(|r| r[place].as_deref()).collect();
            let mut seen: Vec<&str> = values.iter().flatten().copied().collect();
            seen.sort_unstable();
            seen.dedup();
            (seen.len() >= FEWEST_VALUES).then_some(Texts {
                name: &sampled.name,
                values,
            })
        })
        .collect();
    let mut found = Vec::new();
    for result in &columns {
        let plain = table
            .column(result.name)
            .is_some_and(|c| is_plain(table, c));
        let made = columns
            .iter()
            .flat_map(|a| columns.iter().map(move |b| (a, b)))
            .filter(|(a, b)| a.name != b.name && a.name != result.name && b.name != result.name)
            .find_map(|(a, b)| {
                let between = BETWEEN.iter().find(|s| joined(result, a, b, s))?;
                Some((a, b, *between))
            });
        if let Some((a, b, between)) = made
            && plain
        {
            let formula = format!("{} || '{between}' || {}", quote(a.name), quote(b.name));
            found.push(Derivation {
                column: result.name.to_owned(),
                parts: vec![a.name.to_owned(), b.name.to_owned()],
                differs: format!("{} <> {formula}", quote(result.name)),
                formula,
            });
        }
    }
    found
}

fn joined(result: &Texts<'_>, a: &Texts<'_>, b: &Texts<'_>, between: &str) -> bool {
    let mut seen = 0;
    for ((value, a), b) in result.values.iter().zip(&a.values).zip(&b.values) {
        let (Some(value), Some(a), Some(b)) = (value, a, b) else {
            continue;
        };
        let rest = value.strip_prefix(a).and_then(|r| r.strip_prefix(between));
        if a.is_empty() || b.is_empty() || rest != Some(*b) {
            return false;
        }
        seen += 1;
    }
    seen >= FEWEST_ROWS
}
