//! Foreign keys: checked for new rows first, for those that are there afterwards.

use super::super::schema::{Database, ForeignKey, Table, TableKind};
use super::belongings;
use super::migration::{Migration, Phase, Script, together};
use super::name::{Names, ident, kept, list, slug, table};
use super::obstacle;
use super::trigger;
use crate::pg::QualifiedName;
use crate::pg::ident::literal;

/// A reference that is to be declared.
pub struct Wanted<'a> {
    pub child: &'a Table,
    pub columns: &'a [String],
    pub parent: &'a QualifiedName,
    pub parent_columns: &'a [String],
    /// Rows that refer to nothing.
    pub orphans: u64,
}

/// The constraint for new rows, the rows that refer to nothing set aside, and the check
/// of what is there: one file, since taking a part of it back would leave the rest of it.
///
/// # Errors
/// Why the plan leaves it to people.
pub fn add(
    database: &Database,
    wanted: &Wanted<'_>,
    names: &mut Names,
) -> Result<Migration, String> {
    let own = &wanted.child.name;
    if wanted.child.kind == TableKind::Partitioned {
        return Err(format!(
            "{own} is partitioned: a foreign key on it cannot be added NOT VALID, and checking every row would keep writers of both tables waiting. Add it to each partition NOT VALID, validate these, then add it to {own}"
        ));
    }
    if wanted.orphans > 0 {
        obstacle::written(wanted.child)?;
    }
    let constraint = names.constraint(own, wanted.columns, "_fkey");
    let validate = format!(
        "alter table {} validate constraint {}",
        table(own),
        ident(&constraint)
    );
    let mut up = vec![not_valid(wanted, &constraint)];
    let mut down = vec![format!(
        "alter table {} drop constraint {}",
        table(own),
        ident(&constraint)
    )];
    let mut about = format!(
        "{} ({}) refers to {}: from now on for what is written, then for the rows that are there; writers go on.",
        table(own),
        list(wanted.columns),
        table(wanted.parent)
    );
    let mut risks = vec![format!(
        "an application that writes a row of {own} before the one it refers to meets SQLSTATE 23503 from now on"
    )];
    if wanted.orphans == 0 {
        up.push(validate);
        risks.push(format!(
            "reads every row of {own}; it fails where one refers to nothing, and the rows are as they were then"
        ));
    } else if let Some(aside) = Aside::of(wanted, names) {
        up.splice(0..0, aside.create);
        up = together(up);
        up.extend(aside.clear);
        up.push(validate);
        // The values lead nowhere: they come back once nothing checks them.
        down.extend(aside.restore);
        about.push(' ');
        about.push_str(&aside.about);
        risks.push(aside.risk);
        risks.extend(trigger::fired(
            database,
            wanted.child,
            wanted.columns,
            "setting values to NULL, and putting them back on the way down, fires",
        ));
    } else {
        about = format!(
            "{} ({}) refers to {}: from now on for what is written.",
            table(own),
            list(wanted.columns),
            table(wanted.parent)
        );
        risks.push(format!(
            "{} rows of {own} refer to nothing, and the plan cannot set their column to NULL: decide what becomes of them, then run `{validate}`",
            wanted.orphans,
        ));
    }
    Ok(Migration {
        phase: Phase::Expand,
        name: format!(
            "foreign_key_{}",
            slug(&format!("{}_{}", own.name, wanted.columns.join("_")))
        ),
        about,
        risks,
        // The lock of the constraint is not held while rows are read or written.
        up: Script::Statements(up),
        down: Script::Statements(down),
    })
}

fn not_valid(wanted: &Wanted<'_>, constraint: &str) -> String {
    format!(
        "alter table {}\n    add constraint {} foreign key ({}) references {} ({}) not valid",
        table(&wanted.child.name),
        ident(constraint),
        list(wanted.columns),
        table(wanted.parent),
        list(wanted.parent_columns)
    )
}

