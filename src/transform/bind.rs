//! Binds a module to the tables of a database and refuses what cannot work.
//!
//! Everything found wrong is returned at once, each problem with its remedy, so
//! that a module is corrected in one go.

use tokio_postgres::Client;

use super::carried;
use super::depend::{self, Facts};
use super::module::{Mode, Module, TargetSpec};
use super::plan::{Dependencies, Plan, Target};
use super::reverse;
use crate::error::{Context, Error, Kind, Result};
use crate::pg::catalog::{self, Column, Table, TableKind};
use crate::pg::{QualifiedName, quote};

/// Where a module's tables stand now, where that is not under the names that the
/// module gives: a switch renames.
#[derive(Debug, Clone, Default)]
pub struct Places {
    pub source: Option<QualifiedName>,
    /// By position of the target; missing ones stand where the module says.
    pub targets: Vec<Option<QualifiedName>>,
    /// The targets are the application's by now: what they need of a row is between the two.
    pub live: bool,
}

/// Binds the module to the tables that have the names it gives.
///
/// # Errors
/// All problems found, at least one.
pub async fn bind(client: &mut Client, module: &Module) -> Result<Plan, Vec<Error>> {
    bind_at(client, module, &Places::default()).await
}

/// Binds the module to tables wherever they stand.
///
/// # Errors
/// As [`bind`].
pub async fn bind_at(
    client: &mut Client,
    module: &Module,
    places: &Places,
) -> Result<Plan, Vec<Error>> {
    let source = places.source.as_ref().unwrap_or(&module.source);
    let source = source_table(client, module, source)
        .await
        .map_err(|e| vec![e])?;
    let mut tables = Vec::new();
    let mut problems = Vec::new();
    for (i, spec) in module.targets.iter().enumerate() {
        let place = places.targets.get(i).and_then(Option::as_ref);
        match target_table(client, place.unwrap_or(&spec.table)).await {
            Ok(table) => tables.push(table),
            Err(e) => problems.push(e),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let plan = compile(client, module, &source, &tables, &mut problems)
        .await
        .map_err(|e| vec![e])?;
    if !places.live {
        problems.extend(missing(module, &plan));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    check_statements(client, &plan).await.map_err(|e| vec![e])?;
    Ok(plan)
}

async fn source_table(client: &Client, module: &Module, name: &QualifiedName) -> Result<Table> {
    let source = catalog::table(client, name).await?.ok_or_else(|| {
        Error::new(
            Kind::Module,
            format!(
                "module {}: source table {} does not exist",
                module.name, name
            ),
        )
        .remedy("correct `source` in transform.toml; names are read as SQL reads them")
    })?;
    match source.kind {
        TableKind::Plain | TableKind::Partitioned => {}
        TableKind::Other(_) => {
            return Err(
                Error::new(Kind::Module, format!("{} is not a table", source.name))
                    .remedy("only tables and partitioned tables can be followed in the log"),
            );
        }
    }
    source.key()?;
    Ok(source)
}

async fn target_table(client: &Client, name: &QualifiedName) -> Result<Table> {
    let table = catalog::table(client, name).await?.ok_or_else(|| {
        Error::new(Kind::Module, format!("target table {name} does not exist"))
            .remedy("create it first, with a numbered migration")
    })?;
    if let TableKind::Other(_) = table.kind {
        return Err(Error::new(
            Kind::Module,
            format!("target {name} is not a table"),
        ));
    }
    Ok(table)
}

/// Compiles every SELECT in one transaction that is rolled back.
async fn compile(
    client: &mut Client,
    module: &Module,
    source: &Table,
    tables: &[Table],
    problems: &mut Vec<Error>,
) -> Result<Plan> {
    let key = source
        .key()?
        .columns
        .iter()
        .filter_map(|c| source.column_index(c))
        .collect();
    let tx = client.transaction().await?;
    depend::prepare(&tx, source).await?;
    let mut targets: Vec<Target> = Vec::new();
    for (number, (spec, table)) in module.targets.iter().zip(tables).enumerate() {
        // A SELECT that fails poisons the transaction, not the other SELECTs.
        tx.batch_execute("savepoint compile").await?;
        let facts = match depend::facts(&tx, source, &spec.select, number).await {
            Ok(facts) => facts,
            Err(e) => {
                tx.batch_execute("rollback to savepoint compile").await?;
                problems.push(e.context(format!("module {}, {}", module.name, spec.file)));
                continue;
            }
        };
        let found = check_target(module, spec, table, source, &facts);
        problems.extend(found);
        let reads: Vec<usize> = tables
            .iter()
            .enumerate()
            .filter(|(i, t)| *i != number && facts.relations.contains(&t.oid))
            .map(|(i, _)| i)
            .collect();
        problems.extend(check_reads(module, spec, number, &reads));
        if facts.relations.contains(&source.oid) {
            problems.push(reads_table(module, spec, source));
        }
        targets.push(Target {
            arbiter: arbiter(spec, table, &facts).unwrap_or_default(),
            table: table.clone(),
            mode: spec.mode,
            key: spec.key.clone(),
            columns: facts.output.iter().map(|(name, _)| name.clone()).collect(),
            select: spec.select.clone(),
            depends: facts.depends,
            reads,
            relations: facts.relations,
            functions: facts.functions,
            rename_to: spec.rename_to.clone(),
        });
    }
    let mut plan = plan(module, source, key, targets);
    if problems.is_empty() {
        plan.reverse = reverse::compile(&tx, &plan, problems).await?;
    }
    tx.rollback().await?;
    Ok(plan)
}

fn plan(module: &Module, source: &Table, key: Vec<usize>, targets: Vec<Target>) -> Plan {
    let whole = targets.iter().any(|t| t.depends == Dependencies::WholeRow);
    let used = (0..source.columns.len())
        .filter(|i| whole || key.contains(i) || targets.iter().any(|t| t.depends.on(*i)))
        .collect();
    Plan {
        module: module.clone(),
        source: source.clone(),
        key,
        used,
        targets,
        reverse: None,
    }
}

/// Targets are written in their order, lookups before all others.
fn check_reads(
    module: &Module,
    spec: &TargetSpec,
    number: usize,
    reads: &[usize],
) -> Option<Error> {
    let bad = reads.iter().find(|&&r| {
        let lookup = module.targets[r].mode == Mode::Lookup;
        if spec.mode == Mode::Lookup {
            !lookup || r > number
        } else {
            !lookup && r > number
        }
    })?;
    Some(
        Error::new(
            Kind::Module,
            format!(
                "{} reads {}, which is written later",
                spec.file, module.targets[*bad].table
            ),
        )
        .remedy(
            "order the targets so that what is read comes first; lookups are written first of all",
        ),
    )
}

/// Another row's change would not make this row's targets anew, and the switch may take the
/// table's name away.
fn reads_table(module: &Module, spec: &TargetSpec, source: &Table) -> Error {
    Error::new(
        Kind::Module,
        format!(
            "module {}, {}: it reads the table {} itself",
            module.name, spec.file, source.name
        ),
    )
    .remedy("read the relation `source`, which has the rows that are copied or have changed")
}

/// The unique index by which rows are matched: all its columns are produced, none
/// can be NULL, and it contains the target's key (equals it, for a lookup).
fn arbiter(spec: &TargetSpec, table: &Table, facts: &Facts) -> Option<Vec<String>> {
    table
        .unique
        .iter()
        .filter(|u| u.immediate && u.all_not_null)
        .filter(|u| {
            u.columns
                .iter()
                .all(|c| facts.output.iter().any(|(name, _)| name == c))
        })
        .filter(|u| spec.key.iter().all(|k| u.columns.contains(k)))
        .find(|u| spec.mode == Mode::Rows || u.columns.len() == spec.key.len())
        .map(|u| u.columns.clone())
}

/// The source's key columns where the target is to carry them.
fn key_columns<'a>(spec: &TargetSpec, source: &'a Table) -> Vec<&'a Column> {
    match (spec.mode, source.key()) {
        (Mode::Rows, Ok(key)) => key
            .columns
            .iter()
            .filter_map(|c| source.column(c))
            .collect(),
        _ => Vec::new(),
    }
}

/// What a row of the target must have and the SELECT does not give.
fn missing(module: &Module, plan: &Plan) -> Vec<Error> {
    let mut problems = Vec::new();
    for (target, spec) in plan.targets.iter().zip(&module.targets) {
        problems.extend(target.unproduced().map(|column| {
            Error::new(
                Kind::Module,
                format!(
                    "module {}, {}: column {column} of {} is NOT NULL, has no default and is not produced",
                    module.name, spec.file, target.table.name
                ),
            )
            .remedy("select a value for it, or give the column a default")
        }));
    }
    problems
}

/// What can be said of one target without running anything.
fn check_target(
    module: &Module,
    spec: &TargetSpec,
    table: &Table,
    source: &Table,
    facts: &Facts,
) -> Vec<Error> {
    let place = format!("module {}, {}", module.name, spec.file);
    let mut problems = Vec::new();
    let mut refuse = |message: String, remedy: &str| {
        problems.push(Error::new(Kind::Module, format!("{place}: {message}")).remedy(remedy));
    };
    for (name, _) in &facts.output {
        match table.column(name) {
            None => refuse(
                format!("{} has no column {}", table.name, quote(name)),
                "name every output column after a column of the target",
            ),
            Some(c) if c.generated => refuse(
                format!("column {} of {} is generated", quote(name), table.name),
                "leave it out: the server computes it",
            ),
            Some(_) => {}
        }
    }
    let produced = |name: &str| facts.output.iter().any(|(n, _)| n == name);
    for k in &spec.key {
        match table.column(k) {
            None => refuse(
                format!("key column {} is not in {}", quote(k), table.name),
                "correct the key",
            ),
            Some(_) if !produced(k) => {
                refuse(
                    format!("the SELECT does not produce the key column {}", quote(k)),
                    "select it",
                );
            }
            Some(c) if !c.not_null => refuse(
                format!("key column {} of {} can be NULL", quote(k), table.name),
                "make the column NOT NULL",
            ),
            Some(_) => {}
        }
    }
    if spec.mode == Mode::Rows
        && source
            .key()
            .is_ok_and(|key| key.columns.len() != spec.key.len())
    {
        refuse(
            format!(
                "`source_key` of {} has not as many columns as the key of {}",
                table.name, source.name
            ),
            "list the target columns in the order of the source's key",
        );
    }
    for (k, column) in spec.key.iter().zip(key_columns(spec, source)) {
        if let Some(c) = table.column(k).filter(|c| carried::rounds(column, c)) {
            refuse(
                format!(
                    "key column {} of {} is {}, which would make other values of the key's {}",
                    c.quoted(),
                    table.name,
                    c.type_sql,
                    column.type_sql
                ),
                "give it the type of the source's key: two rows could share a key",
            );
        }
    }
    if !facts.reads_source && !facts.relations.contains(&source.oid) {
        refuse(
            "the SELECT does not read the relation `source`".to_owned(),
            "read it: it has the rows that are copied or have changed",
        );
    }
    if problems.is_empty() && arbiter(spec, table, facts).is_none() {
        problems.push(no_arbiter(&place, spec, table));
    }
    for function in &facts.unstable {
        problems.push(
            Error::new(
                Kind::Module,
                format!("{place}: {function} can give another value each time it runs"),
            )
            .remedy("derive the value from the row: copy, stream and verify must agree"),
        );
    }
    for (i, c) in source
        .columns
        .iter()
        .enumerate()
        .filter(|(_, c)| c.generated)
    {
        if facts.depends.on(i) {
            problems.push(
                Error::new(
                    Kind::Module,
                    format!(
                        "{place}: column {} of {} is generated and absent from the log",
                        c.quoted(),
                        source.name
                    ),
                )
                .remedy("compute it in the SELECT from the columns it is made of"),
            );
        }
    }
    problems
}

fn no_arbiter(place: &str, spec: &TargetSpec, table: &Table) -> Error {
    let key: Vec<_> = spec.key.iter().map(|k| quote(k)).collect();
    let what = match spec.mode {
        Mode::Rows => "contains",
        Mode::Lookup => "is exactly",
    };
    Error::new(
        Kind::Module,
        format!(
            "{place}: {} has no unique index that {what} ({}), with NOT NULL columns that the SELECT produces",
            table.name,
            key.join(", ")
        ),
    )
    .remedy("add such a primary key or unique constraint: without it an upsert could touch another row's data")
}

/// Has the server prepare every statement that apply will run: types that do not
/// fit are found here and not at the first row.
async fn check_statements(client: &Client, plan: &Plan) -> Result<()> {
    let all: Vec<usize> = (0..plan.targets.len()).collect();
    let types = vec![postgres_types::Type::TEXT_ARRAY; plan.used.len() + plan.key.len()];
    let mut statements = plan.insert_lookups(&plan.source_images(), &all);
    statements.extend(plan.merge(&all));
    statements.push(plan.delete_touched(&all));
    for sql in &statements {
        client
            .prepare_typed(sql, &types)
            .await
            .map_err(|e| {
                let error = Error::from(e);
                Error {
                    kind: depend::blame(error.kind),
                    ..error
                }
            })
            .context(format!(
                "module {}: its rows do not fit the targets",
                plan.module.name
            ))?;
    }
    Ok(())
}
