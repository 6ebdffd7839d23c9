//! Indexes and primary keys: built and dropped without holding writers up.

use super::super::schema::{Database, Table, TableKind};
use super::belongings::{self, index_again};
use super::migration::{Migration, Phase, Script};
use super::name::{Names, ident, list, slug, table};
use crate::pg::QualifiedName;

/// What is to be built.
pub struct Wanted<'a> {
    pub table: &'a Table,
    /// As the table has them now.
    pub columns: Vec<String>,
    pub predicate: Option<String>,
    pub unique: bool,
}

/// An index, built beside the writers. `columns` are those that it is built on, and `named` what
/// they are called in the end: the index is called after these.
#[must_use]
pub fn add(
    database: &Database,
    wanted: &Wanted<'_>,
    (columns, named): (&[String], &[String]),
    names: &mut Names,
) -> Migration {
    let own = &wanted.table.name;
    let end = if wanted.unique { "_key" } else { "_idx" };
    let name = names.index(own, named, end);
    let unique = if wanted.unique { "unique " } else { "" };
    let tail = format!(
        "({}){}",
        list(columns),
        wanted
            .predicate
            .as_ref()
            .map(|p| format!(" where {p}"))
            .unwrap_or_default()
    );
    let index = QualifiedName::new(own.schema.clone(), name.clone());
    let (up, down) = if wanted.table.kind == TableKind::Partitioned {
        partitioned(
            database,
            own,
            &index,
            &format!("create {unique}index"),
            &tail,
            names,
        )
    } else {
        let up = format!(
            "create {unique}index concurrently {} on {} {tail}",
            ident(&name),
            table(own)
        );
        (
            vec![up],
            vec![format!("drop index concurrently {}", table(&index))],
        )
    };
    let mut risks = Vec::new();
    if wanted.unique {
        risks.push(format!(
            "building {name} fails where two rows agree in {}; what it leaves then is INVALID and must be dropped",
            list(columns)
        ));
    }
    Migration {
        phase: Phase::Expand,
        name: format!(
            "index_{}",
            slug(&format!("{}_{}", own.name, named.join("_")))
        ),
        about: format!(
            "Index on {} ({}), built beside the writers.",
            table(own),
            list(columns)
        ),
        risks,
        up: Script::Statements(up),
        down: Script::Statements(down),
    }
}

/// CONCURRENTLY does not reach through a partitioned table: an empty index on it, one
/// built on each partition, and these attached.
fn partitioned(
    database: &Database,
    root: &QualifiedName,
    index: &QualifiedName,
    create: &str,
    tail: &str,
    names: &mut Names,
) -> (Vec<String>, Vec<String>) {
    let mut up = vec![format!(
        "{create} {} on only {} {tail}",
        ident(&index.name),
        table(root)
    )];
    let mut down = vec![format!("drop index {}", table(index))];
    let mut open = vec![(root.clone(), index.clone())];
    while let Some((parent, parent_index)) = open.pop() {
        for child in database
            .tables
            .iter()
            .filter(|t| t.parents.contains(&parent))
        {
            let name = names.index(&child.name, &[], "idx");
            let own = QualifiedName::new(child.name.schema.clone(), name);
            let inner = database
                .tables
                .iter()
                .any(|t| t.parents.contains(&child.name));
            if inner {
                up.push(format!(
                    "{create} {} on only {} {tail}",
                    ident(&own.name),
                    table(&child.name)
                ));
                open.push((child.name.clone(), own.clone()));
            } else {
                up.push(format!(
                    "{create} concurrently {} on {} {tail}",
                    ident(&own.name),
                    table(&child.name)
                ));
            }
            up.push(format!(
                "alter index {} attach partition {}",
                table(&parent_index),
                table(&own)
            ));
        }
    }
    // Dropping the whole takes its parts along.
    down.truncate(1);
    (up, down)
}

/// An index that nothing needs.
#[must_use]
pub fn drop(database: &Database, of: &Table, index: &QualifiedName) -> Option<Migration> {
    let dropped = of.indexes.iter().find(|i| &i.name == index)?;
    let partitioned = of.kind == TableKind::Partitioned;
    let concurrently = if partitioned { "" } else { "concurrently " };
    Some(Migration {
        phase: Phase::Expand,
        name: format!("drop_index_{}", slug(&index.name)),
        about: format!("Drops the index {} of {}.", table(index), table(&of.name)),
        risks: vec![format!(
            "scan counts know only this server and only the time since they were reset: look at standbys and at jobs that run rarely before {} goes",
            table(index)
        )],
        up: Script::Statements(vec![format!("drop index {concurrently}{}", table(index))]),
        down: Script::Statements(index_again(database, of, dropped)),
    })
}

