//! Tries a child table's design on rows of its parent: does everything come back as it
//! was? Where it does not, the design gives way: a column keeps the text, or what no
//! column says is kept beside them.

use tokio_postgres::Client;

use super::super::schema::Table;
use super::child::{Child, ChildColumn, Content};
use super::name::ident;
use crate::error::Result;
use crate::pg::ident::literal;

/// Rows of the parent that are looked at.
const ROWS: u64 = 4000;
/// Below this many a whole scan of the first is as good as a sample.
const SMALL: u64 = 20_000;
/// With more of its values kept beside it a column has the wrong type.
const ODD_SHARE: f64 = 0.1;

/// What a design needs besides itself.
#[derive(Debug, Default)]
pub struct Fitted {
    /// For the plan's reader.
    pub notes: Vec<String>,
    /// Rows without elements are told in two ways, NULL and this: one must give way.
    pub normalise: Option<String>,
}

/// Adjusts the design to what the rows hold. Reads only, in bounded statements.
///
/// # Errors
/// What the server says, except that a value cannot be cast.
pub async fn fit(client: &Client, parent: &Table, child: &mut Child) -> Result<Fitted> {
    let mut fitted = Fitted::default();
    let from = sample(parent);
    match child.content.clone() {
        Content::Json {
            column,
            text,
            path,
            document,
            ..
        } => {
            let mut empty = "'[]'".to_owned();
            if path.is_empty() {
                let found = emptiness(client, parent, &column, "'[]'").await?;
                fitted.normalise = found.normalise.then(|| empty.clone());
                empty = found.value;
            }
            let array = child.array("t");
            let rest = json(client, child, &array, &from, &mut fitted.notes).await?;
            if rest {
                fitted.notes.push(format!(
                    "{}.{} keeps what no column says: fields that are null, fields that the sample did not show, numbers that were written as text. So the old column comes back to the letter; drop it after `finish` if nothing in it matters",
                    child.name,
                    beside(child)
                ));
            }
            child.content = Content::Json {
                rest: rest.then(|| beside(child)),
                empty,
                column,
                text,
                path,
                document,
            };
        }
        Content::List {
            column, separator, ..
        } => {
            let empty = emptiness(client, parent, &column, "''").await?;
            fitted.normalise = empty.normalise.then(|| "''".to_owned());
            let separator = separators(client, &column, &separator, &from).await?;
            list(client, child, &column, &separator, &from, &mut fitted.notes).await?;
            child.content = Content::List {
                column,
                separator,
                empty: empty.value,
            };
        }
        Content::Group { .. } | Content::Document { .. } => {}
    }
    Ok(fitted)
}

/// The rows to look at, as `t`.
fn sample(parent: &Table) -> String {
    let rows = parent.estimated_rows();
    let from = parent.from_sql();
    if rows <= SMALL {
        return format!("{from} t");
    }
    #[allow(clippy::cast_precision_loss, reason = "a percentage")]
    let percent = (ROWS as f64 * 100.0 / rows as f64).clamp(0.001, 100.0);
    format!("{from} t tablesample system ({percent:.4}) repeatable (7)")
}

struct Emptiness {
    value: String,
    normalise: bool,
}

/// Whether rows without elements hold NULL, the empty value, or both.
async fn emptiness(
    client: &Client,
    parent: &Table,
    column: &str,
    empty: &str,
) -> Result<Emptiness> {
    let name = ident(column);
    let nulls = !parent.column(column).is_some_and(|c| c.not_null);
    let sql = format!(
        "select {}, exists (select from {} where pg_column_size({name}) < 32 and {name} = {empty})",
        if nulls {
            format!(
                "exists (select from {} where {name} is null)",
                parent.from_sql()
            )
        } else {
            "false".to_owned()
        },
        parent.from_sql()
    );
    let row = client.query_one(&sql, &[]).await?;
    let (null, blank): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    Ok(Emptiness {
        value: if null && !blank {
            "null".to_owned()
        } else {
            empty.to_owned()
        },
        normalise: null && blank,
    })
}

/// What the sample says of one column of a JSON split.
struct Seen {
    elements: i64,
    present: i64,
    nulls: i64,
    odd: i64,
}

async fn seen(
    client: &Client,
    child: &ChildColumn,
    array: &str,
    from: &str,
) -> Result<Option<Seen>> {
    let field = literal(&child.field);
    let (field, value) = (field.trim_start(), child.value("i.item"));
    let original = if child.field.is_empty() {
        "i.item".to_owned()
    } else {
        format!("i.item -> {field}")
    };
    let present = if child.field.is_empty() {
        "true".to_owned()
    } else {
        format!("i.item ? {field}")
    };
    let sql = format!(
        "select count(*), count(*) filter (where {present}), count(*) filter (where {original} = 'null'),
                count(*) filter (where {original} <> 'null' and to_jsonb({value}) is distinct from {original})
         from {}",
        elements(array, from)
    );
    match client.query_one(&sql, &[]).await {
        Ok(row) => Ok(Some(Seen {
            elements: row.try_get(0)?,
            present: row.try_get(1)?,
            nulls: row.try_get(2)?,
            odd: row.try_get(3)?,
        })),
        Err(e) => unfit(e).map(|()| None),
    }
}

