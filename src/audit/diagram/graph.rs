//! What is drawn: tables, columns, references, and what a proposal changes about each.

/// What becomes of a thing when the proposal is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Mark {
    /// It stays as it is.
    #[default]
    Kept,
    /// The proposal adds it.
    New,
    /// It stays under its name and is different afterwards.
    Changed,
    /// The proposal removes it.
    Dropped,
}

impl Mark {
    /// The class in SVG and HTML, and the word in texts.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::New => "new",
            Self::Changed => "changed",
            Self::Dropped => "dropped",
        }
    }

    /// One character that says the same where there is no colour.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::Kept => "",
            Self::New => "+",
            Self::Changed => "~",
            Self::Dropped => "\u{2212}",
        }
    }

    #[must_use]
    pub fn is_kept(self) -> bool {
        self == Self::Kept
    }
}

/// A schema: today's, and what a proposal would make of it, in one.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    pub tables: Vec<Table>,
    pub references: Vec<Reference>,
}

#[derive(Debug, Clone, Default)]
pub struct Table {
    pub schema: String,
    pub name: String,
    pub columns: Vec<Column>,
    pub mark: Mark,
    /// The planner's estimate; `None` where it is not known.
    pub rows: Option<i64>,
}

#[derive(Debug, Clone, Default)]
pub struct Column {
    pub name: String,
    /// As SQL writes it: `numeric(10,2)`.
    pub type_sql: String,
    /// Part of the primary key.
    pub key: bool,
    pub not_null: bool,
    pub mark: Mark,
    /// What changes about it, in a few words.
    pub note: Option<String>,
}

/// A foreign key, or one that is proposed.
#[derive(Debug, Clone)]
pub struct Reference {
    pub name: String,
    /// The referencing table, as an index into [`Graph::tables`].
    pub child: usize,
    /// Indexes into its columns, in the order of the key.
    pub child_columns: Vec<usize>,
    /// The referenced table.
    pub parent: usize,
    pub parent_columns: Vec<usize>,
    /// At most one child row a parent row: the referencing columns are unique.
    pub one: bool,
    pub mark: Mark,
}

impl Graph {
    /// The graph as it is before the proposal: without what is new, nothing marked.
    #[must_use]
    pub fn today(&self) -> Self {
        self.without(Mark::New)
    }

    /// Drops everything that carries `mark`, and takes the other marks off.
    fn without(&self, mark: Mark) -> Self {
        let mut index = vec![None; self.tables.len()];
        let mut graph = Self::default();
        let mut columns = Vec::with_capacity(self.tables.len());
        for (old, table) in self.tables.iter().enumerate() {
            columns.push(kept_columns(table, mark));
            if table.mark == mark {
                continue;
            }
            index[old] = Some(graph.tables.len());
            graph.tables.push(Table {
                mark: Mark::Kept,
                columns: table
                    .columns
                    .iter()
                    .filter(|c| c.mark != mark)
                    .map(|c| Column {
                        mark: Mark::Kept,
                        note: None,
                        ..c.clone()
                    })
                    .collect(),
                ..table.clone()
            });
        }
        for reference in self.references.iter().filter(|r| r.mark != mark) {
            let (Some(child), Some(parent)) = (index[reference.child], index[reference.parent])
            else {
                continue;
            };
            let moved = |table: usize, list: &[usize]| -> Option<Vec<usize>> {
                list.iter().map(|&c| columns[table][c]).collect()
            };
            let (Some(child_columns), Some(parent_columns)) = (
                moved(reference.child, &reference.child_columns),
                moved(reference.parent, &reference.parent_columns),
            ) else {
                continue;
            };
            graph.references.push(Reference {
                child,
                parent,
                child_columns,
                parent_columns,
                mark: Mark::Kept,
                ..reference.clone()
            });
        }
        graph
    }

    /// Whether the proposal changes anything.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.references.iter().any(|r| !r.mark.is_kept())
            || self
                .tables
                .iter()
                .any(|t| !t.mark.is_kept() || t.columns.iter().any(|c| !c.mark.is_kept()))
    }
}

/// The new index of each column of `table` that does not carry `mark`.
fn kept_columns(table: &Table, mark: Mark) -> Vec<Option<usize>> {
    let mut next = 0;
    table
        .columns
        .iter()
        .map(|column| {
            (column.mark != mark).then(|| {
                next += 1;
                next - 1
            })
        })
        .collect()
}

impl Table {
    /// `schema.name`, for people.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}
