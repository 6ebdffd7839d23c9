//! Guards on tables: who writes where it does not belong gets an error, instead of
//! a row that nobody will ever see.

use tokio_postgres::GenericClient;

use crate::error::{Context, Result};
use crate::pg::{QualifiedName, ident};

/// The trigger's name on every guarded table.
pub const TRIGGER: &str = "crossfade_guard";

/// Keeps everybody but crossfade's sessions from writing a target until the
/// migration has switched: sessions in the replica role too, where the table is ours. Who
/// only has the TRIGGER privilege cannot ask for that.
///
/// # Errors
/// The server's: needs the table's ownership or the TRIGGER privilege.
pub async fn target<C: GenericClient>(
    client: &C,
    table: &QualifiedName,
    migration: &str,
) -> Result<()> {
    let function = format!("crossfade.guard_target({})", ident::literal(migration));
    for part in with_partitions(client, table).await? {
        create(client, &part, &function).await?;
        match always(client, &part).await {
            Err(e) if e.is_sqlstate("42501") => {}
            done => done?,
        }
    }
    Ok(())
}

/// Keeps everybody but crossfade's sessions from writing an old table; `instead` tells
/// them where to write. Its partitions are guarded each on its own, since a statement
/// may name one of them, and sessions in the replica role are turned away too.
///
/// # Errors
/// The server's: needs the tables' ownership.
pub async fn source<C: GenericClient>(
    client: &C,
    table: &QualifiedName,
    instead: &str,
) -> Result<()> {
    let function = format!("crossfade.guard_source({})", ident::literal(instead));
    for part in with_partitions(client, table).await? {
        create(client, &part, &function).await?;
        always(client, &part).await?;
    }
    Ok(())
}

/// Lets the guard of a table fire in sessions of every replication role.
async fn always<C: GenericClient>(client: &C, table: &QualifiedName) -> Result<()> {
    client
        .batch_execute(&format!(
            "alter table {} enable always trigger {TRIGGER}",
            table.sql()
        ))
        .await
        .context(format!("guarding {table}"))
}

/// Removes what [`source`] made.
///
/// # Errors
/// As [`source`].
pub async fn remove_source<C: GenericClient>(client: &C, table: &QualifiedName) -> Result<()> {
    for part in with_partitions(client, table).await? {
        remove(client, &part).await?;
    }
    Ok(())
}

/// The table, then its partitions of every level.
async fn with_partitions<C: GenericClient>(
    client: &C,
    table: &QualifiedName,
) -> Result<Vec<QualifiedName>> {
    let mut tables = vec![table.clone()];
    let rows = client
        .query(
            "select n.nspname::text, c.relname::text
             from pg_partition_tree(to_regclass($1)) p
             join pg_class c on c.oid = p.relid join pg_namespace n on n.oid = c.relnamespace
             where p.relid <> to_regclass($1) order by 1, 2",
            &[&table.sql()],
        )
        .await?;
    tables.extend(
        rows.iter()
            .map(|r| QualifiedName::new(r.get::<_, String>(0), r.get::<_, String>(1))),
    );
    Ok(tables)
}

async fn create<C: GenericClient>(client: &C, table: &QualifiedName, function: &str) -> Result<()> {
    remove(client, table).await?;
    client
        .batch_execute(&format!(
            "create trigger {TRIGGER} before insert or update or delete or truncate on {}
             for each statement execute function {function}",
            table.sql()
        ))
        .await
        .context(format!("guarding {table}"))
}

/// # Errors
/// As [`target`].
pub async fn remove<C: GenericClient>(client: &C, table: &QualifiedName) -> Result<()> {
    if !exists(client, table).await? {
        return Ok(());
    }
    client
        .batch_execute(&format!("drop trigger {TRIGGER} on {}", table.sql()))
        .await
        .context(format!("removing the guard of {table}"))
}

