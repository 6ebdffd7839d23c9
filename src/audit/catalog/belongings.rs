//! Reads what belongs to tables, columns, indexes and constraints besides what they are.

use std::collections::HashMap;

use tokio_postgres::{Client, Row};

use super::super::belongings::{
    Belongings, ColumnBelongings, ConstraintBelongings, Grant, Guards, IndexBelongings, Statistics,
    Trigger,
};
use super::super::schema::Table;
use crate::error::{Context, Result};
use crate::pg::QualifiedName;

/// Takes up a row of a query.
type Add = fn(&mut Belongings, &Row);

/// Fills in the belongings of every table.
///
/// # Errors
/// Connection errors, and those of a server whose catalog cannot be read.
pub async fn read(client: &Client, tables: &mut [Table]) -> Result<()> {
    let oids: Vec<u32> = tables.iter().map(|t| t.oid).collect();
    let mut by_oid: HashMap<u32, &mut Table> = tables.iter_mut().map(|t| (t.oid, t)).collect();
    let queries: [(&str, Add); 7] = [
        (include_str!("columns_belongings.sql"), column),
        (include_str!("grants.sql"), grant),
        (include_str!("indexes_belongings.sql"), index),
        (include_str!("constraints_belongings.sql"), constraint),
        (include_str!("extended_statistics.sql"), statistics),
        (include_str!("owners.sql"), owner),
        (include_str!("triggers.sql"), trigger),
    ];
    for (sql, add) in queries {
        let rows = client
            .query(sql, &[&oids])
            .await
            .context("reading what belongs to the tables of the catalog")?;
        for row in &rows {
            if let Some(table) = by_oid.get_mut(&row.get(0)) {
                add(&mut table.belongings, row);
            }
        }
    }
    for table in by_oid.into_values() {
        placed(table);
    }
    Ok(())
}

fn column(of: &mut Belongings, row: &Row) {
    let sequences: Vec<(String, String)> = row
        .get::<_, Vec<String>>(7)
        .into_iter()
        .zip(row.get::<_, Vec<String>>(8))
        .collect();
    of.columns.insert(
        row.get(1),
        ColumnBelongings {
            collation: row.get(2),
            storage: row.get(3),
            compression: row.get(4),
            target: row.get(5),
            options: row.get(6),
            grants: Vec::new(),
            sequences: sequences
                .into_iter()
                .map(|(schema, name)| QualifiedName::new(schema, name))
                .collect(),
        },
    );
}

fn grant(of: &mut Belongings, row: &Row) {
    let grant = Grant {
        to: row.get(2),
        privilege: row.get(3),
        grantable: row.get(4),
        by_another: row.get(5),
    };
    match row.get::<_, Option<String>>(1) {
        None => of.grants.push(grant),
        Some(column) => of.columns.entry(column).or_default().grants.push(grant),
    }
}

fn index(of: &mut Belongings, row: &Row) {
    let places: Vec<i16> = row.get(7);
    let parent = row
        .get::<_, Option<String>>(5)
        .zip(row.get::<_, Option<String>>(6));
    of.indexes.insert(
        row.get(1),
        IndexBelongings {
            comment: row.get(2),
            tablespace: row.get(3),
            clustered: row.get(4),
            targets: places.into_iter().zip(row.get::<_, Vec<i32>>(8)).collect(),
            uses: row.get(9),
            parent: parent.map(|(schema, name)| QualifiedName::new(schema, name)),
        },
    );
}

fn constraint(of: &mut Belongings, row: &Row) {
    of.constraints.insert(
        row.get(1),
        ConstraintBelongings {
            definition: row.get(2),
            comment: row.get(3),
        },
    );
}

fn statistics(of: &mut Belongings, row: &Row) {
    of.statistics.push(Statistics {
        name: QualifiedName::new(row.get::<_, String>(1), row.get::<_, String>(2)),
        definition: row.get(3),
        kinds: row.get(4),
        uses: row.get(5),
        expressions: row.get(6),
        target: row.get(7),
        comment: row.get(8),
        owner: row.get(9),
    });
}

fn owner(of: &mut Belongings, row: &Row) {
    of.owner_creates = row.get(1);
    of.guards = Guards {
        row_security: row.get(2),
        forced: row.get(3),
        rules: row.get(4),
    };
    of.children = usize::try_from(row.get::<_, i64>(5)).unwrap_or(usize::MAX);
}

fn trigger(of: &mut Belongings, row: &Row) {
    // Each ends with a zero byte.
    let arguments: Vec<u8> = row.get(11);
    let mut arguments: Vec<String> = arguments
        .split(|byte| *byte == 0)
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
        .collect();
    arguments.pop();
    of.triggers.push(Trigger {
        name: row.get(1),
        before: row.get(2),
        row: row.get(3),
        insert: row.get(4),
        update: row.get(5),
        columns: row.get(6),
        enabled: row.get(7),
        language: row.get(8),
        function: row.get(9),
        source: row.get(10),
        arguments,
        definition: row.get(12),
    });
}

/// An index's definition says its tablespace as well.
fn placed(table: &mut Table) {
    for index in &mut table.indexes {
        let belongings = table.belongings.index(&index.name);
        if let Some(tablespace) = belongings.tablespace {
            index.definition = within(&index.definition, index.predicate.as_deref(), &tablespace);
        }
    }
}

/// TABLESPACE stands before WHERE, which the server tells last.
fn within(definition: &str, predicate: Option<&str>, tablespace: &str) -> String {
    let tablespace = crate::pg::quote(tablespace);
    let tail = predicate.map(|p| format!(" WHERE {p}")).unwrap_or_default();
    match definition.strip_suffix(&tail) {
        Some(head) => format!("{head} TABLESPACE {tablespace}{tail}"),
        None => definition.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::within;

    #[test]
    fn a_tablespace_stands_before_the_condition() {
        assert_eq!(
            within("CREATE INDEX i ON s.t USING btree (a)", None, "fast"),
            "CREATE INDEX i ON s.t USING btree (a) TABLESPACE \"fast\""
        );
        assert_eq!(
            within(
                "CREATE INDEX i ON s.t USING btree (a) WHERE (b = ' WHERE (c)'::text)",
                Some("(b = ' WHERE (c)'::text)"),
                "fa\"st"
            ),
            "CREATE INDEX i ON s.t USING btree (a) TABLESPACE \"fa\"\"st\" WHERE (b = ' WHERE (c)'::text)"
        );
    }
}
