//! Which indexes are worth a thought: composites of up to four keys in the orders that a
//! B-tree can use, covering and partial variants, expressions, GIN and BRIN.

use super::{Candidate, Key, Method};
use crate::explain::catalog::{Catalog, Column, Table, key_of};
use crate::explain::usage::{Compared, Order, TableUse, Term};

const MOST_KEYS: usize = 4;
/// A wider index is a second table.
const WIDEST_INCLUDE: f64 = 120.0;
const MOST_INCLUDED: usize = 6;
/// Tables of fewer pages are read whole faster than any index is descended.
const SMALLEST_BYTES: f64 = 8.0 * 8192.0;
/// A partial index that holds more than this part of the table is hardly partial.
const PARTIAL_BELOW: f64 = 0.5;
/// The part of the rows from which on a value is a class of rows, not one of many values.
const COMMON: f64 = 0.01;
/// An index for one value of a column with more values than this serves that query alone.
const MOST_VALUES: f64 = 50.0;

/// All candidates for all tables of a query, the most promising first. `text` is the
/// query as written: a constant that stands in it may go into a partial index.
#[must_use]
pub fn enumerate(uses: &[TableUse], catalog: &Catalog, text: &str) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    for used in uses {
        let Some(table) = catalog.tables.iter().find(|t| t.name == used.table) else {
            continue;
        };
        let parts: f64 = catalog
            .tables
            .iter()
            .filter(|t| t.root.as_ref() == Some(&used.table))
            .map(|t| t.bytes)
            .sum();
        if table.bytes + parts < SMALLEST_BYTES || table.kind == 'f' {
            continue;
        }
        let maker = Maker { used, table, text };
        for candidate in maker.all() {
            let known = found.iter_mut().find(|f| same(f, &candidate));
            match known {
                Some(known) => known.promise = known.promise.max(candidate.promise),
                None if !candidate.exists_in(table) => found.push(candidate),
                None => {}
            }
        }
    }
    found.sort_by_key(|c| (-c.promise, c.weight()));
    found
}

fn same(a: &Candidate, b: &Candidate) -> bool {
    a.table == b.table
        && a.method == b.method
        && a.keys == b.keys
        && a.include == b.include
        && a.predicate == b.predicate
}

struct Maker<'a> {
    used: &'a TableUse,
    table: &'a Table,
    text: &'a str,
}

/// Keys and how promising they are together.
type Composite = (Vec<Key>, i32);

