//! Plans: what they write does what the fix asks for, is taken back without a trace, and
//! passes the program's own readers.

use std::path::{Path, PathBuf};

use crossfade::audit::finding::{Category, Severity};
use crossfade::audit::fix::{JsonField, KeyColumn, RepeatedColumn, TimestampFormat};
use crossfade::audit::plan::Plan;
use crossfade::audit::{Finding, Fix, catalog};
use crossfade::migrate::batch::Batch;
use crossfade::migrate::{Down, Folder, Script, Step};
use crossfade::pg::QualifiedName;
use crossfade::server::Options;

use crate::program::Shop;

/// A finding with this one fix.
fn finding(fix: Fix) -> Finding {
    Finding::new(
        "test",
        Category::Structure,
        Severity::High,
        "a finding".to_owned(),
    )
    .remedy("do it by hand")
    .fix(fix)
}

pub fn name(table: &str) -> QualifiedName {
    QualifiedName::parse(table).unwrap()
}

pub fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|t| (*t).to_owned()).collect()
}

pub fn key(name: &str, type_sql: &str) -> KeyColumn {
    KeyColumn {
        name: name.to_owned(),
        type_sql: type_sql.to_owned(),
    }
}

/// Plans the fixes and writes the folder `plan`.
pub fn plan(shop: &Shop, fixes: Vec<Fix>) -> (Plan, PathBuf) {
    let held = crate::program::Held::open(&shop.url("postgres", crate::program::SECRET));
    let findings: Vec<Finding> = fixes.into_iter().map(finding).collect();
    let all: Vec<&Finding> = findings.iter().collect();
    let plan = held.runtime.block_on(async {
        let database = catalog::read(&held.client, &[]).await.unwrap();
        Plan::of(&database, &all, &held.client).await.unwrap()
    });
    let dir = shop.dir.join(format!("plan_{:x}", fastrand::u64(..)));
    let url = format!("postgres://postgres@127.0.0.1:{}/shop", shop.server.port());
    plan.write(&dir, &url).unwrap();
    (plan, dir)
}

/// Runs a script as the program does: a batch over all of its keys.
pub fn apply(shop: &Shop, script: &Script) {
    apply_beside(shop, script, &|_| {});
}

/// Calls `beside` with each statement before it is run.
pub fn apply_beside(shop: &Shop, script: &Script, beside: &dyn Fn(&str)) {
    if script.in_transaction {
        let statements: Vec<_> = script.statements().map(|s| s.text.as_str()).collect();
        if !statements.is_empty() {
            shop.sql(&format!("begin; {}; commit", statements.join(";\n")));
        }
        return;
    }
    for step in &script.steps {
        let text = match step {
            Step::One(statement) => statement.text.clone(),
            Step::Block(statements) => {
                let all: Vec<_> = statements.iter().map(|s| s.text.as_str()).collect();
                format!("begin; {}; commit", all.join(";\n"))
            }
            Step::Batch(statement, batch) => whole(&statement.text, batch),
        };
        beside(&text);
        shop.sql(&text);
    }
}

/// The statement of a batch, from the first key to the last.
fn whole(text: &str, batch: &Batch) -> String {
    let columns: Vec<_> = batch.key.iter().map(|c| crossfade::pg::quote(c)).collect();
    let of = batch.table.sql();
    let edge = |column: &str, way: &str| {
        let order: Vec<_> = columns.iter().map(|c| format!("{c} {way}")).collect();
        format!(
            "(select {column} from {of} order by {} limit 1)",
            order.join(", ")
        )
    };
    let mut text = text.to_owned();
    for (at, column) in columns.iter().enumerate() {
        text = text
            .replace(&format!("${}", at + 1), &edge(column, "asc"))
            .replace(
                &format!("${}", columns.len() + at + 1),
                &edge(column, "desc"),
            );
    }
    text
}

pub fn up(shop: &Shop, dir: &Path) -> Folder {
    let folder = Folder::read(&dir.join("migrations")).unwrap();
    for migration in &folder.migrations {
        apply(shop, &migration.up);
    }
    folder
}

pub fn down(shop: &Shop, folder: &Folder) {
    for migration in folder.migrations.iter().rev() {
        match &migration.down {
            Down::Script(script) => apply(shop, script),
            Down::Irreversible(why) => panic!("{why}"),
        }
    }
}

