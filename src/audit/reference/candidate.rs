//! Pairs of columns and keys that are worth a question, and the questions.

use std::collections::HashMap;

use crate::pg::{QualifiedName, quote};

use super::super::likeness::{common_prefixes, likeness};
use super::super::profile::{ColumnProfile, Profile};
use super::super::schema::{Column, Database, Key, Table, TypeClass};
use super::super::value::Form;
use super::super::word::words;

/// Candidates asked about for one column, the best names first.
const MOST_PER_COLUMN: usize = 4;
/// Values compared in the first look.
const SAMPLED_VALUES: u32 = 1_000;
/// Steps down from a value to others, which are keys as well where any number of that size is:
/// also tens and hundreds, since people round and keys are given out in steps.
const NEAR: [i64; 4] = [1, 2, 10, 100];
/// A name that says less is no reason to ask about integers that fill a range.
pub const LEAST_NAME: f64 = 0.5;

/// Columns that may refer to a key.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub table: QualifiedName,
    pub columns: Vec<String>,
    pub referenced: QualifiedName,
    pub referenced_columns: Vec<String>,
    pub referenced_rows: u64,
    pub to_primary_key: bool,
    /// Declared foreign keys from the same table to the same one.
    pub declared_elsewhere: Vec<String>,
    /// See [`likeness`].
    pub name: f64,
    /// 1 for equal types, less where they differ.
    pub type_fit: f64,
    /// A type of the key's for the column, where the two differ in class or width.
    pub convert_to: Option<String>,
    /// Of a single column: its different values in the sample.
    pub distinct: usize,
    /// Digits of the odds that the sampled values are all among the keys by chance, if both are
    /// anywhere in the keys' range.
    pub surprise: f64,
    /// The name says nothing, and the keys are integers: where these are dense, numbers of any
    /// kind are among them.
    pub nameless_integer: bool,
    from: String,
    sampled_from: String,
    referenced_from: String,
    /// SQL of a value of each column as a value of the key's type, over `t`.
    casts: Vec<String>,
}

impl Candidate {
    fn matches(&self, row: &str) -> String {
        let equal: Vec<_> = self
            .referenced_columns
            .iter()
            .enumerate()
            .map(|(i, key)| format!("r.{} = {row}.v{i}", quote(key)))
            .collect();
        equal.join(" and ")
    }

    /// The columns, for people.
    #[must_use]
    pub fn about(&self) -> String {
        format!("{}.{}", self.table, self.columns.join(", "))
    }

    /// Different values of some rows: how many there are, how many are keys, and, where only
    /// the values speak, how many of the numbers near them are.
    #[must_use]
    pub fn sampled_sql(&self) -> String {
        let (values, filled) = self.values();
        let exists = |what: &str| {
            format!(
                "count(*) filter (where exists (select from {} r where {what}))::bigint",
                self.referenced_from
            )
        };
        let mut counts = vec![exists(&self.matches("s"))];
        if let (true, Some(key)) = (self.nameless_integer, self.referenced_columns.first()) {
            let near = |step: &i64| exists(&format!("r.{} = s.v0::bigint - {step}", quote(key)));
            counts.extend(NEAR.iter().map(near));
        }
        format!(
            "select count(*)::bigint, {} \
             from (select distinct {values} from (select * from {} limit {SAMPLED_VALUES}) t \
             where {filled}) s",
            counts.join(", "),
            self.sampled_from,
        )
    }

    /// All rows with a value, and how many of them refer to nothing. A join: the planner
    /// makes one pass of it, where EXISTS in a filter is a search for each row. A key is
    /// unique, so no row is counted twice.
    #[must_use]
    pub fn whole_sql(&self) -> String {
        let (values, filled) = self.values();
        let key = self.referenced_columns.first().map_or("", String::as_str);
        format!(
            "select count(*)::bigint, count(*) filter (where r.{} is null)::bigint \
             from (select {values} from {} t where {filled}) s left join {} r on {}",
            quote(key),
            self.from,
            self.referenced_from,
            self.matches("s"),
        )
    }

