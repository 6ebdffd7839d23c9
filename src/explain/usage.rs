//! What a query asks of each table: the columns it compares with constants, joins,
//! sorts and groups by, and reads.
//!
//! The server says it. A plan made with every index path turned off has all conditions
//! as filters, all joins as join conditions and all orders as sorts, with names resolved,
//! views expanded, casts made visible and subqueries pulled up, exactly as the planner
//! that will look for an index sees them. So nothing has to be guessed from the text.

mod order;
mod term;

use std::collections::BTreeSet;

use super::catalog::{Catalog, Table};
use super::expression::{Column, Comparison, Token, columns, conjuncts, tokens};
use super::plan::{Node, Plan};
use crate::pg::QualifiedName;

pub use order::{Order, SortKey};
pub use term::{Compared, Term};

/// Turns off, for one transaction, every way to run a query that hides what it asks for.
pub const NORMAL_FORM: &str = "\
set local enable_indexscan = off; set local enable_indexonlyscan = off; \
set local enable_bitmapscan = off; set local enable_tidscan = off; \
set local enable_mergejoin = off; set local enable_nestloop = off; \
set local enable_memoize = off; set local enable_incremental_sort = off; \
set local enable_material = off; set local enable_partitionwise_join = off; \
set local max_parallel_workers_per_gather = 0; set local jit = off";

/// One table as the query uses it, under one alias.
#[derive(Debug, Clone)]
pub struct TableUse {
    pub alias: String,
    /// The table that an index would be made on: the partitioned one for partitions.
    pub table: QualifiedName,
    /// Compared with constants.
    pub conditions: Vec<Term>,
    /// Compared with other tables, by equality.
    pub joins: Vec<Term>,
    /// Orders that are asked for, whole or their first keys.
    pub orders: Vec<Order>,
    pub groups: Vec<Vec<String>>,
    /// Every column that the query reads of it.
    pub needed: BTreeSet<String>,
    /// The part of its rows that the planner expects its own conditions to leave.
    pub selectivity: f64,
}

/// Takes a plan in normal form apart.
#[must_use]
pub fn read(plan: &Plan, catalog: &Catalog) -> Vec<TableUse> {
    let mut reader = Reader {
        plan,
        catalog,
        uses: Vec::new(),
        aliases: Vec::new(),
    };
    for node in plan.nodes.iter().filter(|n| n.is_scan()) {
        reader.scan(node);
    }
    for node in &plan.nodes {
        if !(node.is_scan() && node.relation().is_some()) {
            reader.join(node);
        }
        reader.order(node);
        reader.reads(node);
    }
    reader.uses
}

struct Reader<'a> {
    plan: &'a Plan,
    catalog: &'a Catalog,
    uses: Vec<TableUse>,
    /// Each alias of the plan and the use it belongs to: partitions share one.
    aliases: Vec<(String, usize)>,
}

