//! Experiments on a throwaway copy, statistics, other words, prices, and what stays safe.

use crossfade::explain::advise;
use crossfade::explain::examine;
use crossfade::explain::experiment::Change;
use crossfade::explain::laboratory::Place;
use crossfade::explain::migration;
use crossfade::explain::run::Equality;
use crossfade::explain::statement::{Mode, Statement};
use crossfade::explain::used;

use crate::world::{EFFORT, World, first};

const TABLES: &str = r#"
create schema "Sh""op";
create type "Sh""op".state as enum ('new', 'Old ''one''');
create domain "Sh""op".cents as bigint check (value >= 0);
create function "Sh""op".doubled(x bigint) returns bigint language sql immutable as 'select x * 2';
create table "Sh""op"."Order ÄÖ" (
    id bigint generated always as identity primary key, customer int not null, state "Sh""op".state not null,
    amount "Sh""op".cents not null, twice bigint generated always as ("Sh""op".doubled(amount)) stored,
    note text collate "C", tags text[] not null);
insert into "Sh""op"."Order ÄÖ" (customer, state, amount, note, tags)
select g % 500, case when g % 50 = 0 then 'new' else 'Old ''one''' end::"Sh""op".state, g, case when g % 3 = 0 then E'tab\t, "quote" \\ back' end, array['a', 'b,c']
from generate_series(1, 30000) g;
create table "Sh""op"."Fäcts" (kind int not null, "Größe" int not null, note text not null);
insert into "Sh""op"."Fäcts" select g % 100, g * 7 % 40000, md5(g::text) from generate_series(1, 40000) g;
create index on "Sh""op"."Fäcts" (kind);
create table lines (order_id bigint not null, line int not null, sku text not null, primary key (order_id, line));
insert into lines select g, n, 'S' || (g * n) % 2000 from generate_series(1, 30000) g, generate_series(1, 2) n;
create view "Sh""op".fresh as select * from "Sh""op"."Order ÄÖ" where state = 'new';
create table parts (id int not null, at date not null, kind int not null, primary key (id, at, kind)) partition by range (at);
create table parts_1 partition of parts for values from ('2024-01-01') to ('2024-07-01') partition by list (kind);
create table parts_1_a partition of parts_1 for values in (1, 2, 3);
create table parts_1_b partition of parts_1 default;
create table parts_2 partition of parts default;
insert into parts select g, date '2024-01-01' + g % 400, g % 40 from generate_series(1, 20000) g;
create table places (id int primary key, city text not null, country text not null, zip text not null);
insert into places select g, c[1], c[2], c[3] from generate_series(1, 20000) g,
lateral (select case g % 4 when 0 then array['Oslo', 'NO', '0100'] when 1 then array['Lyon', 'FR', '6900'] when 2 then array['Nice', 'FR', '0600'] else array['Bonn', 'DE', '5300'] end) x(c);
vacuum (analyze) "Sh""op"."Order ÄÖ", "Sh""op"."Fäcts", lines, parts, places"#;

#[tokio::test]
async fn a_copy_on_a_throwaway_server_answers_like_the_original_and_nothing_is_left_behind() {
    let world = World::new(TABLES).await;
    let before = world.get("select count(*) from pg_class").await;
    let text = r#"select f.id, f.note, f.tags, f.twice, l.sku, p.kind
                  from "Sh""op".fresh f join lines l on l.order_id = f.id left join parts p on p.id = f.id
                  where l.sku = 'S77' and f.customer < 400 order by f.id, l.line"#;
    let (statement, examined) = world.examine(text).await;
    let mut laboratory = world.laboratory(&examined, 1e12).await;
    assert_eq!(laboratory.place, Place::Throwaway);
    assert_eq!(laboratory.notes, Vec::<String>::new());
    let advice = advise::advise(&mut laboratory, &statement, &examined, &[], EFFORT, &|_| ())
        .await
        .unwrap();
    let proof = advice.proof.as_ref().unwrap();
    // The copy's result is the original's, value for value.
    assert_eq!(proof.before.fingerprint, examined.fingerprint);
    assert_eq!(proof.equality, Equality::Identical);
    assert!(
        proof.ratio() > 2.0 && proof.before.cold_ms.is_some(),
        "{proof:#?}"
    );
    assert!(
        first(&advice).starts_with("public.lines (sku"),
        "{}",
        first(&advice)
    );
    let price = &advice.recommended[0];
    let writes = price.writes.unwrap();
    assert!(price.bytes > 0.0 && price.build_ms > 0.0);
    assert!(
        writes.rows > 1000.0 && writes.wal_with > writes.wal_without,
        "{writes:?}"
    );
    assert_eq!(world.get("select count(*) from pg_class").await, before);

    // A copy that may not hold it all says so.
    let small = world.laboratory(&examined, 1024.0).await;
    assert!(
        small.sampled.is_some() && small.notes[0].contains("of the pages"),
        "{:?}",
        small.notes
    );
}