impl Maker<'_> {
    fn all(&self) -> Vec<Candidate> {
        let composites = self.composites();
        let mut all = Vec::new();
        for (keys, promise) in &composites {
            all.push(self.btree(keys.clone(), *promise));
        }
        for (keys, promise) in &composites {
            all.extend(self.partial(keys, *promise));
        }
        let plain = all.clone();
        for candidate in &plain {
            all.extend(self.covering(candidate));
        }
        all.extend(self.inverted());
        all.extend(self.brin());
        all
    }

    fn btree(&self, keys: Vec<Key>, promise: i32) -> Candidate {
        Candidate {
            table: self.used.table.clone(),
            method: Method::Btree,
            keys,
            include: Vec::new(),
            predicate: None,
            promise,
            widest: 0,
        }
    }

    /// Equality first, then one range or an order: what a B-tree can walk.
    fn composites(&self) -> Vec<Composite> {
        let equal = self.equal();
        let ranges = self.ranges();
        let joins = self.joins();
        let mut found: Vec<Composite> = Vec::new();
        for heads in self.heads(&equal, &joins) {
            let (head, promise) = heads;
            if !head.is_empty() {
                add(&mut found, head.clone(), promise);
            }
            for range in &ranges {
                let score = promise + 15;
                add(&mut found, with(&head, std::slice::from_ref(range)), score);
                for order in self.used.orders.iter().filter(|o| o.limited) {
                    // The order first, the range tested inside the index.
                    let keys = with(&with(&head, &sort_keys(order)), std::slice::from_ref(range));
                    add(&mut found, keys, promise + 12);
                }
            }
            for order in &self.used.orders {
                let score = promise
                    + if order.limited && order.complete {
                        18
                    } else {
                        4
                    };
                add(&mut found, with(&head, &sort_keys(order)), score);
            }
            for group in &self.used.groups {
                let keys: Vec<_> = group.iter().map(|sql| self.group_key(sql)).collect();
                add(&mut found, with(&head, &keys), promise + 6);
            }
        }
        found
    }

    /// Beginnings: nothing, single conditions, all of them, join keys, and both in
    /// either order.
    fn heads(&self, equal: &[Key], joins: &[Key]) -> Vec<Composite> {
        let mut heads: Vec<Composite> = vec![(Vec::new(), 0)];
        for (i, key) in equal.iter().enumerate() {
            heads.push((vec![key.clone()], 20 - small(i)));
        }
        for size in 2..=equal.len().min(3) {
            heads.push((equal[..size].to_vec(), 20 + small(size)));
        }
        if equal.len() >= 3 {
            heads.push((vec![equal[0].clone(), equal[2].clone()], 15));
            heads.push((vec![equal[1].clone(), equal[2].clone()], 14));
        }
        if equal.len() >= 2 {
            heads.push((vec![equal[1].clone(), equal[0].clone()], 14));
        }
        for join in joins {
            heads.push((vec![join.clone()], 22));
            for size in 1..=equal.len().min(2) {
                heads.push((with(std::slice::from_ref(join), &equal[..size]), 23));
                heads.push((with(&equal[..size], std::slice::from_ref(join)), 19));
            }
        }
        if joins.len() >= 2 {
            heads.push((joins[..joins.len().min(3)].to_vec(), 21));
        }
        heads
    }

    /// Keys compared for equality, those with most different values first.
    fn equal(&self) -> Vec<Key> {
        let mut keys: Vec<(f64, Key)> = Vec::new();
        for term in &self.used.conditions {
            if !matches!(term.compared, Compared::Equal { .. }) {
                continue;
            }
            let distinct = match term.columns.as_slice() {
                [column] if term.plain => self.table.distinct(column).unwrap_or(10.0),
                _ => self.table.rows.max(1.0) / 10.0,
            };
            // A list of values has them all in it, but gives up the order behind it.
            let many = term.compared == Compared::Equal { many: true };
            let weight = if many { distinct / 4.0 } else { distinct };
            let key = plain_key(term);
            if !keys.iter().any(|(_, k)| *k == key) {
                keys.push((weight, key));
            }
        }
        keys.sort_by(|a, b| b.0.total_cmp(&a.0));
        keys.into_iter().map(|(_, key)| key).take(4).collect()
    }

    fn ranges(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        for term in &self.used.conditions {
            let key = match term.compared {
                Compared::Range => plain_key(term),
                Compared::Prefix => Key {
                    opclass: Some("text_pattern_ops"),
                    ..plain_key(term)
                },
                _ => continue,
            };
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys.truncate(3);
        keys
    }

    fn joins(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = Vec::new();
        for key in self.used.joins.iter().map(plain_key) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys.truncate(4);
        keys
    }

    fn group_key(&self, sql: &str) -> Key {
        let columns = self
            .table
            .columns
            .iter()
            .filter(|c| crate::explain::catalog::key_of(&c.name) == sql)
            .map(|c| c.name.clone())
            .collect();
        Key {
            sql: sql.to_owned(),
            columns,
            descending: false,
            nulls_first: None,
            opclass: None,
        }
    }

    /// The index holds all that the query reads of the table.
    fn covering(&self, candidate: &Candidate) -> Option<Candidate> {
        let bare: Vec<&String> = candidate
            .keys
            .iter()
            .filter(|k| !k.sql.starts_with('('))
            .flat_map(|k| &k.columns)
            .collect();
        let include: Vec<String> = self
            .used
            .needed
            .iter()
            .filter(|c| !bare.contains(c))
            .cloned()
            .collect();
        let width: f64 = include
            .iter()
            .map(|c| self.table.column(c).map_or(WIDEST_INCLUDE, |c| c.width))
            .sum();
        let fits = !include.is_empty() && include.len() <= MOST_INCLUDED && width <= WIDEST_INCLUDE;
        // An expression key is not enough: the columns inside are asked for again.
        let expressions = candidate.keys.iter().any(|k| k.sql.starts_with('('));
        (fits && !expressions).then(|| Candidate {
            include,
            promise: candidate.promise - 2,
            ..candidate.clone()
        })
    }

    /// Only the rows of one constant condition, with the other keys.
    fn partial(&self, keys: &[Key], promise: i32) -> Vec<Candidate> {
        let mut found = Vec::new();
        for term in &self.used.conditions {
            let small = match (&term.compared, &term.constant) {
                (Compared::Equal { many: false }, Some(constant)) if self.is_written(constant) => {
                    term.plain && self.part_of(term) < PARTIAL_BELOW && self.is_one_of_few(term)
                }
                (Compared::Other, _) => term.predicate.ends_with("IS NOT NULL"),
                _ => false,
            };
            if !small {
                continue;
            }
            let mut rest: Vec<Key> = keys.iter().filter(|k| k.sql != term.sql).cloned().collect();
            if rest.is_empty() {
                // The condition is all there is: any key does, one that is never updated best.
                rest.extend(self.own_key());
            }
            if rest.is_empty() {
                continue;
            }
            found.push(Candidate {
                predicate: Some(format!("({})", term.predicate)),
                ..self.btree(rest, promise - 1)
            });
        }
        found
    }

    /// The first column of its primary key, or of what else is unique by a constraint.
    fn own_key(&self) -> Option<Key> {
        let unique = self
            .table
            .indexes
            .iter()
            .find(|i| i.unique && i.constraint)?;
        let column = self
            .table
            .columns
            .iter()
            .find(|c| Some(&key_of(&c.name)) == unique.keys.first())?;
        Some(Key {
            sql: key_of(&column.name),
            columns: vec![column.name.clone()],
            descending: false,
            nulls_first: None,
            opclass: None,
        })
    }

    fn is_one_of_few(&self, term: &Term) -> bool {
        let column = term.columns.first().and_then(|c| self.table.column(c));
        let distinct = column.and_then(|c| c.distinct);
        // One of few, or common among many others.
        term.constant.as_deref() == Some("NULL")
            || distinct.is_some_and(|d| d <= MOST_VALUES)
            || common(term, column).is_some_and(|part| part >= COMMON)
    }

    /// The part of the table that one equality leaves, as far as statistics tell.
    fn part_of(&self, term: &Term) -> f64 {
        let Some(column) = term.columns.first().and_then(|c| self.table.column(c)) else {
            return 1.0;
        };
        if term.constant.as_deref() == Some("NULL") {
            return column.nulls;
        }
        let evenly = column.distinct.map_or(1.0, |d| 1.0 / d.max(1.0));
        common(term, Some(column)).unwrap_or(evenly)
    }

    /// A value that came in a parameter is another one the next time.
    fn is_written(&self, constant: &str) -> bool {
        if matches!(constant, "NULL" | "true") {
            return true;
        }
        let value = constant.split("::").next().unwrap_or(constant);
        self.text.contains(value.trim_matches('\''))
    }

    /// GIN for operators that look inside of a value.
    fn inverted(&self) -> Vec<Candidate> {
        let mut found = Vec::new();
        for term in &self.used.conditions {
            let opclasses: &[Option<&'static str>] = match &term.compared {
                Compared::Contains { operator } => {
                    let json = term
                        .columns
                        .first()
                        .and_then(|c| self.table.column(c))
                        .is_some_and(|c| c.bare_type == "jsonb");
                    if json && term.plain && matches!(operator.as_str(), "@>" | "@?" | "@@") {
                        &[None, Some("jsonb_path_ops")]
                    } else {
                        &[None]
                    }
                }
                // Where the extension is not there, making it fails and it is left out.
                Compared::Pattern => &[Some("gin_trgm_ops")],
                _ => continue,
            };
            for opclass in opclasses {
                found.push(Candidate {
                    method: Method::Gin,
                    ..self.btree(
                        vec![Key {
                            opclass: *opclass,
                            ..plain_key(term)
                        }],
                        21,
                    )
                });
            }
        }
        found
    }

    /// BRIN where the table lies in the order of a range's column.
    fn brin(&self) -> Vec<Candidate> {
        let mut found = Vec::new();
        for term in &self.used.conditions {
            let [column] = term.columns.as_slice() else {
                continue;
            };
            let sorted = self
                .table
                .column(column)
                .is_some_and(|c| c.correlation.abs() > 0.9);
            if term.compared == Compared::Range && term.plain && sorted {
                found.push(Candidate {
                    method: Method::Brin,
                    ..self.btree(vec![plain_key(term)], 5)
                });
            }
        }
        found
    }
}

