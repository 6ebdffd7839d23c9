//! `crossfade preflight`, `preview` and `init` on real servers.

mod program;

use crossfade::server::Options;
use program::{Held, SECRET, Shop, finish};
use serde_json::Value;

/// The checks as JSON; asserts that nothing was changed.
fn preflight(shop: &Shop) -> (Option<i32>, Value) {
    let before = shop.snapshot();
    let ran = shop.crossfade(&["preflight", "--output", "json"]);
    assert_eq!(before, shop.snapshot(), "preflight changed something");
    let report: Value = serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
    assert_eq!(report["ok"] == true, ran.code == Some(0), "{ran:?}");
    (ran.code, report)
}

/// The only check of this name whose text holds `word`.
#[track_caller]
fn check(report: &Value, name: &str, word: &str) -> (String, String) {
    let found: Vec<_> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| c["name"] == name && c["found"].as_str().unwrap().contains(word))
        .collect();
    assert_eq!(found.len(), 1, "{name} {word}: {report:#}");
    let text = |key: &str| found[0][key].as_str().unwrap_or("").to_owned();
    (text("outcome"), text("remedy"))
}

#[test]
fn a_good_setup_passes_and_nothing_is_changed() {
    let shop = Shop::open();
    let (code, report) = preflight(&shop);
    assert_eq!(code, Some(0));
    for name in [
        "connection",
        "wal_level",
        "replication",
        "slot",
        "publication",
        "open_transactions",
    ] {
        assert_eq!(check(&report, name, "").0, "ok", "{name}");
    }
    assert_eq!(check(&report, "target_index", "shop.order_items").0, "ok");
    let text = shop.crossfade(&["preflight"]);
    assert!(text.out.contains("ok       wal level"), "{text:?}");
    assert!(text.out.contains("0 failed. ready"), "{text:?}");
}

