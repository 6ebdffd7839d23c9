//! What is recommended, as it can be made in the given database: under a name that nothing
//! has there, which a copy of some tables does not know, and on each partition by itself,
//! since no index of a partitioned table is built beside its writers.

use tokio_postgres::Client;

use super::advise::{Advice, Part, Recommended, Way};
use super::experiment::Change;
use super::name::free;
use crate::error::{Context, Result};
use crate::pg::QualifiedName;

/// Looks at the given database for everything that is recommended.
///
/// # Errors
/// What the server says.
pub async fn settle(client: &Client, advice: &mut Advice) -> Result<()> {
    let mut names = Vec::new();
    let own = advice.recommended.iter_mut();
    let others = advice.rewritten.iter_mut().flat_map(|r| &mut r.indexes);
    for change in own.chain(others) {
        one(client, change, &mut names).await?;
    }
    Ok(())
}

async fn one(client: &Client, change: &mut Recommended, names: &mut Vec<String>) -> Result<()> {
    let table = change.change.table().clone();
    let stem = change.change.stem();
    let taken = |name: &str| names.iter().any(|n| n == name);
    change.name = free(client, &table.schema, stem, taken).await?;
    names.push(change.name.clone());
    let Change::Index(candidate) = &change.change else {
        return Ok(());
    };
    let found = client
        .query(PARTITIONS, &[&table.sql()])
        .await
        .context(format!("reading the partitions of {table}"))?;
    // The table itself is the first, where it has partitions.
    if found.is_empty() {
        return Ok(());
    }
    if found.iter().any(|row| row.get::<_, String>(3) == "f") {
        change.warnings.push(
            "a partition is a foreign table, which has no such index: the one of the whole is built in one go, and writers wait".to_owned(),
        );
        change.way = Way::Whole;
        return Ok(());
    }
    let top = QualifiedName::new(&table.schema, &change.name);
    let mut made: Vec<(u32, QualifiedName)> = vec![(found[0].get(0), top)];
    let mut parts = Vec::new();
    for row in &found[1..] {
        let table = QualifiedName::new(row.get::<_, String>(1), row.get::<_, String>(2));
        let mut like = candidate.clone();
        like.table = table.clone();
        let taken = |name: &str| names.iter().any(|n| n == name);
        let name = free(client, &table.schema, like.stem(), taken).await?;
        names.push(name.clone());
        let above: u32 = row.get(4);
        let Some((_, of)) = made.iter().find(|(oid, _)| *oid == above).cloned() else {
            continue;
        };
        made.push((row.get(0), QualifiedName::new(&table.schema, &name)));
        parts.push(Part {
            leaf: row.get::<_, String>(3) != "p",
            table,
            name,
            of,
        });
    }
    change.way = if parts.is_empty() {
        Way::Whole
    } else {
        Way::Parts(parts)
    };
    Ok(())
}

/// A partitioned table and everything below it, the upper ones first.
const PARTITIONS: &str = "
with recursive tree as (
    select c.oid, 0::oid as above, 0 as depth from pg_class c
    where c.oid = to_regclass($1) and c.relkind = 'p'
    union all
    select i.inhrelid, i.inhparent, t.depth + 1 from tree t join pg_inherits i on i.inhparent = t.oid
)
select t.oid, n.nspname::text, c.relname::text, c.relkind::text, t.above
from tree t
join pg_class c on c.oid = t.oid
join pg_namespace n on n.oid = c.relnamespace
order by t.depth, 2, 3";