/// The check of the rows that are there: readers and writers go on meanwhile.
#[must_use]
pub fn validate(own: &QualifiedName, constraint: &str) -> Migration {
    Migration {
        phase: Phase::Expand,
        name: format!("validate_{}", slug(constraint)),
        about: format!(
            "Checks the rows of {} that were there before {}; writers go on.",
            table(own),
            ident(constraint)
        ),
        risks: vec![format!(
            "reads every row of {own}; it fails where one refers to nothing, and changes nothing then"
        )],
        up: Script::Statements(vec![format!(
            "alter table {} validate constraint {}",
            table(own),
            ident(constraint)
        )]),
        down: Script::Transaction(vec![unchecked(own, constraint)]),
    }
}

/// The constraint as it was before its rows were checked. How else it was declared (its actions,
/// whether it is deferrable) the server knows best.
fn unchecked(own: &QualifiedName, constraint: &str) -> String {
    let (own, name) = (literal(&table(own)), literal(constraint));
    let (own, name) = (own.trim_start(), name.trim_start());
    format!(
        "do $unchecked$\ndeclare\n    was record;\nbegin\n    \
         select pg_get_constraintdef(oid) as definition, obj_description(oid, 'pg_constraint') as comment\n    \
         into strict was\n    \
         from pg_constraint\n    \
         where conrelid = {own}::regclass and conname = {name};\n    \
         execute format('alter table %s drop constraint %I, add constraint %2$I %s not valid', {own}, {name}, was.definition);\n    \
         execute format('comment on constraint %I on %s is %L', {name}, {own}, was.comment);\n\
         end\n$unchecked$"
    )
}

/// Where dangling values are kept before they are set to NULL.
struct Aside {
    create: Vec<String>,
    /// Takes them out of the table.
    clear: Vec<String>,
    restore: Vec<String>,
    about: String,
    risk: String,
}

impl Aside {
    /// `None` where a column cannot be NULL, or the table has no key to keep them by.
    fn of(wanted: &Wanted<'_>, names: &mut Names) -> Option<Self> {
        let child = wanted.child;
        let key = &child.primary_key.as_ref()?.columns;
        let nullable = |name: &String| child.column(name).is_some_and(|c| !c.not_null);
        if !wanted.columns.iter().all(nullable) {
            return None;
        }
        let aside = names.relation(&QualifiedName::new(
            child.name.schema.clone(),
            format!("{}_{}_orphans", child.name.name, wanted.columns.join("_")),
        ));
        let columns: Vec<String> = [&key[..], wanted.columns].concat();
        let mut definition = Vec::new();
        for name in &columns {
            let kind = belongings::typed(child, child.column(name)?);
            definition.push(format!("{} {kind}", ident(name)));
        }
        definition.push(format!("primary key ({})", list(key)));
        let set = |value: &dyn Fn(&str) -> String| {
            let set: Vec<_> = wanted.columns.iter().map(|c| value(&ident(c))).collect();
            set.join(", ")
        };
        let all = |says: &dyn Fn(&str) -> String| {
            let all: Vec<_> = wanted.columns.iter().map(|c| says(&ident(c))).collect();
            all.join(" and ")
        };
        let update = |set: String, still: String| {
            format!(
                "update {} t set {set}\nfrom {} a\nwhere {} and {still}",
                table(&child.name),
                table(&aside),
                joined(("t", key), ("a", key))
            )
        };
        let empty = all(&|c| format!("t.{c} is null"));
        // A writer may have mended the row, or added what it refers to.
        let dangling = format!(
            "{}\n  and {}",
            all(&|c| format!("t.{c} = a.{c}")),
            refers_to_nothing(wanted)
        );
        let mended = format!(
            "delete from {} a\nwhere not exists (select from {} t where {} and {empty})",
            table(&aside),
            table(&child.name),
            joined(("t", key), ("a", key))
        );
        let batched = |update: String| match &key[..] {
            [only] => format!(
                "-- batch: {} by {only}, 5000 rows\n{update} and t.{only} between $1 and $2",
                table(&child.name),
                only = ident(only)
            ),
            _ => update,
        };
        Some(Self {
            create: vec![
                format!(
                    "create table {} (\n    {}\n)",
                    table(&aside),
                    definition.join(",\n    ")
                ),
                kept(&aside),
            ],
            restore: vec![
                batched(update(set(&|c| format!("{c} = a.{c}")), empty)),
                format!("drop table {}", table(&aside)),
            ],
            clear: vec![
                collect(wanted, &aside, &columns),
                batched(update(set(&|c| format!("{c} = null")), dangling)),
                mended,
            ],
            about: format!(
                "Values that refer to nothing are kept in {} and set to NULL; the way down puts them back where the column is NULL still.",
                table(&aside)
            ),
            risk: format!(
                "{} rows of {} lose a value that leads nowhere; it stays in {aside}. Where they should be deleted or mended otherwise, do that instead, and leave the statements between ADD CONSTRAINT and VALIDATE out",
                wanted.orphans, child.name
            ),
        })
    }
}