/// A value that cannot be cast says that the type does not fit; all else is an error.
fn unfit(e: tokio_postgres::Error) -> Result<()> {
    match e.code() {
        Some(code) if code.code().starts_with("22") => Ok(()),
        _ => Err(e.into()),
    }
}

/// The elements of `array`, an expression over `t`.
fn elements(array: &str, from: &str) -> String {
    format!(
        "(select {array} as doc from {from} where jsonb_typeof({array}) = 'array' limit {ROWS}) d
         cross join lateral jsonb_array_elements(d.doc) as i (item)"
    )
}

/// Settles every column's type; returns whether something is left over.
async fn json(
    client: &Client,
    child: &mut Child,
    array: &str,
    from: &str,
    notes: &mut Vec<String>,
) -> Result<bool> {
    let mut left_over = false;
    for at in 0..child.columns.len() {
        let wished = child.columns[at].type_sql.clone();
        for kind in [wished.as_str(), "numeric", "text", "jsonb"] {
            let numeric = kind == "numeric" && !wished.starts_with("double") && wished != "real";
            if numeric && kind != wished {
                continue;
            }
            kind.clone_into(&mut child.columns[at].type_sql);
            let Some(seen) = seen(client, &child.columns[at], array, from).await? else {
                continue;
            };
            let present = seen.present - seen.nulls;
            #[allow(clippy::cast_precision_loss, reason = "a share")]
            let share = seen.odd as f64 / present.max(1) as f64;
            if share > ODD_SHARE && kind != "jsonb" {
                continue;
            }
            let chosen = &mut child.columns[at];
            chosen.odd = seen.odd > 0;
            chosen.not_null &= seen.present == seen.elements && seen.nulls == 0;
            left_over |=
                chosen.odd || (seen.nulls > 0 && kind != "jsonb" && !chosen.field.is_empty());
            if kind != wished {
                notes.push(format!(
                    "{}.{} stays {kind}: as {wished} its values would not come back as they were written",
                    child.name, chosen.name
                ));
            }
            break;
        }
    }
    if child.columns.iter().any(|c| c.field.is_empty()) {
        return Ok(left_over);
    }
    let strangers = strangers(client, array, from).await?;
    if strangers > 0 {
        notes.push(format!(
            "{strangers} of the sampled elements of {} are no objects: such rows are set aside until they are corrected",
            child.moved().join(", ")
        ));
    }
    Ok(left_over || unknown_keys(client, child, array, from).await?)
}

/// Elements that are no objects.
async fn strangers(client: &Client, array: &str, from: &str) -> Result<i64> {
    let sql = format!(
        "select count(*) from {} where jsonb_typeof(i.item) <> 'object'",
        elements(array, from)
    );
    Ok(client.query_one(&sql, &[]).await?.try_get(0)?)
}

/// Whether elements have keys that no column takes.
async fn unknown_keys(client: &Client, child: &Child, array: &str, from: &str) -> Result<bool> {
    let known: Vec<&str> = child.columns.iter().map(|c| c.field.as_str()).collect();
    let sql = format!(
        "select exists (select from {} cross join lateral jsonb_object_keys(
             case when jsonb_typeof(i.item) = 'object' then i.item else '{{}}' end) k
         where k <> all($1::text[]))",
        elements(array, from)
    );
    let row = client.query_one(&sql, &[&known]).await?;
    Ok(row.try_get(0)?)
}

/// A free name for the column that holds what is left over.
fn beside(child: &Child) -> String {
    let mut name = "other_fields".to_owned();
    while child.columns.iter().any(|c| c.name == name) {
        name.push('_');
    }
    name
}

/// The separator with the blank that always follows it.
async fn separators(client: &Client, column: &str, separator: &str, from: &str) -> Result<String> {
    let name = ident(column);
    let spaced = format!("{separator} ");
    let sql = format!(
        "select count(*) filter (where strpos({name}::text, $1) > 0),
                count(*) filter (where strpos(replace({name}::text, $2, ''), $1) > 0)
         from (select {name} from {from} limit {ROWS}) s"
    );
    let row = client.query_one(&sql, &[&separator, &spaced]).await?;
    let (with, without): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    Ok(if with > 0 && without == 0 {
        spaced
    } else {
        separator.to_owned()
    })
}

/// The elements' type, or text where their text would change.
async fn list(
    client: &Client,
    child: &mut Child,
    column: &str,
    separator: &str,
    from: &str,
    notes: &mut Vec<String>,
) -> Result<()> {
    let name = ident(column);
    let wished = child.columns[0].type_sql.clone();
    let sql = format!(
        "select count(*) from (select {name} as list from {from} limit {ROWS}) s
         where list <> '' and list is distinct from (
             select string_agg(i.item::{wished}::text, $1 order by i.n)
             from unnest(string_to_array(s.list, $1)) with ordinality as i (item, n))"
    );
    let exact = match client.query_one(&sql, &[&separator]).await {
        Ok(row) => row.try_get::<_, i64>(0)? == 0,
        Err(e) => unfit(e).map(|()| false)?,
    };
    if !exact && wished != "text" {
        "text".clone_into(&mut child.columns[0].type_sql);
        notes.push(format!(
            "{}.{} stays text: as {wished} its values would not come back as they were written",
            child.name, child.columns[0].name
        ));
    }
    Ok(())
}
