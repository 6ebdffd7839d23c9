//! Values that are equal in meaning and different in text, types without equality,
//! rows that a join drops, and keys that never hold still.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::Value;

use crate::support::{World, json as parse, until};

async fn verify(world: &World, arguments: &[&str]) -> (i32, Value) {
    let arguments = [&["--output", "json", "verify"], arguments].concat();
    let mut command = world.command(&arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    (output.status.code().unwrap(), parse(&output))
}

async fn harm(world: &World, sql: &str) {
    let client = world.open().await;
    client
        .batch_execute(&format!(
            "set crossfade.session = on; set session_replication_role = replica; {sql}"
        ))
        .await
        .unwrap();
}

async fn world(source: &str, tables: &str, targets: &str, files: &[(&str, &str)]) -> World {
    let world = World::new().await;
    world.sql(tables).await;
    let toml = format!("source = '{source}'\n{targets}");
    let mut all = vec![("transform.toml", toml.as_str())];
    all.extend(files);
    world.module("m", &all);
    world.config(&["m"], "[copy]\nbatch_rows = 10\n");
    world
}

/// Column, its type in the source, its type in the target, a value of the source, and
/// a value that the target must not have instead of it although many would call the
/// two equal.
const KINDS: &[(&str, &str, &str, &str, &str)] = &[
    ("scaled", "text", "numeric(10,2)", "'1.5'", "1.51"),
    ("free", "numeric", "numeric", "1.50", "1.5"),
    ("padded", "text", "char(5)", "'ab'", "'ac'"),
    ("zero", "float8", "float8", "'-0'", "'0'"),
    (
        "doc",
        "json",
        "json",
        "'{\"a\": 1,  \"a\": 2}'",
        "'{\"a\": 2}'",
    ),
    (
        "docb",
        "json",
        "jsonb",
        "'{\"b\": 1, \"a\": 1.0}'",
        "'{\"b\": 1, \"a\": 1.00}'",
    ),
    ("pos", "point", "point", "'(1,2)'", "'(1,2.5)'"),
    ("bits", "bit(4)", "bit(4)", "B'0101'", "B'0111'"),
    ("vbits", "varbit", "varbit", "B'01'", "B'010'"),
    ("bytes", "bytea", "bytea", "'\\x00ff'", "'\\x00fe'"),
    ("empty", "text", "text", "''", "null"),
    ("nothing", "text", "text", "null", "''"),
    ("list", "text[]", "text[]", "'{a,NULL}'", "'{a,\"NULL\"}'"),
    ("span", "interval", "interval", "'1 day'", "'24 hours'"),
    ("net", "inet", "inet", "'10.0.0.1'", "'10.0.0.1/24'"),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_prints_alike_is_equal_and_what_prints_otherwise_is_not() {
    let mut kinds = KINDS.to_vec();
    let probe = World::new().await;
    // Not every server is built with it.
    let xml = probe
        .client
        .batch_execute("select '<a/>'::xml")
        .await
        .is_ok();
    if xml {
        kinds.push(("markup", "xml", "xml", "'<a b=\"1\"/>'", "'<a b=\"1\" />'"));
    }
    drop(probe);
    let list = |of: fn(&(&str, &str, &str, &str, &str)) -> String| {
        kinds.iter().map(of).collect::<Vec<_>>().join(", ")
    };
    let tables = format!(
        "create table old (id int primary key, {});
         create table new (id int primary key, {});
         insert into old select i, {} from generate_series(1, 60) i",
        list(|k| format!("{} {}", k.0, k.1)),
        list(|k| format!("{} {}", k.0, k.2)),
        list(|k| format!("({})::{}", k.3, k.1)),
    );
    // As people write modules: a cast to another precision than the target's.
    let select = format!(
        "select o.id, {} from source o",
        list(|k| match k.0 {
            "scaled" => "o.scaled::numeric as scaled".to_owned(),
            "docb" => "o.docb::jsonb as docb".to_owned(),
            name => format!("o.{name}"),
        })
    );
    let targets = "[[target]]\ntable = 'new'\nsource_key = ['id']\nselect = 'new.sql'\n";
    let world = world("old", &tables, targets, &[("new.sql", &select)]).await;
    let _daemon = world.daemon(&[]);
    world.settled().await;
    let (code, clean) = verify(&world, &[]).await;
    assert_eq!(code, 0, "{clean}");
    for (i, kind) in kinds.iter().enumerate() {
        let id = i + 1;
        harm(
            &world,
            &format!(
                "update new set {} = ({})::{} where id = {id}",
                kind.0, kind.4, kind.2
            ),
        )
        .await;
    }
    let (code, report) = verify(&world, &[]).await;
    assert_eq!(code, 1, "{report}");
    for (i, kind) in kinds.iter().enumerate() {
        let id = (i + 1).to_string();
        let found = report["differences"]
            .as_array()
            .unwrap()
            .iter()
            .find(|d| d["source_key"][0] == id.as_str())
            .unwrap_or_else(|| panic!("{} was not found: {report}", kind.0));
        assert_eq!(found["columns"], serde_json::json!([kind.0]));
    }
    assert_eq!(report["differences"].as_array().unwrap().len(), kinds.len());
}

/// What an assignment refuses is no value that the target can hold: an explicit cast
/// would cut it to one. Here the targets hold what the cast would make of the sources,
/// which nobody but a verifier that casts could call right.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_too_long_for_the_target_is_not_taken_for_its_beginning() {
    // Column, type in the target, a value that is held as it is but for blanks, one that
    // is too long, and what a cast would cut that to.
    let kinds = [
        ("code", "varchar(3)", "'ab'", "'abcd'", "'abc'"),
        ("blank", "varchar(3)", "'ab   '", "'abc d'", "'abc'"),
        ("fixed", "char(3)", "'a    '", "'abcd'", "'abc'"),
        ("flags", "varbit(3)", "B'10'", "B'1011'", "B'101'"),
        ("exact", "bit(3)", "B'101'", "B'1011'", "B'101'"),
        ("short", "bit(3)", "B'101'", "B'10'", "B'100'"),
        ("named", "word", "'ab'", "'abcd'", "'abc'"),
        (
            "list",
            "varchar(3)[]",
            "'{ab,NULL,\"c    \"}'",
            "'{ab,abcd}'",
            "'{ab,abc}'",
        ),
        (
            "pads",
            "char(3)[]",
            "'{ab,NULL}'",
            "'{ab,abcd}'",
            "'{ab,abc}'",
        ),
        ("none", "varchar(3)", "null", "'abcd'", "'abc'"),
    ];
    let source_type = |of: &str| match of {
        "flags" | "exact" | "short" => "varbit",
        "list" | "pads" => "text[]",
        _ => "text",
    };
    let list =
        |of: &dyn Fn(usize) -> String| (0..kinds.len()).map(of).collect::<Vec<_>>().join(", ");
    let tables = format!(
        "create domain word as varchar(3);
         create table old (id int primary key, {});
         create table new (id int primary key, {});
         insert into old select i, {} from generate_series(1, 30) i",
        list(&|i| format!("{} {}", kinds[i].0, source_type(kinds[i].0))),
        list(&|i| format!("{} {}", kinds[i].0, kinds[i].1)),
        list(&|i| format!("({})::{}", kinds[i].2, source_type(kinds[i].0))),
    );
    let select = format!(
        "select o.id, {} from source o",
        list(&|i| format!("o.{}", kinds[i].0))
    );
    let targets = "[[target]]\ntable = 'new'\nsource_key = ['id']\nselect = 'new.sql'\n";
    let world = world("old", &tables, targets, &[("new.sql", &select)]).await;
    let _daemon = world.daemon(&[]);
    world.settled().await;
    let (code, clean) = verify(&world, &[]).await;
    assert_eq!(code, 0, "{clean}");
    for (i, (name, _, _, long, _)) in kinds.iter().enumerate() {
        let of = source_type(name);
        world
            .sql(&format!(
                "update old set {name} = ({long})::{of} where id = {}",
                i + 1
            ))
            .await;
    }
    world.caught_up().await;
    // The applier has refused each of them. As if it had not, and had cut them.
    world.sql("delete from crossfade.quarantine").await;
    for (i, (_, limited, _, _, cut)) in kinds.iter().enumerate() {
        let columns = list(&|k| match k == i {
            true => format!("({cut})::{limited}"),
            false => format!("o.{}", kinds[k].0),
        });
        let id = i + 1;
        harm(
            &world,
            &format!(
                "delete from new where id = {id};
                 insert into new select o.id, {columns} from old o where id = {id}"
            ),
        )
        .await;
    }
    let (code, report) = verify(&world, &[]).await;
    assert_eq!(code, 1, "{report}");
    for (i, (name, ..)) in kinds.iter().enumerate() {
        let id = (i + 1).to_string();
        let found = report["differences"]
            .as_array()
            .unwrap()
            .iter()
            .find(|d| d["source_key"][0] == id.as_str())
            .unwrap_or_else(|| panic!("{name} was not found: {report}"));
        assert_eq!(found["columns"], serde_json::json!([name]));
    }
    assert_eq!(report["differences"].as_array().unwrap().len(), kinds.len());
}

/// The row's own target and the module agree on having no row: only the lookup's own
/// comparison can tell.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_join_with_a_lookup_drops_are_found_by_the_lookup_that_lacks_them() {
    let world = world(
        "old",
        "create table old (id int primary key, grp text not null);
         create table groups (id int generated always as identity, name text primary key);
         create table new (id int primary key, group_id int not null);
         insert into old select i, 'g' || i % 5 from generate_series(1, 100) i",
        "[[target]]\ntable = 'groups'\nmode = 'lookup'\nkey = ['name']\nselect = 'groups.sql'\n
         [[target]]\ntable = 'new'\nsource_key = ['id']\nselect = 'new.sql'\n",
        &[
            ("groups.sql", "select o.grp as name from source o"),
            (
                "new.sql",
                "select o.id, g.id as group_id from source o join groups g on g.name = o.grp",
            ),
        ],
    )
    .await;
    let _daemon = world.daemon(&[]);
    world.settled().await;
    let (code, clean) = verify(&world, &[]).await;
    assert_eq!(code, 0, "{clean}");
    harm(
        &world,
        "delete from new where id % 5 = 3; delete from groups where name = 'g3'",
    )
    .await;
    let (code, report) = verify(&world, &[]).await;
    assert_eq!(code, 1, "{report}");
    let missing: Vec<_> = report["differences"].as_array().unwrap().iter().collect();
    assert_eq!(missing.len(), 20, "{report}");
    assert!(
        missing
            .iter()
            .all(|d| d["kind"] == "missing" && d["key"]["name"] == "g3")
    );
    assert_eq!(report["targets"][0]["differences"], 20);
}

