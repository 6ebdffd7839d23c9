//! What belongs to a table and its parts besides what they are, and goes with them: who may use
//! them, what the planner is told of them, how they are stored, what people say of them. A
//! comment on a column or a table is with the column or the table.

use std::collections::BTreeMap;

use crate::pg::QualifiedName;

#[derive(Debug, Clone, Default)]
pub struct Belongings {
    /// The table's own privileges; those that its owner has anyway are not among them.
    pub grants: Vec<Grant>,
    /// A new table beside it can belong to its owner, who may make tables there.
    pub owner_creates: bool,
    pub guards: Guards,
    /// Partitions, or tables that inherit from it, whether they were read or not.
    pub children: usize,
    /// In the order in which they fire.
    pub triggers: Vec<Trigger>,
    pub columns: BTreeMap<String, ColumnBelongings>,
    /// By the index's name.
    pub indexes: BTreeMap<String, IndexBelongings>,
    /// By the constraint's name.
    pub constraints: BTreeMap<String, ConstraintBelongings>,
    pub statistics: Vec<Statistics>,
}

/// What stands between a statement and the rows of a table.
#[derive(Debug, Clone, Copy, Default)]
pub struct Guards {
    /// Row level security is on: policies say who sees which rows.
    pub row_security: bool,
    /// They are said to the table's owner, too.
    pub forced: bool,
    /// CREATE RULE has made something else of statements.
    pub rules: bool,
}

/// A trigger that people made.
#[derive(Debug, Clone, Default)]
pub struct Trigger {
    pub name: String,
    pub before: bool,
    /// Once a row; else once a statement.
    pub row: bool,
    pub insert: bool,
    pub update: bool,
    /// The columns of UPDATE OF; empty for an update of any.
    pub columns: Vec<String>,
    /// It fires for an application's statements.
    pub enabled: bool,
    /// `plpgsql`.
    pub language: String,
    pub function: String,
    /// The function's body, or its name in C.
    pub source: String,
    pub arguments: Vec<String>,
    /// `CREATE TRIGGER …`.
    pub definition: String,
}

/// One privilege of one role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// `None` for PUBLIC.
    pub to: Option<String>,
    /// `SELECT`.
    pub privilege: String,
    /// May be passed on.
    pub grantable: bool,
    /// Granted by somebody else than the table's owner: only that role could do it again.
    pub by_another: bool,
}

#[derive(Debug, Clone, Default)]
pub struct ColumnBelongings {
    /// As SQL, where it is not its type's own.
    pub collation: Option<String>,
    /// `external`, where it is not its type's own.
    pub storage: Option<String>,
    /// `pglz`, where it is not the server's default.
    pub compression: Option<String>,
    /// What ANALYZE is to gather, where it is not the server's default.
    pub target: Option<i32>,
    /// `n_distinct=-0.5`.
    pub options: Vec<String>,
    pub grants: Vec<Grant>,
    /// Sequences that go with it, such as that of a `serial`.
    pub sequences: Vec<QualifiedName>,
}

#[derive(Debug, Clone, Default)]
pub struct IndexBelongings {
    pub comment: Option<String>,
    pub tablespace: Option<String>,
    /// CLUSTER goes by it.
    pub clustered: bool,
    /// What ANALYZE is to gather of its expressions, by their places.
    pub targets: Vec<(i16, i32)>,
    /// Every column that it needs: keys, INCLUDE, expressions and WHERE.
    pub uses: Vec<String>,
    /// The index of the partitioned table that it is a part of.
    pub parent: Option<QualifiedName>,
}

#[derive(Debug, Clone, Default)]
pub struct ConstraintBelongings {
    /// As the server tells it, NOT VALID left out.
    pub definition: String,
    pub comment: Option<String>,
}

/// What CREATE STATISTICS made.
#[derive(Debug, Clone)]
pub struct Statistics {
    pub name: QualifiedName,
    /// `CREATE STATISTICS …`.
    pub definition: String,
    /// `ndistinct`, …
    pub kinds: Vec<String>,
    /// Every column that it needs, in the table's order.
    pub uses: Vec<String>,
    /// Some of it is over an expression.
    pub expressions: bool,
    pub target: Option<i32>,
    pub comment: Option<String>,
    /// Who owns it, where that role may own it again.
    pub owner: Option<String>,
}

impl Belongings {
    /// What belongs to a column; nothing where it is not known.
    #[must_use]
    pub fn column(&self, name: &str) -> ColumnBelongings {
        self.columns.get(name).cloned().unwrap_or_default()
    }

    #[must_use]
    pub fn index(&self, name: &QualifiedName) -> IndexBelongings {
        self.indexes.get(&name.name).cloned().unwrap_or_default()
    }
}
