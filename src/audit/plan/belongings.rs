//! What belongs to columns, indexes, constraints and tables besides what they are, given to what
//! comes back or takes their place: as SQL.

use super::super::belongings::{ColumnBelongings, Grant};
use super::super::schema::{Column, Database, Index, Table, TableKind};
use super::index::concurrent;
use super::name::{ident, table};
use crate::pg::QualifiedName;
use crate::pg::ident::literal;

/// Types of text: they have collations, and are stored alike.
#[must_use]
pub fn is_text(type_sql: &str) -> bool {
    let name = type_sql.split('(').next().unwrap_or_default().trim();
    [
        "text",
        "character",
        "character varying",
        "varchar",
        "char",
        "bpchar",
        "citext",
    ]
    .contains(&name)
        && !type_sql.ends_with(']')
}

/// The column's type as it was declared, `text collate pg_catalog."C"`.
#[must_use]
pub fn typed(of: &Table, column: &Column) -> String {
    let collation = collation(of, &column.name);
    format!("{}{collation}", column.data_type.sql)
}

/// ` collate …`, where the column has one of its own.
#[must_use]
pub fn collation(of: &Table, column: &str) -> String {
    let own = of.belongings.column(column).collation;
    own.map(|c| format!(" collate {c}")).unwrap_or_default()
}

/// A table and those that have its columns: its partitions, or what inherits from it.
#[must_use]
pub fn family<'d>(database: &'d Database, of: &'d Table) -> Vec<&'d Table> {
    let mut family = vec![of];
    let mut at = 0;
    while let Some(parent) = family.get(at).map(|t| &t.name) {
        let children = database
            .tables
            .iter()
            .filter(|t| t.parents.contains(parent));
        let new: Vec<_> = children
            .filter(|c| !family.iter().any(|t| t.name == c.name))
            .collect();
        family.extend(new);
        at += 1;
    }
    family
}

/// All that belongs to a column that has come back without it, in every table that has it.
#[must_use]
pub fn column(database: &Database, of: &Table, name: &str) -> Vec<String> {
    let family = family(database, of);
    let only = if family.len() > 1 { "only " } else { "" };
    let mut statements = Vec::new();
    for table in family {
        statements.extend(given(table, name, (&table.name, name), (true, only)));
    }
    statements.extend(sequences(of, name, name));
    statements
}

/// The sequences of a column that goes, kept by the one that takes its place.
#[must_use]
pub fn sequences(of: &Table, column: &str, by: &str) -> Vec<String> {
    let by = format!("{}.{}", table(&of.name), ident(by));
    let sequences = of.belongings.column(column).sequences;
    sequences
        .iter()
        .map(|s| format!("alter sequence {} owned by {by}", table(s)))
        .collect()
}

/// What a column's successor takes over, in this table or another one; `alike` where its values
/// are stored as the old ones are.
#[must_use]
pub fn successor(
    of: &Table,
    column: &str,
    place: (&QualifiedName, &str),
    alike: bool,
) -> Vec<String> {
    given(of, column, place, (alike, ""))
}

fn given(
    of: &Table,
    column: &str,
    (place, name): (&QualifiedName, &str),
    (alike, only): (bool, &str),
) -> Vec<String> {
    let belongings = of.belongings.column(column);
    let (place, name) = (table(place), ident(name));
    let mut statements = Vec::new();
    let actions: Vec<_> = actions(&belongings, alike)
        .iter()
        .map(|action| format!("alter column {name} set {action}"))
        .collect();
    if !actions.is_empty() {
        statements.push(format!("alter table {only}{place} {}", actions.join(", ")));
    }
    statements.extend(grants(&belongings.grants, &place, Some(&name)));
    if let Some(comment) = of.column(column).and_then(|c| c.comment.as_ref()) {
        statements.push(says(&format!("column {place}.{name}"), comment));
    }
    statements
}

