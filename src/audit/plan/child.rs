//! A child table that takes over what one column, or a group of columns, holds.
//!
//! What is taken over and given back must agree to the byte, or the way back would
//! change data. So the design carries both expressions of every column, and whether
//! what it cannot say is kept in a column beside it.

mod give;
mod take;

use super::super::fix::{Fix, JsonField, KeyColumn, RepeatedColumn};
use super::name::{Names, ident, list, singular, table};
use crate::pg::QualifiedName;
use crate::pg::ident::literal;

/// A new table beside its parent.
#[derive(Debug, Clone)]
pub struct Child {
    pub name: QualifiedName,
    pub parent: QualifiedName,
    /// The parent's key and the columns here that refer to it, in the same order.
    pub key: Vec<(KeyColumn, String)>,
    /// The place in the array, the list or the group.
    pub place: String,
    pub columns: Vec<ChildColumn>,
    pub content: Content,
}

#[derive(Debug, Clone)]
pub struct ChildColumn {
    pub name: String,
    pub type_sql: String,
    pub not_null: bool,
    /// The field of a JSON element; empty for a scalar.
    pub field: String,
    /// Some values do not come back from this column as they were written: those are
    /// kept in the column beside it.
    pub odd: bool,
}

/// What is taken over.
#[derive(Debug, Clone)]
pub enum Content {
    Json {
        column: String,
        /// The column is `json`, not `jsonb`.
        text: bool,
        /// Keys on the way from the document to the array; empty where it is the array.
        path: Vec<String>,
        /// The table that takes the rest of the document over.
        document: Option<QualifiedName>,
        /// Holds what no column says; empty where every element is said whole.
        rest: Option<String>,
        /// What a row without elements has: `'[]'`, or NULL.
        empty: String,
    },
    List {
        column: String,
        separator: String,
        empty: String,
    },
    Group {
        members: Vec<RepeatedColumn>,
    },
    /// The document without the array that another child takes over: one row a row.
    Document {
        column: String,
        path: Vec<String>,
        text: bool,
    },
}

impl Child {
    /// The child table that a fix asks for; `None` where it asks for another thing.
    #[must_use]
    pub fn of(fix: &Fix, names: &mut Names) -> Option<Self> {
        match fix {
            Fix::SplitJson {
                table,
                column,
                column_type,
                key,
                child,
                fields,
                path,
            } => {
                let mut made = Self::begin(table, key, child, names);
                made.columns = fields.iter().map(json_column).collect();
                made.content = Content::Json {
                    column: column.clone(),
                    text: column_type == "json",
                    path: path.clone(),
                    document: (!path.is_empty()).then(|| {
                        names.relation(&QualifiedName::new(
                            table.schema.clone(),
                            format!("{}_{column}", singular(&table.name)),
                        ))
                    }),
                    rest: None,
                    empty: "'[]'".to_owned(),
                };
                Some(made.named())
            }
            Fix::SplitList {
                table,
                column,
                separator,
                key,
                child,
                element_type,
                references,
            } => {
                let mut made = Self::begin(table, key, child, names);
                let name = match references {
                    Some((parent, column)) => refers(parent, column),
                    None => singular(column),
                };
                made.columns.push(ChildColumn {
                    name,
                    type_sql: element_type.clone(),
                    not_null: true,
                    field: String::new(),
                    odd: false,
                });
                made.content = Content::List {
                    column: column.clone(),
                    separator: separator.clone(),
                    empty: "null".to_owned(),
                };
                Some(made.named())
            }
            Fix::SplitRepeatingGroup {
                table,
                key,
                child,
                members,
            } => {
                let mut made = Self::begin(table, key, child, names);
                made.columns = members
                    .iter()
                    .map(|m| ChildColumn {
                        name: m.name.clone(),
                        type_sql: m.type_sql.clone(),
                        not_null: members.len() == 1,
                        field: String::new(),
                        odd: false,
                    })
                    .collect();
                made.content = Content::Group {
                    members: members.clone(),
                };
                Some(made.named())
            }
            _ => None,
        }
    }

    fn begin(
        parent: &QualifiedName,
        key: &[KeyColumn],
        child: &QualifiedName,
        names: &mut Names,
    ) -> Self {
        Self {
            name: names.relation(child),
            parent: parent.clone(),
            key: key
                .iter()
                .map(|k| (k.clone(), refers(parent, &k.name)))
                .collect(),
            place: "line_no".to_owned(),
            columns: Vec::new(),
            content: Content::Group {
                members: Vec::new(),
            },
        }
    }