    /// The rows that refer to nothing: for people.
    #[must_use]
    pub fn proof(&self) -> String {
        let (values, filled) = self.values();
        format!(
            "select count(*) as orphans from (select {values} from {} t where {filled}) s \
             where not exists (select from {} r where {})",
            self.from,
            self.referenced_from,
            self.matches("s"),
        )
    }

    fn values(&self) -> (String, String) {
        let values: Vec<_> = self
            .casts
            .iter()
            .enumerate()
            .map(|(i, sql)| format!("{sql} as v{i}"))
            .collect();
        let filled: Vec<_> = self
            .columns
            .iter()
            .map(|c| format!("t.{} is not null", quote(c)))
            .collect();
        (values.join(", "), filled.join(" and "))
    }
}

/// The column that says what kind of thing another one refers to: `owner_type` for
/// `owner_id`.
#[must_use]
pub fn polymorphic<'a>(table: &'a Table, column: &str) -> Option<&'a Column> {
    const KINDS: &[&str] = &["type", "kind", "class", "table", "model", "entity"];
    let mut stem = words(column);
    let last = stem.pop()?;
    if !["id", "ref", "key", "uuid", "no"].contains(&last.as_str()) || stem.is_empty() {
        return None;
    }
    table.columns.iter().find(|c| {
        let mut other = words(&c.name);
        let kind = other.pop().is_some_and(|w| KINDS.contains(&w.as_str()));
        let same_stem = other == stem;
        let describes = matches!(
            c.data_type.class,
            TypeClass::Text | TypeClass::PaddedChar | TypeClass::Enum
        );
        kind && same_stem && describes
    })
}

/// Everything worth asking about.
#[must_use]
pub fn propose(database: &Database, profiles: &HashMap<u32, Profile>) -> Vec<Candidate> {
    let ignored = common_prefixes(database.designed().map(|t| t.name.name.as_str()));
    let targets: Vec<(&Table, &Key, bool)> = database
        .designed()
        .filter(|t| t.readable && !t.row_security)
        .flat_map(|t| {
            let primary = t.primary_key.as_ref().map(|k| (t, k, true));
            primary
                .into_iter()
                .chain(t.unique_keys.iter().map(move |k| (t, k, false)))
        })
        .filter(|(t, k, _)| profiles.get(&t.oid).is_some_and(|p| p.rows > 0) && !k.deferrable)
        .collect();
    let mut found = Vec::new();
    for table in database
        .designed()
        .filter(|t| t.readable && !t.row_security)
    {
        let Some(profile) = profiles.get(&table.oid).filter(|p| p.rows > 0) else {
            continue;
        };
        for column in table.columns.iter().filter(|c| may_refer(table, c)) {
            let Some(seen) = profile.column(&column.name).filter(|p| p.present > 0) else {
                continue;
            };
            let side = Side {
                table,
                column,
                seen,
            };
            found.extend(single(&side, &targets, profiles, &ignored));
        }
        found.extend(composite(table, profile, &targets, &ignored));
    }
    found
}

/// A column of the referring table.
struct Side<'a> {
    table: &'a Table,
    column: &'a Column,
    seen: &'a ColumnProfile,
}

fn may_refer(table: &Table, column: &Column) -> bool {
    let class = column.data_type.class;
    let kind = class.is_integer()
        || class.is_text()
        || matches!(class, TypeClass::Uuid | TypeClass::Numeric);
    let own = column.identity.is_some()
        || column
            .default
            .as_deref()
            .is_some_and(|d| d.contains("nextval(") || d.contains("gen_random_uuid("))
            && table.is_key(&[&column.name]);
    kind && column.readable
        && !own
        && !column.generated
        && !table.in_foreign_key(&column.name)
        && polymorphic(table, &column.name).is_none()
}