#[test]
fn a_state_schema_is_told_from_a_history_and_from_somebody_elses_schema() {
    let shop = Shop::open();
    shop.write(
        "migrations/0001_a.sql",
        "-- Up\nselect 1;\n-- Down\nselect 1;\n",
    );
    let ran = shop.crossfade(&["migrate", "up"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let state = |word: &str| {
        let (code, report) = preflight(&shop);
        assert_eq!(code, Some(0), "{report:#}");
        check(&report, "state_schema", word)
    };
    assert_eq!(state("history of `crossfade migrate`").0, "ok");
    shop.sql("drop schema crossfade cascade; create schema crossfade");
    assert_eq!(state("is empty").0, "ok");
    shop.sql("create table crossfade.theirs ()");
    let (outcome, remedy) = state("not this program's");
    assert!(
        outcome == "warning" && remedy.contains("RENAME"),
        "{remedy}"
    );
}

#[test]
fn every_failure_is_listed_at_once() {
    let shop = Shop::open_with(Options::default().setting("wal_level", "replica"));
    shop.sql("alter table shop.orders drop column customer; alter table shop.order_items drop column sku, drop column qty");
    let (code, report) = preflight(&shop);
    assert_eq!(code, Some(2));
    assert_eq!(check(&report, "wal_level", "").0, "failed");
    check(&report, "module", "no column \"customer\"");
    check(&report, "module", "no column \"sku\"");
    check(&report, "module", "no column \"qty\"");
}

#[test]
fn an_unreachable_server_is_one_failed_check() {
    let shop = Shop::open();
    shop.config(
        &format!("postgres://postgres:{SECRET}@127.0.0.1:1/shop"),
        &["transforms/split"],
    );
    let (code, report) = preflight(&shop);
    assert_eq!(code, Some(2));
    assert_eq!(report["checks"].as_array().unwrap().len(), 1);
    assert_eq!(check(&report, "connection", "127.0.0.1:1").0, "failed");
}

#[test]
fn a_publication_of_all_tables_and_who_may_read_it_are_named_before_anything_is_made() {
    let shop = Shop::open();
    let name = "all_tables_publications";
    assert_eq!(check(&preflight(&shop).1, name, "").0, "ok");
    shop.sql("create publication listed for table legacy.orders");
    assert_eq!(check(&preflight(&shop).1, name, "").0, "ok");
    shop.sql("create publication \"every\"\"thing\" for all tables");
    shop.sql(
        "select pg_create_logical_replication_slot('reporting', 'pgoutput');
         select pg_create_logical_replication_slot('plain', 'test_decoding');
         select pg_create_logical_replication_slot('crossfade_other', 'pgoutput')",
    );
    let (code, report) = preflight(&shop);
    assert_eq!(code, Some(0), "{report:#}");
    let (outcome, remedy) = check(&report, name, "(perhaps by way of slot reporting)");
    assert_eq!(outcome, "warning");
    assert!(
        remedy.contains(r#"CREATE PUBLICATION "every""thing" FOR TABLE"#),
        "{remedy}"
    );
}

#[test]
fn a_time_zone_that_the_server_does_not_know_is_refused() {
    let shop = Shop::open();
    let config = std::fs::read_to_string(shop.dir.join("crossfade.toml")).unwrap();
    let window = |window: &str| {
        let text = format!("{config}[throttle]\nwindow = '{window}'\n");
        shop.write("crossfade.toml", &text);
        preflight(&shop)
    };
    let (code, report) = window("22:00-06:00 Mars/Phobos");
    assert_eq!(code, Some(2));
    let (outcome, remedy) = check(&report, "throttle_window", "\"Mars/Phobos\"");
    assert_eq!(outcome, "failed");
    assert!(remedy.contains("pg_timezone_names"), "{remedy}");
    let (code, report) = window("22:00-06:00 Europe/Berlin");
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(check(&report, "throttle_window", "Berlin").0, "ok");
}

#[test]
fn what_works_with_consequences_is_a_warning_with_a_remedy() {
    let options = Options::default()
        .setting("wal_sender_timeout", "0")
        .setting("max_slot_wal_keep_size", "100MB")
        .setting("max_prepared_transactions", "5")
        .setting("max_connections", "10");
    let shop = Shop::open_with(options);
    shop.sql(
        "alter table shop.order_items drop constraint order_items_pkey, add primary key (line_no, order_id),
             add constraint belongs foreign key (order_id) references shop.orders;
         create function shop.stamp() returns trigger language plpgsql as 'begin return new; end';
         create trigger stamp before insert on shop.orders for each row execute function shop.stamp();
         create trigger always before insert on shop.orders for each row execute function shop.stamp();
         alter table shop.orders enable always trigger always;
         create table legacy.more () inherits (legacy.orders);",
    );
    shop.sql("begin; create table shop.pending (); prepare transaction 'it''s'");
    shop.sql("create publication crossfade_split for table legacy.orders");
    let (code, report) = preflight(&shop);
    assert_eq!(code, Some(0), "{report:#}");
    for (name, word, remedy) in [
        ("wal_sender_timeout", "is 0", "wal_sender_timeout = '60s'"),
        (
            "max_slot_wal_keep_size",
            "100 MiB",
            "throttle.max_retained_wal",
        ),
        ("connections", "of 7 in use", "max_connections"),
        ("prepared_transactions", "it's", "ROLLBACK PREPARED 'it''s'"),
        (
            "publication",
            "exists already",
            "DROP PUBLICATION \"crossfade_split\"",
        ),
        ("source_children", "legacy.orders", "module of its own"),
        (
            "target_index",
            "shop.order_items",
            "CREATE INDEX CONCURRENTLY ON \"shop\".\"order_items\" (\"order_id\")",
        ),
        (
            "foreign_keys",
            "(shop.order_items → shop.orders): not checked and not cascaded while crossfade writes shop.orders",
            "NOT VALID",
        ),
        (
            "foreign_keys",
            "writes shop.order_items",
            "VALIDATE CONSTRAINT",
        ),
        (
            "triggers",
            "\"always\" fire on every row crossfade writes; \"stamp\" do not fire",
            "SELECT produce",
        ),
    ] {
        let (outcome, said) = check(&report, name, word);
        assert_eq!(outcome, "warning", "{name}");
        assert!(said.contains(remedy), "{name}: {said}");
    }
}

#[test]
fn without_the_right_to_be_a_replica_the_consequences_are_the_other_ones() {
    let shop = Shop::open();
    shop.sql(&format!(
        "create role app login replication password '{SECRET}';
         grant all on database shop to app;
         alter schema legacy owner to app; alter schema shop owner to app;
         alter table legacy.orders owner to app; alter table shop.orders owner to app;
         alter table shop.order_items owner to app;
         alter table shop.order_items add foreign key (order_id) references shop.orders;"
    ));
    shop.config(&shop.url("app", SECRET), &["transforms/split"]);
    let (code, report) = preflight(&shop);
    assert_eq!(code, Some(0), "{report:#}");
    let (outcome, remedy) = check(&report, "replica_role", "may not set");
    assert_eq!(outcome, "warning");
    assert!(remedy.contains("GRANT SET ON PARAMETER"), "{remedy}");
    check(
        &report,
        "foreign_keys",
        "checked at every write of shop.order_items",
    );
    shop.sql(if shop.major() < 15 {
        "alter role app superuser"
    } else {
        "grant set on parameter session_replication_role to app"
    });
    let (_, report) = preflight(&shop);
    assert_eq!(check(&report, "replica_role", "may set").0, "ok");
    check(
        &report,
        "foreign_keys",
        "not cascaded while crossfade writes shop.order_items",
    );
    // A table that the application goes on writing: without cascading that is a wait,
    // with it the application's own DELETE would meet the guard.
    shop.sql(
        "create table shop.customers (id text primary key);
         alter table shop.orders add constraint bought foreign key (customer) references shop.customers;",
    );
    let (_, report) = preflight(&shop);
    assert_eq!(
        check(&report, "foreign_key_cascades", "cannot be deleted").0,
        "warning"
    );
    shop.sql(
        "alter table shop.orders drop constraint bought, add constraint bought
             foreign key (customer) references shop.customers on delete set null",
    );
    let (code, report) = preflight(&shop);
    assert_eq!(code, Some(2));
    let (outcome, remedy) = check(&report, "foreign_key_cascades", "\"bought\"");
    assert_eq!(outcome, "failed");
    assert!(remedy.contains("after the switch"), "{remedy}");
}

#[test]
fn a_transaction_that_the_slot_would_wait_for_is_named() {
    let shop = Shop::open();
    let held = Held::open(&format!(
        "{}?application_name=nightly",
        shop.server.url("shop")
    ));
    held.sql("begin; insert into legacy.orders values (99, 'x')");
    shop.wait("exists (select from pg_stat_activity where application_name = 'nightly' and clock_timestamp() - xact_start > '2.1 s')");
    let (code, report) = preflight(&shop);
    assert_eq!(code, Some(0));
    let (outcome, remedy) = check(&report, "open_transactions", "nightly");
    assert_eq!(outcome, "warning");
    let pid =
        shop.value("select pid::text from pg_stat_activity where application_name = 'nightly'");
    assert!(
        remedy.contains(&format!("pg_terminate_backend({pid})")),
        "{remedy}"
    );
    held.sql("rollback");
    assert_eq!(check(&preflight(&shop).1, "open_transactions", "").0, "ok");
}

// The setting came with PostgreSQL 18; before, there is nothing to say of it.
#[test]
fn a_server_that_gives_idle_slots_up_is_a_warning() {
    let mut shop = Shop::open();
    let name = "idle_replication_slot_timeout";
    if shop.major() < 18 {
        let (_, report) = preflight(&shop);
        let checks = report["checks"].as_array().unwrap();
        assert!(checks.iter().all(|c| c["name"] != name), "{report:#}");
        return;
    }
    assert_eq!(check(&preflight(&shop).1, name, "").0, "ok");
    shop.server.set(name, "10min").unwrap();
    let (code, report) = preflight(&shop);
    assert_eq!(code, Some(0));
    let (outcome, remedy) = check(&report, name, "10min");
    assert_eq!(outcome, "warning");
    assert!(
        remedy.contains("idle_replication_slot_timeout = 0"),
        "{remedy}"
    );
}

#[test]
fn a_synchronous_standby_that_is_away_is_a_warning() {
    let mut shop = Shop::open();
    shop.server
        .set("synchronous_standby_names", "gone")
        .unwrap();
    let (code, report) = preflight(&shop);
    assert_eq!(code, Some(0));
    let (outcome, remedy) = check(&report, "synchronous_standbys", "gone");
    assert_eq!(outcome, "warning");
    assert!(remedy.contains("pg_reload_conf"), "{remedy}");
}

#[test]
fn partitions_and_lookups_are_explained() {
    let shop = Shop::open();
    shop.sql(
        "create table legacy.parts (id int primary key, email text not null) partition by range (id);
         create table legacy.parts_1 partition of legacy.parts for values from (0) to (100);
         create table shop.people (email text primary key);
         insert into shop.people values ('already there');",
    );
    shop.module(
        "transforms/parts",
        "source = 'legacy.parts'\n[[target]]\ntable = 'shop.people'\nmode = 'lookup'\nkey = ['email']\nselect = 'a.sql'\n",
        &[("a.sql", "select s.email from source s")],
    );
    shop.config(&shop.url("postgres", SECRET), &["transforms/parts"]);
    let (code, report) = preflight(&shop);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(
        check(&report, "source_partitions", "TRUNCATE or DETACH").0,
        "warning"
    );
    assert_eq!(check(&report, "lookup", "the first source row").0, "ok");
    assert_eq!(check(&report, "target_empty", "holds rows already").0, "ok");
}

#[test]
fn a_table_that_a_select_reads_and_nobody_follows_is_a_warning() {
    let shop = Shop::open();
    shop.sql(
        "create table legacy.people (id int primary key, land text not null);
         create table legacy.\"Lan ds\" (code text primary key, name text not null);
         create table shop.people (id int primary key, land text not null);",
    );
    shop.module(
        "transforms/people",
        "source = 'legacy.people'\n[[target]]\ntable = 'shop.people'\nsource_key = ['id']\nselect = 'a.sql'\n",
        &[(
            "a.sql",
            "select s.id, l.name as land from source s join legacy.\"Lan ds\" l on l.code = s.land; -- names",
        )],
    );
    shop.config(
        &shop.url("postgres", SECRET),
        &["transforms/people", "transforms/split"],
    );
    let (code, report) = preflight(&shop);
    assert_eq!(code, Some(0), "{report:#}");
    let other = check(&report, "other_tables", "legacy.\"Lan ds\"");
    assert_eq!(other.0, "warning");
    assert_eq!(check(&report, "other_tables", "split").0, "ok");
}

#[test]
fn a_migration_that_runs_passes_with_its_slot_and_its_rows() {
    let shop = Shop::open();
    assert_eq!(shop.crossfade(&["run", "--until", "copied"]).code, Some(0));
    let (code, report) = preflight(&shop);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(check(&report, "slot", "is there").0, "ok");
    assert_eq!(check(&report, "publication", "is there").0, "ok");
    // The program is gone, the server's side of its stream may not be yet.
    shop.wait("not exists (select from pg_replication_slots where active)");
    shop.sql("select pg_drop_replication_slot('crossfade_split')");
    let (code, report) = preflight(&shop);
    assert_eq!(code, Some(2));
    assert_eq!(
        check(&report, "slot", "changes since the checkpoint are lost").0,
        "failed"
    );
}

#[test]
fn a_left_over_slot_is_a_warning_and_one_in_use_a_failure() {
    let shop = Shop::open();
    shop.sql("select pg_create_logical_replication_slot('crossfade_split', 'pgoutput')");
    let (code, report) = preflight(&shop);
    assert_eq!(code, Some(0));
    let (outcome, remedy) = check(&report, "slot", "exists already");
    assert_eq!(outcome, "warning");
    assert_eq!(remedy, "SELECT pg_drop_replication_slot('crossfade_split')");
    assert_eq!(shop.crossfade(&["run", "--until", "copied"]).code, Some(0));
}

/// The way back of a split in place begins with the table that stays, and the
/// application goes on with that: what it deletes while the sample is taken there and
/// back is no fault of the reverse.
#[test]
fn rows_that_are_deleted_during_the_round_trip_are_not_blamed_on_the_reverse() {
    let shop = Shop::open();
    // Until the lock is free, whoever reads the module's rows stays there. No lock is
    // waited for: the program has a limit to that.
    shop.sql(
        "create table legacy.order_items (
             order_id int not null, line_no int not null, sku text not null, qty text not null,
             primary key (order_id, line_no));
         create function legacy.held(id int) returns boolean immutable language plpgsql as $$
         begin
             while not pg_try_advisory_xact_lock_shared(7) loop perform pg_sleep(0.005); end loop;
             return true;
         end $$;",
    );
    shop.module(
        "transforms/split",
        "source = 'legacy.orders'
         moved = ['items']
         [[target]]
         table = 'legacy.order_items'
         source_key = ['order_id']
         select = 'items.sql'
         [reverse]
         select = 'reverse.sql'",
        &[
            (
                "items.sql",
                "select o.id as order_id, i.line_no::int as line_no,
                        i.item ->> 'sku' as sku, i.item ->> 'qty' as qty
                 from (select id, items from source where legacy.held(id)) o,
                      jsonb_array_elements(o.items) with ordinality as i(item, line_no)",
            ),
            (
                "reverse.sql",
                "select o.id, coalesce(
                     (select jsonb_agg(jsonb_build_object('sku', i.sku, 'qty', i.qty) order by i.line_no)
                      from legacy.order_items i where i.order_id = o.id), '[]') as items
                 from legacy.orders o",
            ),
        ],
    );
    assert_eq!(
        check(&preflight(&shop).1, "round_trip", "2 sampled").0,
        "ok"
    );
    let held = Held::open(&shop.server.url("shop"));
    held.sql("select pg_advisory_lock(7)");
    let child = shop.spawn(&["preflight", "--output", "json"]);
    shop.wait(
        "exists (select from pg_stat_activity
         where wait_event = 'PgSleep' and query like '%crossfade_sample%')",
    );
    shop.sql("delete from legacy.orders where id = 1; update legacy.orders set items = '[{}]'");
    held.sql("select pg_advisory_unlock(7)");
    let ran = finish(child);
    let report: Value = serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
    assert_eq!(
        check(&report, "round_trip", "2 sampled rows").0,
        "ok",
        "{report:#}"
    );
}

