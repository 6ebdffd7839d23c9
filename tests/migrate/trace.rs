//! `check` says which locks the statements really take, on tables that were there before.

use serde_json::{Value, json};

use crate::database::Database;

fn checked(database: &Database) -> Value {
    let said = database.migrate(&["check", "--output", "json"]);
    serde_json::from_str(&said.text).unwrap_or_else(|_| panic!("{said:?}"))
}

/// What a migration's statements do, one way: line, tables with modes, and `rewrites` where
/// they do.
fn traced(report: &Value, number: usize, direction: &str) -> Vec<(u64, Vec<String>)> {
    let entries = report["migrations"][number - 1]["locks"]
        .as_array()
        .unwrap();
    let of = entries.iter().filter(|e| e["direction"] == direction);
    of.map(|entry| {
        let tables = entry["tables"].as_array().unwrap().iter().map(|t| {
            let mode = t["mode"].as_str().unwrap_or("nothing new");
            let rewrites = if t["rewrites"] == true {
                ", rewrites"
            } else {
                ""
            };
            format!("{}: {mode}{rewrites}", t["table"].as_str().unwrap())
        });
        (entry["line"].as_u64().unwrap(), tables.collect())
    })
    .collect()
}

fn each(expected: &[(u64, &[&str])]) -> Vec<(u64, Vec<String>)> {
    let owned = |t: &&str| (*t).to_owned();
    expected
        .iter()
        .map(|(line, tables)| (*line, tables.iter().map(owned).collect()))
        .collect()
}

