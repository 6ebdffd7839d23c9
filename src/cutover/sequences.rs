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
    /// Where it must be, or why that cannot be told.
    pub need: Need,
    counts_down: bool,
    /// The column whose greatest value takes a scan of a large table to find.
    pub scan: Option<String>,
}

/// Where a sequence must be at the switch.
#[derive(Debug, Clone)]
pub enum Need {
    /// A SELECT of the value that must be behind it.
    Beyond(String),
    /// It fills this column, whose values are no numbers, and the other side has no sequence
    /// of that name's column that would tell.
    Unknown(String),
}

/// A sequence behind a column.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Behind {
    /// As SQL.
    name: String,
    counts_down: bool,
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
        let own = behind(client, &plan.source.name, &column.name).await?;
        if own.is_empty() {
            continue;
        }
        let part = plan.key.iter().position(|&k| k == at);
        let mut others = Vec::new();
        for (_, target) in plan.row_targets() {
            let theirs = part.map_or(&column.name, |part| &target.key[part]);
            others.extend(behind(client, &target.table.name, theirs).await?);
        }
        let column = (&plan.source.name, column.name.as_str());
        sequences.extend(Sequence::at(client, column, &own, &others).await?);
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
            let own = behind(client, &target.table.name, column).await?;
            if own.is_empty() {
                continue;
            }
            // Numbers that the old table has handed out and no row shows yet: those of the
            // column that the key comes from, and of one that has the same name.
            let part = target.key.iter().position(|k| k == column);
            let old = part
                .and_then(|at| plan.key.get(at))
                .map_or(column, |&key| &plan.source.columns[key].name);
            let others = behind(client, &plan.source.name, old).await?;
            let column = (&target.table.name, column.as_str());
            sequences.extend(Sequence::at(client, column, &own, &others).await?);
        }
    }
    Ok(sequences)
}

/// The sequences that fill a column, as SQL: owned by it, or called by its default. None
/// where there is no such column.
async fn behind(client: &Client, table: &QualifiedName, column: &str) -> Result<Vec<Behind>> {
    let rows = client
        .query(
            "select distinct s.oid::regclass::text, q.seqincrement < 0 from pg_class t
             join pg_attribute a on a.attrelid = t.oid
             left join pg_attrdef f on f.adrelid = t.oid and f.adnum = a.attnum
             join pg_depend d on d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass
                    and d.refobjid = t.oid and d.refobjsubid = a.attnum and d.deptype in ('a', 'i')
                  or d.classid = 'pg_attrdef'::regclass and d.objid = f.oid
                    and d.refclassid = 'pg_class'::regclass
             join pg_sequence q on q.seqrelid = case d.classid when 'pg_attrdef'::regclass
                                                then d.refobjid else d.objid end
             join pg_class s on s.oid = q.seqrelid
             where t.oid = $1::text::regclass and a.attname = $2
             order by 1",
            &[&table.sql(), &column],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| Behind {
            name: row.get(0),
            counts_down: row.get(1),
        })
        .collect())
}

/// Whether the column's values are numbers, among which there is a greatest one.
async fn is_number(client: &Client, table: &QualifiedName, column: &str) -> Result<bool> {
    Ok(client
        .query_one(
            "select t.typcategory = 'N' from pg_attribute a join pg_type t on t.oid = a.atttypid
             where a.attrelid = $1::text::regclass and a.attname = $2",
            &[&table.sql(), &column],
        )
        .await?
        .get(0))
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
        (table, column): (&QualifiedName, &str),
        own: &[Behind],
        others: &[Behind],
    ) -> Result<Vec<Self>> {
        let number = is_number(client, table, column).await?;
        let scan = number && takes_a_scan(client, table, column).await?;
        let of = own.iter().map(|own| {
            let (last, furthest) = match own.counts_down {
                true => ("min", "least"),
                false => ("max", "greatest"),
            };
            let mut needs = Vec::new();
            if number {
                let column = quote(column);
                needs.push(format!(
                    "(select {last}({column})::bigint from {})",
                    table.sql()
                ));
            }
            // One sequence may fill the old table and the new one.
            let others = others
                .iter()
                .filter(|o| o.name != own.name && o.counts_down == own.counts_down);
            needs.extend(others.map(|o| format!("(select last_value from {})", o.name)));
            Self {
                name: own.name.clone(),
                need: match needs.as_slice() {
                    [] => Need::Unknown(format!("{table} ({column})")),
                    _ => Need::Beyond(format!("select {furthest}({})", needs.join(", "))),
                },
                counts_down: own.counts_down,
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
        let Need::Beyond(need) = &self.need else {
            return Ok(());
        };
        let beyond = if self.counts_down { "<" } else { ">" };
        let name: &(dyn ToSql + Sync) = &self.name;
        let (action, parameters) = if rehearse {
            ("n.value", &[][..])
        } else {
            ("setval($1::text::regclass, n.value)", &[name][..])
        };
        // Only ever further, and decided by the statement that does it: the table's
        // lock does not keep anybody from calling `nextval`, and a sequence may serve
        // other tables too. A number between a read and a `setval` of what was read
        // would be handed out twice.
        client
            .query_opt(
                &format!(
                    "select {action} from ({}) n (value), {} s
                     where n.value {beyond} s.last_value or n.value = s.last_value and not s.is_called",
                    need, self.name
                ),
                parameters,
            )
            .await
            .context(format!("setting sequence {}", self.name))?;
        Ok(())
    }
}
