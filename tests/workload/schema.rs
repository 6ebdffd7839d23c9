//! The modules of the workload, what they have to make of the source, and the
//! comparison by plain SQL.

use crate::support::World;

/// Rows of each source table at the start.
pub const ROWS: i64 = 1500;

/// A target: its module, file name, SELECT, and what to compare of the table.
struct Target {
    table: &'static str,
    file: &'static str,
    head: &'static str,
    select: &'static str,
    /// `*` or the columns to compare; the rest is made by the target itself.
    compared: &'static str,
    /// The SELECT's equivalent without surrogate keys, where it differs.
    expected: Option<&'static str>,
}

struct Module {
    name: &'static str,
    /// The source as it stands in TOML, and as SQL.
    source: &'static str,
    /// Source key as `text[]`, for comparing with the quarantine.
    key: &'static str,
    /// Which rows cannot be converted.
    refused: &'static str,
    targets: &'static [Target],
}

const MODULES: &[Module] = &[
    // JSON split, with a unique column on the target.
    Module {
        name: "split",
        source: "s.orders",
        key: "array[id::text]",
        refused: "bad",
        targets: &[
            Target {
                table: "t.orders",
                file: "orders.sql",
                head: "source_key = ['id']",
                select: "select o.id, o.status, o.at::timestamptz as at, o.email from source o",
                compared: "*",
                expected: None,
            },
            Target {
                table: "t.items",
                file: "items.sql",
                head: "source_key = ['order_id']",
                select: "select o.id as order_id, i.n::int as n, i.item ->> 'sku' as sku, (i.item ->> 'qty')::int as qty, i.item ->> 'note' as note
from source o, jsonb_array_elements(o.items) with ordinality as i(item, n)",
                compared: "*",
                expected: None,
            },
        ],
    },
    // A composite key whose equality is not that of its text, odd names, another
    // collation on the target.
    Module {
        name: "odd \"names\"",
        source: "s.\"Order \"\"Items\"\" ÄÖ\"",
        key: "array[\"Art \"\"Ä\"\"\"::text, \"Nr.\"::text]",
        refused: "bad",
        targets: &[Target {
            table: "t.\"Ziel \"\"x\"\"\"",
            file: "ziel.sql",
            head: "source_key = ['Art \"ä\"', 'nr']",
            select: "select o.\"Art \"\"Ä\"\"\" as \"Art \"\"ä\"\"\", o.\"Nr.\" as nr, o.\"Wert\"::int as \"Wert\", o.big from source o",
            compared: "*",
            expected: None,
        }],
    },
    // A lookup with a surrogate key, and a target that joins it.
    Module {
        name: "sales",
        source: "s.sales",
        key: "array[id::text]",
        refused: "bad",
        targets: &[
            Target {
                table: "t.customers",
                file: "customers.sql",
                head: "mode = 'lookup'\nkey = ['email']",
                select: "select lower(o.email) as email, o.name from source o",
                compared: "",
                expected: None,
            },
            Target {
                table: "t.sales",
                file: "sales.sql",
                head: "source_key = ['id']",
                select: "select o.id, c.id as customer_id, o.amount::numeric(12,2) as amount, o.memo
from source o join t.customers c on c.email = lower(o.email)",
                compared: "id, (select c.email from t.customers c where c.id = customer_id) as email, amount, memo",
                expected: Some("select o.id, lower(o.email) as email, o.amount::numeric(12,2) as amount, o.memo from source o"),
            },
        ],
    },
    // A second target that joins the first, whose surrogate key it makes itself.
    Module {
        name: "docs",
        source: "s.docs",
        key: "array[id::text]",
        // A document without tags has no row that could be refused.
        refused: "bad and tags <> '{}'",
        targets: &[
            Target {
                table: "t.lines",
                file: "lines.sql",
                head: "source_key = ['doc_id']",
                select: "select distinct o.id as doc_id, g.tag, o.title from source o, unnest(o.tags) as g(tag)",
                compared: "doc_id, tag, title",
                expected: None,
            },
            Target {
                table: "t.stock",
                file: "stock.sql",
                head: "source_key = ['doc_id']",
                select: "select o.id as doc_id, l.tag, l.line_id, o.amount::int as amount, o.body from source o join t.lines l on l.doc_id = o.id",
                compared: "doc_id, tag, line_id = (select l.line_id from t.lines l where l.doc_id = q.doc_id and l.tag = q.tag) as joined, amount, body",
                expected: Some("select distinct o.id as doc_id, g.tag, true as joined, o.amount::int as amount, o.body from source o, unnest(o.tags) as g(tag)"),
            },
        ],
    },
];

