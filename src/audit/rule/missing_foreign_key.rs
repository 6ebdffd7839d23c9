//! Columns that refer to a key without a foreign key.

use super::{Rule, float, grouped};
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Effort, Finding, Object, Severity, plain};
use crate::audit::fix::Fix;
use crate::audit::question::Claim;
use crate::audit::reference::{Basis, Evidence, Reference};
use crate::audit::schema::Table;

pub const RULE: Rule = Rule {
    id: "missing-foreign-key",
    category: Category::Reference,
    finds: "columns that refer to a key, by their values and names, without a foreign key",
    check,
};

fn check(facts: &Facts) -> Vec<Claim> {
    facts
        .references
        .iter()
        .filter_map(|r| match &r.basis {
            Basis::Inferred(evidence) => finding(facts, r, evidence),
            Basis::Declared(_) => None,
        })
        .map(Claim::settled)
        .collect()
}

fn finding(facts: &Facts, reference: &Reference, evidence: &Evidence) -> Option<Finding> {
    let table = facts.database.table(&reference.table)?;
    let referenced = facts.database.table(&reference.referenced)?;
    let inclusion = evidence.inclusion;
    let columns: Vec<_> = reference.columns.iter().map(|c| plain(c)).collect();
    let keys: Vec<_> = reference
        .referenced_columns
        .iter()
        .map(|c| plain(c))
        .collect();
    let severity = if inclusion.orphans > 0 {
        Severity::High
    } else {
        Severity::Medium
    };
    let what = if inclusion.whole {
        "rows with a value"
    } else {
        "sampled values (all of them were not compared in time)"
    };
    let found = if inclusion.orphans == 0 {
        format!("all {} {what} have a match", grouped(inclusion.values))
    } else {
        format!(
            "{} of {} {what} refer to a row that does not exist",
            grouped(inclusion.orphans),
            grouped(inclusion.values)
        )
    };
    let mut finding = RULE
        .finding(
            severity,
            format!(
                "{}.{} refers to {}.{} without a foreign key",
                table.name,
                columns.join(", "),
                referenced.name,
                keys.join(", ")
            ),
        )
        .confidence(Confidence::share(evidence.score));
    for column in &reference.columns {
        finding = finding.on(Object::column(&table.name, column));
    }
    for column in &reference.referenced_columns {
        finding = finding.on(Object::column(&referenced.name, column));
    }
    finding = finding
        .measured(
            found,
            &[
                ("values", float(inclusion.values)),
                ("orphans", float(inclusion.orphans)),
                ("inclusion", inclusion.share()),
            ],
        )
        .measured(
            format!(
                "{} different values in the sample, {} keys; the name fits by {:.0} %, the type by {:.0} %",
                evidence.distinct,
                grouped(evidence.keys),
                evidence.name * 100.0,
                evidence.type_fit * 100.0
            ),
            &[
                ("distinct", float(evidence.distinct as u64)),
                ("keys", float(evidence.keys)),
                ("name", evidence.name),
                ("type", evidence.type_fit),
                ("score", evidence.score),
            ],
        );
    Some(mend(finding, reference, evidence, table, referenced))
}

fn mend(
    finding: Finding,
    reference: &Reference,
    evidence: &Evidence,
    table: &Table,
    referenced: &Table,
) -> Finding {
    let orphans = evidence.inclusion.orphans;
    let needs_index = !table.has_index_on(&reference.columns);
    let mut remedy = String::new();
    if let Some(to) = &evidence.convert_to {
        remedy.push_str(&format!(
            "convert {} to {to}; ",
            reference.columns.join(", ")
        ));
    }
    if orphans > 0 {
        remedy.push_str("decide about the rows that refer to nothing; ");
    }
    remedy.push_str("add the foreign key NOT VALID, then VALIDATE it");
    if needs_index {
        remedy.push_str("; index the referring column first");
    }
    finding
        .proof(&evidence.proof)
        .remedy(remedy)
        .cost(
            if evidence.convert_to.is_some() { Effort::Migration } else { Effort::Statement },
            table.estimated_rows(),
            table.bytes,
            "NOT VALID takes a moment's SHARE ROW EXCLUSIVE on both tables; VALIDATE reads the table and lets reads and writes go on",
        )
        .fix(Fix::AddForeignKey {
            table: table.name.clone(),
            columns: reference.columns.clone(),
            referenced: referenced.name.clone(),
            referenced_columns: reference.referenced_columns.clone(),
            orphans,
            needs_index,
            convert_to: evidence.convert_to.clone(),
        })
        .harm(table.weight() + if orphans > 0 { 1.0 + float(orphans).log10() } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, findings, table};
    use super::*;
    use crate::audit::reference::Inclusion;

    #[test]
    fn orphans_make_it_worse_and_an_index_is_asked_for_where_none_is() {
        let mut facts = facts(vec![
            table("customers", &["id int8"]),
            table("orders", &["id int8", "customer_id int8"]),
        ]);
        let evidence = |orphans| Evidence {
            score: 0.9,
            name: 1.0,
            inclusion: Inclusion {
                values: 100,
                orphans,
                whole: true,
            },
            distinct: 40,
            keys: 50,
            type_fit: 1.0,
            convert_to: None,
            proof: "select 1".to_owned(),
        };
        for (orphans, severity) in [(0, Severity::Medium), (3, Severity::High)] {
            facts.references = vec![Reference {
                table: facts.database.tables[1].name.clone(),
                columns: vec!["customer_id".to_owned()],
                referenced: facts.database.tables[0].name.clone(),
                referenced_columns: vec!["id".to_owned()],
                basis: Basis::Inferred(evidence(orphans)),
            }];
            let found = findings(&RULE, &facts, &[]);
            assert_eq!(
                found[0].title,
                "public.orders.customer_id refers to public.customers.id without a foreign key"
            );
            assert_eq!(found[0].severity, severity);
            assert!(
                matches!(found[0].fixes[0], Fix::AddForeignKey { needs_index: true, orphans: o, .. } if o == orphans)
            );
        }
    }
}
