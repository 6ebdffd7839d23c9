//! What a plan does not take away: whatever only looks as if something else did the same.

use crossfade::audit::fix::Fix;
use crossfade::audit::plan::Plan;
use crossfade::audit::{Audit, Options};

use crate::place::Place;
use crate::plan::{name, plan, shop, taken_back};

fn planned(place: &Place, audit: &Audit) -> Plan {
    let found: Vec<_> = audit.findings.iter().collect();
    let url = place.url("postgres");
    place.runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        Plan::of(&audit.database, &found, &client).await.unwrap()
    })
}

fn migrations(place: &Place) -> Vec<String> {
    let plan = planned(place, &place.audit());
    let names = plan.migrations.iter();
    names.map(|e| e.migration.name.clone()).collect()
}

fn titles(place: &Place, rule: &str) -> Vec<String> {
    let found = place.audit().findings;
    let found = found.into_iter().filter(|f| f.rule == rule);
    found.map(|f| f.title).collect()
}

#[test]
fn a_foreign_key_that_refuses_stays_beside_one_that_cascades() {
    for (one, other, drops) in [
        ("on delete restrict", "on delete cascade", None),
        ("on delete set null", "on delete set null", Some("second")),
        ("deferrable initially deferred", "", Some("first")),
        ("", "deferrable initially deferred", Some("second")),
        (
            "deferrable initially immediate",
            "deferrable",
            Some("second"),
        ),
        ("match full", "", Some("second")),
        // It is validated, and goes by the plan of the next audit.
        ("not valid", "", None),
    ] {
        let place = Place::open("twice");
        place.load(&format!(
            "create table par (id int primary key);
             create table chi (id int primary key, par_id int);
             insert into par select generate_series(1, 50);
             insert into chi select i, 1 + i % 50 from generate_series(1, 200) i;
             create index on chi (par_id);
             alter table chi add constraint first foreign key (par_id) references par {one};
             alter table chi add constraint second foreign key (par_id) references par {other};
             analyze"
        ));
        assert_eq!(titles(&place, "duplicate-foreign-key").len(), 1);
        let all = migrations(&place);
        let dropped = all.iter().find(|m| m.starts_with("drop_foreign_key"));
        assert_eq!(
            dropped.cloned(),
            drops.map(|d| format!("drop_foreign_key_{d}")),
            "{one} beside {other}: {all:?}"
        );
    }
}

#[test]
fn a_unique_index_that_refuses_more_or_sooner_stays() {
    let place = Place::open("twins");
    let strict = place.get("select current_setting('server_version_num')::int >= 150000") == "true";
    let nulls = if strict { "nulls not distinct" } else { "" };
    place.load(&format!(
        "create table t (id int primary key, a int, b int);
         insert into t select i, i, i from generate_series(1, 2000) i;
         create unique index t_a on t (a); create unique index t_a_nulls on t (a) {nulls};
         create unique index t_b on t (b);
         alter table t add constraint t_b_later unique (b) deferrable initially deferred;
         analyze"
    ));
    let twice = titles(&place, "duplicate-index");
    if strict {
        assert_eq!(twice, Vec::<String>::new());
    } else {
        assert_eq!(twice, ["public.t: index t_a_nulls is the same as t_a"]);
    }
}

#[test]
fn a_value_that_only_a_derived_column_tells_keeps_it() {
    let place = Place::open("derived");
    place.load(
        "create table inv (id int primary key, net numeric(12,2), tax numeric(12,2), gross numeric(12,2),
             qty int, price numeric(10,2), amount numeric(12,2));
         insert into inv select i, i * 1.37, round(i * 0.26, 2), i * 1.37 + round(i * 0.26, 2),
             i % 7 + 1, i * 0.31, (i % 7 + 1) * (i * 0.31) from generate_series(1, 4000) i;
         update inv set net = null where id = 8;
         update inv set amount = null where id = 9;
         analyze",
    );
    let audit = place.audit();
    let gross = audit.findings.iter().find(|f| f.title.contains("gross is"));
    let gross = gross.expect("gross follows from the others in nearly all rows");
    let evidence: Vec<_> = gross.evidence.iter().map(|e| e.text.as_str()).collect();
    assert_eq!(
        evidence[..2],
        [
            "in all but 1 of 4,000 rows that have a value",
            "in 1 row a part of the formula is NULL: nothing else tells the value"
        ]
    );
    assert_eq!(place.get(&gross.proof), "1");
    let all = migrations(&place);
    assert!(all.contains(&"drop_inv_amount".to_owned()), "{all:?}");
    assert!(!all.iter().any(|m| m.contains("gross")), "{all:?}");
}