/// The tables that are guarded as targets of this migration.
///
/// # Errors
/// Connection errors.
pub async fn targets<C: GenericClient>(client: &C, migration: &str) -> Result<Vec<QualifiedName>> {
    // An argument of a trigger is stored with a zero byte behind it.
    let rows = client
        .query(
            "select n.nspname::text, c.relname::text from pg_trigger t
             join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
             where t.tgname = $1 and t.tgfoid = to_regproc('crossfade.guard_target')
               and t.tgargs = convert_to($2, 'UTF8') || '\\x00'::bytea and t.tgparentid = 0
             order by 1, 2",
            &[&TRIGGER, &migration],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|r| QualifiedName::new(r.get::<_, String>(0), r.get::<_, String>(1)))
        .collect())
}

/// Removes the guard of a live table in the open transaction. The strong lock that
/// this takes is waited for only a moment, so that nobody queues behind it for long;
/// a vacuum, which would outlast that, is made to give way before by a lock that
/// keeps no reader and no writer waiting.
///
/// # Errors
/// Lock timeout (55P03): try again; else as [`target`].
pub async fn remove_gently<C: GenericClient>(client: &C, table: &QualifiedName) -> Result<()> {
    if !exists(client, table).await? {
        return Ok(());
    }
    gently(
        client,
        table,
        &format!("drop trigger {TRIGGER} on {}", table.sql()),
    )
    .await
    .context(format!("removing the guard of {table}"))
}

/// Runs statements that need a live table's strong lock for a moment, in the open
/// transaction, with the pauses and the order that [`remove_gently`] tells of.
///
/// # Errors
/// Lock timeout (55P03): roll back and try again; else the server's.
pub async fn gently<C: GenericClient>(
    client: &C,
    table: &QualifiedName,
    statements: &str,
) -> Result<()> {
    client
        .batch_execute(&format!(
            "set local lock_timeout = '5s'; lock table {} in share update exclusive mode;
             set local lock_timeout = '200ms'",
            table.sql()
        ))
        .await
        .context(format!("waiting for a vacuum of {table} to give way"))?;
    Ok(client.batch_execute(statements).await?)
}

/// What [`columns`] guards.
pub struct Columns<'a> {
    pub table: &'a QualifiedName,
    /// The moved columns, quoted.
    pub names: Vec<String>,
    /// The tables they moved to.
    pub instead: &'a str,
    /// A condition on a deleted row, `$1`: rows of the new tables stay behind.
    pub left_behind: String,
    /// A condition on a row, `$1`: what it has in the moved columns is what the new tables
    /// hold.
    pub current: String,
    /// The search path for these two conditions.
    pub path: String,
    /// The columns of the row's key, quoted, where a change of them can take it to another
    /// partition; and the moved columns without a value, as JSON.
    pub moving: Option<(Vec<String>, String)>,
}

/// The triggers of [`columns`].
const COLUMN_TRIGGERS: [&str; 5] = [
    "crossfade_guard_columns",
    "crossfade_guard_columns_delete",
    "crossfade_guard_columns_insert",
    "crossfade_guard_columns_current",
    "crossfade_guard_columns_moving",
];

/// Keeps everybody but crossfade's sessions from writing moved columns. Rows that
/// leave these columns as they are do not pass through any function: whether a value
/// changes is a condition of the triggers, compared by its bytes, since not every
/// type has an equality. They fire in sessions of every replication role, and after the
/// row is made: a trigger of the application's own may set a column that its UPDATE
/// does not name, and may run after any other that runs before.
///
/// An UPDATE that names moved columns and leaves them as they are is looked at row by row:
/// it may have computed their values from ones that the new tables no longer hold, or do
/// not hold yet.
///
/// # Errors
/// As [`target`].
pub async fn columns<C: GenericClient>(client: &C, guarded: &Columns<'_>) -> Result<()> {
    remove_columns(client, guarded.table).await?;
    understood(client, guarded).await?;
    client
        .batch_execute(&columns_sql(guarded))
        .await
        .context(format!("guarding columns of {}", guarded.table))
}