/// Everything that a schema consists of, in an order of its own: columns that come back
/// stand at the end.
pub const SCHEMA: &str = "
select string_agg(x, E'\\n' order by x) from (
  select format('column %s.%s %s %s %s', attrelid::regclass, attname, format_type(atttypid, atttypmod),
                attnotnull, pg_get_expr(d.adbin, d.adrelid)) x
    from pg_attribute a left join pg_attrdef d on d.adrelid = attrelid and d.adnum = attnum
    where attnum > 0 and not attisdropped and attrelid in (select oid from pg_class where relnamespace = 's'::regnamespace and relkind in ('r', 'p', 'v'))
  union all select format('constraint %s.%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated)
    from pg_constraint where connamespace = 's'::regnamespace and contype <> 'n'
  union all select format('index %s %s', pg_get_indexdef(indexrelid), indisvalid)
    from pg_index join pg_class c on c.oid = indexrelid where relnamespace = 's'::regnamespace
  union all select format('trigger %s', pg_get_triggerdef(t.oid)) from pg_trigger t
    join pg_class c on c.oid = tgrelid where relnamespace = 's'::regnamespace and not tgisinternal
  union all select format('function %s', oid::regprocedure) from pg_proc where pronamespace = 's'::regnamespace
) s(x)";

fn schema(shop: &Shop) -> String {
    shop.value(SCHEMA.trim())
}

/// Rows of a table as one text, by column so that places do not matter.
fn rows(shop: &Shop, table: &str) -> String {
    shop.value(&format!(
        "select string_agg(to_jsonb(t)::text, E'\\n' order by to_jsonb(t)::text) from {table} t"
    ))
}

pub fn shop(sql: &str) -> Shop {
    let shop = Shop::bare(Options::default());
    shop.sql("create schema s");
    shop.sql(sql);
    shop
}

/// Up does what `mended` asks for; down leaves schema and rows as they were; and up again
/// works.
pub fn there_and_back(shop: &Shop, table: &str, fixes: Vec<Fix>, mended: &str) {
    let (plan, dir) = plan(shop, fixes);
    assert!(plan.left.is_empty(), "{:?}", plan.left);
    taken_back(shop, table, &dir, mended);
}

/// The plan in a folder up and down, twice.
pub fn taken_back(shop: &Shop, table: &str, dir: &Path, mended: &str) {
    let before = (schema(shop), rows(shop, table));
    for _ in 0..2 {
        let folder = up(shop, dir);
        assert_eq!(
            shop.value(&format!("select ({mended})::text")),
            "true",
            "{mended}"
        );
        down(shop, &folder);
        assert_eq!(schema(shop), before.0, "{}", dir.display());
        assert_eq!(rows(shop, table), before.1);
    }
}

const HOSTILE: &str = r#"s."Order ""Items"" ÄÖ""#;

#[test]
fn references_and_indexes_are_added_and_taken_back() {
    let shop = shop(&format!(
        r#"create table s."user" (id int primary key);
        insert into s."user" select generate_series(1, 50);
        create table {HOSTILE} (id int primary key, "user" int, "Wert ""x""" text, other int not null);
        insert into {HOSTILE} select g, case when g % 10 = 0 then 1000 + g when g % 7 = 0 then null else g % 50 + 1 end, 'v' || g % 3, g % 50 + 1
        from generate_series(1, 400) g;
        create index keep on {HOSTILE} ("Wert ""x""") where other > 3;
        create table s.parted (id int not null, day date not null) partition by range (day);
        create table s.parted_1 partition of s.parted for values from ('2024-01-01') to ('2025-01-01');
        create table s.parted_2 partition of s.parted for values from ('2025-01-01') to ('2026-01-01') partition by range (id);
        create table s.parted_2a partition of s.parted_2 for values from (1) to (100);
        create table s.keyless (a int not null, b int not null, c text);
        insert into s.keyless select g, g % 7, 'c' from generate_series(1, 100) g;
        create unique index keyless_a on s.keyless (a);
        create table s.bare (a int); insert into s.bare select 1 from generate_series(1, 10);"#
    ));
    let table = name(HOSTILE);
    let add = |column: &str, orphans| Fix::AddForeignKey {
        table: table.clone(),
        columns: strings(&[column]),
        referenced: name("s.\"user\""),
        referenced_columns: strings(&["id"]),
        orphans,
        needs_index: true,
        convert_to: None,
    };
    there_and_back(
        &shop,
        HOSTILE,
        vec![add("user", 40), add("other", 0)],
        "(select count(*) = 2 and bool_and(convalidated) from pg_constraint where contype = 'f')
         and (select count(*) = 40 from s.\"Order \"\"Items\"\" ÄÖ_user_orphans\")
         and (select count(*) = 2 from pg_indexes where indexdef like '%(\"user\")' or indexdef like '%(other)')",
    );
    there_and_back(
        &shop,
        HOSTILE,
        vec![
            Fix::AddIndex {
                table: table.clone(),
                columns: strings(&["Wert \"x\"", "other"]),
                predicate: Some("other > 1".to_owned()),
                unique: false,
            },
            Fix::DropIndex {
                table: table.clone(),
                index: QualifiedName::new("s", "keep"),
                definition: shop.value("select pg_get_indexdef('s.keep'::regclass)"),
            },
            Fix::Reindex {
                table: table.clone(),
                index: QualifiedName::new("s", "Order \"Items\" ÄÖ_pkey"),
            },
            Fix::AddIndex {
                table: name("s.parted"),
                columns: strings(&["id"]),
                predicate: None,
                unique: false,
            },
        ],
        "(select count(*) = 0 from pg_indexes where indexname = 'keep')
         and (select count(*) = 4 and bool_and(indisvalid) from pg_index where indrelid::regclass::text like 's.parted%')",
    );
    there_and_back(
        &shop,
        "s.keyless",
        vec![
            Fix::AddPrimaryKey {
                table: name("s.keyless"),
                columns: strings(&["a"]),
                existing_index: Some("keyless_a".to_owned()),
            },
            Fix::AddPrimaryKey {
                table: name("s.bare"),
                columns: Vec::new(),
                existing_index: None,
            },
        ],
        "(select count(*) = 4 from pg_constraint where contype = 'p' and connamespace = 's'::regnamespace)",
    );
}

#[test]
fn moments_written_in_any_way_become_timestamptz_and_come_back_to_the_letter() {
    let shop = shop(
        "create table s.t (id int primary key,
             created bigint not null default 1700000000, created_ms bigint, paid varchar(30), day text, seen timestamp,
             german varchar(20), compact char(8));
         create index on s.t (created desc, id); create index on s.t (paid) where id > 3;
         insert into s.t select g, 1700000000 + g * 3601, 1700000000123 + g * 1000,
             case g % 5 when 0 then null when 1 then '2024-05-01T10:00:00Z' when 2 then '2024-05-01 10:00:00+02' when 3 then '2024-05-01 10:00:07.25' else 'soon' end,
             case when g % 4 = 0 then '' else '2024-02-' || lpad((g % 28 + 1)::text, 2, '0') end,
             timestamp '2024-01-01' + g * interval '1 second',
             to_char(date '2024-01-01' + g, 'DD.MM.YYYY'), to_char(date '2024-01-01' + g, 'YYYYMMDD')
         from generate_series(1, 300) g;",
    );
    let convert = |column: &str, from_type: &str, format, unparsable| Fix::ConvertTimestamp {
        table: name("s.t"),
        column: column.to_owned(),
        from_type: from_type.to_owned(),
        format,
        to_type: "timestamptz".to_owned(),
        unparsable,
    };
    let fixes = || {
        vec![
            convert("created", "bigint", TimestampFormat::EpochSeconds, 0),
            convert(
                "created_ms",
                "bigint",
                TimestampFormat::EpochMilliseconds,
                0,
            ),
            convert(
                "paid",
                "character varying(30)",
                TimestampFormat::Iso8601,
                60,
            ),
            convert("day", "text", TimestampFormat::IsoDate, 0),
            convert(
                "seen",
                "timestamp without time zone",
                TimestampFormat::WithoutZone,
                0,
            ),
            convert(
                "german",
                "character varying(20)",
                TimestampFormat::DayMonthYearDots,
                0,
            ),
            convert("compact", "character(8)", TimestampFormat::CompactDate, 0),
        ]
    };
    there_and_back(
        &shop,
        "s.t",
        fixes(),
        "(select count(*) = 0 from pg_attribute where attrelid = 's.t'::regclass and attnum > 1 and not attisdropped and atttypid <> 'timestamptz'::regtype)
         and (select bool_and(created_tz = to_timestamp(1700000000 + id * 3601)) from s.t)
         and (select attnotnull from pg_attribute where attrelid = 's.t'::regclass and attname = 'created_tz')
         and (select count(*) = 120 from s.t where paid_tz is null)
         and (select bool_and(paid_tz = timestamptz '2024-05-01 08:00:00+00') from s.t where id % 5 = 2)
         and (select bool_and(german_tz = (date '2024-01-01' + id)::timestamp at time zone 'UTC') from s.t)
         and (select count(*) = 2 from pg_indexes where schemaname = 's' and indexdef ~ 'created_tz|paid_tz')",
    );
    // While both are there an application can use either.
    let (plan, dir) = plan(&shop, fixes());
    let expand = plan
        .migrations
        .iter()
        .filter(|e| e.migration.phase == crossfade::audit::plan::Phase::Expand)
        .count();
    let folder = Folder::read(&dir.join("migrations")).unwrap();
    for migration in &folder.migrations[..expand] {
        apply(&shop, &migration.up);
    }
    shop.sql("insert into s.t (id, created, paid) values (1001, 1800000000, 'yesterday')");
    shop.sql("insert into s.t (id, created_tz, paid_tz) values (1002, '2027-01-15 08:00:00.9+00', '2027-01-15 08:00:00+00')");
    shop.sql("update s.t set created = 1 where id = 1; update s.t set created_tz = to_timestamp(2) where id = 2");
    for check in [
        "(select created_tz = to_timestamp(1800000000) and paid_tz is null and paid = 'yesterday' from s.t where id = 1001)",
        "(select created = 1800000000 and paid = '2027-01-15 08:00:00' from s.t where id = 1002)",
        "(select created_tz = to_timestamp(1) from s.t where id = 1)",
        "(select created = 2 from s.t where id = 2)",
    ] {
        assert_eq!(
            shop.value(&format!("select {check}::text")),
            "true",
            "{check}"
        );
    }
}

#[test]
fn columns_change_type_move_out_or_go_and_come_back() {
    let shop = shop(
        "create table s.t (id int primary key, price double precision not null default 0.5, qty int not null, total numeric,
             city_code text, city text not null default '?', country text);
         create index on s.t (qty);
         insert into s.t select g, g / 4.0, g % 100, g / 4.0 * (g % 100)::numeric, 'c' || g % 20, 'City ' || g % 20, case when g % 2 = 0 then 'DE' end
         from generate_series(1, 500) g;
         update s.t set total = price::numeric * qty;",
    );
    there_and_back(
        &shop,
        "s.t",
        vec![
            Fix::ConvertColumn {
                table: name("s.t"),
                column: "price".to_owned(),
                from_type: "double precision".to_owned(),
                to_type: "numeric(12,2)".to_owned(),
                using: "\"price\"::numeric(12,2)".to_owned(),
            },
            Fix::WidenInteger {
                table: name("s.t"),
                column: "qty".to_owned(),
                from_type: "integer".to_owned(),
                to_type: "bigint".to_owned(),
                sequence: None,
                referencing: Vec::new(),
            },
        ],
        "(select count(*) = 2 from pg_attribute where attrelid = 's.t'::regclass and not attisdropped
            and ((attname, atttypid) = ('price', 'numeric'::regtype) or (attname, atttypid) = ('qty', 'int8'::regtype)))",
    );
    there_and_back(
        &shop,
        "s.t",
        vec![Fix::DropColumn {
            table: name("s.t"),
            column: "total".to_owned(),
            derivation: "(\"price\"::numeric * \"qty\")".to_owned(),
        }],
        "(select count(*) = 0 from pg_attribute where attrelid = 's.t'::regclass and attname = 'total')",
    );
    there_and_back(
        &shop,
        "s.t",
        vec![Fix::ExtractTable {
            table: name("s.t"),
            determinant: vec![key("city_code", "text")],
            dependents: vec![key("city", "text")],
            target: name("s.cities"),
            existing: None,
        }],
        "(select count(*) = 20 from s.cities) and (select count(*) = 1 from pg_constraint where contype = 'f' and convalidated)
         and (select count(*) = 0 from pg_attribute where attrelid = 's.t'::regclass and attname = 'city')",
    );
}

