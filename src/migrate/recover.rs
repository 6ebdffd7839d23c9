//! Statements that PostgreSQL refuses in a transaction: what became of one that was
//! interrupted, and the INVALID indexes that they leave behind.

use tokio_postgres::Client;

use super::script::Script;
use crate::error::{Context, Error, Result};
use crate::pg::QualifiedName;
use crate::sql::{Name, Operation, Statement};

/// What became of an interrupted statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It took effect.
    Done,
    /// It did not, or not fully; run it again. What was cleaned up, in words.
    Again(Option<String>),
    /// Nothing in the catalog tells.
    Unknown,
}

/// An index that no query uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    pub index: QualifiedName,
    pub table: QualifiedName,
    /// Left by REINDEX CONCURRENTLY: the index it was to replace is there and valid.
    pub leftover: bool,
    pub definition: String,
    pub bytes: i64,
}

const INVALID: &str = "
select n.nspname::text, c.relname::text, tn.nspname::text, t.relname::text,
       c.relname ~ '_cc(new|old)[0-9]*$', pg_catalog.pg_get_indexdef(c.oid),
       pg_catalog.pg_relation_size(c.oid)
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_class t on t.oid = i.indrelid
join pg_catalog.pg_namespace tn on tn.oid = t.relnamespace
where not i.indisvalid
  -- A partitioned table's index is invalid until each partition has its own.
  and c.relkind = 'i'
  and n.nspname !~ '^pg_toast|^pg_temp'
  -- One that is being built at this moment.
  and not exists (select from pg_catalog.pg_stat_progress_create_index p
                  where p.index_relid = c.oid or p.relid = i.indrelid)
order by 1, 2";

/// Every INVALID index that nobody is building at this moment.
///
/// # Errors
/// Connection errors.
pub async fn invalid(client: &Client) -> Result<Vec<Invalid>> {
    let rows = client.query(INVALID, &[]).await?;
    Ok(rows
        .iter()
        .map(|row| Invalid {
            index: QualifiedName::new(row.get::<_, String>(0), row.get::<_, String>(1)),
            table: QualifiedName::new(row.get::<_, String>(2), row.get::<_, String>(3)),
            leftover: row.get(4),
            definition: row.get(5),
            bytes: row.get(6),
        })
        .collect())
}

/// Makes an INVALID index valid, or drops it where it is only a leftover.
///
/// # Errors
/// The server's, such as duplicates under a unique index.
pub async fn mend(client: &Client, invalid: &Invalid) -> Result<String> {
    let name = invalid.index.sql();
    let (sql, what) = if invalid.leftover {
        (format!("drop index concurrently {name}"), "dropped")
    } else {
        (format!("reindex index concurrently {name}"), "built again")
    };
    unlimited(client).await?;
    let done = client.batch_execute(&sql).await;
    client.batch_execute("reset lock_timeout").await?;
    done.context(format!("mending {}", invalid.index))?;
    Ok(format!("{} {what}", invalid.index))
}

/// Statements that work CONCURRENTLY wait for transactions, not in front of anybody: a
/// lock timeout would only leave an INVALID index behind.
///
/// # Errors
/// Connection errors.
pub async fn unlimited(client: &Client) -> Result<()> {
    Ok(client.batch_execute("set lock_timeout = 0").await?)
}

/// Drops the INVALID index that a CREATE INDEX of this name would run into. With IF NOT
/// EXISTS PostgreSQL would take it for the real one.
///
/// # Errors
/// Connection errors, or the server refuses the drop.
pub async fn sweep(client: &Client, statement: &Statement) -> Result<Option<String>> {
    for part in &statement.parts {
        let Operation::CreateIndex {
            index: Some(index),
            table,
            concurrently: true,
            ..
        } = &part.operation
        else {
            continue;
        };
        if let Some(found) = lookup(client, index, table).await?
            && !found.valid
        {
            client
                .batch_execute(&format!("drop index concurrently {}", found.name.sql()))
                .await
                .context(format!("dropping the INVALID index {}", found.name))?;
            return Ok(Some(format!("INVALID index {} dropped", found.name)));
        }
    }
    Ok(None)
}

