//! Values that an application wrote are nowhere overwritten by a plan, up or down, and none is
//! lost.

use crossfade::audit::fix::{Fix, TimestampFormat};
use crossfade::audit::plan::Plan;
use crossfade::migrate::{Down, Folder};

use crate::plan::{apply, apply_beside, down, key, name, plan, shop, strings, there_and_back, up};
use crate::program::Shop;

fn moment(column: &str) -> Fix {
    Fix::ConvertTimestamp {
        table: name("s.t"),
        column: column.to_owned(),
        from_type: "text".to_owned(),
        format: TimestampFormat::Iso8601,
        to_type: "timestamptz".to_owned(),
        unparsable: 0,
    }
}

fn refers(orphans: u64) -> Fix {
    Fix::AddForeignKey {
        table: name("s.t"),
        columns: strings(&["city"]),
        referenced: name("s.city"),
        referenced_columns: strings(&["id"]),
        orphans,
        needs_index: false,
        convert_to: None,
    }
}

fn product() -> Fix {
    Fix::DropColumn {
        table: name("s.t"),
        column: "total".to_owned(),
        derivation: "(\"price\" * \"id\")".to_owned(),
    }
}

fn extraction(table: &str, existing: Option<&[&str]>) -> Fix {
    Fix::ExtractTable {
        table: name(table),
        determinant: vec![key("code", "text")],
        dependents: vec![key("label", "text"), key("shape", "json")],
        target: name("s.codes"),
        existing: existing.map(strings),
    }
}

fn value(shop: &Shop, column: &str, id: u32) -> String {
    shop.value(&format!(
        "select coalesce({column}::text, 'nothing') from s.t where id = {id}"
    ))
}

/// Why the plan leaves a fix to people.
fn refused(shop: &Shop, fix: Fix) -> String {
    let (made, _) = plan(shop, vec![fix]);
    assert!(made.migrations.is_empty() && made.modules.is_empty());
    made.left[0].why.clone()
}

/// The last migration that is called so, by its place.
fn place(made: &Plan, begin: &str) -> usize {
    let found = made
        .migrations
        .iter()
        .rposition(|e| e.migration.name.starts_with(begin));
    found.unwrap_or_else(|| panic!("no {begin}"))
}

fn down_to(shop: &Shop, folder: &Folder, place: usize) {
    for migration in folder.migrations[place..].iter().rev() {
        match &migration.down {
            Down::Script(script) => apply(shop, script),
            Down::Irreversible(why) => panic!("{why}"),
        }
    }
}

/// A value that was kept comes back where the row has what it had then, and nowhere else.
#[test]
fn what_is_written_after_the_contract_outlives_the_way_down() {
    let shop = shop(
        "create table s.t (a int, b int, paid text, primary key (a, b));
         insert into s.t select g, g % 3, '2023-01-01T10:00:00Z' from generate_series(1, 400) g;
         insert into s.t values (1001, 1, 'soon'), (1002, 1, 'never');",
    );
    let (made, dir) = plan(&shop, vec![moment("paid")]);
    let folder = up(&shop, &dir);
    // While the way down goes on, whoever writes either column is newer, too.
    shop.sql(
        "update s.t set paid_tz = '2030-01-01 00:00:00.25+00' where a in (2, 5);
         update s.t set paid_tz = '2031-01-01 00:00:00+00' where a = 1001",
    );
    let contract = place(&made, "contract_");
    let Down::Script(script) = &folder.migrations[contract].down else {
        panic!()
    };
    apply_beside(&shop, script, &|statement| {
        if statement.contains("_kept k") {
            shop.sql("update s.t set paid = '2023-01-01 10:00' where a = 7");
        }
    });
    let value = |column: &str, a: u32| {
        shop.value(&format!("select ({column})::text from s.t where a = {a}"))
    };
    assert_eq!(value("paid", 2), "2030-01-01 00:00:00");
    assert_eq!(
        value("paid_tz at time zone 'UTC'", 5),
        "2030-01-01 00:00:00.25"
    );
    assert_eq!(value("paid", 1001), "2031-01-01 00:00:00");
    assert_eq!(value("paid", 7), "2023-01-01 10:00");
    assert_eq!(value("paid", 3), "2023-01-01T10:00:00Z");
    assert_eq!(value("paid", 1002), "never");
    down_to(
        &shop,
        &Folder {
            migrations: folder.migrations[..contract].to_vec(),
        },
        0,
    );
    assert_eq!(
        shop.value("select count(*)::text from s.t where paid = '2023-01-01T10:00:00Z'"),
        "397"
    );
}