/// `CREATE INDEX …` with CONCURRENTLY in it.
#[must_use]
pub fn concurrent(definition: &str) -> String {
    for head in ["CREATE UNIQUE INDEX ", "CREATE INDEX "] {
        if let Some(rest) = definition.strip_prefix(head) {
            return format!("{head}CONCURRENTLY {rest}");
        }
    }
    definition.to_owned()
}

/// An invalid index, built again.
#[must_use]
pub fn rebuild(of: &Table, index: &QualifiedName) -> Migration {
    Migration {
        phase: Phase::Expand,
        name: format!("reindex_{}", slug(&index.name)),
        about: format!("Builds the index {} of {} again.", table(index), table(&of.name)),
        risks: vec!["it fails like the first time where the cause is still there, such as values that are not unique".to_owned()],
        up: Script::Statements(vec![format!("reindex index concurrently {}", table(index))]),
        down: Script::Nothing("An index that was built again is the same index.".to_owned()),
    }
}

/// A primary key on columns that are NOT NULL and unique.
#[must_use]
pub fn primary_key(
    of: &Table,
    columns: &[String],
    existing: Option<&str>,
    names: &mut Names,
) -> Vec<Migration> {
    let own = &of.name;
    let mut migrations = Vec::new();
    if columns.is_empty() {
        return vec![surrogate(of, names)];
    }
    // A constraint's index cannot become another constraint's.
    let existing = existing.filter(|name| {
        of.indexes
            .iter()
            .any(|i| i.name.name == **name && i.constraint.is_none())
    });
    let index = existing.map_or_else(
        || {
            let name = names.index(own, &[], "pkey");
            migrations.push(Migration {
                phase: Phase::Expand,
                name: format!(
                    "primary_key_index_{}",
                    slug(&format!("{}_{}", own.name, columns.join("_")))
                ),
                about: format!("The index of the primary key that {} gets.", table(own)),
                risks: vec![format!(
                    "building it fails where two rows of {} agree in {}",
                    table(own),
                    list(columns)
                )],
                up: Script::Statements(vec![format!(
                    "create unique index concurrently {} on {} ({})",
                    ident(&name),
                    table(own),
                    list(columns)
                )]),
                down: Script::Statements(vec![format!(
                    "drop index concurrently {}",
                    table(&QualifiedName::new(own.schema.clone(), name.clone()))
                )]),
            });
            name
        },
        str::to_owned,
    );
    // The constraint takes the index over, so the way down builds it again.
    let definition = of
        .indexes
        .iter()
        .find(|i| i.name.name == index)
        .map_or_else(
            || {
                format!(
                    "CREATE UNIQUE INDEX {} ON {} ({})",
                    ident(&index),
                    table(own),
                    list(columns)
                )
            },
            |i| i.definition.clone(),
        );
    let up = vec![format!(
        "alter table {} add constraint {} primary key using index {}",
        table(own),
        ident(&index),
        ident(&index)
    )];
    let mut down = vec![
        format!(
            "alter table {} drop constraint {}",
            table(own),
            ident(&index)
        ),
        concurrent(&definition),
    ];
    if let Some(old) = of.indexes.iter().find(|i| i.name.name == index) {
        down.extend(belongings::index(of, old));
    }
    migrations.push(Migration {
        phase: Phase::Expand,
        name: format!("primary_key_{}", slug(&own.name)),
        about: format!("{} gets a primary key: ({}).", table(own), list(columns)),
        risks: Vec::new(),
        up: Script::Statements(up),
        down: Script::Statements(down),
    });
    migrations
}

/// A key of its own for a table whose columns make none.
fn surrogate(of: &Table, names: &mut Names) -> Migration {
    let own = &of.name;
    let column = names.column(own, "id", "");
    Migration {
        phase: Phase::Expand,
        name: format!("primary_key_{}", slug(&own.name)),
        about: format!(
            "{} gets a primary key of its own, {}.",
            table(own),
            ident(&column)
        ),
        risks: vec![format!(
            "the table is rewritten under ACCESS EXCLUSIVE: {} bytes. Where that takes too long, use a transform module that copies the table instead",
            of.bytes
        )],
        up: Script::Transaction(vec![format!(
            "alter table {} add column {} bigint generated by default as identity primary key",
            table(own),
            ident(&column)
        )]),
        down: Script::Transaction(vec![format!(
            "alter table {} drop column {}",
            table(own),
            ident(&column)
        )]),
    }
}
