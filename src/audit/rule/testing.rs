//! Small schemas in few words, for the tests of rules.

use std::collections::HashMap;

use crate::audit::belongings::Belongings;
use crate::audit::facts::{Facts, Thresholds};
use crate::audit::finding::Finding;
use crate::audit::probe::{Sample, SampledColumn};
use crate::audit::profile::profile;
use crate::audit::question::{Answer, Claim};
use crate::audit::reference;
use crate::audit::schema::{
    Action, Activity, Column, DataType, Database, ForeignKey, Index, IndexKey, Key, Refuses, Table,
    TableKind, TypeClass,
};
use crate::pg::QualifiedName;

use super::Rule;

/// Columns as `name type`, with `!` behind the type for NOT NULL; the first column is the
/// primary key where it is called `id`.
pub fn table(name: &str, columns: &[&str]) -> Table {
    let columns: Vec<Column> = columns
        .iter()
        .enumerate()
        .map(|(i, text)| column(i, text))
        .collect();
    let mut table = Table {
        oid: name.bytes().fold(17, |h: u32, b| {
            h.wrapping_mul(31).wrapping_add(u32::from(b))
        }),
        name: QualifiedName::new("public", name),
        kind: TableKind::Plain,
        owner: "owner".to_owned(),
        comment: None,
        parents: Vec::new(),
        partition_key: None,
        partition_bound: None,
        extension: false,
        readable: true,
        row_security: false,
        columns,
        primary_key: None,
        unique_keys: Vec::new(),
        foreign_keys: Vec::new(),
        checks: Vec::new(),
        indexes: Vec::new(),
        rows: Some(1000),
        bytes: 1 << 20,
        index_bytes: 0,
        dependents: 0,
        activity: Activity::default(),
        belongings: Belongings::default(),
    };
    if table.columns.first().is_some_and(|c| c.name == "id") {
        table = table.key(&["id"]);
    }
    table
}

fn column(place: usize, text: &str) -> Column {
    let (name, rest) = text.split_once(' ').unwrap();
    let (type_sql, not_null) = rest.strip_suffix('!').map_or((rest, false), |t| (t, true));
    let class = match type_sql {
        "bool" => TypeClass::Boolean,
        "int2" => TypeClass::Integer(2),
        "int4" => TypeClass::Integer(4),
        "int8" => TypeClass::Integer(8),
        "numeric" => TypeClass::Numeric,
        "float8" => TypeClass::Float,
        "money" => TypeClass::Money,
        "date" => TypeClass::Date,
        "timestamp" => TypeClass::Timestamp,
        "timestamptz" => TypeClass::TimestampTz,
        "uuid" => TypeClass::Uuid,
        "jsonb" => TypeClass::Jsonb,
        t if t.starts_with("char(") => TypeClass::PaddedChar,
        _ => TypeClass::Text,
    };
    let length = type_sql
        .split_once('(')
        .and_then(|(_, n)| n.trim_end_matches(')').parse().ok());
    Column {
        attnum: i16::try_from(place + 1).unwrap(),
        name: name.to_owned(),
        data_type: DataType {
            oid: 0,
            sql: type_sql.to_owned(),
            base: type_sql.to_owned(),
            class,
            domain: None,
            length,
        },
        not_null,
        default: None,
        generated: false,
        identity: None,
        comment: None,
        readable: true,
        statistics: None,
    }
}

fn names(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|c| (*c).to_owned()).collect()
}

impl Table {
    /// Gives it a primary key with its index.
    pub fn key(mut self, columns: &[&str]) -> Self {
        for c in &mut self.columns {
            c.not_null |= columns.contains(&c.name.as_str());
        }
        let name = format!("{}_pkey", self.name.name);
        self.primary_key = Some(Key {
            name: name.clone(),
            columns: names(columns),
            not_null: true,
            deferrable: false,
        });
        self.indexes.push(Index {
            unique: true,
            primary: true,
            constraint: Some(name.clone()),
            ..index(&name, columns)
        });
        self
    }

    pub fn with_index(mut self, name: &str, columns: &[&str]) -> Self {
        self.indexes.push(index(name, columns));
        self
    }