/// Whoever looks finds another value. It is never called a difference, passes end all
/// the same, and what they do not know of the key is left to the switch: its entry stays
/// in the change log, beyond what the certificate covers.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_key_that_changes_at_every_look_is_no_difference() {
    let targets = "[[target]]\ntable = 'new'\nsource_key = ['id']\nselect = 'new.sql'\n";
    let world = world(
        "old",
        "create table old (id int primary key, n bigint not null);
         create table new (id int primary key, n bigint not null);
         insert into old select i, 0 from generate_series(1, 50) i",
        targets,
        &[("new.sql", "select o.id, o.n from source o")],
    )
    .await;
    let _daemon = world.daemon(&[]);
    world.settled().await;
    let halt = Arc::new(AtomicBool::new(false));
    let writes = Arc::new(AtomicU64::new(0));
    let writer = {
        let (client, halt, writes) = (world.open().await, halt.clone(), writes.clone());
        tokio::spawn(async move {
            while !halt.load(Ordering::Relaxed) {
                client
                    .batch_execute("update old set n = n + 1 where id = 7")
                    .await
                    .unwrap();
                writes.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let client = world.open().await;
    for pass in 0..6 {
        // Passes over everything and over what changed, from the first write on.
        until("writes", async || {
            writes.load(Ordering::Relaxed) > 20 * (pass + 1)
        })
        .await;
        let arguments: &[&str] = if pass % 2 == 0 { &[] } else { &["--changed"] };
        let (code, report) = verify(&world, arguments).await;
        assert_eq!(code, 0, "pass {pass}: {report}");
        // Of a key that moved the certificate says nothing.
        let left: i64 = client
            .query_one(
                "select count(*) from crossfade.changed_1 k, crossfade.certificate c
                 where k.k0 = 7 and k.lsn >= c.applied_lsn",
                &[],
            )
            .await
            .unwrap()
            .get(0);
        assert!(report["moving"] == 0 || left == 1, "pass {pass}: {report}");
    }
    halt.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    let (code, report) = verify(&world, &["--changed"]).await;
    assert_eq!((code, &report["moving"]), (0, &Value::from(0)), "{report}");
}