#[tokio::test]
async fn each_statement_is_shown_with_the_locks_that_it_takes() {
    let database = Database::new().await;
    database.migration(
        1,
        r#"create table parent (id int primary key, n int);
           create table "Order ""Ä""" (id int primary key, parent int, n int);
           create index on parent (n);
           alter table "Order ""Ä""" add foreign key (parent) references parent (id);"#,
        r#"drop table "Order ""Ä"""; drop table parent"#,
    );
    database.migration(
        2,
        r#"alter table parent add column x int;
alter table "Order ""Ä""" add foreign key (n) references parent (id);
create table new (id int primary key);
create index new_id on new (id);
alter table new add foreign key (id) references parent (id);
"#,
        "drop table new;
alter table \"Order \"\"Ä\"\"\" drop constraint \"Order \"\"Ä\"\"_n_fkey\";
alter table parent drop column x;",
    );
    // The second statement has the lock of the first.
    database.migration(
        3,
        "create index parent_n on parent (n);
alter table parent alter column n type bigint;
alter table parent alter column n set default 3;",
        "drop index parent_n;
alter table parent alter column n drop default;
alter table parent alter column n type int;",
    );
    let report = checked(&database);
    assert_eq!(report["fine"], true, "{report}");
    // A file that only makes tables disturbs nobody.
    assert_eq!(traced(&report, 1, "up"), [], "{report}");
    let order = "public.\"Order \"\"Ä\"\"\"";
    let on = |mode: &str| format!("{order}: {mode}");
    assert_eq!(
        traced(&report, 2, "up"),
        each(&[
            (1, &["public.parent: ACCESS EXCLUSIVE"]),
            (2, &[&on("SHARE ROW EXCLUSIVE")]),
        ]),
        "{report}"
    );
    assert_eq!(
        traced(&report, 2, "down"),
        each(&[
            (
                1,
                &[
                    "public.new: ACCESS EXCLUSIVE",
                    "public.parent: ACCESS EXCLUSIVE"
                ]
            ),
            (2, &[&on("ACCESS EXCLUSIVE")]),
        ]),
        "{report}"
    );
    assert_eq!(
        traced(&report, 3, "up"),
        each(&[
            (1, &["public.parent: SHARE"]),
            (2, &["public.parent: ACCESS EXCLUSIVE, rewrites"]),
        ]),
        "{report}"
    );
    assert_eq!(
        traced(&report, 3, "down"),
        each(&[
            (1, &["public.parent: ACCESS EXCLUSIVE"]),
            (3, &["public.parent: nothing new, rewrites"]),
        ]),
        "{report}"
    );
    let lock = &report["migrations"][2]["locks"][1]["tables"][0];
    assert_eq!(
        *lock,
        json!({"table": "public.parent", "mode": "ACCESS EXCLUSIVE", "blocks": "reads and writes",
               "index": null, "rewrites": true, "foreseen": true,
               "predicted": {"mode": "ACCESS EXCLUSIVE", "rewrites": true}})
    );
    let text = database.done(&["check"]);
    for line in [
        "0001_m  exact\n          down, line 1: ACCESS EXCLUSIVE on public.\"Order \"\"Ä\"\"\", public.parent\n",
        "0002_m  exact\n          up, line 1: ACCESS EXCLUSIVE on public.parent\n          \
         up, line 2: SHARE ROW EXCLUSIVE on public.\"Order \"\"Ä\"\"\"\n",
        "up, line 1: SHARE on public.parent\n",
        "up, line 2: ACCESS EXCLUSIVE on public.parent; rewrites public.parent\n",
        "down, line 3: rewrites public.parent\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("predicted"), "{text}");
}

#[tokio::test]
async fn each_step_has_its_own_locks_and_what_commits_by_itself_is_not_measured() {
    let database = Database::new().await;
    database.migration(
        1,
        "create table parent (id int primary key, n int);
         create table child (id int primary key, parent int);
         create function lock_parent() returns trigger language plpgsql as $$
         begin lock table parent in share mode; return null; end $$;
         create trigger lock_parent after update on child execute function lock_parent()",
        "drop table child; drop table parent; drop function lock_parent()",
    );
    database.migration(
        2,
        "-- no-transaction
create table new (id int primary key references parent (id));
alter table new add column x int;
alter table child add foreign key (parent) references parent (id);
alter table child add column x int;
create index concurrently child_x on child (x);
-- batch: child by id
update child set x = id where id between $1 and $2;
vacuum full child;
begin;
alter table child rename to kid;
alter table kid alter column x set not null;
commit;
reindex index child_x;",
        "-- no-transaction
alter table kid rename to child;
alter table child drop column x;
alter table child drop constraint child_parent_fkey;
drop table new;",
    );
    let report = checked(&database);
    assert_eq!(report["fine"], true, "{report}");
    assert_eq!(
        traced(&report, 2, "up"),
        each(&[
            (2, &["public.parent: SHARE ROW EXCLUSIVE"]),
            (
                4,
                &[
                    "public.child: SHARE ROW EXCLUSIVE",
                    "public.parent: SHARE ROW EXCLUSIVE"
                ]
            ),
            (5, &["public.child: ACCESS EXCLUSIVE"]),
            (6, &[]),
            (8, &["public.parent: SHARE"]),
            (9, &["public.child: nothing new, rewrites"]),
            (11, &["public.child: ACCESS EXCLUSIVE"]),
            (14, &["public.kid: ACCESS EXCLUSIVE"]),
        ]),
        "{report}"
    );
    let entries = report["migrations"][1]["locks"].as_array().unwrap();
    let unmeasured = entries.iter().filter(|e| e["measured"] == false);
    let lines: Vec<u64> = unmeasured.map(|e| e["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [6, 9], "{report}");
    let text = database.done(&["check"]);
    for line in [
        "up, line 6: locks not measured, it commits by itself\n",
        "up, line 9: locks not measured, it commits by itself; rewrites public.child\n",
        "up, line 14: ACCESS EXCLUSIVE on public.kid (by its index child_x)\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn a_lock_that_was_not_predicted_is_noted() {
    let database = Database::new().await;
    database.migration(
        1,
        "create table t (id int primary key, n int);
         create index t_n on t (n);
         create table p (id int) partition by range (id);
         create table p1 partition of p for values from (1) to (100);
         create table u (id int)",
        "drop table u; drop table p; drop table t",
    );
    // Only the server knows what a DO does; that it is so for a part of a table is no news.
    database.migration(
        2,
        "do $$ begin alter table t alter column n type bigint; end $$;
alter table p add column x int;
reindex index t_n;",
        "alter table p drop column x; alter table t alter column n type int",
    );
    database.migration(3, "reindex table t", "-- no-op: nothing to do");
    let report = checked(&database);
    assert_eq!(report["fine"], true, "{report}");
    assert_eq!(
        traced(&report, 2, "up"),
        each(&[
            (1, &["public.t: ACCESS EXCLUSIVE, rewrites"]),
            (
                2,
                &["public.p: ACCESS EXCLUSIVE", "public.p1: ACCESS EXCLUSIVE"]
            ),
        ]),
        "{report}"
    );
    let entries = report["migrations"][1]["locks"].as_array().unwrap();
    assert_eq!(entries[0]["tables"][0]["foreseen"], false, "{report}");
    assert_eq!(entries[1]["tables"][1]["foreseen"], true, "{report}");
    // The index is locked more than its table.
    let reindexed = &report["migrations"][2]["locks"][0]["tables"][0];
    assert_eq!(reindexed["mode"], "ACCESS EXCLUSIVE", "{report}");
    assert_eq!(reindexed["foreseen"], true, "{report}");
    let text = database.done(&["check"]);
    for line in [
        "note: up, line 1: ACCESS EXCLUSIVE on public.t: no lock was predicted\n",
        "note: up, line 1: that it rewrites public.t was not predicted\n",
        "up, line 2: ACCESS EXCLUSIVE on public.p, public.p1\n",
        "up, line 1: ACCESS EXCLUSIVE on public.t (by its index t_",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert_eq!(text.matches("predicted").count(), 2, "{text}");
}

#[tokio::test]
async fn the_locks_of_the_shops_chain_are_those_that_were_predicted() {
    let database = Database::new().await;
    let chain = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/shop");
    let mut check = database.command(&chain, &["check"]);
    let text = crate::database::said(check.output().unwrap()).text;
    let down = "down, line 1: ACCESS EXCLUSIVE on shop.order_items, shop.orders\n";
    assert!(text.contains(down), "{text}");
    assert!(!text.contains("predicted"), "{text}");
}
