//! Strategy `view`: as `rename`, and a view under the old name lets an application that
//! knows only the old schema read and write on.
//!
//! The view gives exactly the old table's columns, rebuilt by the module's reverse;
//! what is written to it goes through the module's own SELECTs into the new tables
//! (`write`). So both schemas are in use at once, and clients move when they like.

pub mod checks;
mod constraints;
mod kept;
mod numbers;
mod unique;
mod update;
mod write;

use tokio_postgres::{Client, Row};

use super::{Direction, rename};
use crate::error::{Context, Error, Kind, Result};
use crate::pg::catalog::Column;
use crate::pg::{QualifiedName, quote};
use crate::state::ChunkTable;
use crate::transform::{Plan, Reverse};

/// Puts the view in the old table's place, or takes it away again, in the switch's open
/// transaction.
///
/// # Errors
/// The server's; [`Kind::Module`] without a reverse.
pub async fn apply(
    client: &Client,
    plan: &Plan,
    source_id: i32,
    direction: Direction,
) -> Result<()> {
    match direction {
        Direction::Forward => {
            rename::apply(client, plan, direction).await?;
            put(client, &renamed(plan), source_id).await
        }
        Direction::Back => {
            take(client, plan, source_id).await?;
            rename::apply(client, plan, direction).await
        }
    }
}

/// The plan with its targets' names after the switch.
fn renamed(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    for target in &mut plan.targets {
        if let Some(name) = target.rename_to.clone() {
            target.table.name = name;
        }
    }
    plan
}

async fn put(client: &Client, plan: &Plan, source_id: i32) -> Result<()> {
    let place = &plan.module.source;
    let reverse = plan.reverse.as_ref().ok_or_else(|| {
        Error::new(
            Kind::Module,
            format!(
                "module {} has no [reverse] to rebuild {place} with",
                plan.module.name
            ),
        )
    })?;
    let what = || format!("making the view {place}");
    let select: String = client
        .query_one(
            "select crossfade.select_of(to_regclass($1))",
            &[&ChunkTable::back_view(source_id)],
        )
        .await
        .context(what())?
        .get(0);
    let columns = columns(client, plan).await?;
    let sql = view_sql(plan, reverse, &select, &columns);
    client.batch_execute(&sql).await.context(what())?;
    let constraints = constraints::read(client, plan).await?;
    let further = unique::read(client, plan).await?;
    let path = path(client).await?;
    let functions = write::sql(plan, source_id, &path, &constraints, &further);
    client.batch_execute(&functions).await.context(what())?;
    dress(client, plan, &columns).await.context(what())
}

/// Where the view's functions look for what the module names without a schema: where this
/// session does. A writer's temporary tables come last, or they would stand for tables
/// of the same name, and what hides behind them would run with the functions' rights.
async fn path(client: &Client) -> Result<String> {
    let row = client
        .query_one(
            "select string_agg(quote_ident(s), ', ' order by n)
             from unnest(current_schemas(true)) with ordinality c (s, n)
             where s !~ '^pg_temp'",
            &[],
        )
        .await?;
    let schemas: String = row.get(0);
    Ok(format!("{schemas}, pg_temp"))
}

async fn take(client: &Client, plan: &Plan, source_id: i32) -> Result<()> {
    let place = &plan.module.source;
    client
        .batch_execute(&write::drop_sql(place, source_id))
        .await
        .context(format!("removing the view {place}"))
}

/// What the catalog says of a column of the old table beyond its plan.
struct Facts {
    /// Its default, or its generation expression.
    expression: Option<String>,
    identity: bool,
    /// Where its numbers come from.
    sequence: Option<String>,
}

async fn columns(client: &Client, plan: &Plan) -> Result<Vec<Facts>> {
    let rows = client
        .query(
            "select crossfade.expression_of(d.adbin, d.adrelid), a.attidentity <> ''
             from pg_attribute a
             left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
             where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped order by a.attnum",
            &[&plan.source.oid],
        )
        .await?;
    let numbers = numbers::read(client, plan, &super::aside(plan)).await?;
    let facts = rows.iter().zip(numbers).map(|(row, numbers)| Facts {
        expression: row.get(0),
        identity: row.get(1),
        sequence: numbers.drawn(),
    });
    Ok(facts.collect())
}

/// `record."column"` as a value of the source's own type.
fn value(column: &Column, record: &str) -> String {
    column.cast(&format!("{record}.{}", column.quoted()))
}