/// Everything that an element can be: fields left out, fields that are null, fields that
/// no sample showed, numbers as text, blanks, nothing at all.
const ORDERS: &str = r#"
create table s.orders (id bigint generated by default as identity primary key, customer text not null,
    items jsonb, tags text, phone1 text, phone2 text, phone3 text, note text, basket jsonb);
insert into s.orders (customer, items, tags, phone1, phone2, phone3, basket)
select 'c' || g,
    case when g % 9 = 0 then null when g % 9 = 1 then '[]' else (
        select jsonb_agg(
            jsonb_build_object('sku', 'S' || i, 'qty', g % 7 + i, 'price', (g % 100)::numeric(8,2) + 0.10)
            || (case when g % 5 = 0 then '{"note": null}' when g % 5 = 1 then '{"note": "x"}' else '{}' end)::jsonb
            || (case when g % 250 = 2 then '{"qty": "3"}' when g % 251 = 2 then '{"gift": true}' else '{}' end)::jsonb)
        from generate_series(1, g % 4 + 1) i) end,
    case g % 4 when 0 then null when 1 then 'red' else 'red, green, blue ' || g end,
    case when g % 2 = 0 then '1-' || g end, case when g % 3 = 0 then '2-' || g end, case when g % 5 = 0 then '3-' || g end,
    case g % 6 when 0 then null when 1 then '{"open": true}' when 2 then '{"in": {"lines": []}, "x": null}' when 3 then '{"in": {"lines": null}}' when 4 then '[1]'
        else jsonb_build_object('open', g, 'in', jsonb_build_object('lines', jsonb_build_array(jsonb_build_object('n', g, 'at', '2024-05-01T10:00:00Z'), '{"n": 2, "at": null}'::jsonb))) end
