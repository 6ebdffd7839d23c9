//! Columns that move away and come back.

use crossfade::cutover::Direction;
use crossfade::cutover::strategy;
use crossfade::cutover::strategy::contract::Contract;
use crossfade::demo::application::{Form, Layout};
use crossfade::demo::shop;
use crossfade::pg::ConnInfo;

use crate::shop::{Shop, TABLE, assert_clean, code, go_on};
/// What a moved column is, in one text: default, NOT NULL, checks and triggers.
const SHAPE: &str = "
    select concat_ws(' | ', a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
           (select string_agg(conname, ',') from pg_constraint where conrelid = a.attrelid and contype = 'c'),
           (select string_agg(tgname, ',') from pg_trigger where tgrelid = a.attrelid and not tgisinternal))
    from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attrelid = 'legacy.orders'::regclass and a.attname = 'items'";

#[tokio::test(flavor = "multi_thread")]
async fn columns_move_and_come_back_under_an_application_that_goes_on() {
    let mut shop = Shop::new(shop::SPLIT_IN_PLACE, "columns", &[shop::LINES]).await;
    shop.run("alter table legacy.orders alter column items set default '[]'")
        .await;
    let before = shop.text(SHAPE).await;
    let app = shop.application(Layout::InPlace);
    go_on(&app, 200).await;
    for _ in 0..4 {
        shop.switch(Direction::Forward).await;
        go_on(&app, 150).await;
        shop.switch(Direction::Back).await;
        go_on(&app, 150).await;
    }
    assert_eq!(shop.text(SHAPE).await, before);
    shop.switch(Direction::Forward).await;
    go_on(&app, 200).await;
    let report = app.stop().await.unwrap();
    assert_clean(&report).await;
    assert!(report.counts.retried >= 30, "{:?}", report.counts);
    assert!(report.forms.contains(&Form::InPlace));
}

async fn awkward_columns() -> Shop {
    Shop::awkward(
        "columns",
        "source = '\"S \"\"x\"\"\".\"Order \"\"Items\"\" ÄÖ\"'\nmoved = ['txt', 'j']\n[[target]]\ntable = 't.head'\nsource_key = ['id']\nselect = 'head.sql'\n[reverse]\nselect = 'reverse.sql'\n",
        "select o.id, o.txt::text as txt, o.j from source o",
        "select h.id, h.txt, h.j from t.head h",
    )
    .await
}

/// Whatever an application may go on doing with the table passes, in any session; what
/// would be lost does not.
#[tokio::test]
async fn the_guard_of_moved_columns_refuses_a_change_of_them_and_nothing_else() {
    let mut shop = awkward_columns().await;
    shop.switch(Direction::Forward).await;
    let app = shop.session().await;
    for passes in [
        format!("update {TABLE} set \"Zahl\" = \"Zahl\" + 1 where id = 1"),
        format!("update {TABLE} set \"Zahl\" = 7, txt = txt, j = j where id = 1"),
        format!("update {TABLE} set j = '{{\"a\":  1}}' where id = 2"),
        format!("insert into {TABLE} (\"Zahl\") values (5)"),
        format!("insert into {TABLE} (\"Zahl\", txt, j) values (5, null, null)"),
        format!("begin; delete from {TABLE} where id = 3; delete from t.head where id = 3; commit"),
        format!(
            "begin; delete from {TABLE} where id = 4; insert into {TABLE} (id, \"Zahl\") values (4, 0); commit"
        ),
        format!("delete from {TABLE} where id = 21"),
    ] {
        assert_eq!(code(&app, &passes).await, "ok", "{passes}");
    }
    let moved =
        r#"55000 crossfade: "txt", "j" of table "S ""x"""."Order ""Items"" ÄÖ" moved to t.head"#;
    for refused in [
        format!("update {TABLE} set txt = 'x' where id = 1"),
        format!("update {TABLE} set j = null where id = 1"),
        // Equal as values would be, other bytes: it would vanish.
        format!("update {TABLE} set j = '{{\"a\": 1}}' where id = 1"),
        format!("insert into {TABLE} (\"Zahl\", txt) values (5, 'x')"),
        format!(
            "set session_replication_role = replica; update {TABLE} set txt = 'x' where id = 1"
        ),
    ] {
        assert_eq!(code(&app, &refused).await, moved, "{refused}");
    }
    app.batch_execute("reset session_replication_role")
        .await
        .unwrap();
    // A trigger of the application sets what the UPDATE does not name, after every other
    // trigger that runs before the row is made.
    shop.run(&format!(
        "create function zealous() returns trigger language plpgsql as
         $$ begin new.txt := 'zeal'; return new; end $$;
         create trigger zzz before insert or update on {TABLE} for each row
         execute function zealous()"
    ))
    .await;
    for refused in [
        format!("update {TABLE} set \"Zahl\" = 8 where id = 1"),
        format!("insert into {TABLE} (\"Zahl\") values (6)"),
    ] {
        assert_eq!(code(&app, &refused).await, moved, "{refused}");
    }
    shop.run(&format!("drop trigger zzz on {TABLE}")).await;
    let left = code(&app, &format!("delete from {TABLE} where id = 5")).await;
    assert!(
        left.starts_with("55000 crossfade: a deleted row of table"),
        "{left}"
    );
    shop.run(&format!("update {TABLE} set txt = 'by us' where id = 6"))
        .await;
}

