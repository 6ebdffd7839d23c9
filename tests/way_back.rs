//! The way back: what a reverse must be, what it follows, and what is said where there
//! is none.

mod program;

use program::{Ran, Shop};

const TABLES: &str = r#"
create schema legacy;
create schema shop;
create table legacy."Order ""Items"" ÄÖ" (
    id int primary key, customer text not null, city text, items jsonb not null default '[]');
create table shop.customers (name text primary key, city text);
create table shop.orders (id bigint primary key, customer text not null);
create table shop.lines (
    order_id bigint not null, n int not null, sku text not null, primary key (order_id, n));
create table shop.stranger (id int primary key);
insert into legacy."Order ""Items"" ÄÖ" (id, customer, city, items)
select g, 'customer ' || g % 10, 'city ' || g % 10,
       (select coalesce(jsonb_agg('sku ' || i), '[]') from generate_series(1, g % 4) i)
from generate_series(1, 2000) g;
"#;

const MODULE: &str = r#"
source = 'legacy."Order ""Items"" ÄÖ"'
[[target]]
table = 'shop.customers'
mode = 'lookup'
key = ['name']
select = 'customers.sql'
[[target]]
table = 'shop.orders'
source_key = ['id']
select = 'orders.sql'
[[target]]
table = 'shop.lines'
source_key = ['order_id']
select = 'lines.sql'
"#;

const REVERSE: &str = "
select o.id, o.customer, c.city,
       coalesce((select jsonb_agg(l.sku order by l.n) from shop.lines l where l.order_id = o.id), '[]') as items
from shop.orders o join shop.customers c on c.name = o.customer;";

const TOUCH: &str = "select o.id from shop.orders o join changed c on c.name = o.customer";

/// A slot is listed from when it is begun, and of use only from when it is consistent.
const BOTH_SLOTS: &str = "select phase = 'streaming' and (select count(*) = 2 from pg_replication_slots where confirmed_flush_lsn is not null) from crossfade.migration";

const WITH_REVERSE: &str = "
[reverse]
select = 'reverse.sql'
[[reverse.touch]]
table = 'shop.customers'
select = 'touch.sql'
";

fn shop(tail: &str) -> Shop {
    let shop = Shop::bare(crossfade::server::Options::default());
    shop.sql(TABLES);
    shop.module(
        "transforms/split",
        &format!("{MODULE}{tail}"),
        &[
            (
                "customers.sql",
                "select distinct o.customer as name, o.city from source o",
            ),
            ("orders.sql", "select o.id, o.customer from source o"),
            (
                "lines.sql",
                "select o.id as order_id, i.n::int as n, i.sku from source o, jsonb_array_elements_text(o.items) with ordinality as i(sku, n)",
            ),
            ("reverse.sql", REVERSE),
            ("touch.sql", TOUCH),
        ],
    );
    shop.config(
        &shop.url("postgres", program::SECRET),
        &["transforms/split"],
    );
    shop
}

fn caught_up(shop: &Shop) {
    let end = shop.value("select pg_current_wal_insert_lsn()::text");
    shop.wait(&format!(
        "select applied_lsn >= '{end}' from crossfade.checkpoint"
    ));
}

fn outcome(ran: &Ran) -> String {
    let answer: serde_json::Value =
        serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}", ran.all()));
    answer["outcome"].as_str().unwrap_or_default().to_owned()
}

/// Old rows that differ from what the reverse makes of the new ones.
fn differing(shop: &Shop, old: &str) -> String {
    let reverse = REVERSE.trim().trim_end_matches(';');
    shop.value(&format!(
        "select ((select count(*) from ((table {old}) except all ({reverse})) a)
               + (select count(*) from (({reverse}) except all (table {old})) b))::text"
    ))
}