from generate_series(1, 3000) g; analyze s.orders;
"#;

fn split() -> Vec<Fix> {
    let field = |name: &str, type_sql: &str, always| JsonField {
        name: name.to_owned(),
        column: name.to_owned(),
        type_sql: type_sql.to_owned(),
        present: if always { 1.0 } else { 0.2 },
        always,
    };
    vec![
        Fix::SplitJson {
            table: name("s.orders"),
            column: "items".to_owned(),
            column_type: "jsonb".to_owned(),
            path: Vec::new(),
            key: vec![key("id", "bigint")],
            child: name("s.order_items"),
            fields: vec![
                field("sku", "text", true),
                field("qty", "integer", true),
                field("price", "numeric", true),
                field("note", "text", false),
            ],
        },
        Fix::SplitJson {
            table: name("s.orders"),
            column: "basket".to_owned(),
            column_type: "jsonb".to_owned(),
            path: strings(&["in", "lines"]),
            key: vec![key("id", "bigint")],
            child: name("s.basket_lines"),
            fields: vec![
                field("n", "bigint", true),
                field("at", "timestamp with time zone", false),
            ],
        },
        Fix::SplitList {
            table: name("s.orders"),
            column: "tags".to_owned(),
            separator: ",".to_owned(),
            key: vec![key("id", "bigint")],
            child: name("s.order_tags"),
            element_type: "text".to_owned(),
            references: None,
        },
        Fix::SplitRepeatingGroup {
            table: name("s.orders"),
            key: vec![key("id", "bigint")],
            child: name("s.order_phones"),
            members: vec![RepeatedColumn {
                name: "phone".to_owned(),
                type_sql: "text".to_owned(),
                columns: vec![
                    (1, "phone1".to_owned()),
                    (2, "phone2".to_owned()),
                    (3, "phone3".to_owned()),
                ],
            }],
        },
    ]
}

