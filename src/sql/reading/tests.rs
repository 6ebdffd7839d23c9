//! Statements of every kind, and what is read out of them.

use super::*;
use crate::sql::split;

fn operations(sql: &str) -> Vec<Operation> {
    split(sql)
        .into_iter()
        .inspect(|s| assert!(s.error.is_none(), "{}: {:?}", s.text, s.error))
        .flat_map(|s| s.parts)
        .map(|p| p.operation)
        .collect()
}

fn table(name: &str) -> Name {
    Name {
        schema: None,
        name: name.to_owned(),
    }
}

#[test]
fn each_action_of_alter_table_is_a_part_with_its_place() {
    let sql = r#"alter table only shop."Order ""Items"" ÄÖ"
        add column a varchar(10) default random() not null,
        drop column if exists "B" cascade, alter column c set data type bigint using c::bigint"#;
    let statement = &split(sql)[0];
    assert_eq!(statement.command, "ALTER TABLE");
    let at: Vec<&str> = statement
        .parts
        .iter()
        .map(|p| &sql[p.at..p.at + 4])
        .collect();
    assert_eq!(at, ["add ", "drop", "alte"]);
    let Operation::AddColumn { table, column } = &statement.parts[0].operation else {
        panic!("{:?}", statement.parts[0]);
    };
    assert_eq!(table.name, "Order \"Items\" ÄÖ");
    assert_eq!(table.schema.as_deref(), Some("shop"));
    assert_eq!(column.ty, "varchar(10)");
    assert_eq!(column.default.as_deref(), Some("random()"));
    assert!(column.not_null);
    assert!(matches!(&statement.parts[1].operation,
        Operation::DropColumn { column, cascade: true, .. } if column == "B"));
    assert!(matches!(&statement.parts[2].operation,
        Operation::AlterType { ty, using: Some(using), .. }
            if ty == "bigint" && using.contains("c::bigint")));
}

#[test]
fn constraints_and_indexes_are_told_apart() {
    let found = operations(
        "alter table t add constraint f foreign key (a) references s.u (b) not valid;
         alter table t add constraint c check (a > 0);
         alter table t add constraint u unique using index i;
         create unique index concurrently if not exists i on t (a) where b > 1;
         drop index concurrently s.i, j; reindex (concurrently) index i;",
    );
    let Operation::AddConstraint { constraint, .. } = &found[0] else {
        panic!("{found:?}");
    };
    assert!(constraint.not_valid && constraint.kind == ConstraintKind::ForeignKey);
    assert_eq!(constraint.references.clone().unwrap().to_string(), "s.u");
    assert!(
        matches!(&found[1], Operation::AddConstraint { constraint, .. }
        if !constraint.not_valid && constraint.kind == ConstraintKind::Check)
    );
    assert!(
        matches!(&found[2], Operation::AddConstraint { constraint, .. }
        if constraint.using_index)
    );
    assert_eq!(
        found[3],
        Operation::CreateIndex {
            index: Some(table("i")),
            table: table("t"),
            unique: true,
            concurrently: true
        }
    );
    assert!(
        matches!(&found[5], Operation::DropIndex { index, concurrently: true }
        if index.name == "j")
    );
    assert!(matches!(
        &found[6],
        Operation::Reindex {
            index: true,
            concurrently: true,
            ..
        }
    ));
}

#[test]
fn drops_and_renames_name_what_they_take_away() {
    let found = operations(
        "drop table if exists a.b, c cascade; drop function f(int, text);
         drop materialized view v; alter function f(int) rename to g;
         alter view v rename to w; alter table t rename a to b;
         alter table t rename to t2; alter table t set schema archive; drop schema s;",
    );
    let kinds: Vec<_> = found
        .iter()
        .map(|o| match o {
            Operation::Drop {
                kind,
                name,
                cascade,
            } => format!("drop {kind:?} {name} {cascade}"),
            Operation::Rename { kind, from, to } => format!("rename {kind:?} {from} {to}"),
            Operation::RenameColumn { from, to, .. } => format!("column {from} {to}"),
            Operation::SetSchema { name, schema, .. } => format!("schema {name} {schema}"),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "drop Table a.b true",
            "drop Table c true",
            "drop Routine f false",
            "drop MaterializedView v false",
            "rename Routine f g",
            "rename View v w",
            "column a b",
            "rename Table t t2",
            "schema t archive",
            "drop Schema s false",
        ]
    );
}

#[test]
fn generated_and_identity_columns_are_not_the_same() {
    let found = operations(
        "alter table t add column g int generated always as (a + 1) stored,
            add column i int generated always as identity",
    );
    let of = |o: &Operation| match o {
        Operation::AddColumn { column, .. } => (column.generated, column.identity),
        _ => panic!("{o:?}"),
    };
    assert_eq!(of(&found[0]), (true, false));
    assert_eq!(of(&found[1]), (false, true));
}

#[test]
fn what_a_statement_writes_is_not_what_its_query_reads() {
    let found = operations(
        "with x as (select * from a) update t set a = 1 from x where t.id = x.id;
         delete from t; insert into t select * from u; commit; rollback to s; savepoint s;",
    );
    let write = |o: &Operation| match o {
        Operation::Write {
            table,
            command,
            filtered,
        } => {
            format!("{command} {table} {filtered}")
        }
        Operation::Transaction(what) => (*what).to_owned(),
        other => format!("{other:?}"),
    };
    let found: Vec<_> = found.iter().map(write).collect();
    assert_eq!(
        found,
        [
            "UPDATE t true",
            "DELETE t false",
            "INSERT t false",
            "COMMIT",
            "ROLLBACK",
            "SAVEPOINT"
        ]
    );
}

#[test]
fn columns_of_views_and_foreign_tables_are_read_like_those_of_tables() {
    let found = operations(
        "alter view s.v rename column a to b; alter materialized view v rename a to b;
         alter foreign table v drop column a; alter foreign table v rename column a to b;",
    );
    let renamed: Vec<_> = found
        .iter()
        .filter_map(|o| match o {
            Operation::RenameColumn { table, from, to } => {
                Some((table.name.as_str(), from.as_str(), to.as_str()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(renamed, [("v", "a", "b"); 3], "{found:?}");
    assert!(matches!(&found[2], Operation::DropColumn { column, .. } if column == "a"));
}
