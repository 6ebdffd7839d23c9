//! Which source columns a SELECT depends on, as `PostgreSQL` itself records it.
//!
//! The SELECT becomes a temporary view over a temporary relation named `source`
//! with the source's row type; `pg_depend` then lists the columns, and the stored
//! query tree shows what `pg_depend` does not: references to the whole row
//! (`:varattno 0`) and the functions that are called. All of it is rolled back.

use std::collections::BTreeSet;

use tokio_postgres::Transaction;

use super::plan::Dependencies;
use crate::error::{Context, Error, Kind, Result, classify};
use crate::pg::catalog::Table;
use crate::pg::quote;

/// What the server says about one SELECT.
#[derive(Debug)]
pub struct Facts {
    pub depends: Dependencies,
    /// Whether it reads the relation `source` at all.
    pub reads_source: bool,
    /// Output columns: name and type as SQL.
    pub output: Vec<(String, String)>,
    /// Relations it reads besides `source`, by OID.
    pub relations: Vec<u32>,
    /// Functions that it calls and somebody has made, by OID: these can become others.
    pub functions: Vec<u32>,
    /// Functions whose result can differ between two runs on the same row.
    pub unstable: Vec<String>,
}

/// Functions that are STABLE to the planner, yet differ between the copy of a row
/// and its verification: they read the clock or the session.
const CLOCK: &[&str] = &[
    "now",
    "transaction_timestamp",
    "statement_timestamp",
    "txid_current",
    "pg_current_xact_id",
    "pg_current_snapshot",
    "txid_current_snapshot",
    "current_setting",
    "inet_client_addr",
    "inet_client_port",
    "pg_backend_pid",
    "current_query",
];

/// Makes the relation `source` that the SELECTs are compiled against.
///
/// # Errors
/// [`Kind::Privilege`] where the role may not make temporary tables.
pub async fn prepare(tx: &Transaction<'_>, source: &Table) -> Result<()> {
    // CTAS keeps type, modifier and collation, and needs SELECT only. It loses
    // nothing a SELECT could depend on.
    let columns: Vec<_> = source.columns.iter().map(|c| c.quoted()).collect();
    tx.batch_execute(&format!(
        "create temp table source on commit drop as select {} from {} with no data",
        columns.join(", "),
        source.from_sql()
    ))
    .await
    .context(format!("compiling against the columns of {}", source.name))
}

/// Compiles one SELECT; `number` makes the view's name unique in the transaction.
///
/// # Errors
/// [`Kind::Module`] with the server's own reason, when the SELECT does not compile.
pub async fn facts(
    tx: &Transaction<'_>,
    source: &Table,
    select: &str,
    number: usize,
) -> Result<Facts> {
    let view = quote(&format!("crossfade_view_{number}"));
    // Not `batch_execute`: the extended protocol takes one statement only, so a
    // file cannot close the parenthesis and go on with others.
    tx.execute(
        &format!("create temp view {view} as select * from ({select}\n) q"),
        &[],
    )
    .await
    .map_err(|e| compile_error(&e, select))?;
    let row = tx
        .query_one(
            "select r.ev_action::text, r.oid from pg_rewrite r where r.ev_class = $1::text::regclass",
            &[&format!("pg_temp.{view}")],
        )
        .await?;
    let tree: String = row.get(0);
    let rule: u32 = row.get(1);
    let output = tx
        .query(
            "select attname::text, format_type(atttypid, atttypmod) from pg_attribute
             where attrelid = $1::text::regclass and attnum > 0 order by attnum",
            &[&format!("pg_temp.{view}")],
        )
        .await?
        .iter()
        .map(|r| (r.get(0), r.get(1)))
        .collect();
    let refs = tx
        .query(
            "select refobjid, refobjsubid, refobjid = 'pg_temp.source'::regclass from pg_depend
             where classid = 'pg_rewrite'::regclass and objid = $1::oid
               and refclassid = 'pg_class'::regclass and refobjid <> $2::text::regclass",
            &[&rule, &format!("pg_temp.{view}")],
        )
        .await?;
    let mut columns = BTreeSet::new();
    let mut relations = BTreeSet::new();
    let mut reads_source = false;
    for r in &refs {
        let (relation, attnum, is_source): (u32, i32, bool) = (r.get(0), r.get(1), r.get(2));
        reads_source |= is_source;
        if !is_source {
            relations.insert(relation);
        } else if attnum > 0 {
            // The temporary table numbers its columns from 1 without gaps.
            columns.insert(usize::try_from(attnum - 1).unwrap_or_default());
        }
    }
    let whole = tree.contains(":varattno 0 ");
    let called = called(&tree);
    Ok(Facts {
        depends: if whole {
            Dependencies::WholeRow
        } else {
            Dependencies::Columns(columns)
        },
        reads_source,
        output,
        relations: relations.into_iter().collect(),
        unstable: unstable(tx, &tree, &called, source).await?,
        functions: called
            .into_iter()
            .filter(|oid| *oid >= FIRST_MADE)
            .collect(),
    })
}