/// The plan's configuration has no password in it.
pub fn password_file(shop: &Shop) {
    use std::os::unix::fs::PermissionsExt;
    let path = shop.dir.join(".pgpass");
    shop.write(".pgpass", &format!("*:*:*:*:{}\n", crate::program::SECRET));
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// The whole way with the real program: `expand` migrations, preflight, preview, run,
/// verify, switch, finish, and the contract.
fn whole_way(shop: &Shop, dir: &Path, expand: usize) {
    let before = rows(shop, "s.orders");
    let config = dir.join("crossfade.toml").display().to_string();
    let run = |arguments: &[&str]| {
        let ran = shop.crossfade(&[&["--config", &config], arguments].concat());
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.all());
        ran
    };
    let migrate = |arguments: &[&str]| run(&[&["migrate", "--chain", "audit"], arguments].concat());
    migrate(&["up", "--to", &expand.to_string()]);
    run(&["preflight"]);
    let module = dir.join("transforms/split_orders").display().to_string();
    let preview = run(&["preview", &module]);
    assert!(preview.out.contains("order_items"), "{}", preview.out);
    let daemon = shop.spawn(&["--config", &config, "run"]);
    shop.wait("to_regclass('crossfade.migration') is not null");
    shop.wait("select phase = 'streaming' from crossfade.migration");
    shop.sql(
        "update s.orders set items = items || '[{\"sku\": \"new\", \"qty\": 1, \"price\": 2.50}]' where id % 7 = 3 and items is not null;
         insert into s.orders (customer, items, tags) values ('late', '[{\"sku\": \"l\", \"qty\": 9, \"price\": 1.00}]', 'a, b');
         delete from s.orders where id % 100 = 1",
    );
    shop.wait(
        "(select count(*) = 2 from pg_replication_slots where confirmed_flush_lsn is not null)",
    );
    run(&["verify"]);
    run(&["switch"]);
    // The new tables are written, and the old column follows.
    shop.sql(
        "begin; insert into s.orders (id, customer) values (900001, 'new');
         insert into s.order_items (order_id, line_no, sku, qty, price) values (900001, 1, 'n', 2, 3.00); commit",
    );
    shop.wait("(select items = '[{\"sku\": \"n\", \"qty\": 2, \"price\": 3.00}]' from s.orders where id = 900001)");
    run(&["verify", "--reverse"]);
    run(&["finish"]);
    let ran = crate::program::finish(daemon);
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    migrate(&["up"]);
    let left = "select string_agg(attname, ' ' order by attnum) from pg_attribute
                where attrelid = 's.orders'::regclass and attnum > 0 and not attisdropped";
    let left = shop.value(left);
    for gone in ["items", "tags", "phone1", "phone3"] {
        assert!(!left.split(' ').any(|c| c == gone), "{left}");
    }
    assert!(!before.is_empty());
    assert_eq!(
        shop.value("select count(*)::text from s.order_items where order_id = 900001"),
        "1"
    );
}