/// The part of the rows that has a term's constant, where that is a common value.
fn common(term: &Term, column: Option<&Column>) -> Option<f64> {
    let constant = term.constant.as_deref()?.split("'::").next()?;
    let value = constant.strip_prefix('\'')?.replace("''", "'");
    let known = column?.common.iter().find(|(v, _)| *v == value);
    known.map(|(_, part)| *part)
}

fn plain_key(term: &Term) -> Key {
    Key {
        sql: term.sql.clone(),
        columns: term.columns.clone(),
        descending: false,
        nulls_first: None,
        opclass: None,
    }
}

/// An order that runs one way throughout is walked either way: ascending is the plainer.
fn sort_keys(order: &Order) -> Vec<Key> {
    let reversed = order
        .keys
        .iter()
        .all(|k| k.descending && k.nulls_first.is_none());
    order
        .keys
        .iter()
        .map(|key| Key {
            sql: key.sql.clone(),
            columns: key.columns.clone(),
            descending: key.descending && !reversed,
            nulls_first: key.nulls_first,
            opclass: None,
        })
        .collect()
}

fn with(head: &[Key], tail: &[Key]) -> Vec<Key> {
    let mut keys = head.to_vec();
    for key in tail {
        if !keys.iter().any(|k| k.sql == key.sql) {
            keys.push(key.clone());
        }
    }
    keys
}

fn add(found: &mut Vec<Composite>, keys: Vec<Key>, promise: i32) {
    if keys.is_empty() || keys.len() > MOST_KEYS {
        return;
    }
    match found.iter_mut().find(|(k, _)| *k == keys) {
        Some((_, known)) => *known = (*known).max(promise),
        None => found.push((keys, promise)),
    }
}

fn small(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
