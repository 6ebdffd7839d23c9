//! What a verification rests on: the modules' text, the columns they were bound to, and
//! whatever else makes other rows of them that no change in the log tells of.
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
    let (mut text, oids) = columns(client, subject).await?;
    text.push_str(&silent(client, subject, &oids).await?);
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
    columns(client, subject).await.map(|_| ())
}

/// The columns that are compared or made into what is, one line each, and their tables.
async fn columns<C: GenericClient>(client: &C, subject: &Subject) -> Result<(String, Vec<u32>)> {
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
    Ok((text, oids))
}

/// What changes a table's rows, or what a SELECT makes of them, and writes nothing into the
/// log for it: partitions that come and go with their rows; a table that is written anew,
/// as by ALTER TYPE … USING (its file tells, and so it does after TRUNCATE and VACUUM FULL,
/// where it need not); the labels of an enum; functions that were replaced, those included
/// whose names stand in the text of the ones that are called.
const SILENT: &str = "
with recursive
part(n, oid) as (
    select t.n, t.oid from unnest($1::oid[]) with ordinality as t(oid, n)
    union
    select t.n, p.relid::oid from unnest($1::oid[]) with ordinality as t(oid, n)
    join pg_catalog.pg_class c on c.oid = t.oid and c.relkind = 'p'
    cross join pg_catalog.pg_partition_tree(t.oid::regclass) p where p.isleaf),
kind(oid) as (
    select a.atttypid from pg_catalog.pg_attribute a
    where a.attrelid = any($1::oid[]) and a.attnum > 0 and not a.attisdropped
    union
    select inner_type.oid from kind k join pg_catalog.pg_type y on y.oid = k.oid
    cross join lateral (
        select y.typelem union all select y.typbasetype
        union all select r.rngsubtype from pg_catalog.pg_range r where r.rngtypid = y.oid
        union all select a.atttypid from pg_catalog.pg_attribute a
                  where a.attrelid = y.typrelid and a.attnum > 0 and not a.attisdropped
    ) as inner_type(oid) where inner_type.oid <> 0),
called(oid) as (
    select unnest($2::oid[])
    union
    select p.oid from called c join pg_catalog.pg_proc f on f.oid = c.oid
    join pg_catalog.pg_proc p on p.oid >= 16384 and (
        pg_catalog.strpos(pg_catalog.lower(f.prosrc), pg_catalog.lower(p.proname::text)) > 0
        or exists(select from pg_catalog.pg_depend d
                  where d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = f.oid
                    and d.refclassid = 'pg_catalog.pg_proc'::regclass and d.refobjid = p.oid)))
select pg_catalog.concat_ws(E'\\n',
    (select pg_catalog.string_agg(pg_catalog.concat_ws(' ', n, oid, pg_catalog.pg_relation_filenode(oid)),
                                  ', ' order by n, oid) from part),
    (select pg_catalog.string_agg(pg_catalog.concat_ws(' ', e.oid, e.enumlabel), ', ' order by e.oid)
     from kind join pg_catalog.pg_enum e on e.enumtypid = kind.oid),
    (select pg_catalog.string_agg(pg_catalog.concat_ws(' ', p.oid, p.prosrc, p.probin, p.prosqlbody, p.proconfig),
                                  ', ' order by p.oid)
     from called join pg_catalog.pg_proc p on p.oid = called.oid))";

async fn silent<C: GenericClient>(client: &C, subject: &Subject, oids: &[u32]) -> Result<String> {
    let made_by = |plan: &Plan| {
        let targets = plan.targets.iter().flat_map(|t| t.functions.clone());
        let reverse = plan.reverse.iter().flat_map(|r| r.functions.clone());
        targets.chain(reverse).collect::<Vec<u32>>()
    };
    let functions: Vec<u32> = subject.sources.iter().flat_map(|s| made_by(&s.0)).collect();
    let row = client.query_one(SILENT, &[&oids, &functions]).await?;
    Ok(row.get(0))
}