const CITIES: &str = "
create table s.city (id int primary key);
insert into s.city select generate_series(1, 9);
create table s.t (id int primary key, city int, price int not null, total numeric(12, 2) not null default 0);
insert into s.t select g, case when g % 10 = 0 then 100 + g else 1 + g % 9 end, g % 7, g * (g % 7) from generate_series(1, 200) g;
";

/// Between the step that looks for rows that refer to nothing and the one that clears them, a
/// writer mends one, another adds what a second one refers to.
#[test]
fn a_reference_that_is_mended_meanwhile_or_afterwards_stays() {
    let shop = shop(CITIES);
    let (_, dir) = plan(&shop, vec![refers(20)]);
    let folder = Folder::read(&dir.join("migrations")).unwrap();
    apply_beside(&shop, &folder.migrations[0].up, &|statement| {
        if statement.contains("set city = null") {
            shop.sql("update s.t set city = 7 where id = 10; insert into s.city values (120)");
        }
    });
    assert_eq!(
        [10, 20, 30].map(|id| value(&shop, "city", id)),
        ["7", "120", "nothing"]
    );
    assert_eq!(
        shop.value("select count(*)::text from s.t_city_orphans"),
        "18"
    );
    shop.sql("update s.t set city = 3 where id = 40");
    down(&shop, &folder);
    assert_eq!(
        [10, 20, 30, 40].map(|id| value(&shop, "city", id)),
        ["7", "120", "130", "3"]
    );
}

/// A column that follows from others, but for some rows; the key is among the others.
#[test]
fn a_derived_column_returns_with_the_values_that_contradict_it() {
    let shop = shop(CITIES);
    shop.sql("update s.t set total = 7.25 where id in (3, 4)");
    there_and_back(
        &shop,
        "s.t",
        vec![product()],
        "(select count(*) = 0 from pg_attribute where attrelid = 's.t'::regclass and attname = 'total')",
    );
    let (_, dir) = plan(&shop, vec![product()]);
    let folder = up(&shop, &dir);
    shop.sql("update s.t set price = 5 where id = 4");
    down(&shop, &folder);
    assert_eq!(
        [3, 4, 5].map(|id| value(&shop, "total", id)),
        ["7.25", "20.00", "25.00"]
    );
}

const CODES: &str = "
create table s.t (id int primary key, code text collate \"C\", label text collate \"C\" not null, shape json);
insert into s.t select g, 'c' || g % 20, 'l' || g % 20, '{\"a\": 1}' from generate_series(1, 400) g;
update s.t set label = 'drifted ' || id where id in (11, 22, 33);
update s.t set shape = '{\"a\":  1}' where id = 44;
";

/// Rows that disagree with the table that their columns moved to.
#[test]
fn rows_that_disagree_return_as_they_were() {
    let shop = shop(CODES);
    let mended = "(select count(*) = 20 from s.codes)";
    there_and_back(&shop, "s.t", vec![extraction("s.t", None)], mended);
    let (made, dir) = plan(&shop, vec![extraction("s.t", None)]);
    let folder = up(&shop, &dir);
    shop.sql(
        "update s.codes set label = 'renamed' where code = 'c11';
         update s.t set code = 'c4' where id = 22",
    );
    // Taken back step by step: what is kept is there until the last.
    down_to(&shop, &folder, place(&made, "contract_"));
    assert_eq!(
        [11, 22, 33, 44].map(|id| value(&shop, "label", id)),
        ["renamed", "l4", "drifted 33", "l4"]
    );
    let release = place(&made, "release_");
    let rest = Folder {
        migrations: folder.migrations[..=release].to_vec(),
    };
    down_to(&shop, &rest, 0);
    assert_eq!(
        [11, 22, 33, 31].map(|id| value(&shop, "label", id)),
        ["renamed", "l4", "drifted 33", "renamed"]
    );
    assert_eq!(value(&shop, "shape", 44), "{\"a\":  1}");
}

/// The other table is there already, and has the copies.
#[test]
fn copies_that_drift_after_the_audit_return_as_they_were() {
    let shop = shop(CODES);
    shop.sql(
        "create table s.codes (code text primary key, label varchar(40), shape json);
         insert into s.codes select distinct on (code) code, 'l' || substr(code, 2), '{\"a\": 1}'::json from s.t;",
    );
    there_and_back(
        &shop,
        "s.t",
        vec![extraction("s.t", Some(&["code", "label", "shape"]))],
        "(select count(*) = 4 from s.t_codes_kept)",
    );
}

/// A value beside no determinant would be in no table.
#[test]
fn values_without_a_determinant_keep_their_column() {
    let shop = shop(CODES);
    let (made, dir) = plan(&shop, vec![extraction("s.t", None)]);
    shop.sql("update s.t set code = null, label = 'by hand' where id = 7");
    assert_eq!(
        refused(&shop, extraction("s.t", None)),
        "rows of s.t have (label, shape) without (code): no row of another table could have it. Mend those, or make the table by hand"
    );
    // One that is written later stops the contract.
    let folder = Folder::read(&dir.join("migrations")).unwrap();
    let release = place(&made, "release_");
    for migration in &folder.migrations[..release] {
        apply(&shop, &migration.up);
    }
    let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        apply(&shop, &folder.migrations[release].up);
    }));
    let said = *stopped.unwrap_err().downcast::<String>().unwrap();
    assert!(
        said.contains("rows have values of (label, shape) without (code)"),
        "{said}"
    );
    assert_eq!(value(&shop, "label", 7), "by hand");
}

