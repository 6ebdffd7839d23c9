//! What a verification rests on: the modules' text, the columns they were bound to, and
//! which partitions the tables have.
//!
//! A plan is bound once and then used for a while. Should a column have changed its
//! type meanwhile, the module's rows would be printed in the old one and every row
//! would look different. So the columns of the plans are compared with those of the
//! catalog when a verification begins, and again before it says anything.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};
use tokio_postgres::GenericClient;

use super::Subject;
use crate::error::{Error, Kind, Result};
use crate::pg::catalog::Table;
use crate::state::certificate::{self, Basis, Column};
use crate::transform::{Dependencies, Plan};

/// A table and those of its columns that are compared or made into what is.
struct Used<'a> {
    table: &'a Table,
    /// `None` for all, present and future: a target is made of whole rows.
    columns: Option<BTreeSet<&'a str>>,
}

impl Used<'_> {
    /// One line a column.
    fn lines(&self, columns: &[Column]) -> Vec<String> {
        columns
            .iter()
            .filter(|c| {
                let names = self.columns.as_ref();
                names.is_none_or(|names| names.contains(c.name.as_str()))
            })
            .map(|c| {
                let collation = c.collation.as_deref().unwrap_or("-");
                format!(
                    "{} {} {:?} {} {collation}",
                    self.table.oid, c.number, c.name, c.type_sql
                )
            })
            .collect()
    }

    /// The columns as the plan knows them.
    fn bound(&self) -> Vec<Column> {
        let columns = self.table.columns.iter().map(|c| Column {
            number: c.attnum,
            name: c.name.clone(),
            type_sql: c.type_sql.clone(),
            collation: c.collation.clone(),
        });
        columns.collect()
    }
}

fn used(plan: &Plan) -> Vec<Used<'_>> {
    let whole = |t: &crate::transform::Target| t.depends == Dependencies::WholeRow;
    let rebuilt = plan.reverse.iter().flat_map(|r| &r.columns);
    let names = plan
        .used
        .iter()
        .chain(rebuilt)
        .map(|&i| plan.source.columns[i].name.as_str())
        .collect();
    let source = Used {
        table: &plan.source,
        columns: (!plan.targets.iter().any(whole)).then_some(names),
    };
    let targets = plan.targets.iter().map(|t| Used {
        table: &t.table,
        columns: Some(t.columns.iter().chain(&t.key).map(String::as_str).collect()),
    });
    std::iter::once(source).chain(targets).collect()
}

/// What a verification by these plans rests on.
///
/// # Errors
/// [`Kind::SchemaChange`] when the columns are no longer those of the plans;
/// connection errors.
pub async fn current<C: GenericClient>(client: &C, subject: &Subject) -> Result<Basis> {
    let used: Vec<Used> = subject.sources.iter().flat_map(|s| used(&s.0)).collect();
    let oids: Vec<u32> = used.iter().map(|u| u.table.oid).collect();
    let mut text = String::new();
    for (used, now) in used.iter().zip(certificate::columns(client, &oids).await?) {
        let lines = used.lines(&now);
        if lines != used.lines(&used.bound()) {
            return Err(Error::new(
                Kind::SchemaChange,
                format!("columns of {} have been changed meanwhile", used.table.name),
            )
            .remedy("run the command again: it takes the columns as they are now"));
        }
        text.push_str(&lines.join("\n"));
        text.push('\n');
    }
    text.push_str(&certificate::partitions(client, &oids).await?);
    let sum = Sha256::digest(text);
    Ok(Basis {
        module_hash: subject.module_hash.clone(),
        columns_hash: sum.iter().map(|b| format!("{b:02x}")).collect(),
    })
}

/// Only whether the plans still fit.
///
/// # Errors
/// As [`current`].
pub async fn check<C: GenericClient>(client: &C, subject: &Subject) -> Result<()> {
    current(client, subject).await.map(|_| ())
}
