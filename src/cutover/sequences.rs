//! Sequences of the targets go beyond those of the source, so that the first row
//! of the new schema gets a number that nobody has.

use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use crate::error::{Context, Result};
use crate::pg::{QualifiedName, quote};
use crate::transform::Plan;

use super::Direction;

/// Below this many rows a scan is over in a moment.
const SMALL: f32 = 50_000.0;

/// A target's sequence and the statement that tells how far it must be.
#[derive(Debug, Clone)]
pub struct Sequence {
    /// As SQL.
    pub name: String,
    /// A SELECT of the value that must be behind it.
    need: String,
    /// The column whose greatest value takes a scan of a large table to find.
    pub scan: Option<String>,
}

/// The sequences of the tables that are to be written from now on.
///
/// # Errors
/// Connection errors.
pub async fn of(client: &Client, plan: &Plan, direction: Direction) -> Result<Vec<Sequence>> {
    match direction {
        Direction::Forward => of_targets(client, plan).await,
        Direction::Back => of_source(client, plan).await,
    }
}

/// The source's own, beyond what was handed out while the targets were written.
async fn of_source(client: &Client, plan: &Plan) -> Result<Vec<Sequence>> {
    let mut sequences = Vec::new();
    for (at, column) in plan.source.columns.iter().enumerate() {
        let mut others = Vec::new();
        if let Some(part) = plan.key.iter().position(|&k| k == at) {
            for (_, target) in plan.row_targets() {
                others.extend(behind(client, &target.table.name, &target.key[part]).await?);
            }
        }
        sequences.extend(Sequence::at(client, &plan.source.name, &column.name, &others).await?);
    }
    Ok(sequences)
}

/// The sequences behind columns that the module fills itself: those that belong to
/// the column, and those that its default calls. (What the module leaves out is
/// filled by the sequence, which is then where it should be.)
async fn of_targets(client: &Client, plan: &Plan) -> Result<Vec<Sequence>> {
    let mut sequences = Vec::new();
    for target in &plan.targets {
        for column in &target.columns {
            // Numbers that the old table has handed out and no row shows yet.
            let mut others = Vec::new();
            if let Some(at) = target.key.iter().position(|k| k == column)
                && let Some(&key) = plan.key.get(at)
            {
                let old = &plan.source.columns[key].name;
                others = behind(client, &plan.source.name, old).await?;
            }
            sequences.extend(Sequence::at(client, &target.table.name, column, &others).await?);
        }
    }
    Ok(sequences)
}

/// The sequences that fill a column, as SQL: owned by it, or called by its default.
/// Those that count downwards are left alone.
async fn behind(client: &Client, table: &QualifiedName, column: &str) -> Result<Vec<String>> {
    let rows = client
        .query(
            "select distinct s.oid::regclass::text from pg_class t
             join pg_attribute a on a.attrelid = t.oid
             left join pg_attrdef f on f.adrelid = t.oid and f.adnum = a.attnum
             join pg_depend d on d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass
                    and d.refobjid = t.oid and d.refobjsubid = a.attnum and d.deptype in ('a', 'i')
                  or d.classid = 'pg_attrdef'::regclass and d.objid = f.oid
                    and d.refclassid = 'pg_class'::regclass
             join pg_sequence q on q.seqrelid = case d.classid when 'pg_attrdef'::regclass
                                                then d.refobjid else d.objid end
             join pg_class s on s.oid = q.seqrelid
             where t.oid = $1::text::regclass and a.attname = $2 and q.seqincrement > 0
             order by 1",
            &[&table.sql(), &column],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn takes_a_scan(client: &Client, table: &QualifiedName, column: &str) -> Result<bool> {
    Ok(client
        .query_one(
            "select c.reltuples > $3 and not exists (
                 select from pg_index i
                 join pg_class x on x.oid = i.indexrelid
                 join pg_am m on m.oid = x.relam and m.amname = 'btree'
                 where i.indrelid = c.oid and i.indisvalid and i.indpred is null
                   and i.indkey[0] = a.attnum)
             from pg_class c join pg_attribute a on a.attrelid = c.oid
             where c.oid = $1::text::regclass and a.attname = $2",
            &[&table.sql(), &column, &SMALL],
        )
        .await?
        .get(0))
}

impl Sequence {
    /// Those behind a column; `others` are to be left behind too.
    async fn at(
        client: &Client,
        table: &QualifiedName,
        column: &str,
        others: &[String],
    ) -> Result<Vec<Self>> {
        let own = behind(client, table, column).await?;
        if own.is_empty() {
            return Ok(Vec::new());
        }
        let scan = takes_a_scan(client, table, column).await?;
        let greatest = format!(
            "(select max({})::bigint from {})",
            quote(column),
            table.sql()
        );
        let of = own.iter().map(|name| {
            let mut needs = vec![greatest.clone()];
            // One sequence may fill the old table and the new one.
            let others = others.iter().filter(|other| *other != name);
            needs.extend(others.map(|c| format!("(select last_value from {c})")));
            Self {
                name: name.clone(),
                need: format!("select greatest({})", needs.join(", ")),
                scan: scan.then(|| format!("{table} ({column})")),
            }
        });
        Ok(of.collect())
    }

    /// Moves it on where it is behind; a rehearsal only reads, since `setval` survives a
    /// rollback.
    ///
    /// # Errors
    /// The server's.
    pub async fn set(&self, client: &Client, rehearse: bool) -> Result<()> {
        let name: &(dyn ToSql + Sync) = &self.name;
        let (action, parameters) = if rehearse {
            ("n.value", &[][..])
        } else {
            ("setval($1::text::regclass, n.value)", &[name][..])
        };
        // Only ever forward, and decided by the statement that does it: the table's
        // lock does not keep anybody from calling `nextval`, and a sequence may serve
        // other tables too. A number between a read and a `setval` of what was read
        // would be handed out twice.
        client
            .query_opt(
                &format!(
                    "select {action} from ({}) n (value), {} s
                     where n.value > s.last_value or n.value = s.last_value and not s.is_called",
                    self.need, self.name
                ),
                parameters,
            )
            .await
            .context(format!("setting sequence {}", self.name))?;
        Ok(())
    }
}
