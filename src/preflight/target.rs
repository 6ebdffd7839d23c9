//! One target table.

use tokio_postgres::{Client, Row};

use super::{Finding, Report, Scene, source};
use crate::error::{Error, Kind, Result};
use crate::pg::quote;
use crate::transform::{Plan, Target};

/// In the order of the columns that [`source::row_security`] expects.
const FACTS: &str = "
select pg_catalog.has_table_privilege(c.oid, 'SELECT'),
       pg_catalog.pg_has_role(c.relowner, 'usage'),
       pg_catalog.pg_get_userbyid(c.relowner)::text,
       current_user::text,
       c.relpersistence::text,
       pg_catalog.row_security_active(c.oid),
       pg_catalog.has_table_privilege(c.oid, 'INSERT'),
       pg_catalog.has_table_privilege(c.oid, 'UPDATE'),
       pg_catalog.has_table_privilege(c.oid, 'DELETE')
from pg_catalog.pg_class c where c.oid = $1";

const INDEX: &str = "
select exists (
  select from pg_catalog.pg_index i
  join pg_catalog.pg_class x on x.oid = i.indexrelid
  join pg_catalog.pg_am m on m.oid = x.relam
  where i.indrelid = $1 and i.indisvalid and i.indpred is null and m.amname = 'btree'
    and cardinality($2::text[]) = (
      select count(*) from unnest(i.indkey::int2[]) with ordinality as k(attnum, position)
      join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
      where k.position <= cardinality($2::text[]) and a.attname = any($2::text[])))";

const FOREIGN_KEYS: &str = "
select conname::text, conrelid::regclass::text, confrelid::regclass::text
from pg_catalog.pg_constraint
where contype = 'f' and conparentid = 0 and $1 in (conrelid, confrelid) order by 2, 1";

const CASCADES: &str = "
select conname::text, confrelid::regclass::text,
       confdeltype in ('c', 'n', 'd') or confupdtype in ('c', 'n', 'd')
from pg_catalog.pg_constraint
where contype = 'f' and conparentid = 0 and confrelid <> all($2)
  and (conrelid = $1
       or conrelid in (select relid from pg_catalog.pg_partition_tree($1::oid::regclass)))
order by 1";

/// crossfade's own guards live in its schema.
const TRIGGERS: &str = "
select t.tgname::text, t.tgenabled::text from pg_catalog.pg_trigger t
join pg_catalog.pg_proc p on p.oid = t.tgfoid
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where t.tgrelid = $1 and not t.tgisinternal and t.tgenabled <> 'D' and n.nspname <> 'crossfade'
order by 1";

pub(super) async fn check(
    client: &Client,
    scene: &Scene<'_>,
    target: &Target,
    siblings: &[u32],
    replica: bool,
    report: &mut Report,
) {
    match client.query_one(FACTS, &[&target.table.oid]).await {
        Err(e) => report.add("target_privileges", Err(e.into())),
        Ok(row) => {
            let may = privileges(target, &row);
            let readable = may.is_ok();
            report.add("target_privileges", may);
            report.add("target_owner", Ok(owner(target, &row)));
            report.add(
                "target_row_security",
                source::row_security(&target.table, &row),
            );
            if row.get::<_, String>(4) != "p" {
                report.add("target_logged", Ok(unlogged(target)));
            }
            if scene.makes_slot() && readable {
                report.add("target_empty", empty(client, target).await);
            }
        }
    }
    if target.is_lookup() {
        report.add("lookup", Ok(lookup(target)));
    } else {
        report.add("target_index", index(client, target).await);
    }
    report.add("foreign_keys", foreign_keys(client, target, replica).await);
    report.add(
        "foreign_key_cascades",
        cascades(client, target, siblings).await,
    );
    report.add("triggers", triggers(client, target, replica).await);
    report.add("target_children", childless(client, target).await);
}

/// A DELETE on a table reaches its inheritance children, which hold the rows of somebody
/// else.
async fn childless(client: &Client, target: &Target) -> Result<Finding> {
    let name = &target.table.name;
    let row = client
        .query_one(
            "select string_agg(i.inhrelid::regclass::text, ', ' order by i.inhrelid::regclass::text)
             from pg_catalog.pg_inherits i
             join pg_catalog.pg_class c on c.oid = i.inhparent and c.relkind = 'r'
             where i.inhparent = $1",
            &[&target.table.oid],
        )
        .await?;
    let Some(children) = row.get::<_, Option<String>>(0) else {
        return Ok(Finding::ok(format!("{name} has no inheritance children")));
    };
    Err(Error::new(
        Kind::Precondition,
        format!("{name} has inheritance children, whose rows would be compared and removed as its own: {children}"),
    )
    .remedy("ALTER TABLE … NO INHERIT on each, or use partitions"))
}