fn single(
    side: &Side<'_>,
    targets: &[(&Table, &Key, bool)],
    profiles: &HashMap<u32, Profile>,
    ignored: &[String],
) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = targets
        .iter()
        .filter(|(_, key, _)| key.columns.len() == 1)
        .filter_map(|(target, key, primary)| {
            let same = target.oid == side.table.oid;
            if same && key.columns[0] == side.column.name {
                return None;
            }
            let key_column = target.column(&key.columns[0])?;
            // Types first: names are compared for each pair of a column and a key.
            let (type_fit, cast) = fit(side.column, side.seen, key_column)?;
            let name = likeness(
                &side.column.name,
                &target.name.name,
                &key_column.name,
                same,
                ignored,
            );
            // A one-to-one extension shares its key with the table it extends, and is
            // not what others refer to.
            if !same && side.table.is_key(&[&side.column.name]) && name < 0.8 {
                return None;
            }
            let key_seen = profiles.get(&target.oid)?.column(&key_column.name)?;
            let surprise = surprise(side.seen, key_column, key_seen, target.estimated_rows());
            if name < LEAST_NAME && (surprise < 6.0 || side.seen.distinct < 20 || type_fit < 1.0) {
                return None;
            }
            // Without a name, a unique column that is no key of the design is too little.
            if !primary && name < 0.8 {
                return None;
            }
            // To its own table a column refers by a role, which is in its name.
            if same && name < LEAST_NAME {
                return None;
            }
            Some(Candidate {
                nameless_integer: name < LEAST_NAME && key_column.data_type.class.is_integer(),
                name,
                type_fit,
                convert_to: (type_fit < 1.0).then(|| key_column.data_type.sql.clone()),
                distinct: side.seen.distinct,
                surprise,
                ..bare(
                    side.table,
                    vec![side.column.name.clone()],
                    target,
                    key,
                    *primary,
                    vec![cast],
                )
            })
        })
        .collect();
    found.sort_by(|a, b| {
        b.name
            .total_cmp(&a.name)
            .then(b.surprise.total_cmp(&a.surprise))
    });
    found.truncate(MOST_PER_COLUMN);
    found
}

/// Keys of several columns: all but one by the same name, one may be named after the
/// table.
fn composite(
    table: &Table,
    profile: &Profile,
    targets: &[(&Table, &Key, bool)],
    ignored: &[String],
) -> Vec<Candidate> {
    let mut found = Vec::new();
    for (target, key, primary) in targets.iter().filter(|(_, k, _)| k.columns.len() > 1) {
        if target.oid == table.oid {
            continue;
        }
        let mut columns: Vec<String> = Vec::new();
        let mut casts = Vec::new();
        let mut name = 1.0_f64;
        let mut distinct = 0;
        for key_column in key.columns.iter().filter_map(|c| target.column(c)) {
            let fitting = table.columns.iter().filter_map(|c| {
                let fit_name = if c.name == key_column.name && c.name != "id" {
                    1.0
                } else {
                    likeness(&c.name, &target.name.name, &key_column.name, false, ignored)
                };
                let seen = profile.column(&c.name)?;
                let (type_fit, cast) = fit(c, seen, key_column)?;
                let usable = fit_name >= 0.85 && type_fit >= 1.0 && !columns.contains(&c.name);
                usable.then_some((fit_name, c, seen.distinct, cast))
            });
            let Some((fit_name, column, values, cast)) = fitting.max_by(|a, b| a.0.total_cmp(&b.0))
            else {
                break;
            };
            name = name.min(fit_name);
            distinct = distinct.max(values);
            columns.push(column.name.clone());
            casts.push(cast);
        }
        let names: Vec<&str> = columns.iter().map(String::as_str).collect();
        let complete = columns.len() == key.columns.len();
        let declared = table
            .foreign_keys
            .iter()
            .any(|f| names.iter().all(|n| f.columns.iter().any(|c| c == n)));
        // Each column refers to a table of its own, as in `order_items (order_id,
        // product_id)`: then the pair needs no reference to the same pair elsewhere.
        let each_declared = names.iter().all(|n| table.in_foreign_key(n));
        // Two tables with the same natural key are siblings, not parent and child.
        let sibling = table.is_key(&names);
        if !complete || declared || each_declared || sibling {
            continue;
        }
        found.push(Candidate {
            name,
            distinct,
            surprise: 6.0,
            ..bare(table, columns, target, key, *primary, casts)
        });
    }
    found
}

