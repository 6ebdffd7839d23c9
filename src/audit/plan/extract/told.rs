//! What the other table tells of the old columns, and what it does not.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::super::super::fix::Fix;
use super::super::super::schema::{Database, Table};
use super::super::backfill::Backfill;
use super::super::belongings;
use super::super::keep::{Witness, free, is_compared_as_text};
use super::super::name::{ident, list, table};
use super::Split;
use crate::error::Result;
use crate::pg::{QualifiedName, quote};

/// ` left join` to the row `x` of the other table.
pub(super) fn join(
    target: &QualifiedName,
    key: &[String],
    (row, from): (&str, &[String]),
) -> String {
    let on: Vec<_> = key
        .iter()
        .zip(from)
        .map(|(key, from)| format!("x.{} = {row}.{}", ident(key), ident(from)))
        .collect();
    format!("\nleft join {} x on {}", table(target), on.join(" and "))
}

/// Which row of the other table a row means, and what that says.
pub(super) fn witnesses(
    database: &Database,
    of: &Table,
    from: &[String],
    (target, values): (&QualifiedName, &[String]),
    dependents: &[String],
) -> Vec<Witness> {
    let mut witnesses: Vec<Witness> = from
        .iter()
        .filter_map(|name| {
            let column = of.column(name)?;
            Some(Witness {
                name: name.clone(),
                type_sql: belongings::typed(of, column),
                now: format!("t.{}", ident(name)),
                as_text: is_compared_as_text(&column.data_type.sql),
            })
        })
        .collect();
    for (place, (value, dependent)) in values.iter().zip(dependents).enumerate() {
        // A table that is not there yet has the columns as they are here.
        let there = database.table(target);
        let there = there.and_then(|t| Some((t, t.column(value)?)));
        let Some((table, column)) = there.or_else(|| Some((of, of.column(dependent)?))) else {
            continue;
        };
        witnesses.push(Witness {
            name: free(of, &format!("told_{}", place + 1)),
            type_sql: belongings::typed(table, column),
            now: format!("x.{}", ident(value)),
            as_text: is_compared_as_text(&column.data_type.sql),
        });
    }
    witnesses
}

/// Why the plan leaves it to people: a value stands beside no determinant, so that no row of
/// another table could have it.
///
/// # Errors
/// What the server says, except that it took too long.
pub async fn homeless(client: &Client, database: &Database, fix: &Fix) -> Result<Option<String>> {
    let Fix::ExtractTable {
        table,
        determinant,
        dependents,
        ..
    } = fix
    else {
        return Ok(None);
    };
    let Some(of) = database.table(table) else {
        return Ok(None);
    };
    let names = |columns: &[super::KeyColumn]| -> Vec<String> {
        columns.iter().map(|c| c.name.clone()).collect()
    };
    let (from, moved) = (names(determinant), names(dependents));
    if !is_optional(of, &from) {
        return Ok(None);
    }
    let beside = (from.join(", "), moved.join(", "));
    let sql = format!(
        "select exists (select from {} where {})",
        of.from_sql(),
        alone(&from, &moved, &quote)
    );
    match client.query_one(&sql, &[]).await {
        Ok(row) if row.try_get(0)? => Ok(Some(format!(
            "rows of {table} have ({}) without ({}): no row of another table could have it. Mend those, or make the table by hand",
            beside.1, beside.0
        ))),
        Ok(_) => Ok(None),
        Err(e)
            if [SqlState::QUERY_CANCELED, SqlState::LOCK_NOT_AVAILABLE]
                .iter()
                .any(|state| e.code() == Some(state)) =>
        {
            Ok(Some(format!(
                "whether rows of {table} have ({}) without ({}) could not be read in time: their values would be in no table",
                beside.1, beside.0
            )))
        }
        Err(e) => Err(e.into()),
    }
}

fn is_optional(of: &Table, determinant: &[String]) -> bool {
    determinant
        .iter()
        .any(|c| of.column(c).is_none_or(|c| !c.not_null))
}

/// A value beside no determinant.
fn alone(from: &[String], moved: &[String], name: &dyn Fn(&str) -> String) -> String {
    let unknown: Vec<_> = from
        .iter()
        .map(|c| format!("{} is null", name(c)))
        .collect();
    let there: Vec<_> = moved
        .iter()
        .map(|c| format!("{} is not null", name(c)))
        .collect();
    format!("({}) and ({})", unknown.join(" or "), there.join(" or "))
}

impl Split<'_> {
    /// Fails where a value stands beside no determinant: it would be in nobody's sight.
    pub(super) fn homeless(&self) -> Option<String> {
        let of = self.extraction.of;
        is_optional(of, &self.from).then(|| {
            format!(
                "do $check$\nbegin\n    if exists (select from {} where {}) then\n        \
                 raise exception 'rows have values of ({}) without ({}): no row of {} could have them, mend these first';\n    \
                 end if;\nend\n$check$",
                self.own(),
                alone(&self.from, &self.moved, &ident),
                message(&list(&self.moved)),
                message(&list(&self.from)),
                message(&table(&self.target))
            )
        })
    }

    /// Sets values aside that the other table does not tell; of those, if wished for, which are
    /// something, such as ` is not null`.
    pub(super) fn keep(&self, something: &str) -> String {
        let differs: Vec<_> = (0..self.moved.len())
            .map(|place| {
                let (moved, value) = (ident(&self.moved[place]), ident(&self.values[place]));
                let differs = self.differs(place, &format!("t.{moved}"), &format!("x.{value}"));
                if something.is_empty() {
                    differs
                } else {
                    format!("t.{moved} {something} and {differs}")
                }
            })
            .collect();
        self.kept.collect(&differs.join(" or "))
    }

    /// The old columns as the other table has them, and as they were kept.
    pub(super) fn give_back(&self) -> Vec<String> {
        let mut statements = vec![self.refill()];
        let untouched: Vec<_> = (0..self.moved.len())
            .map(|place| {
                let (moved, value) = (ident(&self.moved[place]), ident(&self.values[place]));
                let differs = self.differs(place, &format!("t.{moved}"), &format!("x.{value}"));
                format!("not ({differs})")
            })
            .collect();
        let join = join(&self.target, &self.key, ("k", &self.from));
        statements.extend(self.kept.restore(&join, &untouched.join("\n  and ")));
        statements
    }

    fn refill(&self) -> String {
        let own = self.own();
        let on: Vec<_> = self
            .key
            .iter()
            .zip(&self.from)
            .map(|(k, f)| format!("x.{} = {own}.{}", ident(k), ident(f)))
            .collect();
        let (mut set, mut differs) = (Vec::new(), Vec::new());
        for (place, (moved, value)) in self.moved.iter().zip(&self.values).enumerate() {
            let moved = ident(moved);
            let value = format!(
                "(select x.{} from {} x where {})",
                ident(value),
                table(&self.target),
                on.join(" and ")
            );
            set.push(format!("{moved} = {value}"));
            differs.push(self.differs(place, &moved, &value));
        }
        Backfill {
            of: self.extraction.of,
            set: set.join(", "),
            pending: format!("{} and ({})", self.known(""), differs.join(" or ")),
        }
        .sql()
    }
}

/// A text within RAISE.
fn message(text: &str) -> String {
    text.replace('\'', "''").replace('%', "%%")
}