/// The inner SELECT gives what is rebuilt the old types, the outer one computes what
/// was generated out of that.
fn view_sql(plan: &Plan, reverse: &Reverse, select: &str, facts: &[Facts]) -> String {
    let place = plan.module.source.sql();
    let inner: Vec<_> = reverse
        .columns
        .iter()
        .map(|&i| {
            let c = &plan.source.columns[i];
            format!("{} as {}", c.cast(&format!("b.{}", c.quoted())), c.quoted())
        })
        .collect();
    let outer: Vec<_> = plan
        .source
        .columns
        .iter()
        .zip(facts)
        .map(|(c, f)| match (&f.expression, c.generated) {
            (Some(expression), true) => format!("{} as {}", c.cast(expression), c.quoted()),
            _ => format!("x.{}", c.quoted()),
        })
        .collect();
    let mut sql = format!(
        "create view {place} as select {}\nfrom (select {} from ({}\n) b) x;",
        outer.join(", "),
        inner.join(", "),
        select.trim_end().trim_end_matches(';')
    );
    for (c, f) in plan.source.columns.iter().zip(facts) {
        if let Some(default) = default(c.generated, f) {
            sql.push_str(&format!(
                "alter view {place} alter column {} set default {default};",
                c.quoted()
            ));
        }
    }
    sql
}

fn default(generated: bool, facts: &Facts) -> Option<String> {
    if generated {
        return None;
    }
    let draws = facts.identity
        || facts
            .expression
            .as_deref()
            .is_some_and(|e| e.starts_with("nextval("));
    match &facts.sequence {
        Some(sequence) if draws => Some(format!(
            "nextval({}::regclass)",
            crate::pg::ident::literal(sequence)
        )),
        _ => facts.expression.clone(),
    }
}

/// Gives the view the old table's owner, grants and comments.
async fn dress(client: &Client, plan: &Plan, facts: &[Facts]) -> Result<()> {
    let place = &plan.module.source;
    let row = client
        .query_one(
            "select pg_get_userbyid(relowner)::text, obj_description(oid, 'pg_class')
             from pg_class where oid = $1",
            &[&plan.source.oid],
        )
        .await?;
    let (owner, comment): (String, Option<String>) = (row.get(0), row.get(1));
    client
        .batch_execute(&format!(
            "alter view {} owner to {}",
            place.sql(),
            quote(&owner)
        ))
        .await?;
    let mut sql = String::new();
    for row in grants_of_view(client, place).await? {
        sql.push_str(&format!(
            "revoke all on {} from {};",
            place.sql(),
            row.get::<_, &str>(0)
        ));
    }
    let writers = grants_of_table(client, plan, place, &mut sql).await?;
    for (c, f) in plan.source.columns.iter().zip(facts) {
        if let (Some(sequence), true) = (&f.sequence, default(c.generated, f).is_some()) {
            for writer in &writers {
                sql.push_str(&format!("grant usage on sequence {sequence} to {writer};"));
            }
        }
    }
    if let Some(comment) = comment {
        sql.push_str(&format!(
            "comment on view {} is {};",
            place.sql(),
            crate::pg::ident::literal(&comment)
        ));
    }
    comments(client, plan, place, &mut sql).await?;
    Ok(client.batch_execute(&sql).await?)
}

/// A new view has what ALTER DEFAULT PRIVILEGES gives away: nothing is to be left of it.
async fn grants_of_view(client: &Client, place: &QualifiedName) -> Result<Vec<Row>> {
    Ok(client
        .query(
            "select distinct case when a.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end
             from pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
             where c.oid = to_regclass($1)",
            &[&place.sql()],
        )
        .await?)
}

/// The old table's grants, of its columns too; returns who may insert.
async fn grants_of_table(
    client: &Client,
    plan: &Plan,
    place: &QualifiedName,
    sql: &mut String,
) -> Result<Vec<String>> {
    let rows = client
        .query(
            "select case when a.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end,
                    a.privilege_type, a.is_grantable, g.column_name
             from (select relacl as acl, null::text as column_name, relowner from pg_class where oid = $1
                   union all
                   select attacl, quote_ident(attname), null from pg_attribute
                   where attrelid = $1 and attacl is not null and not attisdropped) g,
                  aclexplode(coalesce(g.acl, acldefault('r', g.relowner))) a
             order by 4 nulls first, 1, 2",
            &[&plan.source.oid],
        )
        .await?;
    let mut writers = Vec::new();
    for row in &rows {
        let (grantee, privilege): (String, String) = (row.get(0), row.get(1));
        let column = row
            .get::<_, Option<&str>>(3)
            .map(|name| format!(" ({name})"))
            .unwrap_or_default();
        let option = if row.get(2) { " with grant option" } else { "" };
        sql.push_str(&format!(
            "grant {privilege}{column} on {} to {grantee}{option};",
            place.sql()
        ));
        if privilege == "INSERT" && !writers.contains(&grantee) {
            writers.push(grantee);
        }
    }
    Ok(writers)
}

async fn comments(
    client: &Client,
    plan: &Plan,
    place: &QualifiedName,
    sql: &mut String,
) -> Result<()> {
    let rows = client
        .query(
            "select a.attname::text, d.description from pg_description d
             join pg_attribute a on a.attrelid = d.objoid and a.attnum = d.objsubid
             where d.classoid = 'pg_class'::regclass and d.objoid = $1 and d.objsubid > 0
             order by a.attnum",
            &[&plan.source.oid],
        )
        .await?;
    for row in &rows {
        sql.push_str(&format!(
            "comment on column {}.{} is {};",
            place.sql(),
            quote(row.get(0)),
            crate::pg::ident::literal(row.get(1))
        ));
    }
    Ok(())
}
