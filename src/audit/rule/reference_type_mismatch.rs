//! References whose two sides have different types.

use super::Rule;
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Effort, Finding, Object, Severity, plain};
use crate::audit::fix::Fix;
use crate::audit::question::Claim;
use crate::audit::reference::Basis;
use crate::audit::schema::{Column, Table, TypeClass};
use crate::pg::ident::literal;
use crate::pg::quote;

pub const RULE: Rule = Rule {
    id: "reference-type-mismatch",
    category: Category::Reference,
    finds: "references whose column has another type than the key",
    check,
};

fn check(facts: &Facts) -> Vec<Claim> {
    let mut claims = Vec::new();
    for reference in &facts.references {
        let (Some(table), Some(target)) = (
            facts.database.table(&reference.table),
            facts.database.table(&reference.referenced),
        ) else {
            continue;
        };
        for (column, key) in reference.columns.iter().zip(&reference.referenced_columns) {
            let (Some(column), Some(key)) = (table.column(column), target.column(key)) else {
                continue;
            };
            if differs(column.data_type.class, key.data_type.class) {
                let confidence = match &reference.basis {
                    Basis::Declared(_) => Confidence::CERTAIN,
                    Basis::Inferred(evidence) => Confidence::share(evidence.score),
                };
                claims.push(Claim::settled(finding(
                    table, column, target, key, confidence,
                )));
            }
        }
    }
    claims
}

/// `text` and `varchar` are one type to a join.
fn differs(a: TypeClass, b: TypeClass) -> bool {
    a != b
}

fn finding(
    table: &Table,
    column: &Column,
    target: &Table,
    key: &Column,
    confidence: Confidence,
) -> Finding {
    let narrower = match (column.data_type.class, key.data_type.class) {
        (TypeClass::Integer(a), TypeClass::Integer(b)) => Some(a < b),
        _ => None,
    };
    let (severity, why) = match narrower {
        Some(true) => (
            Severity::High,
            "the key can grow beyond what the column can hold: INSERT fails then",
        ),
        Some(false) => (
            Severity::Low,
            "the column takes values that no key can have",
        ),
        None => (
            Severity::High,
            "a join has to convert every row, and no foreign key is possible",
        ),
    };
    let using = match (column.data_type.class, key.data_type.class) {
        (a, TypeClass::Integer(_) | TypeClass::Uuid) if a.is_text() => {
            format!("nullif({}, '')::{}", quote(&column.name), key.data_type.sql)
        }
        _ => format!("{}::{}", quote(&column.name), key.data_type.sql),
    };
    RULE.finding(
        severity,
        format!(
            "{}.{} is {}, {}.{} is {}",
            table.name,
            plain(&column.name),
            column.data_type.sql,
            target.name,
            plain(&key.name),
            key.data_type.sql
        ),
    )
    .on(Object::column(&table.name, &column.name))
    .on(Object::column(&target.name, &key.name))
    .confidence(confidence)
    .because(why)
    .proof(format!(
        "select attrelid::regclass, attname, format_type(atttypid, atttypmod) from pg_attribute \
         where (attrelid, attname) in (({}::regclass, {}), ({}::regclass, {}))",
        literal(&table.name.sql()),
        literal(&column.name),
        literal(&target.name.sql()),
        literal(&key.name)
    ))
    .remedy(format!("convert {} to {}", plain(&column.name), key.data_type.sql))
    .cost(
        Effort::Migration,
        table.estimated_rows(),
        table.bytes,
        "ALTER TYPE rewrites the table under ACCESS EXCLUSIVE; a new column that is backfilled does not",
    )
    .fix(Fix::ConvertColumn {
        table: table.name.clone(),
        column: column.name.clone(),
        from_type: column.data_type.sql.clone(),
        to_type: key.data_type.sql.clone(),
        using,
    })
    .harm(table.weight())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, findings, table};
    use super::*;

    #[test]
    fn a_narrower_column_is_worse_than_a_wider_one() {
        let of = |child: &str, parent: &str| {
            let facts = facts(vec![
                table("customers", &[parent]),
                table("orders", &["id int8", child]).refers(&["customer_id"], "customers", &["id"]),
            ]);
            findings(&RULE, &facts, &[]).first().map(|f| f.severity)
        };
        assert_eq!(of("customer_id int4", "id int8"), Some(Severity::High));
        assert_eq!(of("customer_id int8", "id int4"), Some(Severity::Low));
        assert_eq!(of("customer_id varchar(9)", "id text"), None);
        assert_eq!(of("customer_id int8", "id int8"), None);
    }
}
