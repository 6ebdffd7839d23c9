//! Compares single keys in one snapshot: source and targets are one database, so
//! one snapshot shows both sides and the change log.

use tokio_postgres::types::ToSql;
use tokio_postgres::{GenericClient, Row, ToStatement};

use super::Prepared;
use super::report::{Difference, DifferenceKind, Digest};
use super::sql::{Statements, pairs};
use super::{Key, Source};
use crate::error::{Error, Kind, Result};
use crate::transform::Plan;

/// What a snapshot shows of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// In quarantine: not compared.
    SetAside,
    /// The module cannot convert the source row. The applier will set it aside.
    Failed,
    Pair(Pair),
}

/// One digest a pair of row sets: of the module's rows and of the target's own. For a
/// lookup the first counts the rows that it lacks and the second is empty; for the way
/// back, behind the targets, they are of the source's rows and of the rebuilt ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub module: Vec<Digest>,
    pub target: Vec<Digest>,
}

impl Pair {
    #[must_use]
    pub fn equal(&self) -> bool {
        self.module == self.target
    }
}

/// Compares keys in the open transaction, in the order given. The transaction
/// survives rows that the module cannot convert.
///
/// # Errors
/// Connection and privilege errors.
pub async fn keys<C: GenericClient>(
    client: &C,
    prepared: &Prepared,
    source: &Source,
    keys: &[Key],
) -> Result<Vec<Seen>> {
    let mut seen = vec![Seen::SetAside; keys.len()];
    let mut open = Vec::new();
    open.push(0..keys.len());
    while let Some(part) = open.pop() {
        if part.is_empty() {
            continue;
        }
        client.batch_execute("savepoint compare").await?;
        match digests(client, prepared, source, &keys[part.clone()]).await {
            Ok(pairs) => {
                client.batch_execute("release savepoint compare").await?;
                for (n, pair) in pairs {
                    if let Some(place) = seen.get_mut(part.start + n) {
                        *place = Seen::Pair(pair);
                    }
                }
            }
            Err(e) if e.is_bad_row() => {
                client
                    .batch_execute("rollback to savepoint compare; release savepoint compare")
                    .await?;
                if part.len() == 1 {
                    seen[part.start] = Seen::Failed;
                } else {
                    let middle = part.start + part.len() / 2;
                    open.push(middle..part.end);
                    open.push(part.start..middle);
                }
            }
            Err(e) => return Err(e),
        }
    }
    Ok(seen)
}

async fn digests<C: GenericClient>(
    client: &C,
    prepared: &Prepared,
    (plan, chunks): &Source,
    keys: &[Key],
) -> Result<Vec<(usize, Pair)>> {
    let sql = Statements::new(plan, chunks).key_digests();
    let statement = prepared.get(client, &sql).await?;
    let rows = query_keys(client, plan, &statement, keys).await?;
    let empty = Pair {
        module: vec![Digest::default(); pairs(plan)],
        target: vec![Digest::default(); pairs(plan)],
    };
    let mut found: Vec<Option<Pair>> = vec![None; keys.len()];
    for row in &rows {
        let target = usize::try_from(row.get::<_, i32>(1)).unwrap_or(usize::MAX);
        let Some(place) = found.get_mut(ordinal(row)) else {
            continue;
        };
        let pair = place.get_or_insert_with(|| empty.clone());
        if target < pairs(plan) {
            pair.module[target] = digest(row, 2)?;
            pair.target[target] = digest(row, 3)?;
        }
    }
    Ok(found
        .into_iter()
        .enumerate()
        .filter_map(|(n, pair)| pair.map(|p| (n, p)))
        .collect())
}

/// Reads a digest column.
///
/// # Errors
/// [`Kind::Protocol`] for what is none.
pub fn digest(row: &Row, column: usize) -> Result<Digest> {
    let parts: Option<Vec<String>> = row.get(column);
    Digest::parse(parts.as_deref())
        .ok_or_else(|| Error::new(Kind::Protocol, "the server sent no digest"))
}

