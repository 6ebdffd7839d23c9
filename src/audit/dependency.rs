//! Functional dependencies in a sample: columns whose value another column decides.
//!
//! Most dependencies that hold in data mean nothing. A key decides everything, a column
//! with two values is decided by many others by chance, and what was measured happens to
//! repeat. So the determinant must be a code that repeats, the dependent a description,
//! and chance must be out of the question: [`Dependency::surprise`] is the number of
//! digits of the odds against it.

use std::collections::HashMap;

use super::probe::Sample;
use super::profile::ColumnProfile;
use super::schema::{Table, TypeClass};
use super::word::words;

/// Groups of one determinant value with more than one row, at least.
const FEWEST_GROUPS: usize = 8;
/// Rows that repeat a value of the determinant, at least.
const FEWEST_REPEATS: usize = 30;
/// Texts longer than this on average describe, they do not identify.
const LONGEST_CODE: f64 = 40.0;
/// Of a hundred groups, how many may contradict: copies that have drifted apart are the
/// damage that the finding is about.
const MOST_VIOLATIONS_PERCENT: usize = 1;
/// Digits of the odds against chance; rules ask for more where names say nothing.
const LEAST_SURPRISE: f64 = 5.0;

/// Two columns together repeat less, and there are many more pairs: they must say more.
const PAIR_GROUPS: usize = 20;
const PAIR_REPEATS: usize = 100;
const PAIR_SURPRISE: f64 = 20.0;
/// Columns that are tried in pairs.
const MOST_PAIRED: usize = 8;
/// Of the groups of one column alone, so many must contradict, or it is this column that
/// decides, with a few exceptions that the other one explains by accident.
const ALONE_PERCENT: usize = 20;

/// `determinant → dependent` holds on the sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Dependency {
    /// One column or two, in the order of the table.
    pub determinant: Vec<String>,
    pub dependent: String,
    /// Values of the determinant that have several rows.
    pub groups: usize,
    /// Of these, the ones whose rows differ in the dependent.
    pub violations: usize,
    pub surprise: f64,
}

/// The sample with each value as a small number; NULL is 0.
pub struct Coded {
    columns: Vec<Column>,
    /// Columns of the keys: what contains one decides everything.
    keys: Vec<Vec<String>>,
}

struct Column {
    name: String,
    codes: Vec<u32>,
    /// Different codes, 0 among them.
    distinct: usize,
    determines: bool,
    depends: bool,
}

impl Coded {
    #[must_use]
    pub fn new(table: &Table, sample: &Sample) -> Self {
        let mut columns = Vec::new();
        for (place, sampled) in sample.columns.iter().enumerate() {
            let Some(column) = table.column(&sampled.name) else {
                continue;
            };
            let class = column.data_type.class;
            let key = table.is_key(&[&column.name]);
            let determines = !key && can_determine(&column.name, class, table);
            let in_key = table
                .primary_key
                .as_ref()
                .is_some_and(|k| k.columns.contains(&column.name));
            let depends =
                !key && !in_key && !column.generated && can_depend(&column.name, class, table);
            if !sampled.values || !(determines || depends) {
                continue;
            }
            let mut codes = HashMap::new();
            let codes: Vec<u32> = sample
                .rows
                .iter()
                .map(|row| match row[place].as_deref() {
                    None => 0,
                    Some(value) => {
                        let next = u32::try_from(codes.len() + 1).unwrap_or(u32::MAX);
                        *codes.entry(value).or_insert(next)
                    }
                })
                .collect();
            let distinct = codes.iter().max().map_or(0, |m| *m as usize + 1);
            columns.push(Column {
                name: sampled.name.clone(),
                codes,
                distinct,
                determines,
                depends,
            });
        }
        let keys = table.keys().map(|k| k.columns.clone()).collect();
        Self { columns, keys }
    }
}

/// The last word of a name that says it identifies something.
#[must_use]
pub fn names_a_code(name: &str) -> bool {
    const LAST: &[&str] = &[
        "id", "ids", "code", "no", "nr", "num", "number", "key", "sku", "email", "ref", "uuid",
        "guid", "isbn", "ean", "upc", "iban", "vin", "username", "login", "symbol", "slug", "fk",
    ];
    words(name)
        .last()
        .is_some_and(|w| LAST.contains(&w.as_str()))
}

