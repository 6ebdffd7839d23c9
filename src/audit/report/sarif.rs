//! SARIF 2.1.0, as code hosts and editors read it.
//!
//! A schema has no lines: a result's place is a logical location, the object's full name.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::finding::{Finding, Object, Severity};
use super::Report;

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

#[must_use]
pub fn document(report: &Report<'_>) -> Value {
    let mut rules: BTreeMap<&str, &Finding> = BTreeMap::new();
    for finding in report.findings {
        let worst = rules.entry(finding.rule).or_insert(finding);
        if finding.severity > worst.severity {
            *worst = finding;
        }
    }
    let ids: Vec<&str> = rules.keys().copied().collect();
    let described: Vec<Value> = rules
        .values()
        .map(|f| {
            json!({
                "id": f.rule,
                "name": pascal(f.rule),
                "shortDescription": {"text": f.rule.replace('-', " ")},
                "help": {"text": f.remedy},
                "defaultConfiguration": {"level": level(f.severity)},
                "properties": {"category": f.category},
            })
        })
        .collect();
    let results: Vec<Value> = report
        .findings
        .iter()
        .map(|f| result(report, f, ids.binary_search(&f.rule).unwrap_or(0)))
        .collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "crossfade audit",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": described,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(report: &Report<'_>, finding: &Finding, index: usize) -> Value {
    let evidence: Vec<&str> = finding.evidence.iter().map(|e| e.text.as_str()).collect();
    let locations: Vec<Value> = finding
        .objects
        .iter()
        .take(1)
        .map(|object| location(&report.database.name, object))
        .collect();
    let related: Vec<Value> = finding
        .objects
        .iter()
        .skip(1)
        .map(|object| location(&report.database.name, object))
        .collect();
    let mut result = json!({
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": level(finding.severity),
        "message": {"text": format!("{}. {}", finding.title, evidence.join(" "))},
        "locations": locations,
        "partialFingerprints": {"finding/v1": hash(&finding.fingerprints().join("\n"))},
        "properties": {
            "severity": finding.severity.name(),
            "confidence": finding.confidence.percent(),
            "proof": finding.proof,
            "remedy": finding.remedy,
            "cost": finding.cost,
        },
    });
    if !related.is_empty() {
        result["relatedLocations"] = Value::from(related);
    }
    result
}

fn location(database: &str, object: &Object) -> Value {
    let kind = match object {
        Object::Table { .. } => "table",
        Object::Column { .. } => "column",
        Object::Index { .. } => "index",
        Object::Constraint { .. } => "constraint",
        Object::Sequence { .. } => "sequence",
    };
    let name = object.to_string();
    json!({
        // Code hosts show no result without a file; the database stands for it.
        "physicalLocation": {
            "artifactLocation": {"uri": uri(database)},
            "region": {"startLine": 1},
        },
        "logicalLocations": [{"fullyQualifiedName": name, "kind": kind}],
    })
}

/// The database's name as a relative reference.
fn uri(database: &str) -> String {
    let mut uri = String::from("database/");
    for byte in database.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "note",
    }
}

/// `missing-foreign-key` as `MissingForeignKey`.
fn pascal(rule: &str) -> String {
    rule.split('-')
        .map(|word| {
            let mut chars = word.chars();
            chars.next().map_or_else(String::new, |first| {
                first.to_uppercase().chain(chars).collect()
            })
        })
        .collect()
}

fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(16).map(|b| format!("{b:02x}")).collect()
}