#[tokio::test]
async fn statistics_indexes_that_become_superfluous_and_migrations() {
    let world = World::new(TABLES).await;

    // An index whose first key is there already makes that one superfluous.
    let advice = world
        .advise_here(
            r#"select note from "Sh""op"."Fäcts" where kind = 3 and "Größe" between 100 and 300"#,
        )
        .await;
    let price = advice.recommended.iter().find(|r| !r.replaces.is_empty());
    assert!(
        price.is_some_and(|p| p.replaces[0].0 == "Fäcts_kind_idx"),
        "{:#?}",
        advice.recommended
    );

    // The pair of files goes there and back.
    let dir = std::env::temp_dir().join(format!("crossfade_explain_{:x}", fastrand::u64(..)));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("0007_before.up.sql"), "").unwrap();
    let files = migration::write(&dir, &advice.recommended, "select\n  'it''s'").unwrap();
    assert!(
        files[0]
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("0008_"),
        "{files:?}"
    );
    let run = async |text: String| {
        assert!(text.starts_with("-- no-transaction"), "{text}");
        for statement in crossfade::sql::split(&text) {
            world
                .client
                .batch_execute(&statement.text)
                .await
                .unwrap_or_else(|e| panic!("{e:?}\n{}", statement.text));
        }
    };
    let indexes = "select string_agg(indexrelid::regclass::text, ',' order by 1) from pg_index where indisvalid and indexrelid >= 16384";
    let before = world.get(indexes).await;
    run(std::fs::read_to_string(&files[0]).unwrap()).await;
    assert_ne!(world.get(indexes).await, before);

    // It is known again by its comment.
    let all = used::read(&world.client).await.unwrap();
    assert_eq!(all.len(), advice.recommended.len());
    assert_eq!(all[0].scans, 0);
    assert!(all[0].verdict().contains("less than a day"), "{all:?}");
    // A session tells its counts at its end at the latest.
    let session = world.open().await;
    session
        .batch_execute(
            r#"set enable_seqscan = off; set enable_bitmapscan = off;
               select note from "Sh""op"."Fäcts" where kind = 3 and "Größe" between 100 and 300"#,
        )
        .await
        .unwrap();
    drop(session);
    let mut scans = 0;
    let since = std::time::Instant::now();
    while since.elapsed() < std::time::Duration::from_secs(120) {
        scans = used::read(&world.open().await)
            .await
            .unwrap()
            .iter()
            .map(|u| u.scans)
            .sum();
        if scans > 0 {
            break;
        }
        // Between two looks at the condition, which has its bound.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(scans > 0);
    run(std::fs::read_to_string(&files[1]).unwrap()).await;
    assert_eq!(world.get(indexes).await, before);
    std::fs::remove_dir_all(&dir).unwrap();

    // Columns that depend on each other: the statistics are tried before any index.
    let advice = world
        .advise_here("select count(*) from places a join places b on b.id = a.id + 1 where a.city = 'Oslo' and a.country = 'NO' and a.zip = '0100'")
        .await;
    assert!(
        advice
            .search
            .trials
            .iter()
            .any(|t| matches!(&t.change, Change::Statistics { columns, .. } if columns.len() == 3)),
        "{:#?}",
        advice.search.trials
    );
}