fn can_determine(name: &str, class: TypeClass, table: &Table) -> bool {
    match class {
        TypeClass::Integer(_) | TypeClass::Numeric => {
            names_a_code(name) || table.in_foreign_key(name)
        }
        TypeClass::Text | TypeClass::PaddedChar | TypeClass::Uuid | TypeClass::Enum => true,
        _ => false,
    }
}

/// What was measured or happened repeats by itself: amounts, moments, flags.
fn can_depend(name: &str, class: TypeClass, table: &Table) -> bool {
    match class {
        TypeClass::Integer(_) => names_a_code(name) || table.in_foreign_key(name),
        TypeClass::Text
        | TypeClass::PaddedChar
        | TypeClass::Uuid
        | TypeClass::Enum
        | TypeClass::Date => true,
        _ => false,
    }
}

/// Every dependency that chance does not explain.
#[must_use]
pub fn find(sample: &Coded, profiles: &[ColumnProfile]) -> Vec<Dependency> {
    let mut found = Vec::new();
    for x in sample.columns.iter().filter(|c| c.determines) {
        let Some(profile) = profiles.iter().find(|p| p.name == x.name) else {
            continue;
        };
        let repeats = profile.present.saturating_sub(profile.distinct);
        if profile.distinct < FEWEST_GROUPS
            || repeats < FEWEST_REPEATS
            || profile.mean_length > LONGEST_CODE
        {
            continue;
        }
        for y in sample.columns.iter().filter(|c| c.depends) {
            if x.name == y.name || y.distinct < 3 {
                continue;
            }
            if let Some(dependency) = test(x, y) {
                found.push(dependency);
            }
        }
    }
    let pairs = pairs(sample, profiles, &found);
    found.extend(pairs);
    found
}

/// What two columns decide together and neither alone.
fn pairs(sample: &Coded, profiles: &[ColumnProfile], single: &[Dependency]) -> Vec<Dependency> {
    let decides = |x: &Column, y: &Column| {
        single
            .iter()
            .any(|d| d.determinant == [x.name.as_str()] && d.dependent == y.name)
    };
    let paired = |c: &&Column| {
        let seen = profiles.iter().find(|p| p.name == c.name);
        c.determines
            && seen.is_some_and(|p| {
                p.distinct >= 3 && p.distinct * 3 <= p.present && p.mean_length <= LONGEST_CODE
            })
    };
    let columns: Vec<&Column> = sample
        .columns
        .iter()
        .filter(paired)
        .take(MOST_PAIRED)
        .collect();
    let mut found = Vec::new();
    for (i, a) in columns.iter().enumerate() {
        for b in columns.iter().skip(i + 1) {
            let key = sample
                .keys
                .iter()
                .any(|k| k.iter().all(|c| c == &a.name || c == &b.name));
            if key || decides(a, b) || decides(b, a) {
                continue;
            }
            let both = together(a, b);
            for y in sample.columns.iter().filter(|c| c.depends) {
                if y.name == a.name || y.name == b.name || y.distinct < 3 {
                    continue;
                }
                let alone = [a, b].iter().any(|x| decides(x, y) || nearly(x, y));
                if alone {
                    continue;
                }
                let enough =
                    |d: &Dependency| d.groups >= PAIR_GROUPS && d.surprise >= PAIR_SURPRISE;
                if let Some(dependency) = test(&both, y).filter(enough) {
                    found.push(Dependency {
                        determinant: vec![a.name.clone(), b.name.clone()],
                        ..dependency
                    });
                }
            }
        }
    }
    found
}

