//! The graph of a database, and what the fixes of findings would make of it.

use super::super::finding::Finding;
use super::super::fix::{Fix, KeyColumn};
use super::super::plan::child::{Child, Content};
use super::super::plan::name::Names;
use super::super::schema::{Database, Table as Relation};
use super::graph::{Column, Graph, Mark, Reference, Table};
use crate::pg::QualifiedName;

/// Today's schema with every change that the findings propose marked in it.
#[must_use]
pub fn proposed(database: &Database, findings: &[&Finding]) -> Graph {
    let mut sketch = Sketch::of(database);
    for fix in findings.iter().flat_map(|f| &f.fixes) {
        sketch.apply(fix);
    }
    sketch.graph
}

struct Sketch {
    graph: Graph,
    names: Names,
}

impl Sketch {
    fn of(database: &Database) -> Self {
        let mut graph = Graph::default();
        for relation in database.designed() {
            graph.tables.push(table(relation));
        }
        let mut sketch = Self {
            graph,
            names: Names::of(database),
        };
        for relation in database.designed() {
            for key in &relation.foreign_keys {
                let mark = Mark::Kept;
                let names: Vec<&str> = key.columns.iter().map(String::as_str).collect();
                sketch.refer(&Wanted {
                    name: &key.name,
                    child: &relation.name,
                    columns: &key.columns,
                    parent: &key.referenced,
                    parent_columns: &key.referenced_columns,
                    one: relation.is_key(&names),
                    mark,
                });
            }
        }
        sketch
    }

    fn find(&self, name: &QualifiedName) -> Option<usize> {
        let tables = &self.graph.tables;
        tables
            .iter()
            .position(|t| t.schema == name.schema && t.name == name.name)
    }

    fn column(&mut self, table: &QualifiedName, column: &str) -> Option<&mut Column> {
        let at = self.find(table)?;
        let columns = &mut self.graph.tables[at].columns;
        columns.iter_mut().find(|c| c.name == column)
    }

    /// Marks a column; one that goes away stays marked so.
    fn mark(&mut self, table: &QualifiedName, column: &str, mark: Mark, note: String) {
        if let Some(found) = self.column(table, column)
            && found.mark != Mark::Dropped
        {
            found.mark = mark;
            found.note = Some(note);
        }
    }

    fn refer(&mut self, wanted: &Wanted<'_>) {
        let (Some(child), Some(parent)) = (self.find(wanted.child), self.find(wanted.parent))
        else {
            return;
        };
        let places = |table: usize, names: &[String]| -> Option<Vec<usize>> {
            let columns = &self.graph.tables[table].columns;
            names
                .iter()
                .map(|name| columns.iter().position(|c| &c.name == name))
                .collect()
        };
        let (Some(child_columns), Some(parent_columns)) = (
            places(child, wanted.columns),
            places(parent, wanted.parent_columns),
        ) else {
            return;
        };
        let known =
            self.graph.references.iter().any(|r| {
                r.child == child && r.parent == parent && r.child_columns == child_columns
            });
        if known && wanted.mark == Mark::New {
            return;
        }
        self.graph.references.push(Reference {
            name: wanted.name.to_owned(),
            child,
            child_columns,
            parent,
            parent_columns,
            one: wanted.one,
            mark: wanted.mark,
        });
    }

    /// Marks a foreign key by its name.
    fn mark_reference(&mut self, table: &QualifiedName, constraint: &str, mark: Mark) {
        let Some(child) = self.find(table) else {
            return;
        };
        for reference in &mut self.graph.references {
            if reference.child == child && reference.name == constraint {
                reference.mark = mark;
            }
        }
    }

    fn apply(&mut self, fix: &Fix) {
        match fix {
            Fix::AddPrimaryKey { table, columns, .. } => self.primary_key(table, columns),
            Fix::AddForeignKey {
                table,
                columns,
                referenced,
                referenced_columns,
                convert_to,
                ..
            } => {
                if let Some(kind) = convert_to {
                    for column in columns {
                        self.mark(table, column, Mark::Changed, format!("becomes {kind}"));
                    }
                }
                self.refer(&Wanted {
                    name: "proposed",
                    child: table,
                    columns,
                    parent: referenced,
                    parent_columns: referenced_columns,
                    one: false,
                    mark: Mark::New,
                });
            }
            Fix::ValidateForeignKey {
                table, constraint, ..
            } => {
                self.mark_reference(table, constraint, Mark::Changed);
            }
            Fix::DropForeignKey { table, constraint } => {
                self.mark_reference(table, constraint, Mark::Dropped);
            }
            Fix::ConvertTimestamp {
                table,
                column,
                to_type,
                ..
            }
            | Fix::ConvertColumn {
                table,
                column,
                to_type,
                ..
            }
            | Fix::WidenInteger {
                table,
                column,
                to_type,
                ..
            } => {
                self.mark(table, column, Mark::Changed, format!("becomes {to_type}"));
            }
            Fix::SplitJson { .. } | Fix::SplitList { .. } | Fix::SplitRepeatingGroup { .. } => {
                if let Some(child) = Child::of(fix, &mut self.names) {
                    self.split(&child);
                    if let Some(remainder) = child.remainder() {
                        self.split(&remainder);
                    }
                }
            }
            Fix::ExtractTable {
                table,
                determinant,
                dependents,
                target,
                existing,
            } => {
                // Where the table is there without such columns the plan leaves it to people.
                if existing.is_some() || self.find(target).is_none() {
                    self.extract(table, determinant, dependents, target, existing.is_none());
                }
            }
            Fix::DropColumn {
                table,
                column,
                derivation,
            } => {
                let note = format!("follows from {derivation}");
                self.mark(table, column, Mark::Dropped, note);
            }
            Fix::Rename {
                table,
                column: Some(column),
                to,
            } => {
                self.mark(table, column, Mark::Changed, format!("is named {to}"));
            }
            // Indexes are not drawn; a table's new name and a pivot are not planned.
            Fix::AddIndex { .. }
            | Fix::DropIndex { .. }
            | Fix::Reindex { .. }
            | Fix::Rename { column: None, .. }
            | Fix::PivotAttributes { .. } => {}
        }
    }