#[tokio::test]
async fn other_words_are_shown_only_when_the_result_is_the_same() {
    let world = World::new(TABLES).await;
    let rules = async |text: &str| -> Vec<&'static str> {
        world
            .rewrites(text)
            .await
            .into_iter()
            .map(|r| r.rule)
            .collect()
    };

    let not_in =
        "select id from places where id not in (select customer from \"Sh\"\"op\".\"Order ÄÖ\")";
    assert_eq!(rules(not_in).await, ["not-in"]);
    // One NULL in the list, and the two are different questions.
    let with_null = "select id from places where id not in (select nullif(customer, 3) from \"Sh\"\"op\".\"Order ÄÖ\")";
    assert!(rules(with_null).await.is_empty());

    let counted = "select id from places p where (select count(*) from lines l where l.order_id = p.id) > 0 and id < 500";
    assert_eq!(rules(counted).await, ["count-for-existence"]);
    assert_eq!(
        rules("select id from places where city = 'Oslo' or zip = '0600'").await,
        ["or-condition"]
    );
    assert_eq!(
        rules("select kind from parts where extract(year from at) = 2024").await,
        ["wrapped-column"]
    );
    // A month that begins in the middle is no truncated value.
    assert!(
        rules("select kind from parts where date_trunc('month', at) = '2024-01-15'")
            .await
            .is_empty()
    );

    let paged = "select id, sku from lines l join places p on p.id = l.order_id order by l.order_id, l.line limit 10 offset 20000";
    let paging = world.rewrites(paged).await;
    assert_eq!(paging[0].rule, "offset-paging");
    assert_eq!(paging[0].equality, Equality::Identical);
    // With ties in the order the next page is another one.
    assert!(
        rules("select id from parts order by kind limit 10 offset 3000")
            .await
            .is_empty()
    );

    let each = "select p.id, (select count(*) from lines l where l.order_id = p.id) from places p";
    let joined = world.rewrites(each).await;
    assert_eq!(joined[0].rule, "correlated-subplan");
    assert_eq!(joined[0].rows, 20000);
    assert!(
        rules("select city from places union select country from places")
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn a_page_after_a_row_is_begun_by_its_value_and_compared_by_all_columns() {
    let world = World::new(
        "create table o (id int primary key, customer int, q text, note text);\n\
         insert into o select i, i * 7919 % 5000, 'same', md5(i::text) from generate_series(1, 20000) i;\n\
         create index on o (customer);\n\
         vacuum (analyze) o",
    )
    .await;
    // Numbers have another order than their texts.
    let paging = world
        .rewrites("select id, note from o order by id limit 20 offset 12005")
        .await;
    assert_eq!(paging[0].rule, "offset-paging");
    assert_eq!(paging[0].equality, Equality::Identical);
    assert!(
        paging[0].text.contains("(id) > ('12005')"),
        "{}",
        paging[0].text
    );
    // Each customer has four rows: the page after a customer begins elsewhere, which a
    // column that is the same everywhere must not hide.
    let ties = "select q, id, customer, note from o order by customer limit 20 offset 12005";
    assert!(world.rewrites(ties).await.is_empty());
}

#[tokio::test]
async fn a_query_cannot_write_and_one_that_may_is_rolled_back() {
    let world = World::new(TABLES).await;
    let (mut client, watcher) = (world.open().await, world.open().await);
    // Hidden in a function, where no parser sees it: the server refuses.
    world
        .client
        .batch_execute(
            "create function sneaky() returns int language sql as 'delete from lines returning 1'",
        )
        .await
        .unwrap();
    let statement = Statement::read("select sneaky()", &[], false).unwrap();
    let error = examine::examine(&mut client, &watcher, &statement, EFFORT)
        .await
        .unwrap_err();
    assert!(error.is_sqlstate("25006"), "{error}");

    let (mut client, watcher) = (world.open().await, world.open().await);
    let statement = Statement::read("delete from lines where line = 1", &[], true).unwrap();
    let examined = examine::examine(&mut client, &watcher, &statement, EFFORT)
        .await
        .unwrap();
    assert!(examined.measured.is_some() && examined.fingerprint.is_none());
    assert_eq!(world.get("select count(*) from lines").await, "60000");
}

#[tokio::test]
async fn parameters_take_values_of_any_type_or_a_generic_plan() {
    let world = World::new(TABLES).await;
    let text = r#"select id from "Sh""op"."Order ÄÖ" where state = $1 and amount > $2 and tags = $3 limit 5"#;
    let values = ["new", "100", "{a,\"b,c\"}"].map(str::to_owned);
    let (_, examined) = world.examine_with(text, &values).await;
    assert_eq!(examined.fingerprint.unwrap().rows, 5);

    let (statement, examined) = world.examine(text).await;
    assert!(
        examined.measured.is_none() && examined.notes[0].contains("generic plan"),
        "{:?}",
        examined.notes
    );
    assert!(!examined.uses[0].conditions.is_empty());
    // The plan for any values is what the experiments weigh.
    let advice = world.advise_here(text).await;
    assert!(advice.proof.is_none());
    assert!(
        advice.search.trials.iter().any(|t| t.score().is_some()),
        "{:#?}",
        advice.search.trials
    );
    let _ = (statement, Mode::Estimated);
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_diagnosed_from_its_estimate() {
    let world = World::new(TABLES).await;
    let statement =
        Statement::read("select count(*) from lines a, lines b, lines c", &[], false).unwrap();
    let (mut client, watcher) = (world.open().await, world.open().await);
    // Only the query's own runs are bounded by it, not what is read about it.
    let effort = crossfade::explain::run::Effort {
        runs: 1,
        timeout: std::time::Duration::from_millis(1),
    };
    let examined = examine::examine(&mut client, &watcher, &statement, effort)
        .await
        .unwrap();
    assert!(
        examined.measured.is_none() && examined.notes[0].contains("did not end"),
        "{:?}",
        examined.notes
    );
}

#[tokio::test]
async fn a_copy_has_the_collations_of_its_tables() {
    let world = World::new(
        r#"create schema "S x";
create collation "S x".ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create collation "S x"."plain c" (lc_collate = 'C', lc_ctype = 'C');
create domain "S x".word as text collate "S x".ci;
create table "S x".named (id int primary key, name text collate "S x".ci, code text collate "S x"."plain c", w "S x".word);
insert into "S x".named select g, 'Name ' || g, g, 'W' || g from generate_series(1, 2000) g;
vacuum (analyze) "S x".named"#,
    )
    .await;
    let text = r#"select count(*) from "S x".named where name = 'NAME 7' or w = 'w8'"#;
    let (statement, examined) = world.examine(text).await;
    assert_eq!(world.get(text).await, "2");
    let laboratory = world.laboratory(&examined, 1e9).await;
    let row = laboratory.client.query_one(&statement.text, &[]).await;
    assert_eq!(row.unwrap().get::<_, i64>(0), 2);
}
