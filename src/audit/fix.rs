//! What would mend a finding, for the generator of a plan: names are unquoted, types
//! are SQL.

use serde::Serialize;

use crate::pg::QualifiedName;

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "fix", rename_all = "kebab-case")]
pub enum Fix {
    AddPrimaryKey {
        table: QualifiedName,
        /// NOT NULL columns that are unique over the whole table; empty where none are
        /// and a new identity column is needed.
        columns: Vec<String>,
        /// A unique index on just these columns that can become the key.
        existing_index: Option<String>,
    },
    AddForeignKey {
        table: QualifiedName,
        columns: Vec<String>,
        referenced: QualifiedName,
        referenced_columns: Vec<String>,
        /// Rows that refer to nothing: they must be mended before VALIDATE.
        orphans: u64,
        /// The referencing columns have no index that leads with them.
        needs_index: bool,
        /// A type to convert the column to first, where the types differ.
        convert_to: Option<String>,
    },
    ValidateForeignKey {
        table: QualifiedName,
        constraint: String,
        orphans: u64,
    },
    DropForeignKey {
        table: QualifiedName,
        constraint: String,
    },
    AddIndex {
        table: QualifiedName,
        columns: Vec<String>,
        /// The WHERE of a partial index.
        predicate: Option<String>,
        unique: bool,
    },
    DropIndex {
        table: QualifiedName,
        index: QualifiedName,
        /// `CREATE INDEX …`, for the way down.
        definition: String,
    },
    Reindex {
        table: QualifiedName,
        index: QualifiedName,
    },
    /// The same instant in another form becomes `to_type`.
    ConvertTimestamp {
        table: QualifiedName,
        column: String,
        from_type: String,
        format: TimestampFormat,
        to_type: String,
        /// Rows that do not parse: they need a decision.
        unparsable: u64,
    },
    /// Any other change of a column's type.
    ConvertColumn {
        table: QualifiedName,
        column: String,
        from_type: String,
        to_type: String,
        /// The new value as SQL; the column is named in it, quoted.
        using: String,
    },
    WidenInteger {
        table: QualifiedName,
        column: String,
        from_type: String,
        to_type: String,
        sequence: Option<QualifiedName>,
        /// Columns that refer to it and must be widened too.
        referencing: Vec<(QualifiedName, String)>,
    },
    /// A JSON array becomes rows of a child table.
    SplitJson {
        table: QualifiedName,
        column: String,
        /// `jsonb` or `json`.
        column_type: String,
        /// Keys on the way from the document to the array; empty where the document is
        /// the array.
        path: Vec<String>,
        /// The table's key and its types: the child's reference.
        key: Vec<KeyColumn>,
        child: QualifiedName,
        /// The fields of an element, most frequent first; one field with an empty name
        /// where elements are scalars.
        fields: Vec<JsonField>,
    },
    /// `phone1, phone2` become rows of a child table.
    SplitRepeatingGroup {
        table: QualifiedName,
        key: Vec<KeyColumn>,
        child: QualifiedName,
        /// One per column of the child.
        members: Vec<RepeatedColumn>,
    },
    /// A list in a text column becomes rows of a child table.
    SplitList {
        table: QualifiedName,
        column: String,
        separator: String,
        key: Vec<KeyColumn>,
        child: QualifiedName,
        /// The type that every element can be cast to.
        element_type: String,
        /// The table and column that the elements are values of.
        references: Option<(QualifiedName, String)>,
    },
    /// Columns that depend on a part of the row move to a table of their own.
    ExtractTable {
        table: QualifiedName,
        determinant: Vec<KeyColumn>,
        dependents: Vec<KeyColumn>,
        /// A name for the new table, or the table that has them already.
        target: QualifiedName,
        /// The target exists, and these are its columns for determinant and dependents.
        existing: Option<Vec<String>>,
    },
    DropColumn {
        table: QualifiedName,
        column: String,
        /// What the column is equal to, as SQL over the table's row.
        derivation: String,
    },
    Rename {
        table: QualifiedName,
        /// The column; `None` renames the table.
        column: Option<String>,
        to: String,
    },
    /// Attribute and value rows become columns.
    PivotAttributes {
        table: QualifiedName,
        entity: Vec<KeyColumn>,
        attribute: String,
        value: String,
        target: QualifiedName,
        attributes: Vec<Attribute>,
    },
}

/// A column with its type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyColumn {
    pub name: String,
    pub type_sql: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JsonField {
    /// The key within an element; empty for an element that is a scalar.
    pub name: String,
    /// A column's name for it: lower case with underscores, unique among the fields.
    pub column: String,
    /// The type that every sampled value can be cast to.
    pub type_sql: String,
    /// Of the sampled elements that have it, as a share of 1, JSON null not counted.
    pub present: f64,
    /// Every sampled element has it: the column can be NOT NULL.
    pub always: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RepeatedColumn {
    /// The child's column: `phone`.
    pub name: String,
    pub type_sql: String,
    /// The number in the name and the column, in order: `(1, phone1), (2, phone2)`.
    pub columns: Vec<(u32, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attribute {
    /// The value of the attribute column that names it.
    pub name: String,
    /// A column's name for it.
    pub column: String,
    pub type_sql: String,
}

/// How a moment is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimestampFormat {
    EpochSeconds,
    EpochMilliseconds,
    EpochMicroseconds,
    /// `2024-05-31T12:00:00Z` and its variants that `timestamptz` reads.
    Iso8601,
    /// `2024-05-31`.
    IsoDate,
    /// `20240531`.
    CompactDate,
    /// `31.05.2024`, with or without a time.
    DayMonthYearDots,
    /// `31/05/2024`: some day is above 12.
    DayMonthYearSlashes,
    /// `05/31/2024`: some day is above 12.
    MonthDayYearSlashes,
    /// `timestamp without time zone`.
    WithoutZone,
    /// `timestamptz`.
    WithZone,
    /// `date`.
    Date,
}