#[test]
fn changes_of_rows_lookups_and_whole_tables_come_back() {
    let shop = shop(WITH_REVERSE);
    let daemon = shop.spawn(&["run"]);
    shop.wait("to_regclass('crossfade.migration') is not null");
    shop.wait(BOTH_SLOTS);
    let ran = shop.crossfade(&["--output", "json", "switch", "--unverified"]);
    assert_eq!(outcome(&ran), "switched", "{}", ran.all());
    let old = r#"legacy."Order ""Items"" ÄÖ_old""#;
    shop.sql(&format!("alter table {old} set (autovacuum_enabled = off)"));
    for sql in [
        "update shop.orders set customer = 'customer 3' where id % 7 = 0",
        // A lookup is used by many: each of them is rebuilt.
        "update shop.customers set city = 'Årø' where name = 'customer 3'",
        "delete from shop.lines where order_id % 5 = 0",
        "insert into shop.lines select id, 9, 'extra' from shop.orders where id % 11 = 0",
        "update shop.orders set id = id + 100000 where id = 17; update shop.lines set order_id = order_id + 100000 where order_id = 17",
        "insert into shop.orders values (5001, 'customer 1'), (5002, 'customer 2')",
        "begin; delete from shop.lines where order_id = 4; delete from shop.orders where id = 4; commit",
        "begin; delete from shop.orders where id = 8; savepoint s; insert into shop.orders values (8, 'customer 8'); rollback to s; rollback",
        "truncate shop.lines",
        "insert into shop.lines select id, 1, 'again' from shop.orders",
    ] {
        shop.sql(sql);
        caught_up(&shop);
        assert_eq!(differing(&shop, old), "0", "after {sql}");
    }
    shop.sql("truncate shop.lines, shop.orders");
    caught_up(&shop);
    assert_eq!(
        shop.value(&format!("select count(*)::text from {old}")),
        "0"
    );
    // To the server it is now a table of many pages without rows, whatever comes.
    shop.sql(&format!("analyze {old}"));
    shop.sql("insert into shop.orders select g, 'customer 1' from generate_series(1, 20000) g");
    // How long that takes is the machine's; a switch waits for it half a minute only.
    caught_up(&shop);
    let ran = shop.crossfade(&["--output", "json", "switch", "--back", "--unverified"]);
    assert_eq!(outcome(&ran), "switched", "{}", ran.all());
    let source = r#"legacy."Order ""Items"" ÄÖ""#;
    assert_eq!(differing(&shop, source), "0");
    // And forward again from here.
    shop.sql(&format!(
        "delete from {source} where id > 5000; update {source} set items = '[\"x\"]' where id < 10"
    ));
    caught_up(&shop);
    assert_eq!(differing(&shop, source), "0");
    end(daemon);
}

