//! JSON documents that hold an array of records: rows of a table that does not exist.

use super::{Rule, float, grouped, share};
use crate::audit::document::ListShape;
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Effort, Finding, Object, Severity, plain};
use crate::audit::fix::{Fix, JsonField, KeyColumn};
use crate::audit::habit::table_name;
use crate::audit::question::{Answer, Claim, Question, count};
use crate::audit::schema::{Column, Database, Table, TypeClass};
use crate::audit::word::{singular, snake, words};
use crate::pg::ident::literal;
use crate::pg::{QualifiedName, quote};

pub const RULE: Rule = Rule {
    id: "json-array",
    category: Category::Structure,
    finds: "JSON arrays of records that should be rows of a child table",
    check,
};

/// Arrays with something in them, at least, in the sample.
const FEWEST_FILLED: usize = 10;
/// Of all documents, how many must have the array.
const LEAST_ARRAYS: f64 = 0.8;
/// Elements must be alike this much ([`ListShape::regularity`]).
const LEAST_REGULAR: f64 = 0.7;
/// A column of what is kept as it came in or went out: a message, not a model of the
/// business.
const MESSAGES: &[&str] = &[
    "payload", "raw", "request", "response", "webhook", "snapshot", "body", "message", "change",
    "diff", "log", "audit", "event", "dump", "debug", "trace", "before", "after", "old", "new",
    "cache",
];
/// Tables that hold nothing but messages and records of what happened.
const LOGS: &[&str] = &[
    "log", "audit", "outbox", "inbox", "webhook", "queue", "dump", "debug", "trace", "raw",
    "cache", "snapshot",
];
/// Tables that may be either: there a column that is simply the document is a message.
const MAYBE_LOGS: &[&str] = &["event", "message", "request", "response", "job", "notification"];
const DOCUMENTS: &[&str] = &[
    "data", "document", "doc", "content", "detail", "json", "context", "meta", "metadata", "info",
];

/// One array, and where it is.
struct Found {
    table: Table,
    column: Column,
    path: Vec<String>,
    fields: Vec<JsonField>,
    child: QualifiedName,
    mean: f64,
    longest: usize,
    calls: Option<u64>,
}

fn check(facts: &Facts) -> Vec<Claim> {
    let mut claims = Vec::new();
    for (table, column) in facts.columns().filter(|(_, c)| c.data_type.class.is_json()) {
        let Some(document) = facts
            .column_profile(table, &column.name)
            .and_then(|p| p.document.as_ref())
        else {
            continue;
        };
        if is_message(&table.name.name, &column.name) {
            continue;
        }
        for (path, list) in &document.lists {
            if is_table(list, document.documents) {
                claims.push(Claim::Open(question(facts, table, column, path, list)));
            }
        }
    }
    claims
}

/// `orders_old` and `calendar_events` are tables like others; `audit_log` is not.
fn is_message(table: &str, column: &str) -> bool {
    let any = |name: &str, list: &[&str]| {
        words(name)
            .iter()
            .any(|w| list.contains(&singular(w).as_str()))
    };
    any(column, MESSAGES)
        || any(table, LOGS)
        || any(table, MAYBE_LOGS) && any(column, DOCUMENTS)
}

#[allow(clippy::cast_precision_loss, reason = "shares of a sample")]
fn is_table(list: &ListShape, documents: usize) -> bool {
    list.filled >= FEWEST_FILLED
        && list.documents as f64 >= LEAST_ARRAYS * documents as f64
        && list.objects as f64 >= 0.95 * list.elements as f64
        && list.longest > 1
        && list.regularity() >= LEAST_REGULAR
}

#[allow(clippy::cast_precision_loss, reason = "a mean of a sample")]
fn question(
    facts: &Facts,
    table: &Table,
    column: &Column,
    path: &[String],
    list: &ListShape,
) -> Question {
    let array = array_sql(column, path);
    let found = Found {
        table: table.clone(),
        column: column.clone(),
        path: path.to_vec(),
        fields: list.fields(),
        child: child_name(&facts.database, table, column, path),
        mean: list.elements as f64 / list.documents.max(1) as f64,
        longest: list.longest,
        calls: facts
            .statements
            .as_ref()
            .map(|s| s.calls_naming(&table.name, &column.name)),
    };
    Question {
        about: format!("{}.{}", table.name, plain(&column.name)),
        sql: format!(
            "select count(*)::bigint, count({0})::bigint, \
             count(*) filter (where jsonb_typeof({array}) = 'array')::bigint, \
             sum(case when jsonb_typeof({array}) = 'array' then jsonb_array_length({array}) end)::bigint \
             from {1}",
            quote(&column.name),
            table.from_sql()
        ),
        decide: Box::new(move |answer| decide(&found, answer)),
    }
}

