//! The changes that writers make, as SQL. Each keeps the column `bad` true exactly
//! where the row holds a value that its module cannot convert.

use fastrand::Rng;

use super::schema::ROWS;

const ODD: &str = "s.\"Order \"\"Items\"\" ÄÖ\"";
const ART: &str = "\"Art \"\"Ä\"\"\"";

/// Any change of any module.
pub fn any(rng: &mut Rng) -> String {
    if rng.u32(..700) == 0 {
        return truncate(rng);
    }
    if rng.u32(..120) == 0 {
        return mass(rng);
    }
    match rng.u8(..10) {
        0..=3 => orders(rng),
        4 | 5 => odd(rng),
        6 | 7 => sales(rng),
        _ => docs(rng),
    }
}

/// A number of a row: often one of a few that everybody wants.
fn row(rng: &mut Rng) -> i64 {
    match rng.u8(..4) {
        0 => rng.i64(1..30),
        1 => rng.i64(ROWS - 30..ROWS + 60),
        _ => rng.i64(1..ROWS + 60),
    }
}

/// An array of items: none, a few small ones, some over 2 kB, some over 8 kB.
fn items(rng: &mut Rng) -> String {
    match rng.u8(..6) {
        0 => "'[]'".to_owned(),
        1..=3 => format!("s.items({}, 0)", rng.u8(1..5)),
        4 => format!("s.items({}, 40)", rng.u8(2..4)),
        _ => format!("s.items({}, 90)", rng.u8(3..5)),
    }
}

fn noise(rng: &mut Rng) -> String {
    match rng.u8(..4) {
        0 => "null".to_owned(),
        1 => "'short'".to_owned(),
        2 => "s.noise(80)".to_owned(),
        _ => "s.noise(300)".to_owned(),
    }
}

fn orders(rng: &mut Rng) -> String {
    let (a, b) = (row(rng), row(rng));
    let word = rng.u16(..);
    match rng.u8(..20) {
        0 => format!("insert into s.orders (items) values ({})", items(rng)),
        1 => format!(
            "insert into s.orders (id, status, items) values ({a}, 'again', {}) on conflict (id) do nothing",
            items(rng)
        ),
        2 => format!("delete from s.orders where id = {a}"),
        // Large values stay: alone, with others, and with the key changed.
        3..=5 => format!("update s.orders set status = 's{word}' where id = {a}"),
        6 => format!(
            "update s.orders set status = 's{word}' where id between {a} and {}",
            a + 20
        ),
        7 => format!("update s.orders set filler = 'f{word}' where id = {a}"),
        8 | 9 => format!(
            "update s.orders set items = {} where id = {a} and not bad",
            items(rng)
        ),
        10 => format!("update s.orders set items = '[]' where id between {a} and {} and not bad", a + 5),
        11 => format!(
            "update s.orders set items = (select coalesce(jsonb_agg(i order by md5(i::text || '{word}')), '[]')
                                          from jsonb_array_elements(items) i) where id = {a} and not bad"
        ),
        12 => format!(
            "update s.orders set items = items || s.items(1, 20), status = 'grown' where id = {a} and not bad"
        ),
        // Keys: to a free one, to one whose row has just gone, and a swap of two.
        13 => format!("update s.orders set id = {b} where id = {a}"),
        14 => format!("delete from s.orders where id = {b}; update s.orders set id = {b}, status = 'moved' where id = {a}"),
        15 => swap(a, b),
        // Unique values: swapped by one statement, handed on by two.
        16 => format!(
            "update s.orders o set email = x.email from s.orders x
             where (o.id, x.id) in (({a}, {b}), ({b}, {a})) and o.id <> x.id"
        ),
        17 => {
            let email = format!("u{}", rng.i64(1..12) * 4);
            format!("update s.orders set email = null where email = '{email}'; update s.orders set email = '{email}' where id = {a}")
        }
        18 => match rng.u8(..3) {
            0 => format!("update s.orders set at = 'no time', bad = true where id = {a}"),
            1 => format!("update s.orders set items = '{{\"not\": \"an array\"}}', bad = true where id = {a}"),
            _ => format!("update s.orders set items = s.items(2, 0) || '{{\"qty\": \"many\"}}', bad = true where id = {a}"),
        },
        _ => "update s.orders set at = '2024-03-03 03:03:03', items = s.items(2, 0), bad = false
              where id in (select id from s.orders where bad order by id limit 3)"
            .to_owned(),
    }
}

fn swap(a: i64, b: i64) -> String {
    format!(
        "update s.orders set id = -1 where id = {a};
         update s.orders set id = {a} where id = {b};
         update s.orders set id = {b} where id = -1"
    )
}

