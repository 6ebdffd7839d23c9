//! Whether the new tables keep what was written through the view.
//!
//! A module need not be able to hold every row of the old table: a lookup keeps the
//! values of the row that came first, a SELECT can leave rows and parts of values out.
//! Before the switch such a row is a difference, and nothing is switched. Afterwards
//! the row is read again behind each write, and where the view shows another value
//! than the one written, the write is refused: it must not look as if it were stored.
//!
//! An UPDATE answers for the columns that it changes, as the others may well change
//! with them (a total, the time of the last change). And what a trigger of the new
//! tables makes of a value is no loss, as it would be none in the old table. Such a
//! value is told from a lost one by two questions: do the target's rows differ from
//! what the module makes of the new row, and would the module make others of the row
//! with the value that the view shows?

use super::{update, value};
use crate::pg::ident::literal;
use crate::transform::Plan;
use crate::transform::plan::Target;

const NUMERIC: u32 = 1700;

/// Variables of the statements.
pub fn declarations(plan: &Plan) -> String {
    let place = plan.module.source.sql();
    format!(
        "    present {place};\n    probe {place};\n    lost text[];\n    otherwise boolean;\n    part text;\n"
    )
}

/// Statements for the end of the function that writes; `new` is what was written,
/// `old` the row before an UPDATE.
#[must_use]
pub fn sql(plan: &Plan) -> String {
    let place = plan.module.source.sql();
    let names: Vec<_> = rebuilt(plan).map(|c| c.quoted()).collect();
    let list = |record: &str| -> String {
        let parts: Vec<_> = names.iter().map(|n| format!("{record}.{n}")).collect();
        parts.join(", ")
    };
    let raise = |what: &str, column: &str| {
        format!(
            "raise exception 'crossfade: the new schema cannot keep %', {what}
            using errcode = '44000', schema = {}, table = {}{column},
                hint = 'Clients of the new schema write the new tables; the transform module says what they keep of the old row.';",
            literal(&plan.module.source.schema),
            literal(&plan.module.source.name)
        )
    };
    let whole = literal(&format!("a row of {}", plan.module.source));
    let columns = format!(
        "array_to_string(array(select quote_ident(l) from unnest(lost) l), ', ') || {}",
        literal(&format!(" of a row of {}", plan.module.source))
    );
    let lost = raise(&columns, ", column = lost[1]");
    format!(
        "
select v.* into present from {place} v where {key};
if not found then
        {gone}
end if;
if {same} then
    return;
end if;
lost := array_remove(array[{differing}]::text[], null);
if lost = '{{}}' then
    return;
end if;
{otherwise}
if not otherwise then
        {lost}
end if;
foreach part in array lost loop
    probe := new;
    case part {shown} end case;
    {explained}
    if not otherwise then
        lost := array[part];
        {lost}
    end if;
end loop;
",
        key = key(plan, "new"),
        gone = raise(&whole, ""),
        same = alike(&list("present"), &list("new")),
        differing = differing(plan),
        otherwise = otherwise(plan),
        shown = shown(plan),
        explained = explained(plan),
    )
}

fn rebuilt(plan: &Plan) -> impl Iterator<Item = &crate::pg::catalog::Column> {
    let columns = plan.reverse.as_ref().map(|r| r.columns.as_slice());
    columns
        .unwrap_or_default()
        .iter()
        .map(|&i| &plan.source.columns[i])
}

/// The condition that the view's row `v` is that of a record.
pub fn key(plan: &Plan, record: &str) -> String {
    let parts: Vec<_> = plan
        .key_columns()
        .map(|c| format!("v.{} = {}", c.quoted(), value(c, record)))
        .collect();
    parts.join(" and ")
}

/// Compares images, which every type has; see [`differing`] for where they are not
/// the last word.
pub fn alike(a: &str, b: &str) -> String {
    format!("row({a})::record operator(pg_catalog.*=) row({b})::record")
}

/// Each written column whose value is another one now. Values of one text are the
/// same, as they are to verification: an array can have two images of one value. So
/// are equal numbers, which a client writes with as many digits as it likes.
fn differing(plan: &Plan) -> String {
    let parts: Vec<_> = rebuilt(plan)
        .map(|c| {
            let of = |record: &str| format!("{record}.{}", c.quoted());
            let (p, n) = (of("present"), of("new"));
            let differs = match c.type_oid {
                NUMERIC => format!("{p} is distinct from {n}"),
                _ => format!("row({p})::text is distinct from row({n})::text"),
            };
            format!(
                "case when not ({shown}) and (op = 'INSERT' or not ({left})) and {differs} then {name} end",
                shown = alike(&p, &n),
                left = alike(&of("old"), &n),
                name = literal(&c.name)
            )
        })
        .collect();
    parts.join(",\n    ")
}

/// `probe` gets the value that the view shows.
fn shown(plan: &Plan) -> String {
    let parts: Vec<_> = rebuilt(plan)
        .map(|c| {
            format!(
                "when {} then probe.{1} := present.{1};",
                literal(&c.name),
                c.quoted()
            )
        })
        .collect();
    parts.join(" ")
}

/// What the module makes of a record, as it would be assigned.
fn made(plan: &Plan, name: &str, i: usize, t: &Target, record: &str) -> String {
    let columns: Vec<_> = t
        .columns
        .iter()
        .map(|c| {
            let column = t.column(c);
            format!(
                "{} as {}",
                column.cast(&format!("q.{}", column.quoted())),
                column.quoted()
            )
        })
        .collect();
    format!(
        "{name}{i} as materialized (with {} select {} from ({}\n) q)",
        update::source(plan, record),
        columns.join(", "),
        t.select
    )
}

/// Whether some target holds other rows than those the module makes of the new row.
fn otherwise(plan: &Plan) -> String {
    let key: Vec<_> = plan.key_columns().map(|c| value(c, "new")).collect();
    let (mut parts, mut any) = (Vec::new(), Vec::new());
    for (i, t) in plan.row_targets() {
        parts.push(made(plan, "f", i, t, "new"));
        let rows = format!(
            "{} t where {}",
            t.table.name.sql(),
            update::carried(t, &key)
        );
        any.push(format!(
            "(select count(*) from f{i}) <> (select count(*) from {rows})
    or exists (select from f{i} f where not exists (select from {rows} and {}))",
            alike(&t.column_list("t."), &t.column_list("f."))
        ));
    }
    finish(&parts, &any)
}

/// Whether the module makes other rows of `probe` than of the new row.
fn explained(plan: &Plan) -> String {
    let (mut parts, mut any) = (Vec::new(), Vec::new());
    for (i, t) in plan.row_targets() {
        parts.push(made(plan, "f", i, t, "new"));
        parts.push(made(plan, "p", i, t, "probe"));
        any.push(format!(
            "(select count(*) from f{i}) <> (select count(*) from p{i})
    or exists (select from f{i} f where not exists (select from p{i} p where {}))",
            alike(&t.column_list("p."), &t.column_list("f."))
        ));
    }
    finish(&parts, &any)
}

fn finish(parts: &[String], any: &[String]) -> String {
    if any.is_empty() {
        return "otherwise := false;".to_owned();
    }
    format!(
        "with {}\nselect {} into otherwise;",
        parts.join(",\n"),
        any.join("\n    or ")
    )
}
