//! Sequences of the targets go beyond those of the source, so that the first row
//! of the new schema gets a number that nobody has.

use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use crate::error::{Context, Result};
use crate::pg::{QualifiedName, quote};
use crate::transform::{Plan, Target};

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
    let mut made = None;
    for (at, column) in plan.source.columns.iter().enumerate() {
        let own = behind(client, &plan.source.name, &column.name).await?;
        if own.is_empty() {
            continue;
        }
        let made = match &made {
            Some(made) => made,
            None => made.insert(of_row_targets(client, plan).await?),
        };
        let mut others = Vec::new();
        for (target, from) in made {
            let given = target.columns.iter().zip(from);
            let given = given.filter(|(_, from)| from.contains(&at));
            // What no SELECT gives may be what [reverse] reads.
            let left = Some(&column.name).filter(|name| !target.columns.contains(name));
            for theirs in given.map(|(theirs, _)| theirs).chain(left) {
                others.extend(behind(client, &target.table.name, theirs).await?);
            }
        }
        let column = (&plan.source.name, column.name.as_str());
        sequences.extend(Sequence::at(client, column, &own, &others).await?);
    }
    Ok(sequences)
}

async fn of_row_targets<'a>(client: &Client, plan: &'a Plan) -> Result<Vec<(&'a Target, Origins)>> {
    let mut made = Vec::new();
    for (_, target) in plan.row_targets() {
        made.push((target, made_of(client, plan, target).await?));
    }
    Ok(made)
}

/// The sequences behind columns that the module fills itself: those that belong to
/// the column, and those that its default calls. (What the module leaves out is
/// filled by the sequence, which is then where it should be.)
async fn of_targets(client: &Client, plan: &Plan) -> Result<Vec<Sequence>> {
    let mut sequences = Vec::new();
    for target in &plan.targets {
        let mut made = None;
        for (at, column) in target.columns.iter().enumerate() {
            let own = behind(client, &target.table.name, column).await?;
            if own.is_empty() {
                continue;
            }
            let made = match &made {
                Some(made) => made,
                None => made.insert(made_of(client, plan, target).await?),
            };
            // Numbers that the old table has handed out and no row shows yet.
            let mut others = Vec::new();
            for &old in &made[at] {
                let old = &plan.source.columns[old].name;
                others.extend(behind(client, &plan.source.name, old).await?);
            }
            let column = (&target.table.name, column.as_str());
            sequences.extend(Sequence::at(client, column, &own, &others).await?);
        }
    }
    Ok(sequences)
}

/// For each of a target's columns the source's that its numbers come from, as positions.
type Origins = Vec<Vec<usize>>;

/// The part of the key, or what the SELECT passes on as it is, under whatever name. Of
/// what it computes nobody tells: there it is a column of the same name, and those that
/// it reads and passes on nowhere (`no::bigint as number`). One too many leaves a gap in
/// the numbers, one too few hands some out twice.
async fn made_of(client: &Client, plan: &Plan, target: &Target) -> Result<Origins> {
    let passed = passed_on(client, plan, target).await?;
    let free = |i: &usize| !plan.key.contains(i) && !passed.contains(&Some(*i));
    let columns = target.columns.iter().zip(&passed);
    let from = columns.map(|(column, passed)| {
        let part = target.key.iter().position(|k| k == column);
        let known = part.and_then(|at| plan.key.get(at).copied()).or(*passed);
        if let Some(known) = known {
            return vec![known];
        }
        let all = 0..plan.source.columns.len();
        all.filter(|i| {
            let same = plan.source.columns[*i].name == *column;
            same || target.depends.on(*i) && free(i)
        })
        .collect()
    });
    Ok(from.collect())
}

/// Which of the source's columns each column of the SELECT is, unchanged: the server
/// tells where a result's column comes from.
async fn passed_on(client: &Client, plan: &Plan, target: &Target) -> Result<Vec<Option<usize>>> {
    let sql = format!(
        "with {} select * from ({}\n) q",
        plan.source_range((false, false)),
        target.select
    );
    let statement = client.prepare(&sql).await.context(format!(
        "reading where the columns of {} come from",
        target.table.name
    ))?;
    let origin = |column: &tokio_postgres::Column| {
        let number = column.column_id()?;
        let ours = column.table_oid() == Some(plan.source.oid);
        let all = &plan.source.columns;
        all.iter().position(|c| ours && c.attnum == number)
    };
    let mut passed: Vec<_> = statement.columns().iter().map(origin).collect();
    passed.resize(target.columns.len(), None);
    Ok(passed)
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