/// Refuses a step that is still to be done whose remains nobody could find: the server
/// chooses the name of an index that has none, another one each time, and an INVALID one
/// would stay. `done` tells which steps are, by their place.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) at that place.
pub fn traceable(script: &Script, done: impl Fn(usize) -> bool) -> Result<()> {
    for (at, step) in script.steps.iter().enumerate() {
        for statement in step.statements() {
            let nameless = statement.parts.iter().any(|p| {
                matches!(
                    p.operation,
                    Operation::CreateIndex {
                        index: None,
                        concurrently: true,
                        ..
                    }
                )
            });
            if nameless && !done(at) {
                let message = "CREATE INDEX CONCURRENTLY without a name: what is left of a build that fails could not be found again";
                return Err(script
                    .error(statement.range.start, message)
                    .remedy("give the index a name: CREATE INDEX CONCURRENTLY name ON …"));
            }
        }
    }
    Ok(())
}

struct Found {
    name: QualifiedName,
    valid: bool,
}

/// The index of this name in the table's schema.
async fn lookup(client: &Client, index: &Name, table: &Name) -> Result<Option<Found>> {
    let row = client
        .query_opt(
            "select n.nspname::text, c.relname::text, i.indisvalid
             from pg_catalog.pg_class t
             join pg_catalog.pg_class c on c.relnamespace = t.relnamespace and c.relname = $2
             join pg_catalog.pg_namespace n on n.oid = c.relnamespace
             join pg_catalog.pg_index i on i.indexrelid = c.oid and i.indrelid = t.oid
             where t.oid = to_regclass($1)",
            &[&table.sql(), &index.name],
        )
        .await?;
    Ok(row.map(|row| Found {
        name: QualifiedName::new(row.get::<_, String>(0), row.get::<_, String>(1)),
        valid: row.get(2),
    }))
}

/// Finds out what became of a statement that was begun and whose end nobody wrote down.
/// The session that ran it is gone: it held the lock that this one has now.
///
/// # Errors
/// Connection errors.
pub async fn fate(client: &Client, statement: &Statement) -> Result<Fate> {
    let Some(part) = statement.parts.first() else {
        return Ok(Fate::Unknown);
    };
    match &part.operation {
        Operation::CreateIndex {
            index: Some(index),
            table,
            ..
        } => Ok(match lookup(client, index, table).await? {
            Some(found) if found.valid => Fate::Done,
            _ => Fate::Again(sweep(client, statement).await?),
        }),
        Operation::DropIndex { .. } => {
            let mut gone = true;
            for part in &statement.parts {
                if let Operation::DropIndex { index, .. } = &part.operation {
                    gone &= !present(client, &index.sql()).await?;
                }
            }
            Ok(if gone { Fate::Done } else { Fate::Again(None) })
        }
        Operation::Reindex { .. } => {
            let mut words = Vec::new();
            for index in invalid(client).await?.iter().filter(|i| i.leftover) {
                words.push(mend(client, index).await?);
            }
            let words = words.join(", ");
            Ok(Fate::Again((!words.is_empty()).then_some(words)))
        }
        Operation::DetachPartition {
            table, partition, ..
        } => detached(client, table, partition).await,
        Operation::Vacuum { .. } | Operation::Repack { .. } => Ok(Fate::Again(None)),
        _ => Ok(Fate::Unknown),
    }
}

async fn present(client: &Client, name: &str) -> Result<bool> {
    let row = client
        .query_one("select to_regclass($1) is not null", &[&name])
        .await?;
    Ok(row.get(0))
}

/// DETACH CONCURRENTLY has two halves; an interrupted one is finished with FINALIZE.
async fn detached(client: &Client, table: &Name, partition: &Name) -> Result<Fate> {
    let row = client
        .query_opt(
            "select inhdetachpending from pg_catalog.pg_inherits
             where inhrelid = to_regclass($1) and inhparent = to_regclass($2)",
            &[&partition.sql(), &table.sql()],
        )
        .await?;
    match row.map(|r| r.get::<_, bool>(0)) {
        None => Ok(Fate::Done),
        Some(false) => Ok(Fate::Again(None)),
        Some(true) => {
            client
                .batch_execute(&format!(
                    "alter table {} detach partition {} finalize",
                    table.sql(),
                    partition.sql()
                ))
                .await
                .context(format!("finishing the detachment of {partition}"))?;
            Ok(Fate::Done)
        }
    }
}

/// A remedy for a statement whose end is unknown.
#[must_use]
pub fn undecided(label: &str, number: i32, statement: &Statement) -> Error {
    super::history::conflict(
        format!(
            "{label}: {} was interrupted, and nothing tells whether it took effect",
            statement.headline()
        ),
        format!(
            "look, then say so: `crossfade migrate repair --step-done {number}` or `--step-again {number}`"
        ),
    )
}