/// Two columns as one, whose rows must repeat often.
fn together(a: &Column, b: &Column) -> Column {
    let mut codes = HashMap::new();
    let pairs: Vec<u32> = a
        .codes
        .iter()
        .zip(&b.codes)
        .map(|(a, b)| match (a, b) {
            (0, _) | (_, 0) => 0,
            pair => {
                let next = u32::try_from(codes.len() + 1).unwrap_or(u32::MAX);
                *codes.entry(pair).or_insert(next)
            }
        })
        .collect();
    let present = pairs.iter().filter(|c| **c > 0).count();
    let repeats = present - codes.len();
    Column {
        name: String::new(),
        distinct: codes.len() + 1,
        // Too few repeats are tested as none.
        codes: if repeats < PAIR_REPEATS {
            Vec::new()
        } else {
            pairs
        },
        determines: true,
        depends: false,
    }
}

/// Whether most values of `x` have one value of `y`.
fn nearly(x: &Column, y: &Column) -> bool {
    let mut first: Vec<Option<u32>> = vec![None; x.distinct];
    let mut repeated = vec![false; x.distinct];
    let mut broken = vec![false; x.distinct];
    for (a, b) in x.codes.iter().zip(&y.codes) {
        let a = *a as usize;
        match first[a] {
            None => first[a] = Some(*b),
            Some(known) => {
                repeated[a] = true;
                broken[a] |= known != *b;
            }
        }
    }
    let count = |flags: &[bool]| flags.iter().filter(|f| **f).count();
    count(&broken) * 100 < count(&repeated) * ALONE_PERCENT
}

fn test(x: &Column, y: &Column) -> Option<Dependency> {
    let mut first: Vec<Option<u32>> = vec![None; x.distinct];
    let mut repeated = vec![false; x.distinct];
    let mut broken = vec![false; x.distinct];
    let mut frequencies = vec![0_usize; y.distinct];
    let (mut rows, mut repeats, mut violations) = (0_usize, 0_usize, 0_usize);
    for (a, b) in x.codes.iter().zip(&y.codes) {
        let (a, b) = (*a as usize, *b);
        if a == 0 {
            continue;
        }
        rows += 1;
        frequencies[b as usize] += 1;
        match first[a] {
            None => first[a] = Some(b),
            Some(known) => {
                repeated[a] = true;
                repeats += 1;
                if known != b && !broken[a] {
                    broken[a] = true;
                    violations += 1;
                    // Hopeless: a third of any table's groups would be too many.
                    if violations > 3 && violations * 10 > repeats {
                        return None;
                    }
                }
            }
        }
    }
    let groups = repeated.iter().filter(|r| **r).count();
    if groups < FEWEST_GROUPS || repeats < FEWEST_REPEATS {
        return None;
    }
    if violations * 100 > groups * MOST_VIOLATIONS_PERCENT {
        return None;
    }
    // The dependent's own values, over the determinant's: mostly NULL says nothing.
    if frequencies[0] * 2 > rows {
        return None;
    }
    let surprise = surprise(&first, &repeated, &frequencies, rows, repeats);
    (surprise >= LEAST_SURPRISE).then(|| Dependency {
        determinant: vec![x.name.clone()],
        dependent: y.name.clone(),
        groups,
        violations,
        surprise,
    })
}

