//! Triggers of the application beside what a plan writes.

use crossfade::audit::fix::{Fix, TimestampFormat};
use crossfade::migrate::Folder;

use crate::plan::{apply, key, name, plan, shop};
use crate::program::Shop;

const ACCOUNTS: &str = "
create table s.t (id int primary key, code text not null, label text, opened bigint, updated_at timestamptz, total int);
insert into s.t select g, 'c' || g % 20, 'l' || g % 20, 1600000000 + g, '2021-01-01', 3 from generate_series(1, 400) g;
create table s.history (id int, opened bigint);
";

fn opened() -> Fix {
    Fix::ConvertTimestamp {
        table: name("s.t"),
        column: "opened".to_owned(),
        from_type: "bigint".to_owned(),
        format: TimestampFormat::EpochSeconds,
        to_type: "timestamptz".to_owned(),
        unparsable: 0,
    }
}

fn labels() -> Fix {
    Fix::ExtractTable {
        table: name("s.t"),
        determinant: vec![key("code", "text")],
        dependents: vec![key("label", "text")],
        target: name("s.codes"),
        existing: None,
    }
}

fn trigger(shop: &Shop, name: &str, when: &str, body: &str) {
    shop.sql(&format!(
        "create function s.{name}() returns trigger language plpgsql as $f$ begin {body} end $f$;
         create trigger {name} {when} on s.t for each row execute function s.{name}()"
    ));
}

/// Why the plan leaves it to people.
fn refused(shop: &Shop, fix: Fix) -> String {
    let (made, _) = plan(shop, vec![fix]);
    assert!(made.migrations.is_empty(), "{:?}", made.migrations);
    made.left[0].why.clone()
}

/// The trigger that keeps two columns equal sees what the others leave, and one that waits for
/// the old column is not woken by the new one.
#[test]
fn the_two_columns_are_equal_whatever_other_triggers_do() {
    let shop = shop(ACCOUNTS);
    trigger(&shop, "zz_last", "before update", "return new;");
    trigger(
        &shop,
        "of_opened",
        "after update of opened",
        "insert into s.history values (new.id, 0); return null;",
    );
    shop.sql("drop trigger of_opened on s.t");
    let (made, dir) = plan(&shop, vec![opened()]);
    assert!(made.left.is_empty(), "{:?}", made.left);
    shop.sql("create trigger of_opened after update of opened on s.t for each row execute function s.of_opened()");
    let folder = Folder::read(&dir.join("migrations")).unwrap();
    apply(&shop, &folder.migrations[0].up);
    assert_eq!(shop.value("select count(*)::text from s.history"), "0");
    trigger(
        &shop,
        "tidy",
        "before insert or update",
        "new.opened := 1700000000; return new;",
    );
    shop.sql(
        "update s.t set code = 'x' where id = 5; insert into s.t (id, code) values (1000, 'y')",
    );
    assert_eq!(
        shop.value("select bool_and(opened_tz = to_timestamp(opened))::text || max(opened) from s.t where id in (5, 6, 1000)"),
        "true1700000000"
    );
}

/// Files and README say which triggers fire, and which fail once a column is gone.
#[test]
fn triggers_that_fire_or_name_the_column_are_told() {
    let shop = shop(ACCOUNTS);
    trigger(
        &shop,
        "set_updated",
        "before update",
        "new.updated_at := now(); return new;",
    );
    trigger(
        &shop,
        "hist",
        "after update or delete",
        "insert into s.history values (new.id, new.opened); return null;",
    );
    trigger(&shop, "fresh", "before insert", "return new;");
    trigger(&shop, "of_code", "after update of code", "return null;");
    trigger(&shop, "silent", "before update", "return new;");
    shop.sql("alter table s.t disable trigger silent");
    let (made, dir) = plan(&shop, vec![opened(), labels()]);
    assert!(made.left.is_empty(), "{:?}", made.left);
    let read = |file: &str| {
        let found = std::fs::read_dir(dir.join("migrations")).unwrap();
        let path = found
            .map(|e| e.unwrap().path())
            .find(|p| p.to_string_lossy().contains(file));
        std::fs::read_to_string(path.unwrap()).unwrap()
    };
    let fires = "the triggers of s.t that fire on UPDATE: hist, set_updated.";
    for file in [
        "expand_t_opened.up",
        "contract_t_opened.up",
        "release_codes.up",
        "contract_codes.up",
    ] {
        let text = read(file);
        assert!(text.contains("-- Mind: ") && text.contains(fires), "{text}");
    }
    let named = "every write of s.t fails from here on where the function of a trigger still names (opened): change that of hist before";
    assert!(read("contract_t_opened.up").contains(named));
    assert!(!read("contract_codes.up").contains("change that of hist"));
    let readme = std::fs::read_to_string(dir.join("README.md")).unwrap();
    assert!(readme.contains(fires) && readme.contains(named), "{readme}");
}

/// A column that a trigger writes would be overwritten by the plan's own statements, and is missed
/// by the trigger in the end.
#[test]
fn a_column_that_a_trigger_writes_or_may_write_is_left_to_people() {
    let shop = shop(ACCOUNTS);
    let total = || Fix::DropColumn {
        table: name("s.t"),
        column: "total".to_owned(),
        derivation: "(\"id\" * 3)".to_owned(),
    };
    for (body, fix, why) in [
        (
            "new.opened := extract(epoch from now()); return new;",
            opened(),
            "the trigger tidy of s.t writes opened itself: let it write what takes its place, or drop it, first",
        ),
        (
            "if new.id > 3 then new.\"label\" = 'x'; end if; return new;",
            labels(),
            "the trigger tidy of s.t writes label itself: let it write what takes its place, or drop it, first",
        ),
        (
            "update s.t set total = 3 where id = new.id; return new;",
            total(),
            "the trigger tidy of s.t writes total itself: let it write what takes its place, or drop it, first",
        ),
        (
            "new := jsonb_populate_record(new, '{}'); return new;",
            opened(),
            "the trigger tidy of s.t may write opened: its function tidy does not tell",
        ),
    ] {
        trigger(&shop, "tidy", "before insert or update", body);
        assert_eq!(refused(&shop, fix), why);
        shop.sql("drop function s.tidy() cascade");
    }
    shop.sql("create trigger same before update on s.t for each row execute function suppress_redundant_updates_trigger()");
    assert_eq!(
        refused(&shop, opened()),
        "the trigger same of s.t may write opened: its function suppress_redundant_updates_trigger does not tell"
    );
    shop.sql("drop trigger same on s.t");
    for when in ["update of opened", "update"] {
        let condition = if when == "update" {
            "when (new.opened > 3)"
        } else {
            ""
        };
        shop.sql(&format!(
            "create function s.f() returns trigger language plpgsql as 'begin return null; end';
             create trigger late after {when} on s.t for each row {condition} execute function s.f()"
        ));
        assert_eq!(
            refused(&shop, opened()),
            "the trigger late of s.t fires by opened, and does not let it go: replace the trigger first"
        );
        shop.sql("drop function s.f() cascade");
    }
}
