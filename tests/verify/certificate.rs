//! What a certificate says, and what voids it.

use crossfade::error::Kind;
use crossfade::verify::Outcome;
use serde_json::json;

use crate::world::{World, execute};

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_tells_what_was_compared_and_by_what() {
    let world = World::streaming(50).await;
    let (code, report) = world.verify(&[]);
    assert_eq!(code, 0, "{report}");
    let certificate = &report["certificate"];
    assert_eq!(certificate["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(certificate["sources"], report["sources"]);
    assert_eq!(
        certificate["targets"][1]["checksum"],
        report["targets"][1]["checksum"]
    );
    for key in ["began_at", "verified_at", "moved_at", "applied_lsn"] {
        assert!(certificate[key].is_string(), "{key}: {certificate}");
    }
    let hash = |key: &str| certificate[key].as_str().unwrap().len();
    assert!(
        hash("module_hash") > 16 && hash("columns_hash") == 64,
        "{certificate}"
    );
    let client = world.client().await;
    execute(&client, "update prices set cents = '7' where k < 4").await;
    world.applied().await;
    let status = &world.status()["verification"]["certificate"];
    assert_eq!(status["changed_keys"], 3, "{status}");
    assert!(status["age_seconds"].as_f64().unwrap() < 60.0);
    let (code, changed) = world.verify(&["--changed"]);
    assert_eq!(code, 0, "{changed}");
    assert_eq!(
        (&changed["scope"], &changed["keys"]),
        (&json!("changed"), &json!(3))
    );
    assert_eq!(
        world.status()["verification"]["certificate"]["changed_keys"],
        0
    );
    let moved = &changed["certificate"];
    assert_eq!(moved["verified_at"], certificate["verified_at"]);
    assert_ne!(moved["moved_at"], certificate["moved_at"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_another_type_or_collation_voids_it_and_a_new_unused_column_does_not() {
    let world = World::streaming(50).await;
    let client = world.client().await;
    assert_eq!(world.verify(&[]).0, 0);
    execute(
        &client,
        "alter table prices add remark text; alter table new_prices add remark text",
    )
    .await;
    assert_eq!(world.verify(&["--changed"]).0, 0);
    for ddl in [
        r#"alter table "New"."Ord""ers" alter amount type numeric(14,2)"#,
        r#"alter table "New"."li nes" alter sku type text collate "C""#,
        r#"alter table "Old ""Shop"""."Or ders" alter "gr""p" type varchar(90)"#,
    ] {
        execute(&client, ddl).await;
        let (code, error) = world.verify(&["--changed"]);
        assert_eq!(code, 2, "{ddl}: {error}");
        let text = error["error"].as_str().unwrap();
        assert!(text.contains("void"), "{ddl}: {text}");
        let (code, report) = world.verify(&[]);
        assert_eq!(code, 0, "{ddl}: {report}");
        assert_eq!(world.verify(&["--changed"]).0, 0);
    }
}

/// The values go with a column that is dropped, and no change in the log tells of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_dropped_and_made_again_under_its_name_voids_it() {
    let world = World::streaming(50).await;
    let client = world.client().await;
    assert_eq!(world.verify(&[]).0, 0);
    execute(
        &client,
        // The last one: the order of the columns stays what it was.
        "alter table prices drop cents; alter table prices add cents text not null default '0'",
    )
    .await;
    let (code, error) = world.verify(&["--changed"]);
    assert_eq!(code, 2, "{error}");
    let text = error["error"].as_str().unwrap();
    assert!(text.contains("void"), "{text}");
    let (code, report) = world.verify(&[]);
    assert_eq!(code, 1, "{report}");
}

/// A module whose rows are made of an enum's labels and by functions.
async fn made_of_labels_and_functions() -> World {
    let world = World::new(0).await;
    execute(
        &world.client().await,
        "create type mood as enum ('good', 'bad');
         create domain feeling as mood;
         create function inner_part(text) returns text language sql immutable as 'select upper($1)';
         create function outer_part(text) returns text language plpgsql immutable as
             'begin return public.inner_part($1) || ''!''; end';
         create table old (id int primary key, a text, m feeling[] not null);
         create table new (id int primary key, a text, called text, m text);
         insert into old select g, 'a' || g, array['good', 'bad']::feeling[] from generate_series(1, 50) g",
    )
    .await;
    let folder = world.dir.join("transforms/made");
    std::fs::create_dir_all(&folder).unwrap();
    for (file, text) in [
        (
            "transform.toml",
            "source = 'old'\n[[target]]\ntable = 'new'\nsource_key = ['id']\nselect = 'new.sql'\n",
        ),
        (
            "new.sql",
            "select id, a, public.outer_part(a) as called, m::text as m from source",
        ),
    ] {
        std::fs::write(folder.join(file), text).unwrap();
    }
    let config = format!(
        "name = 'v'\ntransforms = ['transforms/made']\n[source]\nurl = '{}'\n[verify]\ncontinuous = false\n",
        world.server.url("postgres")
    );
    std::fs::write(world.dir.join("crossfade.toml"), config).unwrap();
    world.streams().await
}

/// No change in the log tells of any of these, and each makes other rows of the old ones.
#[tokio::test(flavor = "multi_thread")]
async fn what_makes_other_rows_and_is_not_in_the_log_voids_it() {
    let world = made_of_labels_and_functions().await;
    let client = world.client().await;
    for (ddl, back) in [
        (
            "alter table old alter a type text using upper(a)",
            "alter table old alter a type text using lower(a)",
        ),
        (
            "alter table new alter a type text using upper(a)",
            "alter table new alter a type text using lower(a)",
        ),
        (
            "alter type mood rename value 'good' to 'fine'",
            "alter type mood rename value 'fine' to 'good'",
        ),
        (
            "create or replace function inner_part(text) returns text language sql immutable as 'select $1'",
            "create or replace function inner_part(text) returns text language sql immutable as 'select upper($1)'",
        ),
    ] {
        assert_eq!(world.verify(&[]).0, 0, "before {ddl}");
        assert_eq!(world.verify(&["--changed"]).0, 0, "before {ddl}");
        execute(&client, ddl).await;
        let (code, error) = world.verify(&["--changed"]);
        assert_eq!(code, 2, "{ddl}: {error}");
        let text = error["error"].as_str().unwrap();
        assert!(text.contains("void"), "{ddl}: {text}");
        assert_eq!(world.verify(&[]).0, 1, "{ddl}");
        execute(&client, back).await;
    }
}

/// A switch gives the names to other tables. Who bound them before and compares them
/// afterwards finds differences that are none: they must not take the certificate away
/// that the switch has handed over, for a way back would be refused.
#[tokio::test(flavor = "multi_thread")]
async fn what_looks_different_since_a_switch_leaves_the_certificate_alone() {
    let world = World::streaming(50).await;
    assert_eq!(world.verify(&[]).0, 0);
    let client = world.client().await;
    let before = world.subject().await;
    execute(
        &client,
        "update crossfade.migration set switches = switches + 1;
         set crossfade.session = 'on'; delete from new_prices where k = 5",
    )
    .await;
    let error = world.try_pass(&before).await.unwrap_err();
    assert_eq!(error.kind, Kind::Phase, "{error}");
    assert!(world.has_certificate().await);
    // Who binds them anew finds it.
    let now = world.subject().await;
    assert_eq!(world.pass(&now).await.outcome(), Outcome::Different);
    assert!(!world.has_certificate().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_and_a_pass_of_other_modules_are_not_used() {
    let world = World::streaming(50).await;
    let client = world.client().await;
    assert_eq!(world.verify(&[]).0, 0);
    execute(
        &client,
        "insert into crossfade.verification (migration_id, applied_lsn, module_hash, columns_hash, version, switches, frontier)
         select migration_id, applied_lsn, 'other', columns_hash, version, 0,
                '[{\"source\": 1, \"done\": true, \"above\": null, \"ranges\": 9, \"rows\": 9, \"targets\": [[\"0\",\"0\",\"0\"],[\"0\",\"0\",\"0\"],[\"0\",\"0\",\"0\"]]},
                  {\"source\": 2, \"done\": true, \"above\": null, \"ranges\": 9, \"rows\": 9, \"targets\": [[\"0\",\"0\",\"0\"]]}]'
         from crossfade.certificate;
         update crossfade.certificate set module_hash = 'other'",
    )
    .await;
    let (code, error) = world.verify(&["--changed"]);
    assert_eq!(code, 2, "{error}");
    assert!(error["error"].as_str().unwrap().contains("other modules"));
    let (code, report) = world.verify(&[]);
    assert_eq!(code, 0, "{report}");
    assert_eq!(report["resumed"], json!(null));
    assert_eq!(report["sources"][0]["rows"], 50);
}