/// The array as an SQL expression.
fn array_sql(column: &Column, path: &[String]) -> String {
    let mut sql = quote(&column.name);
    if column.data_type.class == TypeClass::Json {
        sql = format!("{sql}::jsonb");
    }
    let keys: Vec<_> = path.iter().map(|k| literal(k)).collect();
    if keys.is_empty() {
        sql
    } else {
        format!("({sql} #> array[{}]::text[])", keys.join(", "))
    }
}

fn decide(found: &Found, answer: Option<&Answer>) -> Option<Finding> {
    let (table, column) = (&found.table, &found.column);
    let place = if found.path.is_empty() {
        format!("{}.{}", table.name, plain(&column.name))
    } else {
        format!(
            "{}.{} → {}",
            table.name,
            plain(&column.name),
            found.path.join(".")
        )
    };
    let finding = RULE
        .finding(
            Severity::High,
            format!(
                "{place} holds rows of a table that does not exist ({})",
                found.child
            ),
        )
        .on(Object::column(&table.name, &column.name));
    let finding = match answer {
        Some(a) => {
            let (documents, arrays, elements) = (count(a, 1), count(a, 2), count(a, 3));
            if share(arrays, documents) < LEAST_ARRAYS {
                return None;
            }
            finding.confidence(Confidence::share(0.95)).measured(
                format!(
                    "{} of {} documents are arrays of records, {} records in all",
                    grouped(arrays),
                    grouped(documents),
                    grouped(elements)
                ),
                &[
                    ("documents", float(documents)),
                    ("arrays", float(arrays)),
                    ("elements", float(elements)),
                ],
            )
        }
        None => finding
            .confidence(Confidence::share(0.8))
            .because("the whole table was not counted in time: this is what the sample says"),
    };
    let shown: Vec<_> = found
        .fields
        .iter()
        .take(12)
        .map(|f| {
            format!(
                "{} {}{}",
                f.column,
                f.type_sql,
                if f.always { " not null" } else { "" }
            )
        })
        .collect();
    let more = found.fields.len().saturating_sub(shown.len());
    let more = if more > 0 {
        format!(", and {more} more")
    } else {
        String::new()
    };
    let finding = finding
        .because(format!("the records have these fields: {}{more}", shown.join(", ")))
        .because(format!(
            "{:.1} records a row on average, {} at most in the sample; no constraint, foreign key or index reaches into them",
            found.mean, found.longest
        ));
    let finding = match found.calls {
        Some(calls) => finding.measured(
            format!(
                "statements that name the column were called {} times",
                grouped(calls)
            ),
            &[("calls", float(calls))],
        ),
        None => {
            finding.because("how often it is read is not known: pg_stat_statements is not there")
        }
    };
    Some(mend(finding, found))
}

fn mend(finding: Finding, found: &Found) -> Finding {
    let (table, column) = (&found.table, &found.column);
    let array = array_sql(column, &found.path);
    let key: Vec<KeyColumn> = table
        .key_columns()
        .iter()
        .map(|c| KeyColumn {
            name: c.name.clone(),
            type_sql: c.data_type.sql.clone(),
        })
        .collect();
    let records = float(table.estimated_rows()) * found.mean;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate"
    )]
    let records = records as u64;
    let finding = finding
        .proof(format!(
            "select jsonb_typeof({array}) as kind, count(*) as documents from {} group by 1",
            table.from_sql()
        ))
        .remedy(if key.is_empty() {
            format!("give {} a primary key, then move the records to {}", table.name, found.child)
        } else {
            format!("move the records to a table {} and drop the column when nobody uses it", found.child)
        })
        .cost(
            Effort::Restructuring,
            records,
            table.bytes,
            "rows are copied and streamed by a transform module, without a lock until the switch; the application reads and writes the new table from then on",
        )
        .harm(table.weight() + 2.0 + found.calls.map_or(0.0, |c| (1.0 + float(c)).log10()));
    if key.is_empty() {
        return finding;
    }
    finding.fix(Fix::SplitJson {
        table: table.name.clone(),
        column: column.name.clone(),
        column_type: if column.data_type.class == TypeClass::Json {
            "json"
        } else {
            "jsonb"
        }
        .to_owned(),
        path: found.path.clone(),
        key,
        child: found.child.clone(),
        fields: found.fields.clone(),
    })
}

