//! What a statement does to which object, as far as locks, lint and dependencies need
//! to know.

use super::statement::Name;

/// What a dropped or renamed object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    Table,
    ForeignTable,
    View,
    MaterializedView,
    Sequence,
    Index,
    Routine,
    Type,
    Schema,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConstraintKind {
    Check,
    NotNull,
    Unique,
    PrimaryKey,
    Exclude,
    ForeignKey,
}

#[derive(Debug, Clone, PartialEq)]
pub struct NewConstraint {
    pub name: Option<String>,
    pub kind: ConstraintKind,
    /// The table that a foreign key refers to.
    pub references: Option<Name>,
    pub not_valid: bool,
    pub using_index: bool,
    /// As written.
    pub definition: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct NewColumn {
    pub name: String,
    /// As written.
    pub ty: String,
    pub not_null: bool,
    /// The expression, as written.
    pub default: Option<String>,
    /// `GENERATED ALWAYS AS (…) STORED`.
    pub generated: bool,
    pub identity: bool,
    pub constraints: Vec<NewConstraint>,
}

/// One thing that a statement does.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    CreateTable {
        table: Name,
        columns: Vec<NewColumn>,
        constraints: Vec<NewConstraint>,
        partition_of: Option<Name>,
        if_not_exists: bool,
    },
    AddColumn {
        table: Name,
        column: NewColumn,
    },
    DropColumn {
        table: Name,
        column: String,
        cascade: bool,
    },
    RenameColumn {
        table: Name,
        from: String,
        to: String,
    },
    AlterType {
        table: Name,
        column: String,
        ty: String,
        using: Option<String>,
    },
    SetNotNull {
        table: Name,
        column: String,
    },
    DropNotNull {
        table: Name,
        column: String,
    },
    SetDefault {
        table: Name,
        column: String,
    },
    SetStatistics {
        table: Name,
    },
    AddConstraint {
        table: Name,
        constraint: NewConstraint,
    },
    ValidateConstraint {
        table: Name,
        constraint: String,
    },
    DropConstraint {
        table: Name,
        constraint: String,
    },
    AttachPartition {
        table: Name,
        partition: Name,
    },
    DetachPartition {
        table: Name,
        partition: Name,
        concurrently: bool,
    },
    /// `SET LOGGED`, `SET TABLESPACE`, `SET ACCESS METHOD`: every row is written again.
    Rewrite {
        table: Name,
        what: String,
    },
    SetOptions {
        table: Name,
    },
    /// CREATE, ENABLE, DISABLE and DROP TRIGGER.
    Trigger {
        table: Name,
        name: Option<String>,
        drop: bool,
    },
    /// Any other ALTER of a table.
    AlterTable {
        table: Name,
    },
    CreateIndex {
        index: Option<Name>,
        table: Name,
        unique: bool,
        concurrently: bool,
    },
    DropIndex {
        index: Name,
        concurrently: bool,
    },
    Reindex {
        target: Name,
        index: bool,
        concurrently: bool,
    },
    Drop {
        kind: ObjectKind,
        name: Name,
        cascade: bool,
    },
    Rename {
        kind: ObjectKind,
        from: Name,
        to: String,
    },
    SetSchema {
        kind: ObjectKind,
        name: Name,
        schema: String,
    },
    CreateView {
        view: Name,
        replace: bool,
    },
    CreateRoutine {
        routine: Name,
        replace: bool,
    },
    Refresh {
        view: Name,
        concurrently: bool,
    },
    Policy {
        table: Name,
        name: Option<String>,
        drop: bool,
    },
    AddEnumValue {
        ty: Name,
    },
    Truncate {
        tables: Vec<Name>,
    },
    LockTable {
        tables: Vec<Name>,
        mode: String,
    },
    /// `VACUUM FULL` and `CLUSTER`.
    Repack {
        table: Option<Name>,
    },
    Vacuum {
        table: Option<Name>,
    },
    /// UPDATE, DELETE, INSERT and MERGE.
    Write {
        table: Name,
        command: &'static str,
        filtered: bool,
    },
    /// BEGIN, COMMIT, ROLLBACK, SAVEPOINT and the like.
    Transaction(&'static str),
    Call,
    Do,
    Set {
        parameter: String,
    },
    /// Statements that PostgreSQL refuses in a transaction block and that are none of
    /// the above.
    NeverInTransaction,
}
