//! Texts that mention a thing, and texts that only look like it.

use super::*;

fn column(text: &str) -> Option<How> {
    let target = Target::Column {
        schema: "legacy".to_owned(),
        table: "orders".to_owned(),
        column: "total".to_owned(),
    };
    let visible = ["legacy".to_owned()];
    let reading = Reading {
        visible: &visible,
        trigger: true,
    };
    mention(text, &target, reading).map(|m| m.how)
}

#[test]
fn a_column_is_found_by_name_alias_and_table() {
    for text in [
        "select total from legacy.orders",
        "select o.total from orders as o",
        "select O.Total FROM Legacy.Orders o where o.id = $1",
        "PREPARE p AS select sum(total) from customers c, orders where c.id = 1",
        "update legacy.orders set total = $1 where id = $2",
        "insert into legacy.orders (id, total) values ($1, $2)",
        "select legacy.orders.total from legacy.orders",
        "declare x legacy.orders.total%type; begin end",
        "select 1 from a join (select * from legacy.orders x where x.total > 3) s on true",
        "begin select o.total into x from legacy.orders o where o.id = new.id; end",
        "select \"total\" from orders",
    ] {
        assert_eq!(column(text), Some(How::Named), "{text}");
    }
}

#[test]
fn other_ways_to_depend_on_a_column_are_told() {
    assert_eq!(
        column("insert into legacy.orders values (1, 2)"),
        Some(How::Positional)
    );
    assert_eq!(
        column("begin if new.total > 3 then return new; end if; end"),
        Some(How::TriggerRow)
    );
    assert_eq!(
        column("begin for r in select * from legacy.orders loop x := x + r.total; end loop; end"),
        Some(How::Record)
    );
    assert_eq!(
        column("begin execute 'select total from ' || 'legacy.orders'; end"),
        Some(How::DynamicText)
    );
}

#[test]
fn commands_that_copy_empty_or_run_a_block_are_read() {
    for text in [
        "copy legacy.orders (id, total) to stdout",
        "COPY orders (total) from stdin (format csv)",
        "copy (select total from orders) to stdout",
        "begin copy orders (total) from '/tmp/x'; end",
        "do $$ begin perform total from orders; end $$",
        "do language plpgsql 'begin perform 1 from orders where total > 3 and note = ''x''; end'",
    ] {
        assert_eq!(column(text), Some(How::Named), "{text}");
    }
    for text in [
        "copy legacy.orders from stdin",
        "copy orders to '/tmp/orders'",
    ] {
        assert_eq!(column(text), Some(How::Positional), "{text}");
    }
    for text in [
        "copy legacy.orders (id) to stdout",
        "copy (select id from orders) to stdout",
        "copy shop.orders from stdin",
        "truncate legacy.orders",
        "select copy from legacy.orders",
        "do $$ begin perform id from orders; end $$",
    ] {
        assert_eq!(column(text), None, "{text}");
    }
    let table = Target::Table {
        schema: "legacy".to_owned(),
        name: "orders".to_owned(),
    };
    let visible = ["legacy".to_owned()];
    for (text, expected) in [
        ("truncate orders", true),
        ("TRUNCATE TABLE ONLY legacy.orders CASCADE", true),
        ("truncate invoices, orders", true),
        ("truncate shop.orders", false),
        ("copy orders from stdin", true),
        ("do $$ begin delete from orders; end $$", true),
    ] {
        let reading = Reading {
            visible: &visible,
            trigger: false,
        };
        let found = mention(text, &table, reading).is_some();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn comments_strings_and_other_tables_are_no_mention() {
    for text in [
        "select id from legacy.orders -- total",
        "select 'total' from legacy.orders",
        "select total from shop.orders",
        "select i.total from invoices i join legacy.orders o on o.id = i.order_id",
        "select total(id) from legacy.orders",
        "select count(*) from legacy.orders",
        "insert into legacy.orders (id) values (1)",
        "begin perform 1 from legacy.orders; select total into x from invoices; end",
        "",
    ] {
        assert_eq!(column(text), None, "{text}");
    }
}

#[test]
fn tables_and_routines_are_found_where_they_are_visible() {
    let table = Target::Table {
        schema: "legacy".to_owned(),
        name: "orders".to_owned(),
    };
    let routine = Target::Routine {
        schema: "legacy".to_owned(),
        name: "orders".to_owned(),
    };
    let visible = ["legacy".to_owned()];
    let seen = |text: &str, target: &Target, visible: &[String]| {
        let reading = Reading {
            visible,
            trigger: false,
        };
        mention(text, target, reading).is_some()
    };
    assert!(seen("select 1 from orders", &table, &visible));
    assert!(!seen("select 1 from orders", &table, &[]));
    assert!(seen("delete from legacy.orders", &table, &[]));
    assert!(!seen("select orders from invoices", &table, &visible));
    assert!(seen("select legacy.orders(1)", &routine, &[]));
    assert!(!seen(
        "select legacy.orders.id from legacy.orders",
        &routine,
        &visible
    ));
}
