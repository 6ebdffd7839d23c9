//! What the rules on superfluous indexes have in common.

use super::{Rule, float};
use crate::audit::finding::{Confidence, Effort, Finding, Object, Severity, plain};
use crate::audit::fix::Fix;
use crate::audit::schema::{Index, Table};
use crate::pg::ident::literal;

/// An index that another one makes superfluous.
pub struct Superfluous<'a> {
    pub table: &'a Table,
    pub index: &'a Index,
    pub other: &'a Index,
}

impl Superfluous<'_> {
    /// `says` is what it is to the other one.
    pub fn finding(
        &self,
        rule: &Rule,
        severity: Severity,
        confidence: Confidence,
        says: &str,
        evidence: (String, &[(&'static str, f64)]),
    ) -> Finding {
        let Self {
            table,
            index,
            other,
        } = self;
        let (name, better) = (plain(&index.name.name), plain(&other.name.name));
        rule.finding(
            severity,
            format!("{}: index {name} {says} {better}", table.name),
        )
        .on(Object::index(&table.name, &index.name.name))
        .on(Object::index(&table.name, &other.name.name))
        .confidence(confidence)
        .measured(evidence.0, evidence.1)
        .proof(format!(
            "select indexrelid::regclass, pg_get_indexdef(indexrelid) from pg_index where indexrelid in ({}::regclass, {}::regclass)",
            literal(&index.name.sql()),
            literal(&other.name.sql())
        ))
        .remedy(format!("DROP INDEX CONCURRENTLY {name}"))
        .cost(
            Effort::Statement,
            0,
            index.bytes,
            "CONCURRENTLY waits for open transactions and blocks nobody",
        )
        .fix(Fix::DropIndex {
            table: table.name.clone(),
            index: index.name.clone(),
            definition: index.definition.clone(),
        })
        .harm(float(index.bytes.max(1)).log10())
    }
}