/// What a table of its own would show to others, or an update would not reach.
#[test]
fn rows_behind_policies_rules_and_heirs_are_left_to_people() {
    let shop = shop(CODES);
    shop.sql("alter table s.t enable row level security");
    let list = || Fix::SplitList {
        table: name("s.t"),
        column: "label".to_owned(),
        separator: ",".to_owned(),
        key: vec![key("id", "integer")],
        child: name("s.labels"),
        element_type: "text".to_owned(),
        references: None,
    };
    for fix in [extraction("s.t", None), list()] {
        assert_eq!(
            refused(&shop, fix),
            "s.t has row level security: in a table of their own its columns would be read by all who may read s.t. Say first which policies that table gets, and make it by hand"
        );
    }
    shop.sql("alter table s.t force row level security");
    assert_eq!(
        refused(&shop, moment("label")),
        "row level security of s.t is forced: a migration that its owner runs sees, and writes, only some of its rows"
    );
    shop.sql(
        "alter table s.t no force row level security, disable row level security;
         create rule log as on update to s.t do also notify written",
    );
    assert_eq!(
        refused(&shop, moment("label")),
        "s.t has rules (CREATE RULE) that make something else of a statement: replace them first"
    );
    shop.sql("drop rule log on s.t; create table s.heir () inherits (s.t)");
    let heirs = "other tables inherit from s.t: its triggers and keys are not theirs, so that their rows would be left behind";
    assert_eq!(refused(&shop, moment("label")), heirs);
    assert_eq!(refused(&shop, extraction("s.t", None)), heirs);
    let of_heir = Fix::ConvertColumn {
        table: name("s.heir"),
        column: "label".to_owned(),
        from_type: "text".to_owned(),
        to_type: "integer".to_owned(),
        using: "\"label\"::integer".to_owned(),
    };
    assert_eq!(
        refused(&shop, of_heir),
        "s.heir inherits from s.t: its columns are changed there"
    );
}

#[test]
fn a_partitioned_table_or_a_parent_gets_no_key_from_a_plan() {
    let shop = shop(
        "create table s.t (id int not null, day date not null) partition by range (day);
         create table s.t_1 partition of s.t default;
         create table s.parent (id int); create table s.child () inherits (s.parent);
         create schema away; create table away.t_2 partition of s.t for values from ('2024-01-01') to ('2025-01-01');",
    );
    let keyed = |table: &str, columns: &[&str]| Fix::AddPrimaryKey {
        table: name(table),
        columns: strings(columns),
        existing_index: None,
    };
    for columns in [&[][..], &["id"]] {
        assert_eq!(
            refused(&shop, keyed("s.t", columns)),
            "s.t is partitioned: its key must contain the partition key (RANGE (day)), and an identity column cannot be added to it. Say which columns are its key, build a unique index on each partition, and attach these"
        );
    }
    assert_eq!(
        refused(&shop, keyed("s.parent", &[])),
        "other tables inherit from s.parent: an identity column cannot be added to it"
    );
    // An index on each partition, when one of them was not looked at.
    let url = format!("postgres://postgres@127.0.0.1:{}/shop", shop.server.port());
    crate::plan::password_file(&shop);
    shop.sql("insert into s.t select g, date '2024-02-01' + g % 9 from generate_series(1, 3000) g; analyze");
    let dir = shop.dir.join("part").display().to_string();
    let audit = [
        "audit", "--url", &url, "--all", "--schema", "s", "--plan", &dir,
    ];
    let ran = shop.crossfade(&audit);
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    let readme = std::fs::read_to_string(shop.dir.join("part/README.md")).unwrap();
    assert!(
        readme.contains(
            "s.t has 2 partitions, of which 1 were read: audit all of their schemas at once"
        ),
        "{readme}"
    );
}