const TABLES: &str = r#"
create schema s; create schema t;
create table s.orders (id bigint generated by default as identity primary key,
    status text not null default 'new', at text not null default '2024-01-01 00:00:00', filler text,
    email text unique deferrable initially deferred, items jsonb not null default '[]', bad boolean not null default false);
alter table s.orders alter items set storage external;
create table t.orders (id bigint primary key, status text not null, at timestamptz not null, email text unique);
create table t.items (order_id bigint not null, n int not null, sku text, qty int, note text, primary key (order_id, n));

create table s."Order ""Items"" ÄÖ" ("Wert" text, unused int, "Nr." numeric not null,
    "Art ""Ä""" text collate "de-x-icu" not null, big text, bad boolean not null default false,
    primary key ("Art ""Ä""", "Nr."));
alter table s."Order ""Items"" ÄÖ" alter big set storage external;
create table t."Ziel ""x""" ("Art ""ä""" text not null, nr numeric not null, "Wert" int, big text,
    primary key ("Art ""ä""", nr));

create table s.sales (id uuid primary key, email text not null, name text, amount text not null,
    memo text, bad boolean not null default false);
alter table s.sales alter memo set storage external;
create table t.customers (id bigint generated by default as identity primary key, email text not null unique, name text);
create table t.sales (id uuid primary key, customer_id bigint not null, amount numeric(12,2) not null, memo text);
create index on t.sales (customer_id);

create table s.docs (id int primary key, title text, tags text[] not null default '{}',
    amount text not null default '0', body text, bad boolean not null default false);
alter table s.docs alter body set storage external, alter tags set storage external;
create table t.lines (line_id bigint generated by default as identity unique, doc_id int not null, tag text not null,
    title text, primary key (doc_id, tag));
create table t.stock (doc_id int not null, tag text not null, line_id bigint not null, amount int, body text,
    primary key (doc_id, tag));

-- Text that no compression makes small: about 32 bytes a unit.
create function s.noise(units int) returns text language sql volatile
    return (select coalesce(string_agg(md5(random()::text), ''), '') from generate_series(1, units));
-- A jsonb array of `n` items, each with a note of `units` of noise.
create function s.items(n int, units int) returns jsonb language sql volatile
    return (select coalesce(jsonb_agg(jsonb_build_object('sku', 'S' || i, 'qty', (random() * 9)::int, 'note', s.noise(units))), '[]')
            from generate_series(1, n) i);
create function s.art(n int) returns text language sql immutable
    return (array['Äpfel', 'apfel', 'Apfel', 'zebra', 'ähre', 'ß', 'o''x "y"', 'Z\z'])[1 + n % 8];
create function s.id(n int) returns uuid language sql immutable return md5(n::text)::uuid;
create function s.tags(n int, from_tag int) returns text[] language sql volatile
    return (select coalesce(array_agg('tag' || (from_tag + i) % 12), '{}') from generate_series(1, n) i);
"#;