/// Copies the rows that refer to nothing.
fn collect(wanted: &Wanted<'_>, aside: &QualifiedName, columns: &[String]) -> String {
    let filled: Vec<_> = wanted
        .columns
        .iter()
        .map(|c| format!("t.{} is not null", ident(c)))
        .collect();
    let values: Vec<_> = columns.iter().map(|c| format!("t.{}", ident(c))).collect();
    format!(
        "insert into {} ({})\nselect {}\nfrom {} t\nwhere {}\n  and {}\non conflict do nothing",
        table(aside),
        list(columns),
        values.join(", "),
        table(&wanted.child.name),
        filled.join(" and "),
        refers_to_nothing(wanted)
    )
}

/// That the row `t` refers to nothing.
fn refers_to_nothing(wanted: &Wanted<'_>) -> String {
    format!(
        "not exists (select from {} p where {})",
        table(wanted.parent),
        joined(("p", wanted.parent_columns), ("t", wanted.columns))
    )
}

/// `a.x = b.y and …`
fn joined(left: (&str, &[String]), right: (&str, &[String])) -> String {
    let pairs: Vec<_> = left
        .1
        .iter()
        .zip(right.1)
        .map(|(a, b)| format!("{}.{} = {}.{}", left.0, ident(a), right.0, ident(b)))
        .collect();
    pairs.join(" and ")
}

/// A foreign key that another one makes superfluous.
#[must_use]
pub fn drop(of: &Table, key: &ForeignKey) -> Migration {
    let own = table(&of.name);
    let name = ident(&key.name);
    // How it was declared the server knows best.
    let definition = of
        .belongings
        .constraints
        .get(&key.name)
        .map_or_else(String::new, |c| c.definition.clone());
    let add = format!("alter table {own}\n    add constraint {name} {definition}");
    let mut risks = Vec::new();
    let mut down = if of.kind == TableKind::Partitioned {
        risks.push(format!(
            "the way down checks every row of {} while writers wait: on a partitioned table it cannot be NOT VALID first",
            of.name
        ));
        vec![add]
    } else {
        let validate = format!("alter table {own} validate constraint {name}");
        let validate = key.valid.then_some(validate);
        [Some(format!("{add} not valid")), validate]
            .into_iter()
            .flatten()
            .collect()
    };
    down.extend(belongings::constraint(of, &key.name));
    Migration {
        phase: Phase::Expand,
        name: format!("drop_foreign_key_{}", slug(&key.name)),
        about: format!("Drops the foreign key {name} of {own}."),
        risks,
        up: Script::Transaction(vec![format!("alter table {own} drop constraint {name}")]),
        down: Script::Statements(down),
    }
}

/// The foreign keys of other tables and its own that use a column.
#[must_use]
pub fn uses(database: &Database, of: &Table, column: &str) -> bool {
    of.in_foreign_key(column)
        || database.tables.iter().any(|t| {
            t.foreign_keys.iter().any(|f| {
                f.referenced == of.name && f.referenced_columns.iter().any(|c| c == column)
            })
        })
}