/// Two ways in which chance could have done it, the likelier one: each row drew its own
/// value, or each group did (and its rows repeat it for another reason, such as one bulk
/// load for each). The second needs many groups with many different values.
#[allow(clippy::cast_precision_loss, reason = "odds")]
fn surprise(
    first: &[Option<u32>],
    repeated: &[bool],
    frequencies: &[usize],
    rows: usize,
    repeats: usize,
) -> f64 {
    let match_by_row: f64 = frequencies
        .iter()
        .map(|n| (*n as f64 / rows as f64).powi(2))
        .sum();
    let by_row = repeats as f64 * -match_by_row.max(1e-300).log10();
    let mut values = HashMap::new();
    let mut groups = 0_usize;
    for (value, _) in first.iter().zip(repeated).filter(|(_, r)| **r) {
        if let Some(value) = value {
            *values.entry(*value).or_insert(0_usize) += 1;
            groups += 1;
        }
    }
    // With few values per group there is no saying: `ln` of the arrangements.
    let different = values.len() as f64;
    let by_group = groups as f64 * different.log10();
    by_row.min(by_group)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, codes: Vec<u32>) -> Column {
        let distinct = *codes.iter().max().unwrap() as usize + 1;
        Column {
            name: name.to_owned(),
            codes,
            distinct,
            determines: true,
            depends: true,
        }
    }

    #[test]
    fn a_copied_name_depends_on_its_id() {
        let x = column("customer_id", (0..1000).map(|i| i % 50 + 1).collect());
        let y = column(
            "customer_name",
            (0..1000).map(|i| (i % 50) / 2 + 1).collect(),
        );
        let found = test(&x, &y).unwrap();
        assert_eq!((found.groups, found.violations), (50, 0));
        assert!(test(&y, &x).is_none(), "two ids share each name");
    }

    fn coded(columns: Vec<Column>) -> (Coded, Vec<ColumnProfile>) {
        let profiles = columns
            .iter()
            .map(|c| ColumnProfile {
                name: c.name.clone(),
                present: c.codes.len(),
                distinct: c.distinct - 1,
                ..ColumnProfile::default()
            })
            .collect();
        let keys = Vec::new();
        (Coded { columns, keys }, profiles)
    }

    /// Rows of ten places to go from, nine to go to, and what `zone` makes of both.
    fn lanes(zone: fn(u32, u32, u32) -> u32) -> (Coded, Vec<ColumnProfile>) {
        let rows = || (0..2000_u32).map(|i| (i * 7 % 10, i / 10 % 9, i));
        let mut zones = column("zone", rows().map(|(a, b, i)| zone(a, b, i) + 1).collect());
        zones.determines = false;
        let mut from = column("from_code", rows().map(|(a, _, _)| a + 1).collect());
        let mut to = column("to_code", rows().map(|(_, b, _)| b + 1).collect());
        (from.depends, to.depends) = (false, false);
        coded(vec![from, to, zones])
    }

    #[test]
    fn two_columns_decide_together_what_neither_decides_alone() {
        let (sample, profiles) = lanes(|a, b, _| (a * 5 + b * 3) % 11);
        let found = find(&sample, &profiles);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].determinant, ["from_code", "to_code"]);
        assert_eq!(found[0].dependent, "zone");
        for (what, zone) in [
            (
                "one alone decides",
                (|a, _, _| a) as fn(u32, u32, u32) -> u32,
            ),
            ("nothing decides", |_, _, i| i * 31 % 97 % 7),
            ("one alone, but for a few", |a, b, i| {
                if i == 3 { a + b + 9 } else { a }
            }),
        ] {
            let (sample, profiles) = lanes(zone);
            let found = find(&sample, &profiles);
            assert!(found.iter().all(|d| d.determinant.len() == 1), "{what}");
        }
        let (mut sample, profiles) = lanes(|a, b, _| (a * 5 + b * 3) % 11);
        sample.keys = vec![vec!["from_code".to_owned(), "to_code".to_owned()]];
        assert!(
            find(&sample, &profiles).is_empty(),
            "a key decides everything"
        );
    }

    #[test]
    fn one_group_in_a_hundred_may_have_drifted() {
        let x = column("k", (0..2000).map(|i| i % 200 + 1).collect());
        let mut codes: Vec<u32> = (0..2000).map(|i| (i % 200) / 3 + 1).collect();
        codes[0] = 60;
        assert_eq!(test(&x, &column("v", codes.clone())).unwrap().violations, 1);
        for (i, code) in codes.iter_mut().enumerate().take(20) {
            *code = 61 + u32::try_from(i).unwrap() % 3;
        }
        assert!(test(&x, &column("v", codes)).is_none());
    }

    #[test]
    fn what_chance_explains_is_none() {
        // Twelve regions with one of two couriers each: it had to be one of them.
        let x = column("region", (0..600).map(|i| i % 12 + 1).collect());
        let y = column("courier", (0..600).map(|i| (i % 12) % 2 + 1).collect());
        assert!(test(&x, &y).is_none());
        // Few rows repeat at all.
        let x = column("k", (0..100).map(|i| i % 95 + 1).collect());
        let y = column("v", (0..100).map(|i| i % 95 + 1).collect());
        assert!(test(&x, &y).is_none());
    }
}