/// The first OID that the server gives to what is made after initdb (its
/// `FirstNormalObjectId`).
const FIRST_MADE: u32 = 16384;

/// Every function that a stored query tree calls, ascending.
fn called(tree: &str) -> Vec<u32> {
    let mut oids = BTreeSet::new();
    for field in [":funcid ", ":opfuncid ", ":winfnoid ", ":aggfnoid "] {
        for (at, _) in tree.match_indices(field) {
            let digits = tree[at + field.len()..]
                .split(|c: char| !c.is_ascii_digit())
                .next();
            if let Some(Ok(oid)) = digits.map(str::parse::<u32>) {
                oids.insert(oid);
            }
        }
    }
    oids.into_iter().collect()
}

/// Those of the functions called that read the clock, the session or chance.
async fn unstable(
    tx: &Transaction<'_>,
    tree: &str,
    called: &[u32],
    source: &Table,
) -> Result<Vec<String>> {
    let rows = tx
        .query(
            "select p.oid::regprocedure::text from pg_proc p
             where p.oid = any($1::oid[]) and (p.provolatile = 'v'
               or (p.pronamespace = 'pg_catalog'::regnamespace and p.proname = any($2::text[])))
             order by 1",
            &[&called, &CLOCK],
        )
        .await
        .context(format!("reading the functions used on {}", source.name))?;
    let mut names: Vec<String> = rows.iter().map(|r| r.get(0)).collect();
    if tree.contains("{SQLVALUEFUNCTION") {
        names.push("current_date, current_timestamp, current_user or the like".to_owned());
    }
    Ok(names)
}

/// The server's reason with the line of the SELECT it points at.
fn compile_error(e: &tokio_postgres::Error, select: &str) -> Error {
    let Some(db) = e.as_db_error() else {
        return Error::new(Kind::Connection, e.to_string());
    };
    let prefix = "create temp view \"crossfade_view_0\" as select * from (".len();
    let mut message = format!("the SELECT does not compile: {}", db.message());
    if let Some(tokio_postgres::error::ErrorPosition::Original(at)) = db.position() {
        let at = (*at as usize).saturating_sub(prefix + 1);
        let before: String = select.chars().take(at).collect();
        let line = before.matches('\n').count();
        if let Some(text) = select.lines().nth(line) {
            message = format!("{message} (line {}: `{}`)", line + 1, text.trim());
        }
    }
    let mut error = Error::new(blame(classify(db.code().code())), message);
    error.remedy = db.hint().map(str::to_owned);
    error
}

/// Whose fault an error at compiling is: the module's, unless the server went away, was
/// busy or refused the role. A daemon must not end for good because the server was
/// restarted while it compiled.
#[must_use]
pub fn blame(kind: Kind) -> Kind {
    match kind {
        Kind::Privilege | Kind::Connection | Kind::Contention => kind,
        _ => Kind::Module,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_goes_away_is_not_the_modules_fault() {
        for code in ["57P01", "57P03", "08006", "40001", "55P03", "57014"] {
            assert_ne!(blame(classify(code)), Kind::Module, "{code}");
        }
        assert_eq!(blame(classify("42703")), Kind::Module);
        assert_eq!(blame(Kind::Connection), Kind::Connection);
        assert_eq!(blame(classify("42501")), Kind::Privilege);
    }
}