    /// Where the array is a part of a document: the table of the rest of it.
    #[must_use]
    pub fn remainder(&self) -> Option<Self> {
        let Content::Json {
            column,
            text,
            path,
            document: Some(name),
            ..
        } = &self.content
        else {
            return None;
        };
        Some(Self {
            name: name.clone(),
            place: String::new(),
            columns: vec![ChildColumn {
                name: column.clone(),
                type_sql: "jsonb".to_owned(),
                not_null: true,
                field: String::new(),
                odd: false,
            }],
            content: Content::Document {
                column: column.clone(),
                path: path.clone(),
                text: *text,
            },
            ..self.clone()
        })
    }

    /// No column's name twice: what came with the data keeps its own.
    fn named(mut self) -> Self {
        let taken: Vec<String> = self.columns.iter().map(|c| c.name.clone()).collect();
        let free = |wish: &str| {
            let mut name = wish.to_owned();
            while taken.contains(&name) {
                name.insert_str(0, "parent_");
            }
            name
        };
        for (_, name) in &mut self.key {
            *name = free(name);
        }
        self.place = free(&self.place);
        self
    }

    /// The columns of the parent that it takes over.
    #[must_use]
    pub fn moved(&self) -> Vec<String> {
        match &self.content {
            Content::Json { column, .. } | Content::List { column, .. } => vec![column.clone()],
            Content::Group { members } => members
                .iter()
                .flat_map(|m| m.columns.iter().map(|(_, c)| c.clone()))
                .collect(),
            // Its column is the lines' to move.
            Content::Document { .. } => Vec::new(),
        }
    }

    /// It takes over a `json` column, whose text no value tells.
    #[must_use]
    pub fn is_json_text(&self) -> bool {
        matches!(self.content, Content::Json { text: true, .. })
    }

    #[must_use]
    pub fn key_names(&self) -> Vec<String> {
        self.key.iter().map(|(_, name)| name.clone()).collect()
    }

    /// `create table …`, without its foreign key.
    #[must_use]
    pub fn create(&self) -> String {
        let mut lines: Vec<String> = self
            .key
            .iter()
            .map(|(key, name)| format!("{} {} not null", ident(name), key.type_sql))
            .collect();
        if !self.place.is_empty() {
            lines.push(format!("{} integer not null", ident(&self.place)));
        }
        for column in &self.columns {
            lines.push(format!(
                "{} {}{}",
                ident(&column.name),
                column.type_sql,
                if column.not_null { " not null" } else { "" }
            ));
        }
        if let Content::Json {
            rest: Some(rest), ..
        } = &self.content
        {
            lines.push(format!("{} jsonb", ident(rest)));
        }
        let mut key = self.key_names();
        if !self.place.is_empty() {
            key.push(self.place.clone());
        }
        lines.push(format!("primary key ({})", list(&key)));
        format!(
            "create table {} (\n    {}\n)",
            table(&self.name),
            lines.join(",\n    ")
        )
    }
}

impl ChildColumn {
    /// The column's value out of a JSON element.
    #[must_use]
    pub fn value(&self, item: &str) -> String {
        let field = literal(&self.field);
        let field = field.trim_start();
        match (self.field.is_empty(), self.type_sql.as_str()) {
            // The text of a scalar; JSON null is NULL.
            (true, "jsonb") => item.to_owned(),
            (true, "text") => format!("{item} #>> '{{}}'"),
            (true, kind) => format!("({item} #>> '{{}}')::{kind}"),
            (false, "jsonb") => format!("{item} -> {field}"),
            (false, "text") => format!("{item} ->> {field}"),
            (false, kind) => format!("({item} ->> {field})::{kind}"),
        }
    }
}

fn json_column(field: &JsonField) -> ChildColumn {
    ChildColumn {
        name: field.column.clone(),
        type_sql: field.type_sql.clone(),
        not_null: field.always,
        field: field.name.clone(),
        odd: false,
    }
}

/// `order_id` for the `id` of `orders`; a key that says so itself keeps its name.
fn refers(parent: &QualifiedName, key: &str) -> String {
    let one = singular(&parent.name);
    if key.starts_with(&one) || key.len() > 12 {
        key.to_owned()
    } else {
        format!("{one}_{key}")
    }
}

/// The document of the parent's row `row`.
fn document(row: &str, column: &str, text: bool) -> String {
    let cast = if text { "::jsonb" } else { "" };
    format!("{row}.{}{cast}", ident(column))
}

/// Keys as an SQL array.
fn array(keys: &[String]) -> String {
    let keys: Vec<_> = keys
        .iter()
        .map(|k| literal(k).trim_start().to_owned())
        .collect();
    format!("array[{}]", keys.join(", "))
}