fn expand(plan: &Plan) -> usize {
    plan.migrations
        .iter()
        .filter(|e| e.migration.phase == crossfade::audit::plan::Phase::Expand)
        .count()
}

#[test]
fn arrays_within_documents_move_out_with_the_rest_of_the_document() {
    let shop = shop(ORDERS);
    password_file(&shop);
    let (made, dir) = plan(&shop, split());
    assert!(made.left.is_empty(), "{:?}", made.left);
    whole_way(&shop, &dir, expand(&made));
    assert_eq!(
        shop.value("select string_agg(attname, ' ' order by attnum) from pg_attribute where attrelid = 's.orders'::regclass and attnum > 0 and not attisdropped"),
        "id customer note"
    );
}

/// What the audit finds, its plan mends, untouched by hand; and then it finds nothing.
#[test]
fn the_audits_own_plan_splits_the_json_orders_and_the_findings_are_gone() {
    let shop = shop(ORDERS);
    password_file(&shop);
    let url = format!("postgres://postgres@127.0.0.1:{}/shop", shop.server.port());
    let dir = shop.dir.join("plan");
    let audit = |arguments: &[&str]| {
        let all = [
            &["--output", "json", "audit", "--url", &url, "--all"],
            arguments,
        ]
        .concat();
        let ran = shop.crossfade(&all);
        let answer: serde_json::Value =
            serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {}", ran.all()));
        let findings = answer["findings"].as_array().unwrap().clone();
        findings
            .iter()
            .map(|f| {
                format!(
                    "{} {}",
                    f["rule"].as_str().unwrap(),
                    f["title"].as_str().unwrap()
                )
            })
            .collect::<Vec<_>>()
    };
    let of = |findings: &[String]| {
        let rules = ["json-array", "list-in-text", "repeating-group"];
        findings
            .iter()
            .filter(|f| rules.iter().any(|r| f.starts_with(r)))
            .cloned()
            .collect::<Vec<_>>()
    };
    let found = audit(&["--plan", &dir.display().to_string()]);
    assert_eq!(of(&found).len(), 3, "{found:?}");
    let readme = std::fs::read_to_string(dir.join("README.md")).unwrap();
    let number = readme.rsplit("up --to ").next().unwrap();
    let number: usize = number.lines().next().unwrap().parse().unwrap();
    whole_way(&shop, &dir, number);
    let found = audit(&[]);
    assert_eq!(of(&found), Vec::<String>::new(), "{found:?}");
}