/// Tries the conditions, of no row: a name that is not found under their search path would
/// be so to everybody who writes the table from now on.
async fn understood<C: GenericClient>(client: &C, guarded: &Columns<'_>) -> Result<()> {
    let conditions = [&guarded.left_behind, &guarded.current].map(|c| c.replace("($1)", "(r)"));
    let before: String = client
        .query_one("select pg_catalog.current_setting('search_path')", &[])
        .await?
        .get(0);
    let path = "select pg_catalog.set_config('search_path', $1, true)";
    client.query_one(path, &[&guarded.path]).await?;
    client
        .batch_execute(&format!(
            "select {} from {} r limit 0",
            conditions.join(", "),
            guarded.table.sql()
        ))
        .await
        .context(format!(
            "trying the guard of moved columns of {}",
            guarded.table
        ))?;
    client.query_one(path, &[&before]).await?;
    Ok(())
}

fn columns_sql(guarded: &Columns<'_>) -> String {
    let table = guarded.table.sql();
    let names = guarded.names.join(", ");
    let [update, delete, insert, current, moving] = COLUMN_TRIGGERS;
    let told = format!(
        "{}, {}",
        ident::literal(&names),
        ident::literal(guarded.instead)
    );
    let function = format!("crossfade.guard_columns({told})");
    let any: Vec<_> = guarded
        .names
        .iter()
        .map(|n| format!("new.{n} is not null"))
        .collect();
    let changed = changed(&guarded.names, "new", "old");
    let mut sql = format!(
        "create trigger {update} after update on {table} for each row
         when ({changed}) execute function {function};
         create trigger {insert} after insert on {table} for each row
         when ({}) execute function {function};
         create trigger {current} after update of {names} on {table} for each row
         when (not ({changed})) execute function crossfade.guard_current({told}, {}, {});
         create constraint trigger {delete} after delete on {table}
         deferrable initially deferred for each row
         execute function crossfade.guard_delete({}, {}, {});",
        any.join(" or "),
        ident::literal(&guarded.current),
        ident::literal(&guarded.path),
        ident::literal(&guarded.left_behind),
        ident::literal(guarded.instead),
        ident::literal(&guarded.path),
    );
    let mut made = vec![update, insert, current, delete];
    if let Some((key, nothing)) = &guarded.moving {
        sql.push_str(&format!(
            "create trigger {moving} before update on {table} for each row
             when ({}) execute function crossfade.guard_moving({told}, {}, {});",
            self::changed(key, "new", "old"),
            ident::literal(&self::changed(&guarded.names, "($1)", "($2)")),
            ident::literal(nothing),
        ));
        made.push(moving);
    }
    for trigger in made {
        sql.push_str(&format!(
            "alter table {table} enable always trigger {trigger};"
        ));
    }
    sql
}

/// That two rows differ in columns, to the byte.
fn changed(columns: &[String], new: &str, old: &str) -> String {
    let row = |prefix: &str| -> String {
        let values: Vec<_> = columns.iter().map(|c| format!("{prefix}.{c}")).collect();
        values.join(", ")
    };
    format!("row({})::record *<> row({})::record", row(new), row(old))
}

/// The statements that remove the guard of moved columns, whoever runs them.
#[must_use]
pub fn remove_columns_sql(table: &QualifiedName) -> String {
    COLUMN_TRIGGERS
        .iter()
        .map(|t| format!("drop trigger if exists {t} on {};\n", table.sql()))
        .collect()
}

/// # Errors
/// As [`target`].
pub async fn remove_columns<C: GenericClient>(client: &C, table: &QualifiedName) -> Result<()> {
    client
        .batch_execute(&remove_columns_sql(table))
        .await
        .context(format!("removing the guard of columns of {table}"))
}

async fn exists<C: GenericClient>(client: &C, table: &QualifiedName) -> Result<bool> {
    let row = client
        .query_one(
            "select exists(select from pg_trigger where tgname = $1 and tgrelid = to_regclass($2))",
            &[&TRIGGER, &table.sql()],
        )
        .await?;
    Ok(row.get(0))
}