fn bare(
    table: &Table,
    columns: Vec<String>,
    target: &Table,
    key: &Key,
    to_primary_key: bool,
    casts: Vec<String>,
) -> Candidate {
    let rows = table.estimated_rows();
    let mut sampled_from = table.from_sql();
    if rows > 20_000 {
        #[allow(clippy::cast_precision_loss, reason = "a percentage")]
        let percent = (f64::from(SAMPLED_VALUES) * 300.0 / rows as f64).clamp(0.0001, 100.0);
        sampled_from = format!("{sampled_from} tablesample system ({percent:.6}) repeatable (1)");
    }
    Candidate {
        table: table.name.clone(),
        columns,
        referenced: target.name.clone(),
        referenced_columns: key.columns.clone(),
        referenced_rows: target.estimated_rows(),
        to_primary_key,
        declared_elsewhere: table
            .foreign_keys
            .iter()
            .filter(|f| f.referenced == target.name)
            .map(|f| f.name.clone())
            .collect(),
        name: 0.0,
        type_fit: 1.0,
        convert_to: None,
        distinct: 0,
        surprise: 0.0,
        nameless_integer: false,
        from: table.from_sql(),
        sampled_from,
        referenced_from: target.from_sql(),
        casts,
    }
}

/// Whether values of the column can be the key's, how well the types fit, and the cast.
fn fit(column: &Column, seen: &ColumnProfile, key: &Column) -> Option<(f64, String)> {
    let plain = format!("t.{}", quote(&column.name));
    let (a, b) = (column.data_type.class, key.data_type.class);
    match (a, b) {
        (TypeClass::Integer(x), TypeClass::Integer(y)) => {
            Some((if x == y { 1.0 } else { 0.95 }, plain))
        }
        (TypeClass::Uuid, TypeClass::Uuid) => Some((1.0, plain)),
        (TypeClass::Text | TypeClass::PaddedChar, TypeClass::Text | TypeClass::PaddedChar) => {
            // Compared as text: the operators of an extension's type may be out of reach.
            let fits = if a == b { 1.0 } else { 0.95 };
            Some((fits, format!("{plain}::text")))
        }
        (TypeClass::Numeric, TypeClass::Integer(_))
        | (TypeClass::Integer(_), TypeClass::Numeric) => Some((0.9, plain)),
        (TypeClass::Text | TypeClass::PaddedChar, TypeClass::Integer(_)) => {
            let numbers = [Form::Integer, Form::BigInteger];
            let all = seen.forms.iter().all(|(f, _)| numbers.contains(f));
            let cast =
                format!("(case when {plain} ~ '^-?[0-9]{{1,18}}$' then {plain}::text::bigint end)");
            all.then_some((0.85, cast))
        }
        (TypeClass::Text, TypeClass::Uuid) => {
            let all = seen.forms.iter().all(|(f, _)| *f == Form::Uuid);
            let cast = format!(
                "(case when {plain} ~* '^[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}$' \
                 then {plain}::text::uuid end)"
            );
            all.then_some((0.85, cast))
        }
        _ => None,
    }
}

/// How unlikely it is that so many different values are all keys by chance. Integers
/// that fill a range from 1 say nothing; those of a sparse range, and texts, do.
#[allow(clippy::cast_precision_loss, reason = "odds")]
fn surprise(seen: &ColumnProfile, key: &Column, key_seen: &ColumnProfile, rows: u64) -> f64 {
    let distinct = seen.distinct as f64;
    if !key.data_type.class.is_integer() {
        return distinct * 0.5;
    }
    let Some((low, high)) = key_seen.range else {
        return 0.0;
    };
    let width = (high - low + 1) as f64;
    let density = (rows.max(key_seen.present as u64) as f64 / width).min(1.0);
    distinct * -density.max(1e-9).log10()
}