fn privileges(target: &Target, row: &Row) -> Result<Finding> {
    let name = &target.table.name;
    // Lookups are never updated and never deleted.
    let needed: &[(&str, usize)] = if target.is_lookup() {
        &[("SELECT", 0), ("INSERT", 6)]
    } else {
        &[("SELECT", 0), ("INSERT", 6), ("UPDATE", 7), ("DELETE", 8)]
    };
    let list = |wanted: bool| -> Vec<&str> {
        let has = |at: usize| row.get::<_, bool>(at);
        needed
            .iter()
            .filter(|(_, at)| has(*at) == wanted)
            .map(|(p, _)| *p)
            .collect()
    };
    let missing = list(false).join(", ");
    if missing.is_empty() {
        return Ok(Finding::ok(format!("{} on {name}", list(true).join(", "))));
    }
    let role: String = row.get(3);
    Err(Error::new(
        Kind::Privilege,
        format!("role {role} has not {missing} on {name}"),
    )
    .remedy(format!(
        "GRANT {missing} ON {} TO {}",
        name.sql(),
        quote(&role)
    )))
}

/// Copying needs no ownership, so this stops nothing yet.
fn owner(target: &Target, row: &Row) -> Finding {
    let (owner, role): (String, String) = (row.get(2), row.get(3));
    if row.get(1) {
        return Finding::ok(format!("{} belongs to {owner}", target.table.name));
    }
    Finding::warning(
        format!(
            "{} belongs to {owner}, not to {role}: the switch needs its owner",
            target.table.name
        ),
        format!("GRANT {} TO {}", quote(&owner), quote(&role)),
    )
}

fn unlogged(target: &Target) -> Finding {
    Finding::warning(
        format!(
            "{} is unlogged: a crash of the server empties it",
            target.table.name
        ),
        format!("ALTER TABLE {} SET LOGGED", target.table.name.sql()),
    )
}

/// Rows already in a target would be mixed with the module's.
///
/// # Errors
/// [`Kind::Precondition`] for the first target that holds rows. Lookups may.
pub async fn check_empty(client: &Client, plans: &[Plan]) -> Result<()> {
    for plan in plans {
        for (_, target) in plan.row_targets() {
            empty(client, target).await?;
        }
    }
    Ok(())
}

async fn empty(client: &Client, target: &Target) -> Result<Finding> {
    let name = &target.table.name;
    let sql = format!("select exists(select from {})", name.sql());
    let has_rows: bool = client.query_one(&sql, &[]).await?.try_get(0)?;
    if !has_rows {
        return Ok(Finding::ok(format!("{name} is empty")));
    }
    if target.is_lookup() {
        return Ok(Finding::ok(format!(
            "{name} holds rows already, which stay as they are"
        )));
    }
    Err(Error::new(
        Kind::Precondition,
        format!("target table {name} is not empty"),
    )
    .remedy(format!(
        "TRUNCATE {} if its rows are left-overs of an earlier attempt",
        name.sql()
    )))
}

fn lookup(target: &Target) -> Finding {
    Finding::ok(format!(
        "{} is a lookup: the first source row that names a key fills its columns, later ones change nothing",
        target.table.name
    ))
}

async fn index(client: &Client, target: &Target) -> Result<Finding> {
    let name = &target.table.name;
    let key = target.list(&target.key, "");
    let row = client
        .query_one(INDEX, &[&target.table.oid, &target.key])
        .await?;
    if row.try_get(0)? {
        return Ok(Finding::ok(format!(
            "{name} has an index that leads with ({key})"
        )));
    }
    Ok(Finding::warning(
        format!(
            "{name} has no index that leads with ({key}): deletes and verify scan the whole table"
        ),
        format!("CREATE INDEX CONCURRENTLY ON {} ({key})", name.sql()),
    ))
}