#[test]
fn preview_shows_the_rows_and_writes_nothing() {
    let shop = Shop::open();
    shop.sql("insert into legacy.orders values (3, repeat('long ', 100), '[{\"sku\": \"cup\", \"qty\": \"many\"}]')");
    shop.sql("insert into legacy.orders values (4, 'Dan', '[{\"qty\": \"1\"}]'), (5, 'Eve', '[]'), (6, 'Sixth', '[]')");
    let before = shop.snapshot();
    let ran = shop.crossfade(&["preview", "transforms/split"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for line in [
        "split: the first 5 rows of legacy.orders",
        "  [id]  id  customer",
        "  1     1   Ada",
        "  [id]  order_id  line_no  sku  qty",
        "  1     1         2        ink  1",
        "  BAD ROW [id] = 3: invalid input syntax for type integer: \"many\" (SQLSTATE 22P02)",
        "  BAD ROW [id] = 4: \"sku\" is NULL and the column is NOT NULL (SQLSTATE 23502)",
    ] {
        assert!(
            ran.out.lines().any(|l| l == line),
            "{line:?} is not in\n{}",
            ran.out
        );
    }
    assert!(
        ran.out.contains("long long") && ran.out.contains('…'),
        "{}",
        ran.out
    );
    assert!(!ran.out.contains("Sixth"));
    let ran = shop.crossfade(&[
        "preview",
        "transforms/split",
        "--rows",
        "1",
        "--output",
        "json",
    ]);
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["rows"].as_array().unwrap().len(), 1);
    assert_eq!(json["rows"][0]["key"]["id"], "1");
    assert_eq!(json["rows"][0]["targets"][1]["table"], "shop.order_items");
    assert_eq!(json["rows"][0]["targets"][1]["rows"][0]["sku"], "pen");
    assert_eq!(before, shop.snapshot());
}

#[test]
fn preview_names_every_problem_of_a_module() {
    let shop = Shop::open();
    shop.write(
        "transforms/split/orders.sql",
        "select o.id, o.customer, 1 as extra from source o",
    );
    shop.write(
        "transforms/split/order_items.sql",
        "select o.nothing from source o",
    );
    let ran = shop.crossfade(&["preview", "transforms/split"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.err.contains("extra") && ran.err.contains("nothing"),
        "{ran:?}"
    );
    let ran = shop.crossfade(&["preview", "transforms/nowhere"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("transforms/nowhere"), "{ran:?}");
}

#[test]
fn what_init_writes_works_and_is_never_written_over() {
    let shop = Shop::bare(Options::default());
    let ran = shop.crossfade(&["init", "fresh"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let fresh = shop.dir.join("fresh");
    let up = std::fs::read_to_string(fresh.join("migrations/0001_new_schema.up.sql")).unwrap();
    shop.sql(&up);
    shop.sql("create schema legacy; create table legacy.orders (id bigint primary key, customer text, order_date text, items jsonb)");
    shop.sql("insert into legacy.orders values (1, 'Ada', '2024-02-03', '[{\"sku\": \"pen\", \"qty\": 2}]')");
    // All as scaffolded but for the place of the server.
    let config = fresh.join("crossfade.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let url = shop.url("postgres", SECRET);
    let text = text.replace("postgres://app@localhost/shop", &url);
    assert!(text.contains(&url));
    std::fs::write(&config, &text).unwrap();
    let ran = shop.crossfade(&[
        "--config",
        "fresh/crossfade.toml",
        "run",
        "--until",
        "copied",
    ]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(shop.value("select sku from shop.order_items"), "pen");

    let ran = shop.crossfade(&["init", "fresh"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("exists already"), "{ran:?}");
    assert_eq!(std::fs::read_to_string(&config).unwrap(), text);
    std::fs::remove_file(&config).unwrap();
    assert_eq!(shop.crossfade(&["init", "fresh"]).code, Some(2));
    assert!(!config.exists(), "refused, yet something was written");

    let down = std::fs::read_to_string(fresh.join("migrations/0001_new_schema.down.sql")).unwrap();
    shop.sql(&down);
    assert_eq!(
        shop.value("select count(*)::text from pg_namespace where nspname = 'shop'"),
        "0"
    );
}

#[test]
fn help_of_every_new_command_has_examples() {
    let shop = Shop::bare(Options::default());
    for command in ["init", "preflight", "preview"] {
        let ran = finish(shop.spawn(&[command, "--help"]));
        assert_eq!(ran.code, Some(0));
        assert!(ran.out.contains("Examples:"), "{command}: {}", ran.out);
    }
}