impl Reader<'_> {
    fn scan(&mut self, node: &Node) {
        let (Some(relation), Some(alias)) = (node.relation(), node.alias()) else {
            return;
        };
        let Some(table) = self.catalog.table(&relation) else {
            return;
        };
        let (target, alias_of_use) = match &table.root {
            Some(root) => (root.clone(), stem(alias).to_owned()),
            None => (table.name.clone(), alias.to_owned()),
        };
        let found = self
            .uses
            .iter()
            .position(|u| u.alias == alias_of_use && u.table == target);
        let at = found.unwrap_or_else(|| {
            self.uses.push(TableUse {
                alias: alias_of_use.clone(),
                table: target,
                conditions: Vec::new(),
                joins: Vec::new(),
                orders: Vec::new(),
                groups: Vec::new(),
                needed: BTreeSet::new(),
                selectivity: 1.0,
            });
            self.uses.len() - 1
        });
        self.aliases.push((alias.to_owned(), at));
        if found.is_none() && table.root.is_some() {
            self.aliases.push((alias_of_use, at));
        }
        let kept = node.number("Plan Rows").unwrap_or(0.0);
        if table.rows > 0.0 && found.is_none() {
            self.uses[at].selectivity = (kept / table.rows).clamp(0.0, 1.0);
        }
        for part in node.text("Filter").map(conjuncts).unwrap_or_default() {
            self.condition(at, alias, table, part);
        }
    }

    /// A condition tested by a scan: on constants, or, under a nested loop or in a
    /// correlated subquery, on another table's row.
    fn condition(&mut self, at: usize, alias: &str, table: &Table, part: &str) {
        let others = columns(part).iter().any(|c| c.alias != alias);
        if others {
            self.compare(part);
        } else if let Some(term) = term::of(part, alias, table, self.catalog) {
            push(&mut self.uses[at].conditions, term);
        }
    }

    /// The conditions of a node above the scans.
    fn join(&mut self, node: &Node) {
        for (_, condition) in node.conditions() {
            for part in conjuncts(condition) {
                self.compare(part);
            }
        }
    }

    /// Both sides of an equality may be looked up by the other.
    fn compare(&mut self, part: &str) {
        let Some(c) = Comparison::parse(part) else {
            return;
        };
        if c.operator != "=" {
            return;
        }
        for (side, other) in [(c.left, c.right), (c.right, c.left)] {
            let Some(at) = self.only_table(side) else {
                continue;
            };
            let alias = columns(side)[0].alias.clone();
            if columns(other).iter().any(|c| c.alias == alias) {
                continue;
            }
            let Some(table) = self.catalog_table(at) else {
                continue;
            };
            let key = term::key(side, &alias, table, self.catalog);
            push(&mut self.uses[at].joins, key);
        }
    }

    /// The use that all columns of an expression belong to.
    fn only_table(&self, text: &str) -> Option<usize> {
        let mut found = None;
        for column in columns(text) {
            let at = self.place(&column)?;
            if found.is_some_and(|f| f != at) {
                return None;
            }
            found = Some(at);
        }
        found
    }

    fn place(&self, column: &Column) -> Option<usize> {
        self.aliases
            .iter()
            .find(|(alias, _)| *alias == column.alias)
            .map(|(_, at)| *at)
    }

    fn catalog_table(&self, at: usize) -> Option<&Table> {
        let name = &self.uses[at].table;
        self.catalog
            .tables
            .iter()
            .find(|t| t.name == *name)
            .or_else(|| {
                self.catalog
                    .tables
                    .iter()
                    .find(|t| t.root.as_ref() == Some(name))
            })
    }

    fn order(&mut self, node: &Node) {
        let keys = match node.kind.as_str() {
            "Sort" | "Incremental Sort" => node.list("Sort Key"),
            _ => Vec::new(),
        };
        if let Some(order) = self.sorted(&keys, under_limit(self.plan, node)) {
            let at = order.0;
            if !self.uses[at].orders.contains(&order.1) {
                self.uses[at].orders.push(order.1);
            }
        }
        let groups = node.list("Group Key");
        if let Some((at, order)) = self.sorted(&groups, false) {
            let keys = order.keys.into_iter().map(|k| k.sql).collect::<Vec<_>>();
            if order.complete && !self.uses[at].groups.contains(&keys) {
                self.uses[at].groups.push(keys);
            }
        }
        if node.kind == "Aggregate" && groups.is_empty() {
            for output in node.list("Output") {
                if let Some(order) = self.extreme(output) {
                    let at = order.0;
                    if !self.uses[at].orders.contains(&order.1) {
                        self.uses[at].orders.push(order.1);
                    }
                }
            }
        }
    }

    /// The leading keys that belong to one table.
    fn sorted(&self, keys: &[&str], limited: bool) -> Option<(usize, Order)> {
        let mut found: Option<usize> = None;
        let mut sorted = Vec::new();
        for text in keys {
            let (expression, descending, nulls_first) = order::direction(text);
            let qualified = self.qualified(expression);
            let Some(at) = self.only_table(&qualified) else {
                break;
            };
            if found.is_some_and(|f| f != at) {
                break;
            }
            found = Some(at);
            let alias = columns(&qualified)[0].alias.clone();
            let table = self.catalog_table(at)?;
            let term = term::key(&qualified, &alias, table, self.catalog);
            sorted.push(SortKey {
                sql: term.sql,
                columns: term.columns,
                descending,
                nulls_first,
            });
        }
        let at = found?;
        Some((
            at,
            Order {
                complete: sorted.len() == keys.len(),
                keys: sorted,
                limited,
            },
        ))
    }

    /// `min(x)` and `max(x)` are the first of an order.
    fn extreme(&self, output: &str) -> Option<(usize, Order)> {
        let inner = ["min(", "max("]
            .iter()
            .find_map(|f| output.strip_prefix(f)?.strip_suffix(')'))?;
        let mut order = self.sorted(&[inner], true)?;
        order.1.limited = true;
        Some(order)
    }

    /// With a single table the server leaves the alias out of what it returns.
    fn qualified(&self, text: &str) -> String {
        if !columns(text).is_empty() || self.aliases.is_empty() {
            return text.to_owned();
        }
        let (alias, at) = &self.aliases[0];
        let Some(table) = self.catalog_table(*at) else {
            return text.to_owned();
        };
        let mut out = String::new();
        let mut from = 0;
        for (token, range) in tokens(text) {
            if let Token::Word { text: word, .. } = token
                && table.column(&word).is_some()
            {
                out.push_str(&text[from..range.start]);
                out.push_str(&crate::pg::quote(alias));
                out.push('.');
                from = range.start;
            }
        }
        out.push_str(&text[from..]);
        out
    }

    /// Which columns anything but a scan's own output mentions: a scan below a join puts
    /// out whole rows where that is cheaper.
    fn reads(&mut self, node: &Node) {
        let mut texts: Vec<String> = node
            .conditions()
            .iter()
            .map(|(_, c)| (*c).to_owned())
            .collect();
        let passes = node.is_scan() && node.parent.is_some();
        for field in [
            "Output",
            "Sort Key",
            "Group Key",
            "Function Call",
            "Presorted Key",
            "Cache Key",
        ] {
            if field == "Output" && passes && !self.is_answer(node) {
                continue;
            }
            texts.extend(node.list(field).into_iter().map(str::to_owned));
        }
        for text in texts {
            for column in columns(&self.qualified(&text)) {
                if let Some(at) = self.place(&column) {
                    self.uses[at].needed.insert(column.name);
                }
            }
        }
    }

    /// A scan whose rows go up unchanged.
    fn is_answer(&self, node: &Node) -> bool {
        let Some(parent) = self.plan.parent(node) else {
            return true;
        };
        matches!(
            parent.kind.as_str(),
            "Limit" | "Unique" | "Sort" | "Append" | "LockRows"
        )
    }
}

fn push(terms: &mut Vec<Term>, term: Term) {
    if !terms.contains(&term) {
        terms.push(term);
    }
}

fn under_limit(plan: &Plan, node: &Node) -> bool {
    plan.parent(node)
        .is_some_and(|p| p.kind == "Limit" || (p.kind == "LockRows" && under_limit(plan, p)))
}

/// `events_1` is a partition's alias in a query that calls the whole `events`.
fn stem(alias: &str) -> &str {
    let cut = alias.trim_end_matches(|c: char| c.is_ascii_digit());
    cut.strip_suffix('_')
        .filter(|s| !s.is_empty() && cut.len() < alias.len())
        .unwrap_or(alias)
}

/// Columns that are compared by equality with constants, for whoever looks for extended
/// statistics.
#[must_use]
pub fn equal_columns(table: &TableUse) -> Vec<String> {
    let mut found = Vec::new();
    for term in &table.conditions {
        if let (Compared::Equal { .. }, [column]) = (&term.compared, term.columns.as_slice())
            && term.plain
            && !found.contains(column)
        {
            found.push(column.clone());
        }
    }
    found
}
