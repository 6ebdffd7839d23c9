//! Unique indexes of a target beside the one by which its rows are matched.
//!
//! Lines of an order that change places meet them: the first one written has the value
//! that the second one still has. Where a target holds several rows of one key, those
//! that stand in the way go first and are inserted again.

use tokio_postgres::Client;

use super::update::matched;
use crate::error::Result;
use crate::pg::quote;
use crate::transform::Plan;
use crate::transform::plan::Target;

/// What can stand in the way of a target's rows of one key.
#[derive(Debug, Default, Clone)]
pub struct Further {
    /// Columns of plain unique indexes, all filled by the module; and whether NULLs are
    /// equal in it.
    plain: Vec<(Vec<String>, bool)>,
    /// Whether there are others, of which their columns do not say what meets.
    other: bool,
}

/// Those of every target of the plan, by position.
///
/// # Errors
/// Connection errors.
pub async fn read(client: &Client, plan: &Plan) -> Result<Vec<Further>> {
    let mut all = Vec::new();
    for target in &plan.targets {
        all.push(of(client, target).await?);
    }
    Ok(all)
}

async fn of(client: &Client, target: &Target) -> Result<Further> {
    let mut further = Further::default();
    // One row of a key has nothing to change places with.
    if target.is_lookup() || target.arbiter.len() == target.key.len() {
        return Ok(further);
    }
    // A deferrable constraint looks at the end of the statement.
    let rows = client
        .query(
            "select i.indexprs is null and not i.indisexclusion,
                    coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false),
                    array(select a.attname::text
                          from unnest(i.indkey::int2[]) with ordinality k (attnum, ord)
                          join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
                          where k.ord <= i.indnkeyatts order by k.ord)
             from pg_index i
             where i.indrelid = $1 and (i.indisunique or i.indisexclusion) and i.indimmediate and i.indisready
             order by i.indexrelid",
            &[&target.table.oid],
        )
        .await?;
    for row in &rows {
        let (plain, equal, columns): (bool, bool, Vec<String>) =
            (row.get(0), row.get(1), row.get(2));
        let filled = |c: &String| target.columns.contains(c);
        let changes = columns
            .iter()
            .any(|c| filled(c) && !target.arbiter.contains(c));
        let within = target.arbiter.iter().all(|a| columns.contains(a));
        if plain && columns.iter().all(filled) {
            if changes && !within {
                further.plain.push((columns, equal));
            }
        } else if changes || !plain {
            further.other = true;
        }
    }
    Ok(further)
}

impl Further {
    /// Whether there are any.
    #[must_use]
    pub fn any(&self) -> bool {
        self.other || !self.plain.is_empty()
    }

    /// The conditions under which row `t` of target `i` has to go before the new rows
    /// `f{i}` come, although one of these has its place.
    #[must_use]
    pub fn in_the_way(&self, i: usize, t: &Target) -> Vec<String> {
        let mut conditions: Vec<_> = self
            .plain
            .iter()
            .map(|(columns, equal)| {
                let claimed: Vec<_> = columns
                    .iter()
                    .map(|c| {
                        let name = quote(c);
                        let new = t.column(c).cast(&format!("f.{name}"));
                        let op = if *equal { "is not distinct from" } else { "=" };
                        format!("t.{name} {op} {new}")
                    })
                    .collect();
                format!(
                    "exists (select from f{i} f where {} and not ({}))",
                    claimed.join(" and "),
                    matched(t, "t", "f")
                )
            })
            .collect();
        if self.other {
            // Every row that changes.
            let same: Vec<_> = (0..t.columns.len()).map(|n| format!("k.same{n}")).collect();
            conditions.push(format!(
                "(select {} from k{i} k where {}) is not true",
                same.join(" and "),
                matched(t, "k", "t")
            ));
        }
        conditions
    }
}