    fn primary_key(&mut self, table: &QualifiedName, columns: &[String]) {
        let Some(at) = self.find(table) else {
            return;
        };
        let drawn = &mut self.graph.tables[at];
        if columns.is_empty() {
            drawn.columns.insert(
                0,
                Column {
                    name: "id".to_owned(),
                    type_sql: "bigint".to_owned(),
                    key: true,
                    not_null: true,
                    mark: Mark::New,
                    note: Some("a key of its own".to_owned()),
                },
            );
            // Places of columns that references name move by one.
            for reference in &mut self.graph.references {
                let (child, parent) = (reference.child == at, reference.parent == at);
                for column in reference.child_columns.iter_mut().filter(|_| child) {
                    *column += 1;
                }
                for column in reference.parent_columns.iter_mut().filter(|_| parent) {
                    *column += 1;
                }
            }
            return;
        }
        for column in &mut drawn.columns {
            if columns.contains(&column.name) {
                column.key = true;
                column.mark = Mark::Changed;
                column.note = Some("becomes the primary key".to_owned());
            }
        }
    }

    /// A child table beside its parent, whose columns go.
    fn split(&mut self, child: &Child) {
        let new = |name: &str, type_sql: &str, key: bool, not_null: bool| Column {
            name: name.to_owned(),
            type_sql: type_sql.to_owned(),
            key,
            not_null,
            mark: Mark::New,
            note: None,
        };
        let mut columns: Vec<Column> = child
            .key
            .iter()
            .map(|(key, name)| new(name, &key.type_sql, true, true))
            .collect();
        if !child.place.is_empty() {
            columns.push(new(&child.place, "integer", true, true));
        }
        columns.extend(
            child
                .columns
                .iter()
                .map(|c| new(&c.name, &c.type_sql, false, c.not_null)),
        );
        if let Content::Json {
            rest: Some(rest), ..
        } = &child.content
        {
            columns.push(new(rest, "jsonb", false, false));
        }
        self.graph.tables.push(Table {
            schema: child.name.schema.clone(),
            name: child.name.name.clone(),
            columns,
            mark: Mark::New,
            rows: None,
        });
        for column in child.moved() {
            let note = format!("becomes rows of {}", child.name);
            self.mark(&child.parent, &column, Mark::Dropped, note);
        }
        let key: Vec<String> = child.key.iter().map(|(k, _)| k.name.clone()).collect();
        self.refer(&Wanted {
            name: "proposed",
            child: &child.name,
            columns: &child.key_names(),
            parent: &child.parent,
            parent_columns: &key,
            one: child.place.is_empty(),
            mark: Mark::New,
        });
    }

    fn extract(
        &mut self,
        table: &QualifiedName,
        determinant: &[KeyColumn],
        dependents: &[KeyColumn],
        target: &QualifiedName,
        made: bool,
    ) {
        for column in dependents {
            let note = format!("moves to {target}");
            self.mark(table, &column.name, Mark::Dropped, note);
        }
        if !made {
            return;
        }
        let name = self.names.relation(target);
        let drawn = |c: &KeyColumn, key: bool| Column {
            name: c.name.clone(),
            type_sql: c.type_sql.clone(),
            key,
            not_null: key,
            mark: Mark::New,
            note: None,
        };
        let columns = determinant
            .iter()
            .map(|c| drawn(c, true))
            .chain(dependents.iter().map(|c| drawn(c, false)))
            .collect();
        self.graph.tables.push(Table {
            schema: name.schema.clone(),
            name: name.name.clone(),
            columns,
            mark: Mark::New,
            rows: None,
        });
        let columns: Vec<String> = determinant.iter().map(|c| c.name.clone()).collect();
        self.refer(&Wanted {
            name: "proposed",
            child: table,
            columns: &columns,
            parent: &name,
            parent_columns: &columns,
            one: false,
            mark: Mark::New,
        });
    }
}

struct Wanted<'a> {
    name: &'a str,
    child: &'a QualifiedName,
    columns: &'a [String],
    parent: &'a QualifiedName,
    parent_columns: &'a [String],
    one: bool,
    mark: Mark,
}

fn table(relation: &Relation) -> Table {
    let key = relation.primary_key.as_ref();
    Table {
        schema: relation.name.schema.clone(),
        name: relation.name.name.clone(),
        columns: relation
            .columns
            .iter()
            .map(|c| Column {
                name: c.name.clone(),
                type_sql: c.data_type.sql.clone(),
                key: key.is_some_and(|k| k.columns.contains(&c.name)),
                not_null: c.not_null,
                mark: Mark::Kept,
                note: None,
            })
            .collect(),
        mark: Mark::Kept,
        rows: relation.rows.and_then(|r| i64::try_from(r).ok()),
    }
}
