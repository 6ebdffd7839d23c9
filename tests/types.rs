//! Every type that a column can have goes through copy and stream unchanged, under
//! names that need quoting.

mod program;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Read as _;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crossfade::server::Options;
use program::{SECRET, Shop, finish};

const SOURCE: &str = r#""Old ""Schéma"""."Order ""Items"" ÄÖ""#;
const TARGET: &str = r#""New Schema"."Order ""Items"" ÄÖ""#;

/// Two values of each type, as literals' contents; the second ones are the corners.
const VALUES: &[(&str, &str, &str)] = &[
    ("bool", "t", "f"),
    ("bytea", r"\x00ff27225c", ""),
    ("char", "a", "\""),
    ("name", "a name", r#"O'"\ü{},"#),
    ("int8", "-9223372036854775808", "9223372036854775807"),
    ("int2", "-32768", "32767"),
    ("int2vector", "1 2 3", ""),
    ("int4", "-2147483648", "2147483647"),
    ("regproc", "pg_catalog.now", "0"),
    ("text", "plain", "O'\"\\ {},NULL\n\tÄÖ €😀 $1 --"),
    ("oid", "0", "4294967295"),
    ("tid", "(0,1)", "(4294967295,65535)"),
    ("xid", "3", "4294967295"),
    ("cid", "0", "4294967295"),
    ("oidvector", "1 4294967295", ""),
    (
        "json",
        r#"{"b": 1,  "a": [1.0, null, "\u00e4\\ \""]}"#,
        "null",
    ),
    ("xml", "<a b=\"c\">d &amp; é</a>", "text <b/> only"),
    ("point", "(1.5,-2)", "(Infinity,NaN)"),
    ("lseg", "[(0,0),(1,0.1)]", "[(1e300,-1e-300),(0,-0)]"),
    (
        "path",
        "[(0,0),(1,1)]",
        "((0,0),(1,1),(2,0.3333333333333333))",
    ),
    ("box", "(2,2),(1,1)", "(0,0),(0,0)"),
    ("polygon", "((0,0),(1,1),(1,0))", "((-0,0))"),
    ("line", "{1,-1,0}", "{0,-1,0.1}"),
    ("circle", "<(1,2),3.5>", "<(0,-0),0>"),
    ("cidr", "10.0.0.0/8", "2001:db8::/32"),
    ("float4", "1.1754944e-38", "NaN"),
    ("float8", "0.1", "-Infinity"),
    (
        "macaddr8",
        "08:00:2b:01:02:03:04:05",
        "ff:ff:ff:ff:ff:ff:ff:ff",
    ),
    ("money", "$1,234.56", "-$92,233,720,368,547,758.08"),
    ("macaddr", "08:00:2b:01:02:03", "00:00:00:00:00:00"),
    ("inet", "192.168.0.1", "::ffff:1.2.3.0/120"),
    ("aclitem", "postgres=arw/postgres", "=r/postgres"),
    ("bpchar", "a  ", ""),
    ("varchar", "v ", ""),
    ("date", "2024-02-29", "4713-01-01 BC"),
    ("time", "24:00:00", "00:00:00.000001"),
    ("timestamp", "2024-02-29 12:34:56.789", "-infinity"),
    (
        "timestamptz",
        "2024-02-29 12:34:56.789+05:30",
        "0001-01-01 00:00:00 BC",
    ),
    (
        "interval",
        "1 year -2 mons 3 days -04:05:06.7",
        "-178000000 years",
    ),
    ("timetz", "12:34:56.7+05:30", "24:00:00-15:59"),
    ("bit", "1", "0"),
    ("varbit", "101", ""),
    ("numeric", "1.500", "NaN"),
    ("refcursor", "a cursor", ""),
    ("regprocedure", "pg_catalog.abs(integer)", "-"),
    ("regoper", "pg_catalog.||/", "0"),
    ("regoperator", "pg_catalog.+(integer,integer)", "0"),
    ("regclass", "pg_catalog.pg_class", "-"),
    ("regcollation", "pg_catalog.\"C\"", "-"),
    ("regtype", "timestamp with time zone", "integer[]"),
    ("regrole", "postgres", "-"),
    ("regnamespace", "pg_catalog", "-"),
    (
        "uuid",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "00000000-0000-0000-0000-000000000000",
    ),
    ("pg_lsn", "16/B374D848", "0/0"),
    ("tsvector", "'it''s':1A,2B 'ä':3", ""),
    ("tsquery", "'fat' & ( 'rat' | !'c':*A )", "'a' <2> 'b'"),
    ("regconfig", "pg_catalog.english", "pg_catalog.simple"),
    ("regdictionary", "pg_catalog.simple", "pg_catalog.simple"),
    ("jsonb", r#"{"a": [1.0, null, "ä\\"]}"#, "\"\""),
    ("jsonpath", r#"$."a b"[*] ? (@ > 1)"#, "strict $"),
    ("txid_snapshot", "10:20:10,14", "1:1:"),
    ("pg_snapshot", "10:20:10,14", "1:1:"),
    ("xid8", "18446744073709551615", "0"),
    ("int4range", "[1,5)", "empty"),
    ("numrange", "(1.10,)", "[,)"),
    (
        "tsrange",
        "[2024-01-01,2024-02-01 12:00:00.5]",
        "(,infinity]",
    ),
    ("tstzrange", "[2024-01-01 00:00:00+00,)", "empty"),
    ("daterange", "[2024-01-01,2024-02-01)", "(,)"),
    ("int8range", "[-9223372036854775808,0)", "empty"),
    ("int4multirange", "{[1,3),[5,9)}", "{}"),
    ("nummultirange", "{(1.10,2]}", "{(,)}"),
    ("tsmultirange", "{[2024-01-01,2024-01-02)}", "{}"),
    ("tstzmultirange", "{[2024-01-01 00:00:00+00,)}", "{}"),
    (
        "datemultirange",
        "{[2024-01-01,2024-02-01),[2025-01-01,)}",
        "{}",
    ),
    ("int8multirange", "{[1,2)}", "{}"),
    // The user's own, made below.
    ("mood", "it's ok", "ÄÖ, \"\\"),
    ("email", "a@b", "O'Neil@x"),
    ("pair", r#"(1,"a ""b"", \\c")"#, "(,)"),
    ("span", "[a,b)", "empty"),
    ("nested", r#"("(1,x)","{1,NULL}")"#, "(,)"),
    ("span_multirange", "{[a,b),[c,d)}", "{}"),
];

/// Types without input: a column of them can hold NULL only.
const ONLY_NULL: &[&str] = &[
    "gtsvector",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_ndistinct",
    "pg_node_tree",
];

const OWN_TYPES: &str = "
create type mood as enum ('it''s ok', 'ÄÖ, \"\\');
create domain email as varchar(40) check (value like '%@%');
create type pair as (n int, t text);
create type nested as (p pair, a int[]);
create type span as range (subtype = text, multirange_type_name = span_multirange);";

/// Every type of the catalog that a column can have, and ours: arrays apart.
const TYPES: &str = r#"
select string_agg(t.typname::text, ',' order by t.oid)
from pg_type t left join pg_class c on c.oid = t.typrelid
where t.typcategory <> 'A' and (t.typelem = 0 or t.typarray <> 0)
  and (t.typnamespace = 'pg_catalog'::regnamespace and t.typtype in ('b', 'r', 'm')
       or t.typnamespace = 'public'::regnamespace and (t.typtype <> 'c' or c.relkind = 'c'))"#;

/// Of one column: its name's part, its type and what it holds in the two rows.
struct Column {
    name: String,
    sql: String,
    values: [Option<String>; 2],
}

fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn columns(shop: &Shop) -> Vec<Column> {
    let all = shop.value(TYPES);
    let all: BTreeSet<&str> = all.split(',').collect();
    let known: BTreeSet<&str> = VALUES.iter().map(|v| v.0).collect();
    let empty: BTreeSet<&str> = ONLY_NULL.iter().copied().collect();
    let covered: BTreeSet<&str> = known.union(&empty).copied().collect();
    let unknown: Vec<_> = all.difference(&covered).collect();
    assert!(unknown.is_empty(), "no values for {unknown:?}");
    let mut columns = Vec::new();
    // An older server has fewer types.
    for name in all {
        // Quoted, `char` is the internal type; `bpchar` and `bit` without a length.
        let sql = format!("\"{name}\"");
        let values = VALUES.iter().find(|v| v.0 == name);
        let value = |text: &str| Some(format!("{}::{sql}", literal(text)));
        columns.push(Column {
            name: format!("c \"{name}\" é"),
            sql: sql.clone(),
            values: values.map_or([None, None], |v| [value(v.1), value(v.2)]),
        });
        let array = |v: &(&str, &str, &str)| {
            let (a, b) = (literal(v.1), literal(v.2));
            [
                Some(format!("array[{a}::{sql}, null, {b}::{sql}]::{sql}[]")),
                Some(format!("array[array[{b}::{sql}, {a}::{sql}]]::{sql}[]")),
            ]
        };
        let has_array = shop.value(&format!(
            "select (typarray <> 0)::text from pg_type where typname = '{name}'"
        ));
        if has_array == "true" {
            columns.push(Column {
                name: format!("a \"{name}\" é"),
                sql: format!("{sql}[]"),
                values: values.map_or([None, None], array),
            });
        }
    }
    // With modifiers, where a cast could cut, pad or round.
    for (sql, a, b) in [
        ("char(5)", "ab", "ÄÖÜéx"),
        ("varchar(3)", "a  ", ""),
        ("numeric(10,2)", "1.50", "-99999999.99"),
        ("numeric(3,-2)", "99900", "0"),
        ("bit(3)", "101", "000"),
        ("bit varying(4)", "1", ""),
        ("timestamp(0)", "2024-02-29 12:34:56", "infinity"),
        ("timestamptz(3)", "2024-02-29 12:34:56.789+00", "-infinity"),
        ("time(2)", "12:34:56.78", "00:00:00"),
        ("interval day to second(1)", "3 days 04:05:06.7", "0"),
        ("char(2)[]", "{a,NULL,bb}", "{}"),
        ("numeric(4,1)[]", "{1.0,NaN}", "{{0.5}}"),
        ("text collate \"C\"", "z", "Z"),
        ("varchar(9) collate \"und-x-icu\"", "ä", "a"),
    ] {
        if sql.contains(",-") && shop.major() < 15 {
            continue;
        }
        let bare = sql.split(" collate").next().unwrap();
        columns.push(Column {
            name: sql.to_owned(),
            sql: sql.to_owned(),
            values: [a, b].map(|v| Some(format!("{}::{bare}", literal(v)))),
        });
    }
    columns
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `(c, …) values (…)`, the columns holding their value of row `of`, NULL for none.
fn row(key: (i64, &str), columns: &[Column], of: Option<usize>) -> String {
    let mut names = vec!["\"Kéy\"".to_owned(), "\"k \"\"2\"\"\"".to_owned()];
    let mut values = vec![key.0.to_string(), literal(key.1)];
    for c in columns {
        names.push(quoted(&c.name));
        let value = of.and_then(|i| c.values[i].clone());
        values.push(value.unwrap_or_else(|| "null".to_owned()));
    }
    format!(
        "insert into {SOURCE} ({}) values ({})",
        names.join(", "),
        values.join(", ")
    )
}

/// Sets every column of one row to its value of row `of`.
fn update(key: i64, columns: &[Column], of: Option<usize>) -> String {
    let sets: Vec<_> = columns
        .iter()
        .map(|c| {
            let value = of.and_then(|i| c.values[i].clone());
            format!(
                "{} = {}",
                quoted(&c.name),
                value.unwrap_or_else(|| "null".to_owned())
            )
        })
        .collect();
    format!(
        "update {SOURCE} set {} where \"Kéy\" = {key}",
        sets.join(", ")
    )
}

fn setup(shop: &Shop) -> Vec<Column> {
    shop.sql(OWN_TYPES);
    let columns = columns(shop);
    shop.sql(r#"create schema "Old ""Schéma"""; create schema "New Schema""#);
    let mut definition = "\"Kéy\" bigint, \"k \"\"2\"\"\" text".to_owned();
    let mut select = "s.\"Kéy\", s.\"k \"\"2\"\"\"".to_owned();
    for c in &columns {
        let _ = write!(definition, ", {} {}", quoted(&c.name), c.sql);
        let _ = write!(select, ", s.{}", quoted(&c.name));
    }
    for table in [SOURCE, TARGET] {
        shop.sql(&format!(
            "create table {table} ({definition}, primary key (\"Kéy\", \"k \"\"2\"\"\"))"
        ));
    }
    let toml = format!(
        "source = '{SOURCE}'\n[[target]]\ntable = '{TARGET}'\nsource_key = ['Kéy', 'k \"2\"']\nselect = 'söme file.sql'\n"
    );
    let select = format!("select {select} from source s");
    shop.module(
        "transforms/every type",
        &toml,
        &[("söme file.sql", &select)],
    );
    shop.config(&shop.url("postgres", SECRET), &["transforms/every type"]);
    columns
}

/// Both tables as text, column by column, so that a difference names its column.
#[track_caller]
fn same(shop: &Shop, columns: &[Column], when: &str) {
    let held = |table: &str| {
        let key = "\"Kéy\", \"k \"\"2\"\"\"";
        let mut all: Vec<_> = columns
            .iter()
            .map(|c| {
                format!(
                    "string_agg(concat_ws(' | ', {key}, row({})::text), E'\\n' order by {key})",
                    quoted(&c.name)
                )
            })
            .collect();
        all.push("count(*)::text".to_owned());
        shop.texts(&format!(
            "select array[{}] from only {table}",
            all.join(", ")
        ))
    };
    let (made, expected) = (held(TARGET), held(SOURCE));
    for (i, c) in columns.iter().enumerate() {
        assert_eq!(made[i], expected[i], "{when}: {} {}", c.name, c.sql);
    }
    assert_eq!(made.last(), expected.last(), "{when}: the rows' number");
}

#[test]
fn every_type_is_copied_and_streamed_to_the_same_text() {
    let shop = Shop::bare(Options::default());
    let columns = setup(&shop);
    assert!(columns.len() > 150, "{}", columns.len());
    for (key, of) in [(1, Some(0)), (2, None), (3, Some(1)), (4, Some(0))] {
        shop.sql(&row((key, "k"), &columns, of));
    }
    let ran = shop.crossfade(&["run", "--until", "copied"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    same(&shop, &columns, "after the copy");
    assert_eq!(
        shop.value(&format!("select count(*)::text from {TARGET}")),
        "4"
    );

    let mut daemon = shop.spawn(&["run"]);
    for (key, of) in [(1, Some(1)), (2, Some(0)), (3, None)] {
        shop.sql(&update(key, &columns, of));
    }
    shop.sql(&format!("delete from {SOURCE} where \"Kéy\" = 4"));
    shop.sql(&row((5, "O'\"\\ é"), &columns, Some(0)));
    shop.sql(&row((6, ""), &columns, Some(1)));
    caught_up(&shop, &mut daemon);
    same(&shop, &columns, "after the first changes");
    // A key change of every row, all other columns as they were.
    shop.sql(&format!(
        "update {SOURCE} set \"k \"\"2\"\"\" = \"k \"\"2\"\"\" || '\"moved\"'"
    ));
    // A value stored out of line that an update leaves alone is not in the log.
    let large = "(select string_agg(md5(i::text), '') from generate_series(1, 2000) i)";
    shop.sql(&format!(
        "update {SOURCE} set \"c \"\"text\"\" é\" = {large} where \"Kéy\" = 1"
    ));
    shop.sql(&format!(
        "update {SOURCE} set \"c \"\"int4\"\" é\" = 7 where \"Kéy\" = 1"
    ));
    caught_up(&shop, &mut daemon);
    same(&shop, &columns, "after the later changes");
    assert_eq!(
        shop.value("select count(*)::text from crossfade.quarantine"),
        "0"
    );
    stop(daemon);
}

/// Waits until the daemon has applied everything that is committed now, and shows
/// what it says if it does not.
fn caught_up(shop: &Shop, daemon: &mut Child) {
    let end = shop.value("select pg_current_wal_insert_lsn()::text");
    // Something to apply beyond it, or an idle stream would never get there.
    shop.sql("select pg_logical_emit_message(true, 'test', 'beyond')");
    let done = format!("select (applied_lsn >= '{end}')::text from crossfade.checkpoint");
    let deadline = Instant::now() + Duration::from_secs(120);
    while shop.value(&done) != "true" {
        if Instant::now() > deadline || daemon.try_wait().unwrap().is_some() {
            let _ = daemon.kill();
            let mut said = String::new();
            let _ = daemon.stderr.take().unwrap().read_to_string(&mut said);
            panic!("the daemon did not get to {end}: {said}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn stop(daemon: Child) {
    let pid = daemon.id().to_string();
    let killed = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(killed.unwrap().success());
    let ran = finish(daemon);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}