fn actions(belongings: &ColumnBelongings, alike: bool) -> Vec<String> {
    let mut actions = Vec::new();
    if alike {
        actions.extend(belongings.storage.iter().map(|s| format!("storage {s}")));
        let compression = belongings.compression.iter();
        actions.extend(compression.map(|c| format!("compression {c}")));
    }
    actions.extend(belongings.target.map(|t| format!("statistics {t}")));
    if !belongings.options.is_empty() {
        let options = belongings.options.join(", ").replace('=', " = ");
        actions.push(format!("({options})"));
    }
    actions
}

/// One statement a role; `column` where they are of a column.
fn grants(grants: &[Grant], on: &str, column: Option<&str>) -> Vec<String> {
    let mut roles: Vec<(&Option<String>, bool)> =
        grants.iter().map(|g| (&g.to, g.grantable)).collect();
    let of = column.map(|c| format!(" ({c})")).unwrap_or_default();
    roles.sort();
    roles.dedup();
    roles
        .into_iter()
        .map(|(to, grantable)| {
            let privileges: Vec<_> = grants
                .iter()
                .filter(|g| &g.to == to && g.grantable == grantable)
                .map(|g| format!("{}{of}", g.privilege.to_lowercase()))
                .collect();
            format!(
                "grant {} on {on} to {}{}",
                privileges.join(", "),
                role(to.as_ref()),
                if grantable { " with grant option" } else { "" }
            )
        })
        .collect()
}

fn role(name: Option<&String>) -> String {
    name.map_or_else(|| "public".to_owned(), |r| ident(r))
}

/// `comment on … is …`.
#[must_use]
pub fn says(what: &str, comment: &str) -> String {
    format!("comment on {what} is {}", literal(comment).trim_start())
}

/// What people say of a constraint that has been made again.
#[must_use]
pub fn constraint(of: &Table, name: &str) -> Option<String> {
    let comment = of.belongings.constraints.get(name)?.comment.as_ref()?;
    let what = format!("constraint {} on {}", ident(name), table(&of.name));
    Some(says(&what, comment))
}

/// All that belongs to an index that has been made again, under its own name.
#[must_use]
pub fn index(of: &Table, index: &Index) -> Vec<String> {
    let own = table(&of.name);
    let mut statements = successor_index(of, index, &index.name);
    let name = ident(&index.name.name);
    if of.belongings.index(&index.name).clustered {
        statements.push(format!("alter table {own} cluster on {name}"));
    }
    if index.replica_identity {
        statements.push(format!(
            "alter table {own} replica identity using index {name}"
        ));
    }
    statements
}

/// What an index takes over that is built in the old one's place while that is still there.
#[must_use]
pub fn successor_index(of: &Table, old: &Index, name: &QualifiedName) -> Vec<String> {
    let belongings = of.belongings.index(&old.name);
    let name = table(name);
    let mut statements: Vec<String> = belongings
        .targets
        .iter()
        .map(|(place, target)| {
            format!("alter index {name} alter column {place} set statistics {target}")
        })
        .collect();
    if let Some(comment) = &belongings.comment {
        statements.push(says(&format!("index {name}"), comment));
    }
    statements
}

/// An index that went, made again with all that belongs to it. CONCURRENTLY does not reach
/// through a partitioned table: each of its parts is made by itself, and attached.
#[must_use]
pub fn index_again(database: &Database, of: &Table, again: &Index) -> Vec<String> {
    let mut statements = Vec::new();
    let mut open = vec![(of, again)];
    while let Some((of, made)) = open.pop() {
        statements.push(if of.kind == TableKind::Partitioned {
            made.definition.clone()
        } else {
            concurrent(&made.definition)
        });
        statements.extend(index(of, made));
        let belongings = of.belongings.index(&made.name);
        if let Some(parent) = belongings.parent.filter(|_| made.name != again.name) {
            statements.push(format!(
                "alter index {} attach partition {}",
                table(&parent),
                table(&made.name)
            ));
        }
        let partitions = database.tables.iter().rev();
        open.extend(partitions.flat_map(|t| {
            let parts = t.indexes.iter();
            parts
                .filter(|i| t.belongings.index(&i.name).parent.as_ref() == Some(&made.name))
                .map(move |i| (t, i))
        }));
    }
    statements
}