/// Rows with a composite key of which numbers are equal that do not look alike.
fn odd(rng: &mut Rng) -> String {
    let (a, b) = (row(rng), row(rng));
    let key = |n: i64| format!("{ART} = s.art({n}) and \"Nr.\" = {}", n / 8);
    let (at_a, at_b) = (key(a), key(b));
    let scale = rng.u8(..4);
    let word = rng.u16(..);
    match rng.u8(..10) {
        0 => format!(
            "insert into {ODD} ({ART}, \"Nr.\", \"Wert\", big) values (s.art({a}), round({}, {scale}), {word}, {}) on conflict do nothing",
            a / 8,
            noise(rng)
        ),
        1 => format!("delete from {ODD} where {at_a}"),
        2 | 3 => format!("update {ODD} set \"Nr.\" = round(\"Nr.\", {scale}) where {at_a}"),
        4 => format!(
            "update {ODD} set \"Nr.\" = round(\"Nr.\", {scale}), \"Wert\" = {word}, bad = false where {at_a}"
        ),
        5 => format!("update {ODD} set \"Wert\" = {word}, bad = false where {at_a}"),
        6 => format!("update {ODD} set big = {} where {at_a}", noise(rng)),
        7 => format!(
            "delete from {ODD} where {at_b}; update {ODD} set {ART} = s.art({b}), \"Nr.\" = round({}, {scale}) where {at_a}",
            b / 8
        ),
        8 => format!("update {ODD} set \"Wert\" = 'x', bad = true where {at_a}"),
        _ => format!("update {ODD} set unused = {word} where {at_a}"),
    }
}

fn sales(rng: &mut Rng) -> String {
    let (a, b) = (row(rng), row(rng));
    let word = rng.u16(..);
    let email = format!("{}{}@x", if rng.bool() { "c" } else { "C" }, rng.u8(..130));
    match rng.u8(..9) {
        0 => format!(
            "insert into s.sales values (s.id({a}), '{email}', 'n', '{word}', {}) on conflict do nothing",
            noise(rng)
        ),
        1 => format!("delete from s.sales where id = s.id({a})"),
        2 | 3 => format!("update s.sales set email = '{email}' where id = s.id({a})"),
        4 => format!("update s.sales set amount = '{word}', bad = false where id = s.id({a})"),
        5 => format!("update s.sales set id = s.id({b}) where id = s.id({a})"),
        6 => format!(
            "update s.sales set memo = {} where id = s.id({a})",
            noise(rng)
        ),
        7 => format!("update s.sales set amount = 'free', bad = true where id = s.id({a})"),
        _ => format!(
            "update s.sales set email = 'new{word}@x' where id in (s.id({a}), s.id({b}), s.id({}))",
            a + 1
        ),
    }
}

fn docs(rng: &mut Rng) -> String {
    let (a, b) = (row(rng), row(rng));
    let word = rng.u16(..);
    let tags = format!("s.tags({}, {})", rng.u8(..5), rng.u8(..12));
    match rng.u8(..11) {
        0 => format!(
            "insert into s.docs (id, tags, body) values ({a}, {tags}, {}) on conflict do nothing",
            noise(rng)
        ),
        1 => format!("delete from s.docs where id = {a}"),
        2 | 3 => format!("update s.docs set tags = {tags} where id = {a}"),
        4 => format!("update s.docs set tags = '{{}}' where id = {a}"),
        5 => format!(
            "update s.docs set title = 't{word}' where id between {a} and {}",
            a + 3
        ),
        6 => format!("update s.docs set amount = {word}, bad = false where id = {a}"),
        7 => format!("update s.docs set body = {} where id = {a}", noise(rng)),
        8 => format!("update s.docs set id = {b}, tags = {tags} where id = {a}"),
        9 => {
            format!("delete from s.docs where id = {b}; update s.docs set id = {b} where id = {a}")
        }
        _ => format!("update s.docs set amount = 'much', bad = true where id = {a}"),
    }
}

/// Many rows in one transaction.
fn mass(rng: &mut Rng) -> String {
    let word = rng.u16(..);
    let part = rng.u8(2..5);
    match rng.u8(..6) {
        0 => format!("update s.orders set status = 'm{word}' where id % {part} = 0"),
        1 => format!(
            "update {ODD} set \"Nr.\" = round(\"Nr.\", {}) where \"Nr.\" % {part} = 0",
            part - 2
        ),
        2 => format!("update s.sales set name = 'm{word}' where amount like '%{part}%'"),
        3 => format!("update s.docs set title = 'm{word}' where id % {part} = 0"),
        // Several times the applier's batch.
        4 => format!(
            "update s.orders set status = 'a{word}'; update s.docs set title = 'a{word}'; update s.orders set filler = 'a{word}'"
        ),
        _ => format!(
            "update s.orders set id = id + 50000 where id in (select id from s.orders where id < 40000 and id % 37 = {part})"
        ),
    }
}

/// Empties a table and fills it again, in one transaction with what comes after.
fn truncate(rng: &mut Rng) -> String {
    let rows = rng.u16(100..400);
    match rng.u8(..4) {
        0 => format!(
            "truncate s.orders; insert into s.orders (id, items) select g, s.items(g % 3, 0) from generate_series(1, {rows}) g"
        ),
        1 => format!(
            "truncate {ODD}; insert into {ODD} ({ART}, \"Nr.\", \"Wert\") select s.art(g), g / 8, g from generate_series(1, {rows}) g"
        ),
        2 => format!(
            "truncate s.sales; insert into s.sales select s.id(g), 'c' || g % 50 || '@x', 'n', '1' from generate_series(1, {rows}) g"
        ),
        _ => format!(
            "truncate s.docs; insert into s.docs (id, tags) select g, s.tags(g % 3, g) from generate_series(1, {rows}) g"
        ),
    }
}
