//! What to write instead of a statement that holds a strong lock for long.

use crate::migrate::facts::Table;
use crate::sql::{ConstraintKind, Name, NewConstraint, Operation, Statement};

/// SQL that does the same with weak or short locks, for the part of a statement that
/// holds this byte.
pub(super) fn instead(statement: &Statement, at: usize) -> Option<String> {
    let part = statement
        .parts
        .iter()
        .rev()
        .find(|p| p.at <= at)
        .or(statement.parts.first())?;
    match &part.operation {
        Operation::CreateIndex {
            concurrently: false,
            ..
        } => {
            let text = replaced(&statement.text, "index", "index concurrently")?;
            Some(format!("-- no-transaction\n{text};"))
        }
        Operation::DropIndex {
            concurrently: false,
            index,
        } => Some(format!(
            "-- no-transaction\ndrop index concurrently {index};"
        )),
        Operation::Reindex {
            concurrently: false,
            target,
            index,
        } => {
            let what = if *index { "index" } else { "table" };
            Some(format!(
                "-- no-transaction\nreindex {what} concurrently {target};"
            ))
        }
        Operation::AddConstraint { table, constraint } => add_constraint(table, constraint),
        Operation::SetNotNull { table, column } => Some(set_not_null(table, column)),
        Operation::AlterType {
            table,
            column,
            ty,
            using,
        } => Some(retype(table, column, ty, using.as_deref())),
        Operation::AddColumn { table, column } if column.default.is_some() => Some(format!(
            "alter table {table} add column {name} {ty};\n\
             alter table {table} alter column {name} set default {default};\n\
             -- in a later migration: the rows that are there\n\
             -- batch: {table} by id, 5000 rows\n\
             update {table} set {name} = {default} where id between $1 and $2 and {name} is null;",
            name = ident(&column.name),
            ty = column.ty,
            default = column.default.as_deref().unwrap_or_default(),
        )),
        Operation::DetachPartition {
            table,
            partition,
            concurrently: false,
        } => Some(format!(
            "-- no-transaction\nalter table {table} detach partition {partition} concurrently;"
        )),
        Operation::Repack { table: Some(table) } => Some(format!(
            "rebuild {table} with pg_repack, or only its indexes: reindex table concurrently {table};"
        )),
        _ => None,
    }
}

/// A write in batches.
pub(super) fn batches(table: &Name, statement: &Statement, known: Option<&Table>) -> String {
    let key = known
        .filter(|t| !t.columns.contains_key("id"))
        .map_or("id", |_| "KEY");
    let joint = if statement.text.to_lowercase().contains("where") {
        "and"
    } else {
        "where"
    };
    format!(
        "-- batch: {table} by {key}, 5000 rows\n{} {joint} {key} between $1 and $2;",
        statement.text.trim()
    )
}

fn add_constraint(table: &Name, constraint: &NewConstraint) -> Option<String> {
    let name = constraint
        .name
        .clone()
        .unwrap_or_else(|| format!("{}_new", table.name));
    let name = ident(&name);
    match constraint.kind {
        ConstraintKind::ForeignKey | ConstraintKind::Check if constraint.not_valid => {
            Some("-- no-transaction\nso that NOT VALID commits before VALIDATE begins".to_owned())
        }
        ConstraintKind::ForeignKey | ConstraintKind::Check => Some(format!(
            "-- no-transaction\nalter table {table} add {} not valid;\n\
             alter table {table} validate constraint {name};",
            constraint.definition
        )),
        ConstraintKind::Unique | ConstraintKind::PrimaryKey if !constraint.using_index => {
            let kind = if constraint.kind == ConstraintKind::Unique {
                "unique"
            } else {
                "primary key"
            };
            let columns = constraint
                .definition
                .find('(')
                .map_or("(…)", |at| &constraint.definition[at..]);
            Some(format!(
                "-- no-transaction\ncreate unique index concurrently {name} on {table} {columns};\n\
                 alter table {table} add constraint {name} {kind} using index {name};"
            ))
        }
        _ => None,
    }
}

fn set_not_null(table: &Name, column: &str) -> String {
    let check = ident(&format!("{column}_is_there"));
    let column = ident(column);
    format!(
        "-- no-transaction\n\
         alter table {table} add constraint {check} check ({column} is not null) not valid;\n\
         alter table {table} validate constraint {check};\n\
         alter table {table} alter column {column} set not null;\n\
         alter table {table} drop constraint {check};"
    )
}

fn retype(table: &Name, column: &str, ty: &str, using: Option<&str>) -> String {
    let new = ident(&format!("{column}_new"));
    let column = ident(column);
    let value = using.map_or_else(
        || format!("{column}::{ty}"),
        |u| u.trim_start_matches("using").trim().to_owned(),
    );
    format!(
        "-- no-transaction\n\
         alter table {table} add column {new} {ty};\n\
         -- a trigger that fills {new} for rows written meanwhile, then\n\
         -- batch: {table} by id, 5000 rows\n\
         update {table} set {new} = {value} where id between $1 and $2;\n\
         begin;\n\
         alter table {table} drop column {column};\n\
         alter table {table} rename column {new} to {column};\n\
         commit;"
    )
}

/// The first keyword `word` replaced.
fn replaced(sql: &str, word: &str, with: &str) -> Option<String> {
    let token = crate::sql::token::tokens(sql)
        .into_iter()
        .find(|t| t.is_word(sql, word))?;
    Some(format!(
        "{}{with}{}",
        &sql[..token.range.start],
        &sql[token.range.end..]
    ))
}

fn ident(name: &str) -> String {
    Name {
        schema: None,
        name: name.to_owned(),
    }
    .to_string()
}
