//! What the application of today does goes on while the first phase of a plan is applied, and
//! nothing is planned that would change what it means.

use crossfade::audit::fix::{Fix, TimestampFormat};
use crossfade::audit::plan::{Phase, Plan};
use crossfade::migrate::Folder;

use crate::plan::{apply, key, name, password_file, plan, shop, up};
use crate::program::Shop;

fn expand(shop: &Shop, made: &Plan, dir: &std::path::Path) -> Folder {
    let folder = Folder::read(&dir.join("migrations")).unwrap();
    let entries = folder.migrations.iter().zip(&made.migrations);
    for (migration, entry) in entries {
        if entry.migration.phase == Phase::Expand {
            apply(shop, &migration.up);
        }
    }
    folder
}

/// The audit's findings of a rule, by their titles, and the folder of its plan.
fn audited(shop: &Shop, user: &str, arguments: &[&str]) -> (Vec<String>, std::path::PathBuf) {
    password_file(shop);
    let url = format!("postgres://{user}@127.0.0.1:{}/shop", shop.server.port());
    let dir = shop.dir.join(format!("plan_{:x}", fastrand::u64(..)));
    let plan = dir.display().to_string();
    let head = ["--output", "json", "audit", "--url", &url, "--plan", &plan];
    let ran = shop.crossfade(&[&head[..], arguments].concat());
    let answer: serde_json::Value =
        serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {}", ran.all()));
    let findings = answer["findings"].as_array().unwrap().iter();
    let titles = findings.map(|f| f["title"].as_str().unwrap().to_owned());
    (titles.collect(), dir)
}

/// A text that cannot be read is no error before the contract, which stops at it.
#[test]
fn a_text_that_cannot_be_read_is_written_until_the_contract() {
    let shop = shop(
        "create table s.t (id int primary key, made text not null);
         insert into s.t select g, '2024-05-01 10:00:00' from generate_series(1, 100) g;",
    );
    let (made, dir) = plan(
        &shop,
        vec![Fix::ConvertTimestamp {
            table: name("s.t"),
            column: "made".to_owned(),
            from_type: "text".to_owned(),
            format: TimestampFormat::Iso8601,
            to_type: "timestamptz".to_owned(),
            unparsable: 0,
        }],
    );
    let folder = expand(&shop, &made, &dir);
    shop.sql(
        "insert into s.t values (101, 'unknown'); update s.t set made = '2024-13-01' where id = 3",
    );
    let not_null = &folder.migrations[made.migrations.len() - 2].up;
    let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        apply(&shop, not_null);
    }));
    let said = *stopped.unwrap_err().downcast::<String>().unwrap();
    assert!(said.contains("cannot be read: mend them first"), "{said}");
    shop.sql("insert into s.t values (102, 'unknown')");
}

/// Rows that others refer to are deleted as before, whatever a new table has of them.
#[test]
fn what_a_row_refers_to_is_deleted_as_before() {
    for action in ["on delete cascade", ""] {
        let shop = shop(&format!(
            "create table s.customer (id int primary key);
             insert into s.customer select generate_series(1, 20);
             create table s.t (id int primary key, customer_id int not null references s.customer {action}, label text);
             insert into s.t select g, 1 + g % 20, 'l' || g % 20 from generate_series(1, 400) g;"
        ));
        let (made, dir) = plan(
            &shop,
            vec![Fix::ExtractTable {
                table: name("s.t"),
                determinant: vec![key("customer_id", "integer")],
                dependents: vec![key("label", "text")],
                target: name("s.labels"),
                existing: None,
            }],
        );
        assert!(made.left.is_empty(), "{:?}", made.left);
        expand(&shop, &made, &dir);
        if action.is_empty() {
            shop.sql("delete from s.t where customer_id = 3");
        }
        shop.sql("delete from s.customer where id = 3");
        assert_eq!(shop.value("select count(*)::text from s.t"), "380");
    }
}

/// A column that another one is computed from on the way down does not go with it.
#[test]
fn of_columns_that_build_on_each_other_one_goes() {
    let table = "create table s.t (id int primary key, net int, tax int, gross int, total int);
         insert into s.t select g, g, g % 7, g + g % 7, g + g % 7 + 1 from generate_series(1, 100) g;";
    let gross = || Fix::DropColumn {
        table: name("s.t"),
        column: "gross".to_owned(),
        derivation: "\"net\" + \"tax\"".to_owned(),
    };
    let total = || Fix::DropColumn {
        table: name("s.t"),
        column: "total".to_owned(),
        derivation: "\"gross\" + 1".to_owned(),
    };
    for (fixes, why) in [
        (
            vec![gross(), total()],
            "s.t.gross goes away by another step of the plan",
        ),
        (
            vec![total(), gross()],
            "another column is computed from s.t.gross on the plan's way down: run the audit again after that",
        ),
    ] {
        let shop = shop(table);
        let (made, dir) = plan(&shop, fixes);
        assert_eq!(made.left.len(), 1);
        assert_eq!(made.left[0].why, why);
        crate::plan::taken_back(&shop, "s.t", &dir, "true");
    }
}

