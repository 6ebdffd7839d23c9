//! What the catalog says about one table.

mod length;

use tokio_postgres::GenericClient;

pub use self::length::Length;
use super::ident::{QualifiedName, quote};
use crate::error::{Context, Error, Kind, Result};

/// A table, its columns and its unique keys.
#[derive(Debug, Clone)]
pub struct Table {
    pub oid: u32,
    pub name: QualifiedName,
    pub kind: TableKind,
    pub columns: Vec<Column>,
    pub identity: ReplicaIdentity,
    /// Unique indexes that can stand for a row: valid, not partial, on plain
    /// columns. The primary key comes first.
    pub unique: Vec<UniqueIndex>,
    /// The planner's estimate; -1 where the table was never analyzed.
    pub estimated_rows: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKind {
    Plain,
    Partitioned,
    /// A view, a foreign table, …: `pg_class.relkind`.
    Other(char),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Column {
    pub attnum: i16,
    pub name: String,
    pub type_oid: u32,
    pub typmod: i32,
    /// The type as SQL text with its modifier, for example `numeric(10,2)`.
    pub type_sql: String,
    /// The same without it, for example `numeric`: a cast to it never cuts a value.
    pub bare_type_sql: String,
    /// The collation as SQL text, where the type has one.
    pub collation: Option<String>,
    pub not_null: bool,
    /// `GENERATED ALWAYS AS (…) STORED`.
    pub generated: bool,
    /// `GENERATED ALWAYS AS IDENTITY`: UPDATE may not set it.
    pub identity_always: bool,
    /// A default, an identity or a generation expression fills it when left out.
    pub has_default: bool,
    /// Whether two values are equal exactly when their texts are: integers, uuid,
    /// dates, text under a deterministic collation, … (not numeric: 1.0 = 1.00).
    pub text_is_identity: bool,
    /// The type's input function as a call of `($)`, where a cast from text is
    /// something else than reading the type's own output.
    pub input: Option<String>,
    /// The type's output function as a call of `($)`, where a cast to text is
    /// something else than what the log holds.
    pub output: Option<String>,
    /// The length of its type, which an explicit cast would cut a value to.
    pub length: Option<Length>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplicaIdentity {
    /// The primary key.
    Default,
    Nothing,
    Full,
    /// The named unique index.
    Index(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UniqueIndex {
    pub name: String,
    /// Column names in index order.
    pub columns: Vec<String>,
    pub primary: bool,
    /// False for a deferrable constraint.
    pub immediate: bool,
    pub all_not_null: bool,
}

impl Table {
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    #[must_use]
    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }

    /// How to name the table in FROM: a plain table without its inheritance
    /// children, whose rows the publication reports under their own names.
    #[must_use]
    pub fn from_sql(&self) -> String {
        match self.kind {
            TableKind::Plain => format!("only {}", self.name.sql()),
            _ => self.name.sql(),
        }
    }

    /// The unique index whose columns identify a row in the stream.
    ///
    /// # Errors
    /// [`Kind::Precondition`] with the remedy, where the table has none.
    pub fn key(&self) -> Result<&UniqueIndex> {
        let name = &self.name;
        let found = match &self.identity {
            ReplicaIdentity::Default | ReplicaIdentity::Full => {
                self.unique.iter().find(|u| u.primary)
            }
            ReplicaIdentity::Index(index) => self.unique.iter().find(|u| &u.name == index),
            ReplicaIdentity::Nothing => {
                return Err(Error::new(
                    Kind::Precondition,
                    format!(
                        "table {name} has REPLICA IDENTITY NOTHING: its updates cannot be followed"
                    ),
                )
                .remedy(format!(
                    "ALTER TABLE {} REPLICA IDENTITY DEFAULT",
                    name.sql()
                )));
            }
        };
        let key = found.ok_or_else(|| {
            Error::new(Kind::Precondition, format!("table {name} has no primary key"))
                .remedy(format!(
                    "add a primary key, or ALTER TABLE {} REPLICA IDENTITY USING INDEX one that is unique and on NOT NULL columns",
                    name.sql()
                ))
        })?;
        if !key.immediate {
            return Err(Error::new(
                Kind::Precondition,
                format!(
                    "the key {} of table {name} is deferrable: two rows can carry it at once",
                    key.name
                ),
            )
            .remedy(
                "make the constraint NOT DEFERRABLE, or choose another replica identity index",
            ));
        }
        Ok(key)
    }
}

/// Types whose text output is one-to-one with equality, under the settings every
/// session here pins.
const TEXT_IS_IDENTITY: &[&str] = &[
    "int2",
    "int4",
    "int8",
    "uuid",
    "date",
    "timestamp",
    "timestamptz",
    "time",
    "bool",
    "bytea",
    "oid",
    "xid8",
    "pg_lsn",
    "macaddr",
    "macaddr8",
    "name",
    "text",
    "varchar",
];

const COLUMNS: &str = "
select a.attnum, a.attname::text, a.atttypid, a.atttypmod,
       format_type(a.atttypid, a.atttypmod),
       case when a.attcollation <> 0 then quote_ident(cn.nspname) || '.' || quote_ident(co.collname) end,
       a.attnotnull, a.attgenerated <> '', a.attidentity = 'a',
       a.atthasdef or a.attidentity <> '',
       t.typname = any($2::text[]) and t.typnamespace = 'pg_catalog'::regnamespace
         and coalesce(co.collisdeterministic, true),
       (select format('%I.%I(pg_catalog.textout($)%s)', n.nspname, p.proname,
                      case when p.pronargs > 1 then format(', %s::oid, -1', b.oid) else '' end)
        from pg_type b
        join pg_proc p on p.oid = b.typinput
        join pg_namespace n on n.oid = p.pronamespace
        join pg_cast k on k.casttarget = b.oid and k.castsource = 'text'::regtype and k.castmethod = 'f'
        where b.oid = coalesce(nullif(t.typbasetype, 0), t.oid)),
       (select format('pg_catalog.textin(%I.%I($))', n.nspname, p.proname)
        from pg_type b
        join pg_proc p on p.oid = b.typoutput
        join pg_namespace n on n.oid = p.pronamespace
        join pg_cast k on k.castsource = b.oid and k.casttarget = 'text'::regtype and k.castmethod = 'f'
        where b.oid = coalesce(nullif(t.typbasetype, 0), t.oid)),
       format_type(a.atttypid, -1),
       l.element, l.typmod, l.limited, l.bare, l.limited_element, l.bare_element, l.is_array
from pg_attribute a
join pg_type t on t.oid = a.atttypid
left join pg_collation co on co.oid = a.attcollation
left join pg_namespace cn on cn.oid = co.collnamespace";

const UNIQUE: &str = "
select c.relname::text, i.indisprimary, i.indimmediate,
       array_agg(a.attname::text order by k.ord),
       bool_and(a.attnotnull)
from pg_index i
join pg_class c on c.oid = i.indexrelid
cross join lateral unnest(i.indkey::int2[]) with ordinality as k(attnum, ord)
join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
where i.indrelid = $1::oid and i.indisunique and i.indisvalid
  and i.indpred is null and i.indexprs is null and k.ord <= i.indnkeyatts
group by c.relname, i.indisprimary, i.indimmediate
order by i.indisprimary desc, count(*), c.relname";

/// Reads a table from the catalog; `None` where there is none of that name.
///
/// # Errors
/// Connection and privilege errors.
pub async fn table<C: GenericClient>(client: &C, name: &QualifiedName) -> Result<Option<Table>> {
    let row = client
        .query_opt(
            "select c.oid, c.relkind::text, c.relreplident::text, c.reltuples::bigint,
                    (select x.relname::text from pg_index i join pg_class x on x.oid = i.indexrelid
                     where i.indrelid = c.oid and i.indisreplident)
             from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where n.nspname = $1 and c.relname = $2",
            &[&name.schema, &name.name],
        )
        .await
        .context(format!("reading the catalog for table {name}"))?;
    let Some(row) = row else { return Ok(None) };
    let oid: u32 = row.get(0);
    let kind = match row.get::<_, String>(1).as_str() {
        "r" => TableKind::Plain,
        "p" => TableKind::Partitioned,
        other => TableKind::Other(other.chars().next().unwrap_or('?')),
    };
    let identity = match (
        row.get::<_, String>(2).as_str(),
        row.get::<_, Option<String>>(4),
    ) {
        ("f", _) => ReplicaIdentity::Full,
        ("i", Some(index)) => ReplicaIdentity::Index(index),
        ("n" | "i", _) => ReplicaIdentity::Nothing,
        _ => ReplicaIdentity::Default,
    };
    let sql = format!(
        "{COLUMNS}{} where a.attrelid = $1::oid and a.attnum > 0 and not a.attisdropped
         order by a.attnum",
        length::SQL
    );
    let columns = client.query(&sql, &[&oid, &TEXT_IS_IDENTITY]).await?;
    let unique = client.query(UNIQUE, &[&oid]).await?;
    Ok(Some(Table {
        oid,
        name: name.clone(),
        kind,
        identity,
        estimated_rows: row.get(3),
        columns: columns
            .iter()
            .map(|r| Column {
                attnum: r.get(0),
                name: r.get(1),
                type_oid: r.get(2),
                typmod: r.get(3),
                type_sql: r.get(4),
                collation: r.get(5),
                not_null: r.get(6),
                generated: r.get(7),
                identity_always: r.get(8),
                has_default: r.get(9),
                text_is_identity: r.get(10),
                input: r.get(11),
                output: r.get(12),
                bare_type_sql: r.get(13),
                length: Length::read(r, 14),
            })
            .collect(),
        unique: unique
            .iter()
            .map(|r| UniqueIndex {
                name: r.get(0),
                primary: r.get(1),
                immediate: r.get(2),
                columns: r.get(3),
                all_not_null: r.get(4),
            })
            .collect(),
    }))
}

impl Column {
    /// A text expression, as the server printed it, as a value of this column.
    ///
    /// A type can have a cast from text of its own that reads less than its output:
    /// that of `regclass` does not know `-`. Its input function is called then.
    #[must_use]
    pub fn parse(&self, text: &str) -> String {
        match &self.input {
            Some(call) => self.cast(&call.replace("($)", &format!("({text})"))),
            None => self.cast(text),
        }
    }

    /// A value of this column as the text that the log holds for it. A cast to text
    /// can differ: `true` for `t`, `char(n)` without its blanks.
    #[must_use]
    pub fn print(&self, value: &str) -> String {
        match &self.output {
            Some(call) => call.replace("($)", &format!("({value})")),
            None => format!("({value})::text"),
        }
    }

    /// `expression::type collate …`: an expression of another type as a value of
    /// this column.
    #[must_use]
    pub fn cast(&self, expression: &str) -> String {
        self.cast_to(expression, &self.type_sql)
    }

    /// As [`Column::cast`], for comparing with what the column holds: a value that is
    /// too long, which an assignment refuses and a cast would cut, stays whole.
    #[must_use]
    pub fn hold(&self, expression: &str) -> String {
        let Some(length) = &self.length else {
            return self.cast(expression);
        };
        let held = length.hold(expression);
        match &self.collation {
            Some(collation) => format!("{held} collate {collation}"),
            None => held,
        }
    }

    /// As [`Column::cast`], without the type's modifier: a value that is too long for
    /// the column stays what it is instead of becoming another's.
    #[must_use]
    pub fn cast_whole(&self, expression: &str) -> String {
        self.cast_to(expression, &self.bare_type_sql)
    }

    fn cast_to(&self, expression: &str, type_sql: &str) -> String {
        match &self.collation {
            Some(collation) => format!("({expression})::{type_sql} collate {collation}"),
            None => format!("({expression})::{type_sql}"),
        }
    }

    /// Whether the two types hold the same values, but for their sizes: integers,
    /// strings, or one type.
    #[must_use]
    pub fn same_kind(&self, other: &Self) -> bool {
        let both = |kind: &[u32]| kind.contains(&self.type_oid) && kind.contains(&other.type_oid);
        // smallint, integer, bigint; text, varchar.
        both(&[20, 21, 23]) || both(&[25, 1043]) || self.type_oid == other.type_oid
    }

    #[must_use]
    pub fn quoted(&self) -> String {
        quote(&self.name)
    }
}
