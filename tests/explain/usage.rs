//! What a query asks of its tables, as the server sees it.

use crossfade::explain::candidate;
use crossfade::explain::usage::{Compared, TableUse};

use crate::world::World;

const TABLES: &str = r#"
create table "Order ""Items"" ÄÖ" ("Größe" int, id int primary key, at timestamptz, kind varchar(10), doc jsonb);
insert into "Order ""Items"" ÄÖ" select g % 100, g, timestamptz '2024-01-01' + g * interval '1 minute', 'k' || g % 7, '{}' from generate_series(1, 20000) g;
create table parts (id int, region text, at date, amount int) partition by list (region);
create table parts_a partition of parts for values in ('a');
create table parts_b partition of parts for values in ('b');
insert into parts select g, case when g % 2 = 0 then 'a' else 'b' end, date '2024-01-01' + g % 365, g from generate_series(1, 20000) g;
create view small as select * from "Order ""Items"" ÄÖ" where "Größe" < 5;
vacuum (analyze) "Order ""Items"" ÄÖ", parts"#;

async fn uses(world: &World, text: &str) -> Vec<TableUse> {
    world.examine(text).await.1.uses
}

fn keys(used: &TableUse, compared: &Compared) -> Vec<String> {
    used.conditions
        .iter()
        .filter(|t| t.compared == *compared)
        .map(|t| t.sql.clone())
        .collect()
}

#[tokio::test]
async fn names_views_subqueries_and_ctes_are_resolved_by_the_server() {
    let world = World::new(TABLES).await;
    let equal = Compared::Equal { many: false };

    // A varchar compared as text is the plain column; order and direction are kept.
    let found = uses(&world, r#"select id from "Order ""Items"" ÄÖ" x where kind = 'k1' and "Größe" > 3 order by at desc, id limit 5"#).await;
    assert_eq!(found.len(), 1);
    assert_eq!(keys(&found[0], &equal), ["kind"]);
    assert_eq!(keys(&found[0], &Compared::Range), ["\"Größe\""]);
    let order = &found[0].orders[0];
    assert!(
        order.limited && order.complete && order.keys[0].descending && !order.keys[1].descending
    );

    // Through a view, a CTE and a subquery, to the same table.
    let found = uses(
        &world,
        "with v as (select * from small) select count(*) from (select id, kind from v) q where q.kind in ('k1', 'k2')",
    )
    .await;
    assert_eq!(found[0].table.name, "Order \"Items\" ÄÖ");
    assert_eq!(keys(&found[0], &Compared::Equal { many: true }), ["kind"]);
    assert_eq!(keys(&found[0], &Compared::Range), ["\"Größe\""]);

    // Both sides of a join, and a correlated subquery.
    let found = uses(
        &world,
        r#"select (select max(p.amount) from parts p where p.id = x."Größe") from "Order ""Items"" ÄÖ" x where lower(x.kind) = 'k3'"#,
    )
    .await;
    let items = found.iter().find(|u| u.alias == "x").unwrap();
    assert_eq!(keys(items, &equal), ["(lower((kind)::text))"]);
    let parts = found.iter().find(|u| u.table.name == "parts").unwrap();
    assert!(parts.joins.iter().any(|j| j.sql == "id"), "{parts:#?}");

    // Partitions are one table.
    let found = uses(
        &world,
        "select sum(amount) from parts where at = '2024-02-02'",
    )
    .await;
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].table.name.as_str(), keys(&found[0], &equal)),
        ("parts", vec!["at".to_owned()])
    );
    assert!(found[0].needed.contains("amount"), "{found:#?}");
}

#[tokio::test]
async fn every_candidate_of_hostile_names_can_be_built() {
    let world = World::new(TABLES).await;
    let text = r#"select id, "Größe" from "Order ""Items"" ÄÖ" where "Größe" = 7 and kind = 'k2' and lower(kind) = 'k2' and doc @> '{"a": 1}' and at > '2024-01-02' order by at desc limit 3"#;
    let (statement, examined) = world.examine(text).await;
    let all = candidate::enumerate(&examined.uses, &examined.catalog, &statement.text);
    assert!(all.len() > 20, "{}", all.len());
    for candidate in &all {
        assert!(candidate.keys.len() <= 4);
        world.client.batch_execute("begin").await.unwrap();
        world
            .client
            .batch_execute(&candidate.create(&candidate.name()))
            .await
            .unwrap_or_else(|e| panic!("{e:?}\n{}", candidate.label()));
        world.client.batch_execute("rollback").await.unwrap();
    }
}
