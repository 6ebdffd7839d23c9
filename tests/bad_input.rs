//! Whatever is wrong is named, with the exit code for it, before anything has
//! changed: by `preflight` and by `run` alike.

mod program;

use crossfade::server::Options;
use program::{SECRET, Shop};

/// Both commands refuse with all of these words and leave the database as it was.
#[track_caller]
fn refused(shop: &Shop, words: &[&str]) {
    let before = shop.snapshot();
    for args in [&["preflight"][..], &["run", "--until", "copied"]] {
        let ran = shop.crossfade(args);
        assert_eq!(ran.code, Some(2), "{args:?}: {ran:?}");
        for word in words {
            assert!(
                ran.all().contains(word),
                "{args:?} should say {word:?}: {ran:?}"
            );
        }
        assert!(
            ran.all().contains("try: "),
            "{args:?} has no remedy: {ran:?}"
        );
        assert!(!ran.all().contains("panicked"), "{ran:?}");
    }
    assert_eq!(before, shop.snapshot(), "something was changed");
}

#[test]
fn a_complete_setup_is_not_refused() {
    // The other tests here each break one thing of this one.
    let shop = Shop::open();
    let before = shop.snapshot();
    let ran = shop.crossfade(&["preflight"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(before, shop.snapshot());
    let ran = shop.crossfade(&["run", "--until", "copied"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(
        shop.value("select count(*)::text from shop.order_items"),
        "2"
    );
}

#[test]
fn configuration_files_that_are_missing_broken_or_have_unknown_keys() {
    let shop = Shop::open();
    let good = std::fs::read_to_string(shop.dir.join("crossfade.toml")).unwrap();
    shop.write("crossfade.toml", &format!("{good}[copy]\nbatchrows = 3\n"));
    refused(&shop, &["crossfade.toml", "batchrows", "line 6"]);
    shop.write("crossfade.toml", &good.replace("url = ", "url == "));
    refused(&shop, &["crossfade.toml", "line 4"]);
    shop.write("crossfade.toml", &good.replace("'split'", "'No Slot'"));
    refused(&shop, &["No Slot", "lower-case"]);
    std::fs::remove_file(shop.dir.join("crossfade.toml")).unwrap();
    refused(&shop, &["crossfade.toml", "crossfade init"]);
}

#[test]
fn a_target_in_another_database() {
    let shop = Shop::open();
    let url = shop.url("postgres", SECRET);
    shop.config(&url, &["transforms/split"]);
    let text = std::fs::read_to_string(shop.dir.join("crossfade.toml")).unwrap();
    let other = url.replace("/shop", "/postgres");
    shop.write(
        "crossfade.toml",
        &format!("{text}[target]\nurl = '{other}'\n"),
    );
    refused(&shop, &["different databases", "[target]"]);
}

#[test]
fn servers_that_cannot_be_reached_or_entered() {
    let shop = Shop::open();
    let good = shop.url("postgres", SECRET);
    let with = |url: &str| shop.config(url, &["transforms/split"]);
    with(&shop.url("postgres", "wrong-s3cret"));
    refused(&shop, &["28P01", "check user and password"]);
    for args in [&["preflight"][..], &["run"]] {
        assert!(!shop.crossfade(args).all().contains("wrong-s3cret"));
    }
    with(&format!(
        "postgres://postgres@127.0.0.1:{}/shop",
        shop.server.port()
    ));
    refused(&shop, &["password", "PGPASSWORD"]);
    let port = 1; // tcpmux: nobody listens there
    with(&format!(
        "postgres://postgres:{SECRET}@127.0.0.1:{port}/shop"
    ));
    refused(
        &shop,
        &["127.0.0.1:1", "refused", "check that the server is up"],
    );
    with(&good.replace("/shop", "/nowhere"));
    refused(&shop, &["nowhere", "check the database's name"]);
    with(&format!("{good}?sslmode=require"));
    refused(&shop, &["does not offer TLS", "ssl = on"]);
    with(&format!("{good}?sslmoode=require"));
    refused(&shop, &["sslmoode"]);
}

#[test]
fn a_server_without_logical_wal() {
    let shop = Shop::open_with(Options::default().setting("wal_level", "replica"));
    refused(
        &shop,
        &[
            "wal_level is replica",
            "ALTER SYSTEM SET wal_level = logical",
        ],
    );
}

#[test]
fn a_server_without_a_free_slot_or_sender() {
    let shop = Shop::open_with(Options::default().setting("max_replication_slots", "1"));
    shop.sql("select pg_create_physical_replication_slot('other')");
    refused(
        &shop,
        &["all 1 replication slots", "max_replication_slots = 5"],
    );
    let shop = Shop::open_with(Options::default().setting("max_wal_senders", "0"));
    refused(&shop, &["WAL senders", "max_wal_senders"]);
}

/// A role that owns everything it needs and lacks nothing.
fn with_role(shop: &Shop) {
    shop.sql(&format!(
        "create role app login replication password '{SECRET}';
         grant create, temp on database shop to app;
         alter schema legacy owner to app; alter schema shop owner to app;
         alter table legacy.orders owner to app;
         alter table shop.orders owner to app;
         alter table shop.order_items owner to app;"
    ));
    shop.config(&shop.url("app", SECRET), &["transforms/split"]);
}

#[test]
fn each_privilege_that_is_missing_is_named_with_its_grant() {
    let shop = Shop::open();
    with_role(&shop);
    let ran = shop.crossfade(&["preflight"]);
    assert_eq!(ran.code, Some(0), "the role suffices: {ran:?}");
    for (take, give, words) in [
        (
            "alter role app noreplication",
            "alter role app replication",
            &["app may not replicate", "ALTER ROLE \"app\" REPLICATION"][..],
        ),
        (
            "revoke select on legacy.orders from app",
            "grant select on legacy.orders to app",
            &[
                "SELECT on legacy.orders",
                "GRANT SELECT ON \"legacy\".\"orders\" TO \"app\"",
            ],
        ),
        (
            "revoke update, delete on shop.orders from app",
            "grant update, delete on shop.orders to app",
            &["UPDATE, DELETE on shop.orders", "GRANT UPDATE, DELETE ON"],
        ),
        (
            "revoke create on database shop from app",
            "grant create on database shop to app",
            &["CREATE on the database shop", "GRANT CREATE ON DATABASE"],
        ),
        (
            "revoke temp on database shop from app, public",
            "grant temp on database shop to app",
            &["TEMP on the database shop", "GRANT TEMP ON DATABASE"],
        ),
        (
            "alter table legacy.orders owner to postgres; grant select on legacy.orders to app",
            "alter table legacy.orders owner to app",
            &[
                "legacy.orders belongs to postgres",
                "GRANT \"postgres\" TO \"app\"",
            ],
        ),
        (
            "alter table legacy.orders enable row level security, force row level security",
            "alter table legacy.orders disable row level security",
            &["row security hides rows of legacy.orders", "BYPASSRLS"],
        ),
    ] {
        shop.sql(take);
        refused(&shop, words);
        shop.sql(give);
    }
    shop.sql("alter schema shop owner to postgres");
    refused(&shop, &["permission denied for schema shop"]);
}

#[test]
fn source_tables_that_cannot_be_followed() {
    let shop = Shop::open();
    for (breaks, mends, words) in [
        (
            "alter table legacy.orders drop constraint orders_pkey",
            "alter table legacy.orders add primary key (id)",
            &["legacy.orders has no primary key", "add a primary key"][..],
        ),
        (
            "alter table legacy.orders drop constraint orders_pkey, add primary key (id) deferrable",
            "alter table legacy.orders drop constraint orders_pkey, add primary key (id)",
            &["deferrable", "NOT DEFERRABLE"],
        ),
        (
            "alter table legacy.orders replica identity nothing",
            "alter table legacy.orders replica identity default",
            &["REPLICA IDENTITY NOTHING", "REPLICA IDENTITY DEFAULT"],
        ),
        (
            "alter table legacy.orders set unlogged",
            "alter table legacy.orders set logged",
            &["legacy.orders is unlogged", "SET LOGGED"],
        ),
        (
            "alter table legacy.orders rename column customer to client",
            "alter table legacy.orders rename column client to customer",
            &["orders.sql", "customer does not exist", "line 1"],
        ),
        (
            "alter table legacy.orders rename to elsewhere; create view legacy.orders as select * from legacy.elsewhere",
            "drop view legacy.orders; alter table legacy.elsewhere rename to orders",
            &["legacy.orders is not a table"],
        ),
    ] {
        shop.sql(breaks);
        refused(&shop, words);
        shop.sql(mends);
    }
    assert_eq!(shop.crossfade(&["preflight"]).code, Some(0));
}

#[test]
fn module_files_that_are_missing_or_malformed() {
    let shop = Shop::open();
    shop.write(
        "transforms/split/transform.toml",
        "source = 'legacy.orders\n[[target\n",
    );
    refused(&shop, &["transforms/split/transform.toml", "line 2"]);
    shop.write(
        "transforms/split/transform.toml",
        "sauce = 'legacy.orders'\n",
    );
    refused(&shop, &["unknown field", "sauce"]);
    shop.write(
        "transforms/split/transform.toml",
        &program::TRANSFORM.replace("orders.sql", "gone.sql"),
    );
    refused(&shop, &["gone.sql"]);
    shop.write(
        "transforms/split/transform.toml",
        &program::TRANSFORM.replace("'legacy.orders'", "'legacy.'"),
    );
    refused(&shop, &["is not a table name"]);
    shop.write(
        "transforms/split/transform.toml",
        &program::TRANSFORM.replace("legacy.orders", "legacy.nothing"),
    );
    refused(&shop, &["legacy.nothing does not exist"]);
    shop.write(
        "transforms/split/transform.toml",
        &program::TRANSFORM.replace("shop.order_items", "shop.nothing"),
    );
    refused(&shop, &["shop.nothing does not exist", "migration"]);
    std::fs::remove_dir_all(shop.dir.join("transforms/split")).unwrap();
    refused(&shop, &["cannot read", "transform.toml"]);
}

#[test]
fn selects_that_do_not_fit() {
    let shop = Shop::open();
    for (select, words) in [
        (
            "select o.id, o.nonsense as customer from source o",
            &["nonsense", "orders.sql", "line 1"][..],
        ),
        (
            "selekt o.id from source o",
            &["does not compile", "syntax error"],
        ),
        (
            "select o.id from source o",
            &["\"customer\" of shop.orders is NOT NULL"],
        ),
        (
            "select o.customer from source o",
            &["does not produce the key column \"id\""],
        ),
        (
            "select o.id, o.customer, 1 as extra from source o",
            &["has no column \"extra\""],
        ),
        (
            "select o.customer::date as id, o.customer from source o",
            &["do not fit", "bigint", "date"],
        ),
        (
            "select o.id, o.customer || now() as customer from source o",
            &["now()", "another value each time"],
        ),
        (
            "select o.id, o.customer || random() as customer from source o",
            &["random()", "another value each time"],
        ),
        (
            "select o.id, o.customer || current_date as customer from source o",
            &["current_date"],
        ),
        (
            "select o.id, (select n.nspname from pg_catalog.nothing n) as customer from source o",
            &["pg_catalog.nothing"],
        ),
        (
            "select o.id, o.customer from source o; drop table shop.orders",
            &["does not compile"],
        ),
        // Balanced, so that it parses as several statements.
        (
            "select 1 as id) q; commit; drop table shop.orders; select * from (select 1 as id",
            &["does not compile"],
        ),
        ("", &["does not compile"]),
    ] {
        shop.write("transforms/split/orders.sql", select);
        refused(&shop, words);
    }
}

#[test]
fn targets_whose_keys_cannot_carry_the_source_key() {
    let shop = Shop::open();
    for (breaks, mends, words) in [
        (
            "alter table shop.order_items drop constraint order_items_pkey, add primary key (line_no)",
            "alter table shop.order_items drop constraint order_items_pkey, add primary key (order_id, line_no)",
            &[
                "no unique index that contains (\"order_id\")",
                "primary key",
            ][..],
        ),
        (
            "alter table shop.order_items drop constraint order_items_pkey; alter table shop.order_items alter order_id drop not null",
            "alter table shop.order_items add primary key (order_id, line_no)",
            &["\"order_id\" of shop.order_items can be NULL", "NOT NULL"],
        ),
        (
            "alter table shop.order_items drop constraint order_items_pkey, add primary key (order_id, line_no) deferrable",
            "alter table shop.order_items drop constraint order_items_pkey, add primary key (order_id, line_no)",
            &["no unique index"],
        ),
        (
            "alter table shop.orders drop column customer, add column customer text not null generated always as ('x') stored",
            "alter table shop.orders drop column customer, add column customer text not null",
            &["\"customer\" of shop.orders is generated", "leave it out"],
        ),
        (
            "insert into shop.orders values (7, 'left over')",
            "delete from shop.orders",
            &["shop.orders is not empty", "TRUNCATE"],
        ),
    ] {
        shop.sql(breaks);
        refused(&shop, words);
        shop.sql(mends);
    }
    assert_eq!(shop.crossfade(&["preflight"]).code, Some(0));
}

#[test]
fn a_generated_source_column_is_absent_from_the_log() {
    let shop = Shop::open();
    shop.sql("alter table legacy.orders add column shout text generated always as (upper(customer)) stored");
    shop.write(
        "transforms/split/orders.sql",
        "select o.id, o.shout as customer from source o",
    );
    refused(
        &shop,
        &[
            "\"shout\" of legacy.orders is generated",
            "compute it in the SELECT",
        ],
    );
}

#[test]
fn a_slot_of_another_database_is_never_touched() {
    let shop = Shop::open();
    program::execute(
        &shop.server.url("postgres"),
        "select pg_create_logical_replication_slot('crossfade_split', 'pgoutput')",
    );
    refused(
        &shop,
        &[
            "crossfade_split exists and belongs to postgres",
            "another `name`",
        ],
    );
}

#[test]
fn a_table_that_is_source_and_target() {
    let shop = Shop::open();
    shop.module(
        "transforms/loop",
        "source = 'shop.orders'\n[[target]]\ntable = 'shop.orders'\nsource_key = ['id']\nselect = 'a.sql'\n",
        &[("a.sql", "select * from source")],
    );
    shop.config(&shop.url("postgres", SECRET), &["transforms/loop"]);
    refused(
        &shop,
        &["shop.orders is a target of module loop and the source"],
    );
}

#[test]
fn usage_errors_and_json_errors_have_the_same_exit_code() {
    let shop = Shop::open();
    for args in [
        &["nonsense"][..],
        &["run", "--until", "never"],
        &["preview"],
        &["--output", "xml", "status"],
    ] {
        assert_eq!(shop.crossfade(args).code, Some(2), "{args:?}");
    }
    std::fs::remove_file(shop.dir.join("crossfade.toml")).unwrap();
    let ran = shop.crossfade(&["run", "--output", "json"]);
    let json: serde_json::Value = serde_json::from_str(ran.err.lines().last().unwrap()).unwrap();
    assert_eq!(json["kind"], "config");
    assert_eq!(json["exit_code"], 2);
    assert_eq!(ran.code, Some(2));
}