    /// Changes the last index.
    pub fn which(mut self, change: impl FnOnce(&mut Index)) -> Self {
        change(self.indexes.last_mut().unwrap());
        self
    }

    pub fn refers(mut self, columns: &[&str], to: &str, keys: &[&str]) -> Self {
        self.foreign_keys.push(ForeignKey {
            name: format!(
                "{}_{}_fkey{}",
                self.name.name,
                columns.join("_"),
                self.foreign_keys.len()
            ),
            columns: names(columns),
            referenced: QualifiedName::new("public", to),
            referenced_columns: names(keys),
            valid: true,
            enforced: true,
            deferrable: false,
            deferred: false,
            on_delete: Action::NoAction,
            on_update: Action::NoAction,
            terms: String::new(),
        });
        self
    }

    pub fn changed(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

pub fn index(name: &str, columns: &[&str]) -> Index {
    Index {
        name: QualifiedName::new("public", name),
        method: "btree".to_owned(),
        keys: columns
            .iter()
            .map(|c| IndexKey {
                column: Some((*c).to_owned()),
                sql: (*c).to_owned(),
            })
            .collect(),
        included: Vec::new(),
        predicate: None,
        unique: false,
        refuses: Refuses::default(),
        primary: false,
        constraint: None,
        referenced: false,
        valid: true,
        replica_identity: false,
        bytes: 8192,
        scans: 10,
        definition: format!("CREATE INDEX {name} ON t ({})", columns.join(", ")),
        partition_of_index: false,
    }
}

pub fn database(tables: Vec<Table>) -> Database {
    Database {
        name: "shop".to_owned(),
        version: 150_000,
        block_size: 8192,
        tables,
        ..Database::default()
    }
}

/// Facts with the declared references and no rows.
pub fn facts(tables: Vec<Table>) -> Facts {
    let database = database(tables);
    Facts {
        references: reference::declared(&database),
        database,
        profiles: HashMap::new(),
        statements: None,
        thresholds: Thresholds::default(),
    }
}

/// Gives a table the rows that `cell` makes for row and column; an empty text is NULL.
pub fn fill(facts: &mut Facts, table: &str, rows: usize, cell: impl Fn(usize, &str) -> String) {
    let table = facts
        .database
        .tables
        .iter()
        .find(|t| t.name.name == table)
        .unwrap();
    let sample = Sample {
        columns: table
            .columns
            .iter()
            .map(|c| SampledColumn {
                name: c.name.clone(),
                values: true,
            })
            .collect(),
        rows: (0..rows)
            .map(|i| {
                let cells = table.columns.iter().map(|c| cell(i, &c.name));
                cells.map(|v| (!v.is_empty()).then_some(v)).collect()
            })
            .collect(),
        whole: true,
    };
    let made = profile(table, &sample);
    facts.profiles.insert(table.oid, made);
}

/// Findings of a rule, every question answered by `answer`.
pub fn findings(rule: &Rule, facts: &Facts, answer: &[i64]) -> Vec<Finding> {
    let answer: Answer = answer.iter().map(|n| Some(*n)).collect();
    let found: Vec<Finding> = (rule.check)(facts)
        .into_iter()
        .filter_map(|claim| match claim {
            Claim::Settled(finding) => Some(*finding),
            Claim::Open(question) => (question.decide)(Some(&answer)),
        })
        .collect();
    for finding in &found {
        assert!(
            !finding.objects.is_empty(),
            "{}: about nothing",
            finding.title
        );
        for (what, text) in [
            ("proof", &finding.proof),
            ("remedy", &finding.remedy),
            ("cost", &finding.cost.text),
        ] {
            assert!(!text.is_empty(), "{}: no {what}", finding.title);
        }
        assert!(
            !finding.evidence.is_empty(),
            "{}: no evidence",
            finding.title
        );
    }
    found
}

/// The titles of the findings, every question answered with zeros.
pub fn titles(rule: &Rule, facts: &Facts) -> Vec<String> {
    let found = findings(rule, facts, &[0; 16]);
    found.into_iter().map(|f| f.title).collect()
}