/// Amounts are the same after the contract, small ones and large ones.
#[test]
fn amounts_keep_every_digit() {
    let shop = shop(
        "create table s.t (id int primary key, price double precision, fee real, cost money);
         insert into s.t select g, g * 1.234e-9, 16777216, '92233720368547758.07' from generate_series(1, 100) g;
         update s.t set price = 1e17 where id = 7; update s.t set price = 0.1::float8 + 0.2::float8 where id = 8;
         create table s.was as select * from s.t; analyze s.t;",
    );
    let rules = [
        "--all",
        "--rule",
        "float-for-money",
        "--rule",
        "money-type",
        "--ignore",
        "s.was",
    ];
    let (found, dir) = audited(&shop, "postgres", &rules);
    assert_eq!(found.len(), 3, "{found:?}");
    let folder = up(&shop, &dir);
    assert_eq!(
        shop.value(
            "select count(*)::text from s.t join s.was w using (id)
             where t.price::float8 = w.price and t.fee::real = w.fee and t.cost = w.cost::numeric
               and pg_typeof(t.price) = 'numeric'::regtype and t.price = w.price::text::numeric"
        ),
        "100"
    );
    crate::plan::down(&shop, &folder);
    assert_eq!(
        shop.value("select count(*)::text from s.t join s.was w using (id) where t.price = w.price and t.fee = w.fee and t.cost = w.cost"),
        "100"
    );
}

/// Numbers that happen to be among the ids of a table refer to nothing.
#[test]
fn numbers_without_a_name_refer_to_no_ids() {
    let shop = shop(
        "create table s.parcel (id int primary key, weight int, gewicht int);
         insert into s.parcel select g, g, 1 + (g * 7) % 8000 from generate_series(1, 8000) g;
         insert into s.parcel values (9001, 12), (9002, 13);
         create table s.score (no int generated always as identity primary key, points int);
         insert into s.score (points) select 101 + g % 200 from generate_series(1, 4000) g; analyze;",
    );
    let (found, _) = audited(
        &shop,
        "postgres",
        &["--all", "--rule", "missing-foreign-key"],
    );
    assert_eq!(found, Vec::<String>::new());
}

/// Two foreign keys that do different things: which is meant is not the plan's to say.
#[test]
fn of_two_foreign_keys_that_do_different_things_none_is_dropped() {
    let shop = shop(
        "create table s.parent (id int primary key);
         create table s.child (id int primary key, parent int not null,
             constraint protect foreign key (parent) references s.parent on delete restrict,
             constraint sweep foreign key (parent) references s.parent on delete cascade);",
    );
    let rule = ["--all", "--rule", "duplicate-foreign-key"];
    let (found, dir) = audited(&shop, "postgres", &rule);
    assert_eq!(found.len(), 1);
    assert!(!dir.join("migrations").exists());
    let readme = std::fs::read_to_string(dir.join("README.md")).unwrap();
    assert!(
        readme.contains("decide which of sweep and protect is meant"),
        "{readme}"
    );
}

/// An index that refuses a second NULL says more than one that does not.
#[test]
fn a_stricter_unique_index_is_no_duplicate() {
    let shop = shop("create table s.t (id int primary key, a int)");
    if shop.major() < 15 {
        return;
    }
    shop.sql(
        "create unique index loose on s.t (a);
         create unique index strict on s.t (a) nulls not distinct;",
    );
    let (_, dir) = audited(&shop, "postgres", &["--all", "--rule", "duplicate-index"]);
    let readme = std::fs::read_to_string(dir.join("README.md")).unwrap();
    assert!(!readme.contains("strict"), "{readme}");
}

/// A constraint that is never checked cannot be validated.
#[test]
fn a_constraint_that_is_not_enforced_is_not_validated() {
    let shop =
        shop("create table s.p (id int primary key); create table s.t (id int primary key, p int)");
    if shop.major() < 18 {
        return;
    }
    shop.sql(
        "alter table s.t add constraint never foreign key (p) references s.p not enforced;
         alter table s.t add constraint none check (p > 3) not enforced",
    );
    let rule = ["--all", "--rule", "not-valid-constraint"];
    assert_eq!(audited(&shop, "postgres", &rule).0, Vec::<String>::new());
}

/// Nothing is planned for a table whose rows the role may not read.
#[test]
fn a_table_that_cannot_be_read_has_no_plan() {
    let shop = shop(
        "create table s.t (created timestamp, a int); insert into s.t select now(), g from generate_series(1, 100) g;
         create role poor login password 'hunter2-s3cret'; grant usage on schema s to poor; analyze s.t",
    );
    let (found, dir) = audited(&shop, "poor", &["--all"]);
    assert!(!found.is_empty());
    assert!(!dir.join("migrations").exists(), "{found:?}");
    let readme = std::fs::read_to_string(dir.join("README.md")).unwrap_or_default();
    assert!(
        readme.contains("the rows of s.t were not looked at: the role may not read it"),
        "{readme}"
    );
}
