//! Which sequences number the old rows and the new ones.
//!
//! Old and new clients insert side by side, so they must draw their numbers from one
//! sequence. The view's default draws from the new table's. A client that calls the old
//! table's by its name does not.

use std::collections::HashMap;

use tokio_postgres::Client;

use crate::error::Result;
use crate::pg::ident::literal;
use crate::pg::{QualifiedName, quote};
use crate::transform::Plan;
use crate::transform::plan::Target;

/// What a column draws from; names as SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draws {
    pub sequence: String,
    pub identity: bool,
}

/// A column of the old table, and the one of the new tables that is filled with it.
#[derive(Debug, Default)]
pub struct Numbers {
    pub old: Option<Draws>,
    /// With the target's name and the column's.
    pub new: Option<(QualifiedName, String, Draws)>,
}

impl Numbers {
    /// Where the view's default draws from.
    #[must_use]
    pub fn drawn(self) -> Option<String> {
        let new = self.new.map(|(_, _, draws)| draws);
        new.or(self.old).map(|draws| draws.sequence)
    }
}

/// Those of every column of the source; `source` is the table's name now. Few queries: the
/// application waits for it in the switch.
///
/// # Errors
/// Connection errors.
pub async fn read(client: &Client, plan: &Plan, source: &QualifiedName) -> Result<Vec<Numbers>> {
    let old = draws(client, source).await?;
    let mut new = Vec::new();
    for (_, target) in plan.row_targets() {
        new.push((target, draws(client, &target.table.name).await?));
    }
    let numbers = plan.source.columns.iter().enumerate().map(|(at, column)| {
        let of_target = |(target, draws): &(&Target, Drawn)| {
            let name = counterpart(plan, target, at)?;
            let found = draws.get(name)?.clone();
            Some((target.table.name.clone(), name.to_owned(), found))
        };
        Numbers {
            old: old.get(&column.name).cloned(),
            new: new.iter().find_map(of_target),
        }
    });
    Ok(numbers.collect())
}

/// The key's part, or the column of the same name that the module fills.
fn counterpart<'a>(plan: &Plan, target: &'a Target, column: usize) -> Option<&'a str> {
    if let Some(part) = plan.key.iter().position(|&k| k == column) {
        return Some(&target.key[part]);
    }
    let name = &plan.source.columns[column].name;
    let found = target.columns.iter().find(|c| *c == name);
    found.map(String::as_str)
}

/// By the column's name.
type Drawn = HashMap<String, Draws>;

/// The sequences of identities, and those that defaults call. One that only belongs to a
/// column fills nothing.
async fn draws(client: &Client, table: &QualifiedName) -> Result<Drawn> {
    let rows = client
        .query(
            "select distinct on (a.attnum) a.attname::text, s.oid::regclass::text, a.attidentity <> ''
             from pg_attribute a
             left join pg_attrdef f on f.adrelid = a.attrelid and f.adnum = a.attnum
             join pg_depend d on d.refclassid = 'pg_class'::regclass and case when a.attidentity <> ''
                    then d.classid = 'pg_class'::regclass and d.refobjid = a.attrelid
                         and d.refobjsubid = a.attnum and d.deptype = 'i'
                    else d.classid = 'pg_attrdef'::regclass and d.objid = f.oid end
             join pg_class s on s.relkind = 'S'
                    and s.oid = case when a.attidentity <> '' then d.objid else d.refobjid end
             where a.attrelid = $1::text::regclass and a.attnum > 0 and not a.attisdropped
             order by a.attnum, s.oid",
            &[&table.sql()],
        )
        .await?;
    let drawn = rows.iter().map(|row| {
        let draws = Draws {
            sequence: row.get(1),
            identity: row.get(2),
        };
        (row.get(0), draws)
    });
    Ok(drawn.collect())
}

/// An old column whose numbers come from another sequence than the new one's.
#[derive(Debug)]
pub struct Parted {
    pub found: String,
    pub remedy: String,
    /// Whether the old sequence has a name that clients know: that of an identity is
    /// called by hardly anybody.
    pub known: bool,
}

/// # Errors
/// Connection errors.
pub async fn parted(client: &Client, plan: &Plan) -> Result<Vec<Parted>> {
    let mut parted = Vec::new();
    let all = read(client, plan, &plan.source.name).await?;
    for (column, numbers) in plan.source.columns.iter().zip(all) {
        let (Some(old), Some((table, name, new))) = (numbers.old, numbers.new) else {
            continue;
        };
        if old.sequence == new.sequence {
            continue;
        }
        let no_identity = match new.identity {
            true => format!("ALTER COLUMN {} DROP IDENTITY, ", quote(&name)),
            false => String::new(),
        };
        parted.push(Parted {
            found: format!(
                "{} ({}) draws from {} and {table} ({name}) from {}",
                plan.source.name, column.name, old.sequence, new.sequence
            ),
            remedy: format!(
                "ALTER TABLE {} {no_identity}ALTER COLUMN {} SET DEFAULT nextval({}); GRANT USAGE ON SEQUENCE {} to those who insert there",
                table.sql(),
                quote(&name),
                literal(&old.sequence),
                old.sequence
            ),
            known: !old.identity,
        });
    }
    Ok(parted)
}

/// Columns of the targets that number themselves when a row is written: `lastval()`
/// gives such a number then.
///
/// # Errors
/// Connection errors.
pub async fn own(client: &Client, plan: &Plan) -> Result<Vec<String>> {
    let mut own = Vec::new();
    for target in &plan.targets {
        let drawn = draws(client, &target.table.name).await?;
        for column in &target.table.columns {
            if drawn.contains_key(&column.name) && !target.columns.contains(&column.name) {
                own.push(format!("{} ({})", target.table.name, column.name));
            }
        }
    }
    Ok(own)
}