/// A new row whose lines never came has no value to be given back: that is said, it
/// keeps nobody from working, and a second run ends it.
#[tokio::test]
async fn columns_that_cannot_be_mandatory_again_yet_are_named_and_done_later() {
    let mut shop = awkward_columns().await;
    let shape = "select string_agg(concat_ws(' ', attname, attnotnull, pg_get_expr(adbin, adrelid)), ', ' order by attnum)
                 from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
                 where attrelid = $$\"S \"\"x\"\"\".\"Order \"\"Items\"\" ÄÖ\"$$::regclass and attnum > 0";
    let before = shop.text(shape).await;
    shop.switch(Direction::Forward).await;
    let app = shop.session().await;
    app.batch_execute(&format!(
        "insert into {TABLE} (id, \"Zahl\") values (99, 1)"
    ))
    .await
    .unwrap();
    let left = shop.switch_leaving(Direction::Back).await.unwrap();
    assert!(!left.passed() && left.found.contains("\"j\""), "{left:?}");
    assert!(left.found.contains("rows without a value"), "{left:?}");
    assert!(
        code(
            &app,
            &format!("insert into {TABLE} (\"Zahl\", j) values (1, null)")
        )
        .await
        .starts_with("23514")
    );
    assert_eq!(
        code(&app, &format!("insert into {TABLE} (\"Zahl\") values (1)")).await,
        "ok"
    );
    app.batch_execute(&format!("update {TABLE} set j = '[]' where id = 99"))
        .await
        .unwrap();
    let info = ConnInfo::parse(&shop.config.source_url).unwrap();
    for _ in 0..2 {
        let again =
            strategy::afterwards(&shop.config, &info, shop.migration, Direction::Back).await;
        assert!(again.is_none_or(|check| check.passed()));
    }
    assert_eq!(shop.text(shape).await, before);
    assert_eq!(
        shop.text("select count(*)::text from crossfade.moved_column")
            .await,
        "0"
    );
}

#[tokio::test]
async fn what_would_refuse_a_row_without_the_moved_columns_is_found_before_the_switch() {
    let shop = awkward_columns().await;
    let found = shop.checks().await;
    assert!(found.iter().all(|c| c.1), "{found:?}");
    shop.run(&format!(
        "alter table {TABLE} add constraint wanted check (txt is not null and j is not null);
         alter table {TABLE} add constraint harmless check (length(txt) > 0 or \"Zahl\" > 0);
         create index on {TABLE} (txt); create view t.seen as select txt from {TABLE}"
    ))
    .await;
    let found = shop.checks().await;
    let (_, passed, text) = found.iter().find(|c| c.0 == "optional_columns").unwrap();
    assert!(
        !passed && text.contains("wanted") && !text.contains("harmless"),
        "{text}"
    );
    let (_, passed, text) = found
        .iter()
        .find(|c| c.0 == "uses_of_moved_columns")
        .unwrap();
    assert!(
        *passed && text.contains("index") && text.contains("view t.seen"),
        "{text}"
    );
}

/// The contract migration takes the columns away, and its way down brings every value
/// back.
#[tokio::test]
async fn the_contract_migration_goes_down_and_up_again() {
    let mut shop = awkward_columns().await;
    let values =
        format!("select string_agg(concat_ws('|', id, txt, j), ',' order by id) from {TABLE}");
    let before = shop.text(&values).await;
    shop.switch(Direction::Forward).await;
    let contract = Contract::of(&shop.plan).unwrap();
    let dir = shop.server.dir().join("migrations");
    let up = contract.write(&dir).unwrap();
    assert_eq!(up, dir.join("0001_contract_order__items.up.sql"));
    let down = dir.join("0001_contract_order__items.down.sql");
    let [up, down] = [up, down].map(|path| std::fs::read_to_string(path).unwrap());
    for _ in 0..2 {
        shop.run(&up).await;
        assert!(shop.client.query_one(&values, &[]).await.is_err());
        shop.run(&down).await;
        assert_eq!(shop.text(&values).await, before);
    }
}