/// `order_items` for `orders.items`, or a free name like it.
fn child_name(
    database: &Database,
    table: &Table,
    column: &Column,
    path: &[String],
) -> QualifiedName {
    let parent: Vec<_> = words(&table.name.name)
        .iter()
        .map(|w| singular(w))
        .collect();
    let last = path.last().unwrap_or(&column.name);
    let wanted = snake(&format!("{}_{last}", parent.join("_")));
    table_name(database, &table.name.schema, &wanted)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, fill, findings, table, titles};
    use super::*;

    fn of(name: &str, document: fn(usize) -> &'static str) -> Facts {
        let mut facts = facts(vec![table(
            "orders",
            &["id int8", &format!("{name} jsonb")],
        )]);
        fill(&mut facts, "orders", 60, |i, c| {
            if c == "id" {
                i.to_string()
            } else {
                document(i).to_owned()
            }
        });
        facts
    }

    #[test]
    fn records_become_columns_of_a_child() {
        let facts = of(
            "items",
            |_| r#"[{"sku": "a", "qty": 1}, {"sku": "b", "qty": 2, "note": "x"}]"#,
        );
        let found = findings(&RULE, &facts, &[60, 60, 60, 120]);
        assert_eq!(found.len(), 1);
        let Fix::SplitJson {
            child, fields, key, ..
        } = &found[0].fixes[0]
        else {
            panic!()
        };
        assert_eq!(child.name, "order_items");
        assert_eq!(key[0].name, "id");
        let columns: Vec<_> = fields
            .iter()
            .map(|f| (f.column.as_str(), f.type_sql.as_str(), f.always))
            .collect();
        assert_eq!(
            columns,
            [
                ("qty", "integer", true),
                ("sku", "text", true),
                ("note", "text", false)
            ]
        );
        assert!(
            findings(&RULE, &facts, &[60, 60, 20, 40]).is_empty(),
            "most are no arrays"
        );
    }

    #[test]
    fn an_array_inside_of_the_document_is_found() {
        let facts = of("data", |_| r#"{"cart": [{"a": 1}, {"a": 2}], "x": 1}"#);
        let found = findings(&RULE, &facts, &[60, 60, 60, 120]);
        let Fix::SplitJson { child, path, .. } = &found[0].fixes[0] else {
            panic!()
        };
        assert_eq!(
            (child.name.as_str(), path.as_slice()),
            ("order_cart", &["cart".to_owned()][..])
        );
    }

    #[test]
    fn a_message_is_told_by_its_column_and_by_a_table_of_nothing_else() {
        for (table, column) in [
            ("orders_old", "items"),
            ("new_hires", "documents"),
            ("calendar_events", "attendees"),
            ("change_requests", "approvals"),
            ("jobs", "steps"),
            ("logistics", "stops"),
        ] {
            assert!(!is_message(table, column), "{table}.{column}");
        }
        for (table, column) in [
            ("orders", "payload"),
            ("orders", "old_values"),
            ("audit_log", "entries"),
            ("webhook_deliveries", "items"),
            ("domain_events", "data"),
            ("jobs", "request"),
        ] {
            assert!(is_message(table, column), "{table}.{column}");
        }
    }

    #[test]
    fn other_documents_are_left_alone() {
        for (name, document) in [
            (
                "settings",
                (|_| r#"{"theme": "dark", "size": 3}"#) as fn(usize) -> &'static str,
            ),
            (
                "shape",
                |_| r#"{"type": "Polygon", "coordinates": [[1, 2], [3, 4]]}"#,
            ),
            ("tags", |_| r#"["a", "b"]"#),
            ("payload", |_| r#"[{"a": 1}, {"a": 2}]"#),
            ("mixed", |i| {
                [
                    r#"[{"a": 1}, {"b": 2}]"#,
                    r#"[{"c": 1}, {"d": 1}]"#,
                    r#"[{"e": 1}]"#,
                ][i % 3]
            }),
            ("rare", |i| {
                if i % 3 == 0 {
                    r#"{"list": [{"a": 1}, {"a": 2}]}"#
                } else {
                    "{}"
                }
            }),
            ("broken", |_| "]["),
        ] {
            assert!(titles(&RULE, &of(name, document)).is_empty(), "{name}");
        }
    }
}