/// Drops the indexes that would vanish with a column without a word, since they are over more
/// than that.
pub fn more_than_one_column<'i>(indexes: impl Iterator<Item = &'i Index>) -> Vec<String> {
    indexes
        .filter(|i| {
            let expression = i.keys.iter().any(|k| k.column.is_none());
            expression || i.predicate.is_some() || i.keys.len() + i.included.len() > 1
        })
        .map(|i| format!("drop index {}", table(&i.name)))
        .collect()
}

/// A new table beside an old one: its owner's, and for everybody who may use that.
#[must_use]
pub fn beside(of: &Table, new: &QualifiedName) -> Vec<String> {
    let (new, owner) = (table(new), ident(&of.owner));
    let mut statements = vec![if of.belongings.owner_creates {
        format!("alter table {new} owner to {owner}")
    } else {
        format!("grant all on {new} to {owner}")
    }];
    statements.extend(grants(&of.belongings.grants, &new, None));
    statements
}

/// Whoever writes a table writes the one that its trigger keeps up, too.
#[must_use]
pub fn writers(of: &Table, new: &QualifiedName) -> Vec<String> {
    let columns = of.belongings.columns.values().flat_map(|c| &c.grants);
    let mut roles: Vec<&Option<String>> = of
        .belongings
        .grants
        .iter()
        .chain(columns)
        .filter(|g| matches!(&g.privilege[..], "INSERT" | "UPDATE"))
        .map(|g| &g.to)
        .collect();
    roles.sort();
    roles.dedup();
    let new = table(new);
    let has = |to: &Option<String>, privilege: &str| {
        let mut own = of.belongings.grants.iter();
        own.any(|g| &g.to == to && g.privilege == privilege)
    };
    roles
        .into_iter()
        .filter(|r| !["SELECT", "INSERT", "UPDATE"].iter().all(|p| has(r, p)))
        .map(|r| {
            format!(
                "grant select, insert, update on {new} to {}",
                role(r.as_ref())
            )
        })
        .collect()
}

/// What cannot be given back as it was, for the plan's reader.
#[must_use]
pub fn notes(of: &Table, columns: &[String]) -> Vec<String> {
    columns
        .iter()
        .filter(|c| of.belongings.column(c).grants.iter().any(|g| g.by_another))
        .map(|c| {
            format!(
                "privileges on {}.{c} that others than the owner granted come back as the owner's",
                of.name
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Grant, grants, is_text};

    #[test]
    fn what_a_role_may_is_one_statement_and_what_it_may_pass_on_another() {
        let grant = |to: Option<&str>, privilege: &str, grantable| Grant {
            to: to.map(str::to_owned),
            privilege: privilege.to_owned(),
            grantable,
            by_another: false,
        };
        let all = [
            grant(Some("Till 2"), "SELECT", false),
            grant(Some("Till 2"), "INSERT", true),
            grant(None, "SELECT", false),
            grant(Some("Till 2"), "UPDATE", false),
        ];
        assert_eq!(
            grants(&all, "s.t", Some("c")),
            [
                "grant select (c) on s.t to public",
                "grant select (c), update (c) on s.t to \"Till 2\"",
                "grant insert (c) on s.t to \"Till 2\" with grant option",
            ]
        );
        assert_eq!(
            grants(&all[2..3], "s.t", None),
            ["grant select on s.t to public"]
        );
    }

    #[test]
    fn types_of_text_are_known_by_their_names() {
        for text in ["text", "character varying(30)", "character(12)", "citext"] {
            assert!(is_text(text), "{text}");
        }
        for other in ["text[]", "bigint", "\"char\"", "timestamp with time zone"] {
            assert!(!is_text(other), "{other}");
        }
    }
}
