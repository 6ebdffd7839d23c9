//! Strategy `columns`: the source table stays, and some of its columns move away.
//!
//! After the switch the moved columns are read-only for everybody but crossfade, whose
//! stream back keeps them up; everything else of the table is written on. Nothing is
//! renamed.

pub(super) mod optional;
mod partitions;

use tokio_postgres::Client;

use super::{Direction, instead};
use crate::error::{Context, Result};
use crate::pg::catalog::{Column, TableKind};
use crate::pg::quote;
use crate::state::{ChunkTable, guard};
use crate::transform::Plan;

/// Moves the module's columns, or gives them back, in the switch's open transaction
/// and under the source's strongest lock. Reads no row.
///
/// # Errors
/// The server's.
pub async fn apply(
    client: &Client,
    plan: &Plan,
    source_id: i32,
    direction: Direction,
) -> Result<()> {
    let moved = Moved::new(plan, source_id);
    match direction {
        Direction::Forward => moved.forward(client).await,
        Direction::Back => moved.back(client).await,
    }
}

/// The moved columns of a source and what stands in their place.
struct Moved<'a> {
    plan: &'a Plan,
    source_id: i32,
    columns: Vec<&'a Column>,
    /// The tables they moved to, for messages.
    instead: String,
}

impl<'a> Moved<'a> {
    fn new(plan: &'a Plan, source_id: i32) -> Self {
        let names = &plan.module.moved;
        Self {
            plan,
            source_id,
            columns: plan
                .source
                .columns
                .iter()
                .filter(|c| names.contains(&c.name))
                .collect(),
            instead: instead(plan),
        }
    }

    fn table(&self) -> String {
        self.plan.source.name.sql()
    }

    fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|c| c.name.as_str()).collect()
    }

    /// Remembers how the columns were, lets them be left out, and guards them.
    async fn forward(&self, client: &Client) -> Result<()> {
        // A switch forward can come before the switch back has restored NOT NULL: what
        // was remembered then still holds.
        client
            .execute(
                "insert into crossfade.moved_column as m (source_id, name, not_null, default_sql)
                 select $1, a.attname::text, a.attnotnull, crossfade.expression_of(d.adbin, d.adrelid)
                 from pg_attribute a
                 left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
                 where a.attrelid = $2 and a.attname::text = any($3) and not a.attisdropped
                 on conflict (source_id, name) do update
                 set not_null = m.not_null or excluded.not_null, default_sql = excluded.default_sql",
                &[&self.source_id, &self.plan.source.oid, &self.names()],
            )
            .await
            .context(format!("remembering the moved columns of {}", self.plan.source.name))?;
        let was = remembered(client, self.source_id).await?;
        partitions::remember(client, self.plan, self.source_id).await?;
        client
            .batch_execute(&self.forward_sql())
            .await
            .context(format!("moving columns of {}", self.plan.source.name))?;
        partitions::lift_not_null(client, self.plan).await?;
        let mandatory: Vec<_> = was.into_iter().filter(|w| w.not_null).collect();
        let guarded = self.guard(&mandatory, self.path(client).await?);
        guard::columns(client, &guarded).await
    }

    /// A search path under which the types of the keys and of the moved columns have the
    /// names that they are bound by, and the operators on them are found.
    async fn path(&self, client: &Client) -> Result<String> {
        let mut names = self.names();
        names.extend(self.plan.key_columns().map(|c| c.name.as_str()));
        let mut tables = vec![self.plan.source.oid; names.len()];
        for (_, target) in self.plan.row_targets() {
            names.extend(target.key.iter().map(String::as_str));
            tables.resize(names.len(), target.table.oid);
        }
        let rows = client
            .query(
                "select distinct quote_ident(n.nspname::text)
                 from unnest($1::oid[], $2::text[]) as c(relation, name)
                 join pg_attribute a on a.attrelid = c.relation and a.attname::text = c.name
                      and not a.attisdropped
                 join pg_type t on t.oid = a.atttypid
                 left join pg_type b on b.oid = t.typbasetype
                 left join pg_type e on e.oid in (t.typelem, b.typelem) and e.oid <> 0
                 join pg_namespace n on n.oid in (t.typnamespace, b.typnamespace, e.typnamespace)
                 where n.nspname <> 'pg_catalog' order by 1",
                &[&tables, &names],
            )
            .await?;
        // pg_temp last: else anybody's temporary type would come before all others.
        let mut path = vec!["pg_catalog".to_owned()];
        path.extend(rows.iter().map(|r| r.get(0)));
        path.push("pg_temp".to_owned());
        Ok(path.join(", "))
    }

    /// Gives the columns back: no guard, the old default, and NOT NULL as a check that
    /// holds for what is written from now on and costs nothing now. The rest is
    /// [`super::mandatory`]'s, after the commit.
    async fn back(&self, client: &Client) -> Result<()> {
        guard::remove_columns(client, &self.plan.source.name).await?;
        let was = remembered(client, self.source_id).await?;
        client
            .batch_execute(&self.back_sql(&was))
            .await
            .context(format!("giving back columns of {}", self.plan.source.name))?;
        partitions::give_back(client, self.plan, self.source_id).await
    }

    fn forward_sql(&self) -> String {
        let steps: Vec<_> = self
            .columns
            .iter()
            .flat_map(|c| {
                [
                    format!("drop constraint if exists {}", check_name(c)),
                    format!("alter column {} drop not null", c.quoted()),
                    format!("alter column {} drop default", c.quoted()),
                ]
            })
            .collect();
        format!("alter table {} {}", self.table(), steps.join(", "))
    }

    fn back_sql(&self, was: &[Remembered]) -> String {
        let mut sql = String::new();
        for column in &self.columns {
            let Some(was) = was.iter().find(|w| w.name == column.name) else {
                continue;
            };
            let name = column.quoted();
            if let Some(default) = &was.default_sql {
                sql.push_str(&format!(
                    "alter table {} alter column {name} set default {default};",
                    self.table()
                ));
            }
            if was.not_null {
                sql.push_str(&format!(
                    "alter table {} add constraint {} check ({name} is not null) not valid;",
                    self.table(),
                    check_name(column)
                ));
            }
        }
        sql
    }

    fn guard(&self, mandatory: &[Remembered], path: String) -> guard::Columns<'_> {
        let keys: Vec<_> = self.plan.key_columns().map(Column::quoted).collect();
        let same: Vec<_> = keys.iter().map(|k| format!("s.{k} = ($1).{k}")).collect();
        let left: Vec<_> = self
            .plan
            .row_targets()
            .map(|(_, t)| {
                let carried: Vec<_> = t
                    .key
                    .iter()
                    .zip(&keys)
                    .map(|(c, k)| {
                        format!(
                            "t.{} = {}",
                            quote(c),
                            t.column(c).cast(&format!("($1).{k}"))
                        )
                    })
                    .collect();
                format!(
                    "exists (select from {} t where {})",
                    t.table.name.sql(),
                    carried.join(" and ")
                )
            })
            .collect();
        let moving = (self.plan.source.kind == TableKind::Partitioned).then(|| {
            let nothing: serde_json::Map<_, _> = self
                .columns
                .iter()
                .map(|c| (c.name.clone(), serde_json::Value::Null))
                .collect();
            (keys.clone(), serde_json::Value::Object(nothing).to_string())
        });
        guard::Columns {
            table: &self.plan.source.name,
            current: self.current(mandatory),
            path,
            moving,
            names: self.columns.iter().map(|c| c.quoted()).collect(),
            instead: &self.instead,
            left_behind: format!(
                "({}) and not exists (select from {} s where {})",
                left.join(" or "),
                self.table(),
                same.join(" and ")
            ),
        }
    }

    /// That a row, `$1`, has in the moved columns what the reverse makes of the new tables'
    /// present rows. Without a value where there has always been one it waits to be rebuilt.
    /// Without a reverse nothing keeps these columns up, and nothing tells.
    fn current(&self, mandatory: &[Remembered]) -> String {
        if self.plan.reverse.is_none() {
            return "false".to_owned();
        }
        let same: Vec<_> = self
            .columns
            .iter()
            .map(|c| {
                format!(
                    "row(($1).{0})::text is not distinct from row({1})::text",
                    c.quoted(),
                    c.hold(&format!("b.{}", c.quoted()))
                )
            })
            .collect();
        let on: Vec<_> = self
            .plan
            .key_columns()
            .map(|c| format!("b.{0} = ($1).{0}", c.quoted()))
            .collect();
        let empty: Vec<_> = self
            .columns
            .iter()
            .map(|c| format!("($1).{} is null", c.quoted()))
            .collect();
        let filled: String = mandatory
            .iter()
            .map(|w| format!(" and ($1).{} is not null", quote(&w.name)))
            .collect();
        format!(
            "coalesce((select bool_and({}) from {} b where {}), {}){filled}",
            same.join(" and "),
            ChunkTable::back_view(self.source_id),
            on.join(" and "),
            empty.join(" and ")
        )
    }
}

/// A column as it was before the switch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Remembered {
    name: String,
    not_null: bool,
    default_sql: Option<String>,
}

async fn remembered(client: &Client, source_id: i32) -> Result<Vec<Remembered>> {
    let rows = client
        .query(
            "select name, not_null, default_sql from crossfade.moved_column
             where source_id = $1 order by name",
            &[&source_id],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|r| Remembered {
            name: r.get(0),
            not_null: r.get(1),
            default_sql: r.get(2),
        })
        .collect())
}

/// The check that stands for NOT NULL until all rows have been read.
fn check_name(column: &Column) -> String {
    format!("crossfade_not_null_{}", column.attnum)
}