#[test]
fn a_derived_column_that_another_one_is_computed_from_comes_back_first_or_stays() {
    let drop = |column: &str, derivation: &str| Fix::DropColumn {
        table: name("s.t"),
        column: column.to_owned(),
        derivation: derivation.to_owned(),
    };
    let (net, gross) = (
        drop("net", r#""price" + "fee""#),
        drop("gross", r#""net" + "tax""#),
    );
    for (fixes, left) in [
        (
            vec![net.clone(), gross.clone()],
            "s.t.net goes away by another step of the plan",
        ),
        (
            vec![gross, net],
            "another column is computed from s.t.net on the plan's way down: run the audit again after that",
        ),
    ] {
        let shop = shop(
            "create table s.t (id int primary key, price int, fee int, net int not null, tax int, gross int);
             insert into s.t select g, g, g % 7, g + g % 7, g % 3, g + g % 7 + g % 3 from generate_series(1, 300) g",
        );
        let (made, dir) = plan(&shop, fixes);
        let why: Vec<_> = made.left.iter().map(|l| l.why.as_str()).collect();
        assert_eq!(why, [left]);
        taken_back(
            &shop,
            "s.t",
            &dir,
            "(select count(*) = 5 from pg_attribute where attrelid = 's.t'::regclass and attnum > 0 and not attisdropped)",
        );
    }
}

#[test]
fn numbers_of_any_kind_refer_to_no_key_that_is_dense_where_they_are() {
    let place = Place::open("grams");
    place.load(
        "create table parcel (id int primary key, weight int, height int);
         insert into parcel select i, 1 + (i * 7919) % 8000, 1 + (i * 31) % 900 from generate_series(1, 8000) i;
         insert into parcel values (9001, 1, 1), (90002, 5, 9);
         create table score (id int primary key, points int);
         insert into score select i + 100, 101 + (i * 31) % 200 from generate_series(1, 900) i;
         create table kunde_alt (id int primary key, named text not null);
         insert into kunde_alt select 100000 + (i * 7919) % 900001, 'k' || i from generate_series(1, 3000) i;
         create table ablage (id int primary key, was int, wieviel int);
         insert into ablage select i, 100000 + ((1 + i % 2900) * 7919) % 900001, 1 + i % 3000 from generate_series(1, 6000) i;
         analyze",
    );
    // What hits one number in three hundred every time is no number of any kind.
    assert_eq!(
        titles(&place, "missing-foreign-key"),
        ["public.ablage.was refers to public.kunde_alt.id without a foreign key"]
    );
    let keys: Vec<_> = migrations(&place);
    let keys = keys.iter().filter(|m| m.starts_with("foreign_key"));
    assert_eq!(keys.collect::<Vec<_>>(), ["foreign_key_ablage_was"]);
}

#[test]
fn of_what_a_role_may_not_read_nothing_is_said_and_nothing_is_planned() {
    let place = Place::open("unread");
    place.load(
        "create table log (no int not null, what text);
         create table people (id int primary key, phone1 text, phone2 text, phone3 text);
         insert into log select i, 'x' from generate_series(1, 2000) i;
         insert into people select i, 'a', 'b', 'c' from generate_series(1, 2000) i;
         analyze;
         create role passer_by login",
    );
    let audit = place.audit_as("passer_by", &Options::default());
    let said: Vec<_> = audit
        .findings
        .iter()
        .map(|f| (f.rule, f.evidence[0].text.as_str(), f.fixes.len()))
        .collect();
    assert!(
        said.contains(&(
            "no-primary-key",
            "its rows were not looked at: whether a column is unique is not known",
            0
        )),
        "{said:?}"
    );
    assert!(
        said.contains(&(
            "repeating-group",
            "their names are numbered and their types are the same; its rows were not looked at",
            0
        )),
        "{said:?}"
    );
    let plan = planned(&place, &audit);
    assert!(plan.is_empty(), "{:?}", plan.migrations);
}

/// PostgreSQL 18 knows constraints that nobody checks: they cannot be validated.
#[test]
fn a_constraint_that_is_not_enforced_is_not_validated() {
    let place = Place::open("enforced");
    let unchecked =
        if place.get("select current_setting('server_version_num')::int >= 180000") == "true" {
            "not enforced"
        } else {
            "not valid"
        };
    place.load(&format!(
        "create table par (id int primary key);
         create table chi (id int primary key, par_id int);
         insert into par select generate_series(1, 50);
         insert into chi select i, 1 + i % 50 from generate_series(1, 200) i;
         create index on chi (par_id);
         alter table chi add constraint refers foreign key (par_id) references par {unchecked};
         alter table chi add constraint positive check (id > 0) {unchecked};
         analyze"
    ));
    let expected: &[&str] = match unchecked {
        "not valid" => &[
            "public.chi: constraint positive is NOT VALID",
            "public.chi: constraint refers is NOT VALID",
        ],
        _ => &[],
    };
    let mut found = titles(&place, "not-valid-constraint");
    found.sort();
    assert_eq!(found, expected);
}