/// Creates tables, rows and modules.
pub async fn install(world: &World, copy: &str) {
    world.sql(TABLES).await;
    world
        .sql(&format!(
            r#"insert into s.orders (id, email, items)
               select g, case when g % 4 = 0 then 'u' || g end, s.items(g % 4, g % 50 / 45 * 30)
               from generate_series(1, {ROWS}) g;
               select setval(pg_get_serial_sequence('s.orders', 'id'), 100000);
               insert into s."Order ""Items"" ÄÖ" ("Art ""Ä""", "Nr.", "Wert", big)
               select s.art(g), g / 8, g, case when g % 20 = 0 then s.noise(80) end from generate_series(1, {ROWS}) g;
               insert into s.sales (id, email, name, amount, memo)
               select s.id(g), case when g % 2 = 0 then 'C' else 'c' end || g % 97 || '@x', 'n' || g % 97, g::text,
                      case when g % 20 = 0 then s.noise(80) end from generate_series(1, {ROWS}) g;
               insert into s.docs (id, title, tags, body)
               select g, 'title', s.tags(g % 4, g), case when g % 10 = 0 then s.noise(80) end from generate_series(1, {ROWS}) g;
               analyze;"#
        ))
        .await;
    let mut names = Vec::new();
    for (number, module) in MODULES.iter().enumerate() {
        // Folder names are plain: they stand in crossfade.toml.
        let folder = format!("m{number}_{}", module.name.split(' ').next().unwrap_or(""));
        let mut toml = format!("source = '''{}'''\n", module.source);
        let mut files = Vec::new();
        for target in module.targets {
            toml.push_str(&format!(
                "[[target]]\ntable = '''{}'''\nselect = '{}'\n{}\n",
                target.table, target.file, target.head
            ));
            files.push((target.file, target.select));
        }
        files.push(("transform.toml", toml.as_str()));
        world.module(&folder, &files);
        names.push(folder);
    }
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    world.config(
        &names,
        &format!("[copy]\n{copy}\n[throttle]\nmax_lag_seconds = 1000000.0"),
    );
}

/// Repairs every value that cannot be converted.
pub async fn correct(world: &World) {
    world
        .sql(
            r#"update s.orders set at = '2024-02-02', items = s.items(1, 0), bad = false where bad;
               update s."Order ""Items"" ÄÖ" set "Wert" = '7', bad = false where bad;
               update s.sales set amount = '7', bad = false where bad;
               update s.docs set amount = '7', bad = false where bad;"#,
        )
        .await;
}

/// Asserts that every target is what plain SQL makes of the rows that can be
/// converted, and that exactly the keys of the others are in quarantine.
pub async fn assert_equal(world: &World) {
    let mut wrong = Vec::new();
    for module in MODULES {
        let source = format!("(select * from {} where not bad) o", module.source);
        for target in module.targets {
            if target.compared.is_empty() {
                continue;
            }
            let select = target.expected.unwrap_or(target.select);
            let select = select.replace("source o", &source);
            let table = format!("(select {} from {} q) q", target.compared, target.table);
            let (missing, extra) = world.difference(&select, &table).await;
            if (missing, extra) != (0, 0) {
                wrong.push(format!(
                    "{}: {missing} missing, {extra} too many",
                    target.table
                ));
                wrong.push(examples(world, &select, &table).await);
            }
        }
        let bad = format!(
            "select {} from {} where {}",
            module.key, module.source, module.refused
        );
        let aside = format!(
            "select q.key from crossfade.quarantine q join crossfade.source s on s.id = q.source_id
             where s.table_oid = '{}'::regclass",
            module.source
        );
        for (what, one, other) in [
            ("bad rows that are not in quarantine", &bad, &aside),
            ("rows in quarantine that are not bad", &aside, &bad),
        ] {
            let count = world
                .get(&format!("select count(*) from ({one} except {other}) q"))
                .await;
            if count != "0" {
                let example = world
                    .get(&format!(
                        "select min(q::text) from ({one} except {other}) q"
                    ))
                    .await;
                wrong.push(format!(
                    "{}: {count} {what}, such as {example}",
                    module.source
                ));
            }
        }
    }
    let extra = world
        .get("select count(*) from t.sales where customer_id not in (select id from t.customers)")
        .await;
    if extra != "0" {
        wrong.push(format!("{extra} sales without a customer"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A few rows of the difference, cut short.
async fn examples(world: &World, select: &str, table: &str) -> String {
    let part = |one: &str, other: &str| {
        format!(
            "(select string_agg(left(r, 200), chr(10)) from
               (select to_jsonb(w)::text as r from ({one}) w except all select to_jsonb(w)::text from ({other}) w
                limit 3) x)"
        )
    };
    let present = format!("select * from {table}");
    let sql = format!(
        "select concat('missing: ', {}, chr(10), 'too many: ', {})",
        part(select, &present),
        part(&present, select)
    );
    world.get(&sql).await
}