async fn foreign_keys(client: &Client, target: &Target, replica: bool) -> Result<Finding> {
    let rows = client.query(FOREIGN_KEYS, &[&target.table.oid]).await?;
    let name = &target.table.name;
    if rows.is_empty() {
        return Ok(Finding::ok(format!("none from or to {name}")));
    }
    let list: Vec<String> = rows
        .iter()
        .map(|r| {
            let (name, from, to): (String, String, String) = (r.get(0), r.get(1), r.get(2));
            format!("{} ({from} → {to})", quote(&name))
        })
        .collect();
    let list = list.join(", ");
    if replica {
        return Ok(Finding::warning(
            format!(
                "{list}: not checked and not cascaded while crossfade writes {name}, so the constraint can stand as valid over rows that break it"
            ),
            "after the copy, drop it and add it again: ADD CONSTRAINT … NOT VALID, then VALIDATE CONSTRAINT",
        ));
    }
    let cascades: bool = client
        .query_one(
            "select exists(select from pg_constraint where contype = 'f' and confrelid = $1
                 and (confdeltype in ('c', 'n', 'd') or confupdtype in ('c', 'n', 'd')))",
            &[&target.table.oid],
        )
        .await?
        .get(0);
    if cascades {
        return Err(Error::new(
            Kind::Precondition,
            format!("{list}: a row of {name} that is written anew would take the rows that refer to it away"),
        )
        .remedy("drop the cascading foreign key until after the switch, or let the role set session_replication_role"));
    }
    Ok(Finding::warning(
        format!(
            "{list}: checked at every write of {name}; a row whose parent has not been copied yet is set aside until it is retried"
        ),
        "drop it now and add it after the copy: ADD CONSTRAINT … NOT VALID, then VALIDATE CONSTRAINT",
    ))
}

/// The server keeps to a foreign key in the name of whoever writes the other table, and
/// meets the guard: the application would see that error.
async fn cascades(client: &Client, target: &Target, siblings: &[u32]) -> Result<Finding> {
    let rows = client
        .query(CASCADES, &[&target.table.oid, &siblings])
        .await?;
    let name = &target.table.name;
    let list = |cascading: bool| -> Vec<String> {
        let these = rows.iter().filter(|r| r.get::<_, bool>(2) == cascading);
        these
            .map(|r| format!("{} to {}", quote(r.get(0)), r.get::<_, &str>(1)))
            .collect()
    };
    let (cascading, others) = (list(true), list(false));
    let remedy = "drop it and add it again after the switch: ADD CONSTRAINT … NOT VALID, then VALIDATE CONSTRAINT";
    if !cascading.is_empty() {
        return Err(Error::new(
            Kind::Precondition,
            format!(
                "{} cascades into {name}, which is guarded until the switch: the application's own DELETE there would fail",
                cascading.join(", ")
            ),
        )
        .remedy(remedy));
    }
    if others.is_empty() {
        return Ok(Finding::ok(format!("none from {name} to a table in use")));
    }
    Ok(Finding::warning(
        format!(
            "{}: a row it refers to cannot be deleted until crossfade has deleted those of {name}, a moment after the old ones",
            others.join(", ")
        ),
        remedy,
    ))
}

async fn triggers(client: &Client, target: &Target, replica: bool) -> Result<Finding> {
    let rows = client.query(TRIGGERS, &[&target.table.oid]).await?;
    let name = &target.table.name;
    if rows.is_empty() {
        return Ok(Finding::ok(format!("none on {name}")));
    }
    let (mut fires, mut silent) = (Vec::new(), Vec::new());
    for row in &rows {
        let (trigger, enabled): (String, String) = (row.get(0), row.get(1));
        // O fires for ordinary sessions, R for replicas, A for both.
        let fired = match enabled.as_str() {
            "A" => true,
            "R" => replica,
            _ => !replica,
        };
        if fired { &mut fires } else { &mut silent }.push(quote(&trigger));
    }
    let mut says = Vec::new();
    if !fires.is_empty() {
        says.push(format!(
            "{} fire on every row crossfade writes",
            fires.join(", ")
        ));
    }
    if !silent.is_empty() {
        says.push(format!(
            "{} do not fire on what crossfade writes",
            silent.join(", ")
        ));
    }
    Ok(Finding::warning(
        format!("triggers on {name}: {}", says.join("; ")),
        "have the module's SELECT produce what a trigger would; disable one that must not fire until the switch",
    ))
}