/// The transaction that the change log names for each key.
///
/// # Errors
/// Connection errors.
pub async fn logged<C: GenericClient>(
    client: &C,
    (plan, chunks): &Source,
    keys: &[Key],
) -> Result<Vec<Option<u64>>> {
    let mut found = vec![None; keys.len()];
    if keys.is_empty() {
        return Ok(found);
    }
    let sql = Statements::new(plan, chunks).logged();
    for row in &query_keys(client, plan, &sql, keys).await? {
        let xid = row
            .get::<_, &str>(1)
            .parse()
            .map_err(|_| Error::new(Kind::Protocol, "the change log holds no transaction id"))?;
        if let Some(place) = found.get_mut(ordinal(row)) {
            *place = Some(xid);
        }
    }
    Ok(found)
}

/// The rows behind one key's difference.
#[derive(Debug, Clone, Default)]
pub struct Detail {
    /// Differing rows by pair.
    pub counts: Vec<u64>,
    /// Some of them, with their pair.
    pub examples: Vec<(usize, Difference)>,
}

/// Names the differing rows of keys whose pairs differ, at most `limit` beyond one
/// a key.
///
/// # Errors
/// Connection errors.
pub async fn details<C: GenericClient>(
    client: &C,
    (plan, chunks): &Source,
    keys: &[(Key, Pair)],
    limit: usize,
) -> Result<Vec<Detail>> {
    let mut details = vec![
        Detail {
            counts: vec![0; pairs(plan)],
            examples: Vec::new(),
        };
        keys.len()
    ];
    let sql = Statements::new(plan, chunks);
    for target in 0..pairs(plan) {
        let reverse = target == plan.targets.len();
        let table = match plan.targets.get(target) {
            Some(t) => t.table.name.to_string(),
            None => plan.source.name.to_string(),
        };
        let differs: Vec<usize> = (0..keys.len())
            .filter(|&i| keys[i].1.module[target] != keys[i].1.target[target])
            .collect();
        if differs.is_empty() {
            continue;
        }
        let list: Vec<Key> = differs.iter().map(|&i| keys[i].0.clone()).collect();
        let sql = sql.details(target, list.len() + limit);
        for row in &query_keys(client, plan, &sql, &list).await? {
            let Some(&i) = differs.get(ordinal(row)) else {
                continue;
            };
            details[i].counts[target] = u64::try_from(row.get::<_, i64>(4)).unwrap_or(0);
            details[i].examples.push((
                target,
                Difference {
                    table: table.clone(),
                    kind: DifferenceKind::parse(row.get(1)).unwrap_or(DifferenceKind::Changed),
                    reverse,
                    source_key: keys[i].0.clone(),
                    key: object(row.get(2)),
                    columns: row.get(3),
                },
            ));
        }
        // Digests that differ over rows that match: the same row twice on one side.
        for i in differs {
            if details[i].counts[target] == 0 {
                details[i].counts[target] = 1;
                details[i].examples.push((
                    target,
                    Difference {
                        table: table.clone(),
                        kind: DifferenceKind::Changed,
                        reverse,
                        source_key: keys[i].0.clone(),
                        key: serde_json::Map::new(),
                        columns: Vec::new(),
                    },
                ));
            }
        }
    }
    Ok(details)
}

/// A JSON object as the server printed it.
#[must_use]
pub fn object(text: &str) -> serde_json::Map<String, serde_json::Value> {
    serde_json::from_str(text).unwrap_or_default()
}

fn ordinal(row: &Row) -> usize {
    usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX)
}

async fn query_keys<C: GenericClient, T: ToStatement + ?Sized + Sync + Send>(
    client: &C,
    plan: &Plan,
    sql: &T,
    keys: &[Key],
) -> Result<Vec<Row>> {
    let mut arrays: Vec<Vec<&str>> = vec![Vec::with_capacity(keys.len()); plan.key.len()];
    for key in keys {
        for (array, part) in arrays.iter_mut().zip(key) {
            array.push(part);
        }
    }
    let parameters: Vec<&(dyn ToSql + Sync)> =
        arrays.iter().map(|a| a as &(dyn ToSql + Sync)).collect();
    Ok(client.query(sql, &parameters).await?)
}