fn end(mut daemon: std::process::Child) {
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

#[test]
fn without_a_reverse_it_is_said_that_there_is_no_way_back() {
    let shop = shop("");
    let ran = shop.crossfade(&["preflight"]);
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    assert!(ran.out.contains("there will be no way back"), "{}", ran.out);
    let daemon = shop.spawn(&["run"]);
    shop.wait("to_regclass('crossfade.migration') is not null");
    shop.wait("select phase = 'streaming' from crossfade.migration");
    let early = shop.crossfade(&["--output", "json", "switch", "--back"]);
    assert_eq!(outcome(&early), "not_switched", "{}", early.all());
    let ran = shop.crossfade(&["switch", "--unverified"]);
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    assert!(ran.out.contains("there is no way back"), "{}", ran.out);
    assert_eq!(program::finish(daemon).code, Some(0));
    // Nobody follows the log any more, so nothing keeps it.
    assert_eq!(
        shop.value("select count(*)::text from pg_replication_slots"),
        "0"
    );
    let back = shop.crossfade(&["--output", "json", "switch", "--back"]);
    assert_eq!(
        (outcome(&back).as_str(), back.code),
        ("not_switched", Some(1))
    );
    assert!(back.out.contains("[reverse]"), "{}", back.out);
}

#[test]
fn a_reverse_that_does_not_fit_is_refused_before_anything_starts() {
    let touch = "[[reverse.touch]]\ntable = 'shop.customers'\nselect = 'touch.sql'\n";
    let reverse = "[reverse]\nselect = 'reverse.sql'\n";
    for (tail, files, expected) in [
        // The lookup's changes would not be seen.
        (reverse.to_owned(), vec![], "reverse.touch"),
        (
            WITH_REVERSE.to_owned(),
            vec![("reverse.sql", REVERSE.replace("c.city,", ""))],
            "\"city\"",
        ),
        (
            WITH_REVERSE.to_owned(),
            vec![(
                "reverse.sql",
                REVERSE.replace("c.city,", "c.city, 1 as more,"),
            )],
            "\"more\" is not a column to rebuild",
        ),
        (
            WITH_REVERSE.to_owned(),
            vec![(
                "reverse.sql",
                REVERSE.replace(
                    "from shop.orders o",
                    "from shop.orders o join shop.stranger s on s.id = o.id",
                ),
            )],
            "no target",
        ),
        (
            WITH_REVERSE.to_owned(),
            vec![(
                "reverse.sql",
                REVERSE.replace("c.city,", "now()::text as city,"),
            )],
            "each time it runs",
        ),
        (
            WITH_REVERSE.to_owned(),
            vec![("touch.sql", "select 1 as nothing from changed".to_owned())],
            "touch.sql",
        ),
        (
            format!(
                "{reverse}{touch}[[reverse.touch]]\ntable = 'shop.orders'\nselect = 'touch.sql'\n"
            ),
            vec![],
            "no lookup target",
        ),
        (format!("{WITH_REVERSE}more = 1\n"), vec![], "more"),
        // Changes of the lookup would not name its key.
        (
            WITH_REVERSE.to_owned(),
            vec![("#", "alter table shop.customers drop constraint customers_pkey, add id int generated always as identity primary key, add unique (name), alter name set not null".to_owned())],
            "replica identity of shop.customers",
        ),
        // After the switch the touch would look for it in vain.
        (
            WITH_REVERSE.to_owned(),
            vec![("rename", String::new())],
            "renamed at the switch",
        ),
        (
            WITH_REVERSE.to_owned(),
            vec![("#", "alter table shop.lines add unique (order_id, sku) deferrable".to_owned())],
            "deferrable",
        ),
        // It compiles and loses something: tried on a sample.
        (
            WITH_REVERSE.to_owned(),
            vec![(
                "reverse.sql",
                REVERSE.replace("order by l.n", "order by l.n desc"),
            )],
            "does not rebuild",
        ),
    ] {
        let shop = shop(&tail);
        for (name, text) in &files {
            match *name {
                "#" => shop.sql(text),
                "rename" => shop.write(
                    "transforms/split/transform.toml",
                    &format!("{MODULE}{tail}").replace(
                        "table = 'shop.orders'\n",
                        "table = 'shop.orders'\nrename_to = 'shop.orders_of_today'\n",
                    ),
                ),
                name => shop.write(&format!("transforms/split/{name}"), text),
            }
        }
        for command in ["preflight", "run"] {
            let ran = shop.crossfade(&[command]);
            assert_eq!(ran.code, Some(2), "{expected}: {}", ran.all());
            assert!(ran.all().contains(expected), "{expected}: {}", ran.all());
        }
        assert_eq!(
            shop.value("select (to_regclass('crossfade.migration') is null)::text"),
            "true"
        );
        assert_eq!(shop.value("select count(*)::text from shop.orders"), "0");
    }
}

/// A row that the new tables refused is left behind with the operator's consent. It is in
/// the old table, and stays there: nobody takes it for deleted.
#[test]
fn a_row_left_behind_at_the_switch_is_still_there_after_the_way_back() {
    let shop = shop(WITH_REVERSE);
    let old = r#"legacy."Order ""Items"" ÄÖ""#;
    // A lookup's key cannot be NULL, nor a line's text.
    shop.sql(&format!("update {old} set items = '[null]' where id = 77"));
    let daemon = shop.spawn(&["run"]);
    shop.wait("to_regclass('crossfade.migration') is not null");
    shop.wait(BOTH_SLOTS);
    let switch = |arguments: &[&str]| {
        let all = [&["--output", "json", "switch", "--unverified"], arguments].concat();
        outcome(&shop.crossfade(&all))
    };
    assert_eq!(switch(&[]), "not_switched");
    assert_eq!(switch(&["--accept-quarantined", "1"]), "switched");
    assert_eq!(shop.crossfade(&["quarantine", "retry"]).code, Some(0));
    // Something that passes through the reverse stream after that.
    shop.sql("update shop.orders set customer = 'customer 1' where id = 78");
    caught_up(&shop);
    shop.wait(&format!(
        "(select customer = 'customer 1' from {}_old\" where id = 78)",
        old.trim_end_matches('"')
    ));
    // What the old table cannot hold is set aside on the way back, and refuses it.
    shop.sql("insert into shop.orders values (5000000000, 'customer 1')");
    shop.wait("(select count(*) from crossfade.quarantine where leg = 'reverse') = 1");
    assert_eq!(switch(&["--back"]), "not_switched");
    shop.sql("delete from shop.orders where id = 5000000000");
    shop.wait("(select count(*) from crossfade.quarantine where leg = 'reverse') = 0");
    assert_eq!(switch(&["--back"]), "switched");
    assert_eq!(
        shop.value(&format!("select items::text from {old} where id = 77")),
        "[null]"
    );
    // Corrected at last, it reaches the new tables.
    shop.sql(&format!("update {old} set items = '[\"x\"]' where id = 77"));
    shop.wait("(select count(*) from crossfade.quarantine) = 0");
    assert_eq!(differing(&shop, old), "0");
    end(daemon);
}

/// The slot of the way back is listed while the server still waits for transactions to
/// make it; a switch at that moment would lose what is written before it is finished.
#[test]
fn a_switch_waits_for_the_slot_of_the_way_back_to_be_finished() {
    let shop = shop(WITH_REVERSE);
    shop.write(
        "crossfade.toml",
        &format!(
            "name = 'split'\ntransforms = ['transforms/split']\n[source]\nurl = '{}'\n[copy]\nbatch_rows = 100\nsleep_ms = 4000\n",
            shop.url("postgres", program::SECRET)
        ),
    );
    let daemon = shop.spawn(&["run"]);
    shop.wait("to_regclass('crossfade.migration') is not null");
    shop.wait("(select phase = 'copying' from crossfade.migration)");
    let other = program::Held::open(&shop.url("postgres", program::SECRET));
    other.sql("begin; insert into shop.stranger values (1)");
    // From here on the copy may end: what is to be open before the slot is begun is open.
    let faster = shop.crossfade(&["throttle", "sleep_ms=0"]);
    assert_eq!(faster.code, Some(0), "{}", faster.all());
    shop.wait("(select phase = 'streaming' from crossfade.migration)");
    shop.wait("(select count(*) = 2 from pg_replication_slots)");
    let early = shop.crossfade(&["--output", "json", "switch", "--unverified"]);
    assert_eq!(outcome(&early), "not_switched", "{}", early.all());
    assert!(early.out.contains("is being made"), "{}", early.out);
    other.sql("commit");
    shop.wait(
        "(select count(*) = 2 from pg_replication_slots where confirmed_flush_lsn is not null)",
    );
    let ran = shop.crossfade(&["--output", "json", "switch", "--unverified"]);
    assert_eq!(outcome(&ran), "switched", "{}", ran.all());
    end(daemon);
}

/// A change that the way back's publication does not have would be missing after it.
#[test]
fn a_publication_of_the_way_back_that_somebody_changed_is_made_anew() {
    let shop = shop(WITH_REVERSE);
    let daemon = shop.spawn(&["run"]);
    shop.wait("to_regclass('crossfade.migration') is not null");
    shop.wait(BOTH_SLOTS);
    shop.sql("create table public.made as select oid from pg_publication");
    shop.sql("alter publication crossfade_split_back drop table shop.orders");
    shop.wait("(select count(*) = 2 from pg_publication) and (select count(*) = 1 from pg_publication where oid not in (select oid from public.made))");
    shop.wait(BOTH_SLOTS);
    let ran = shop.crossfade(&["--output", "json", "switch", "--unverified"]);
    assert_eq!(outcome(&ran), "switched", "{}", ran.all());
    shop.sql("update shop.orders set customer = 'customer 1' where id = 78");
    caught_up(&shop);
    assert_eq!(differing(&shop, r#"legacy."Order ""Items"" ÄÖ_old""#), "0");
    // The stream in use has a gap that nothing can mend.
    shop.sql("alter publication crossfade_split_back drop table shop.orders");
    let ended = program::finish(daemon);
    assert_eq!(ended.code, Some(2), "{}", ended.all());
    let back = shop.crossfade(&["--output", "json", "switch", "--back", "--unverified"]);
    assert_eq!(outcome(&back), "not_switched", "{}", back.all());
    assert!(back.out.contains("crossfade finish"), "{}", back.out);
    assert_eq!(shop.crossfade(&["finish"]).code, Some(0));
}

/// After the switch the new tables are the application's to alter: what only the way forward
/// would need stops nobody until there is one again.
#[test]
fn a_new_mandatory_column_of_a_new_table_stops_only_the_switch_back() {
    let shop = shop(WITH_REVERSE);
    let mut daemon = shop.spawn(&["run"]);
    shop.wait("to_regclass('crossfade.migration') is not null");
    shop.wait(BOTH_SLOTS);
    let switch = |arguments: &[&str]| {
        let all = [&["--output", "json", "switch", "--unverified"], arguments].concat();
        shop.crossfade(&all)
    };
    assert_eq!(outcome(&switch(&[])), "switched");
    shop.sql("alter table shop.orders add prio int not null default 3; alter table shop.orders alter prio drop default");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let daemon = shop.spawn(&["run"]);
    shop.sql("update shop.orders set customer = 'customer 1' where id = 78");
    caught_up(&shop);
    let old = r#"legacy."Order ""Items"" ÄÖ_old""#;
    assert_eq!(differing(&shop, old), "0");
    let back = switch(&["--back"]);
    assert_eq!(outcome(&back), "not_switched", "{}", back.all());
    assert!(back.out.contains("prio"), "{}", back.out);
    assert!(back.out.contains("SET DEFAULT"), "{}", back.out);
    shop.sql("alter table shop.orders alter prio set default 3");
    assert_eq!(outcome(&switch(&["--back"])), "switched");
    shop.sql(r#"update legacy."Order ""Items"" ÄÖ" set customer = 'customer 2' where id = 78"#);
    caught_up(&shop);
    assert_eq!(
        shop.value("select customer from shop.orders where id = 78"),
        "customer 2"
    );
    end(daemon);
}

/// Two texts of one key: the old table ends with the one that the new table has.
#[test]
fn a_key_that_changes_to_an_equal_one_comes_back_with_its_text() {
    let shop = Shop::bare(crossfade::server::Options::default());
    shop.sql("create table old (k numeric primary key, v int); create table new (k numeric primary key, v int); insert into old values (1.0, 1), (2, 2)");
    shop.module(
        "transforms/m",
        "source = 'old'\n[[target]]\ntable = 'new'\nsource_key = ['k']\nselect = 'new.sql'\n[reverse]\nselect = 'old.sql'\n",
        &[("new.sql", "select k, v from source"), ("old.sql", "select k, v from new")],
    );
    shop.config(&shop.url("postgres", program::SECRET), &["transforms/m"]);
    let daemon = shop.spawn(&["run"]);
    shop.wait("to_regclass('crossfade.migration') is not null");
    shop.wait("(select phase = 'streaming' from crossfade.migration)");
    shop.wait(
        "(select count(*) = 2 from pg_replication_slots where confirmed_flush_lsn is not null)",
    );
    let ran = shop.crossfade(&["--output", "json", "switch", "--unverified"]);
    assert_eq!(outcome(&ran), "switched", "{}", ran.all());
    shop.sql("update new set k = 1.00 where k = 1");
    caught_up(&shop);
    assert_eq!(
        shop.texts("select array_agg(k::text order by k) from old_old"),
        ["1.00", "2"]
    );
    end(daemon);
}
