//! What one step of a plan needs of a column, no other step takes; and what is computed from a
//! column is computed from what it was.

use crossfade::audit::fix::{Fix, TimestampFormat};

use crate::plan::{key, name, plan, shop, strings, taken_back, there_and_back};
use crate::program::Shop;

const TABLES: &str = "
create table s.city (code char(4) primary key, zone text not null);
insert into s.city select 'C' || lpad(g::text, 3, '0'), 'Z' || g % 3 from generate_series(1, 40) g;
create table s.t (id int primary key, code char(4) not null, zone text not null, since text not null,
    price double precision not null, qty int not null, total double precision not null default 0
        constraint enough check (total >= 0),
    note text not null default '?');
comment on column s.t.total is 'Price times quantity';
insert into s.t select g, 'C' || lpad((1 + g % 40)::text, 3, '0'), 'Z' || (1 + g % 40) % 3,
    '2024-01-' || lpad((1 + g % 40 % 28)::text, 2, '0'), g / 7.0, g % 9, 0, 'n' || g
from generate_series(1, 400) g;
update s.t set total = price * qty;
";

fn loaded() -> Shop {
    shop(TABLES)
}

fn refers(referenced: &str) -> Fix {
    Fix::AddForeignKey {
        table: name("s.t"),
        columns: strings(&["code"]),
        referenced: name(referenced),
        referenced_columns: strings(&["code"]),
        orphans: 0,
        needs_index: true,
        convert_to: None,
    }
}

fn cast(column: &str, from: &str, to: &str) -> Fix {
    Fix::ConvertColumn {
        table: name("s.t"),
        column: column.to_owned(),
        from_type: from.to_owned(),
        to_type: to.to_owned(),
        using: format!("\"{column}\"::{to}"),
    }
}

fn extraction(determinant: &str, type_sql: &str, dependents: &[&str], target: &str) -> Fix {
    Fix::ExtractTable {
        table: name("s.t"),
        determinant: vec![key(determinant, type_sql)],
        dependents: dependents.iter().map(|c| key(c, "text")).collect(),
        target: name(target),
        existing: None,
    }
}

fn since() -> Fix {
    Fix::ConvertTimestamp {
        table: name("s.t"),
        column: "since".to_owned(),
        from_type: "text".to_owned(),
        format: TimestampFormat::IsoDate,
        to_type: "timestamptz".to_owned(),
        unparsable: 0,
    }
}

/// What is left to people; the rest is taken back without a trace.
fn left(fixes: Vec<Fix>) -> Vec<String> {
    let shop = loaded();
    let (made, dir) = plan(&shop, fixes);
    taken_back(&shop, "s.t", &dir, "true");
    made.left.into_iter().map(|l| l.why).collect()
}

#[test]
fn a_column_that_a_new_key_stands_on_keeps_its_type() {
    for fixes in [
        vec![refers("s.city"), cast("code", "character(4)", "text")],
        vec![cast("code", "character(4)", "text"), refers("s.city")],
    ] {
        assert_eq!(
            left(fixes),
            [
                "s.t.code is part of a key or reference that the plan adds: run the audit again after that"
            ]
        );
    }
}

#[test]
fn a_column_moves_or_changes_its_type_but_not_both() {
    let moves = || extraction("code", "character(4)", &["since"], "s.places");
    assert_eq!(
        left(vec![since(), moves()]),
        ["s.t.since changes its type by another step of the plan: run the audit again after that"]
    );
    assert_eq!(
        left(vec![moves(), since()]),
        ["s.t.since goes away by another step of the plan"]
    );
}

#[test]
fn an_index_on_a_column_that_moves_is_not_added() {
    let index = Fix::AddIndex {
        table: name("s.t"),
        columns: strings(&["since"]),
        predicate: None,
        unique: false,
    };
    let moves = extraction("code", "character(4)", &["since"], "s.places");
    assert_eq!(
        left(vec![index, moves]),
        ["s.t.since goes away by another step of the plan"]
    );
}

/// The way down computes the total from the price as it was, to the last bit.
#[test]
fn a_derived_column_goes_before_what_it_is_derived_from_changes() {
    there_and_back(
        &loaded(),
        "s.t",
        vec![
            cast("price", "double precision", "numeric(12,2)"),
            Fix::DropColumn {
                table: name("s.t"),
                column: "total".to_owned(),
                derivation: "(\"price\" * \"qty\")".to_owned(),
            },
        ],
        "(select count(*) = 0 from pg_attribute where attrelid = 's.t'::regclass and attname = 'total')",
    );
}

/// A check goes with its column and comes back with it; a comment as well.
#[test]
fn what_belongs_to_a_column_alone_returns_with_it() {
    let shop = loaded();
    shop.sql("alter table s.t add constraint known check (note <> 'x') not valid; comment on column s.t.note is 'Free'");
    let said = "select string_agg(col_description('s.t'::regclass, attnum), ' ' order by attname) from pg_attribute where attrelid = 's.t'::regclass and not attisdropped";
    let before = shop.value(said);
    there_and_back(
        &shop,
        "s.t",
        vec![
            Fix::DropColumn {
                table: name("s.t"),
                column: "total".to_owned(),
                derivation: "(\"price\" * \"qty\")".to_owned(),
            },
            extraction("id", "integer", &["note"], "s.notes"),
        ],
        "(select count(*) = 0 from pg_constraint where conname in ('enough', 'known'))",
    );
    assert_eq!(shop.value(said), before);
    // Over two columns it would vanish without a word.
    shop.sql("alter table s.t add constraint both_of check (qty > 0 or note <> '')");
    let (made, _) = plan(
        &shop,
        vec![extraction("id", "integer", &["note"], "s.notes")],
    );
    assert_eq!(
        made.left[0].why,
        "the CHECK both_of has it beside other columns, and would vanish with it: replace it first"
    );
    assert!(made.migrations.is_empty());
}

/// How a constraint was declared is the server's to say, whatever it is called.
#[test]
fn a_constraint_that_was_not_valid_is_so_again() {
    let table = r#"s."50%s 'a' \ ""b""""#;
    let shop = loaded();
    shop.sql(&format!(
        r#"create table {table} (id int primary key, "the code" char(4));
        insert into {table} select g, 'C001' from generate_series(1, 20) g;
        alter table {table} add constraint "it's %I \ ""x""" foreign key ("the code") references s.city (code)
            match full on delete set null deferrable initially deferred not valid;
        comment on constraint "it's %I \ ""x""" on {table} is 'Since the ''move''';"#
    ));
    let said =
        "select obj_description(oid, 'pg_constraint') from pg_constraint where contype = 'f'";
    there_and_back(
        &shop,
        table,
        vec![Fix::ValidateForeignKey {
            table: name(table),
            constraint: r#"it's %I \ "x""#.to_owned(),
            orphans: 0,
        }],
        "(select convalidated from pg_constraint where contype = 'f')",
    );
    assert_eq!(shop.value(said), "Since the 'move'");
}
