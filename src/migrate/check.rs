//! Proves that migrations can be taken back: each goes up, down and up again on a fresh
//! database, and the catalog and the rows are compared at every step. Then the whole
//! chain goes down and up once more.
//!
//! Each migration is tried alone on top of those before it, so that a fault is found in
//! the file that has it. After a fault the database is made anew, and the next file is
//! judged as if the fault were not there.

mod contents;
mod numbers;
mod rows;
mod scratch;

use std::collections::BTreeMap;

use self::contents::Contents;
use self::scratch::Scratch;
use super::folder::{Down, Folder, Migration};
use super::guard;
use super::history::Direction;
use super::snapshot::{Difference, Snapshot};
use super::trace::Entry;
use crate::error::{Error, Kind, Result};
use crate::pg::ConnInfo;

/// How well a migration is taken back; the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Exact,
    /// It says that it cannot be, and why.
    Irreversible,
    /// Only the order of a table's columns is another.
    ColumnOrder,
    /// The schema is back, values are not.
    LosesData,
    /// A statement fails, or the schema is not what it was.
    Broken,
}

impl Class {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Irreversible => "irreversible",
            Self::ColumnOrder => "column order only",
            Self::LosesData => "loses data",
            Self::Broken => "broken",
        }
    }

    /// Whether CI may go on.
    #[must_use]
    pub fn is_fine(self) -> bool {
        matches!(self, Self::Exact | Self::Irreversible)
    }
}

/// One migration, judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    pub number: i32,
    pub label: String,
    pub class: Class,
    /// The file that is to blame.
    pub file: String,
    pub details: Vec<String>,
    /// What could not be shown.
    pub notes: Vec<String>,
    /// Statements that stop reads or writes of tables that were there before, both ways.
    pub locks: Vec<Entry>,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    pub judged: Vec<Judged>,
    /// Migrations behind one that cannot be applied.
    pub unjudged: Vec<String>,
    /// Whether the whole chain went down and up again, compared at every step.
    pub whole: bool,
}

impl Report {
    #[must_use]
    pub fn worst(&self) -> Class {
        let worst = self.judged.iter().map(|j| j.class).max();
        worst.unwrap_or(Class::Exact)
    }

    #[must_use]
    pub fn is_fine(&self) -> bool {
        self.unjudged.is_empty() && self.judged.iter().all(|j| j.class.is_fine())
    }
}

/// What to judge.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Earlier migrations are applied, not judged.
    pub from: Option<i32>,
    pub accept: Vec<String>,
}

/// Checks a folder on the server of `info`, in databases of its own that are dropped
/// afterwards. `progress` is told each migration that has been judged.
///
/// # Errors
/// Where no database can be made, or the server is lost; faults of the migrations are
/// in the report.
pub async fn check(
    info: &ConnInfo,
    folder: &Folder,
    options: &Options,
    progress: &mut (dyn FnMut(&Judged) + Send),
) -> Result<Report> {
    let mut scratch = Scratch::create(info).await?;
    let outcome = Checker {
        scratch: &mut scratch,
        folder,
        options,
        states: BTreeMap::new(),
        synthetic: true,
    }
    .run(progress)
    .await;
    let dropped = scratch.drop().await;
    let report = outcome?;
    dropped?;
    Ok(report)
}

struct Checker<'a> {
    scratch: &'a mut Scratch,
    folder: &'a Folder,
    options: &'a Options,
    /// The schema after each migration; 0 is the empty database.
    states: BTreeMap<i32, Snapshot>,
    /// Whether tables without a seed get rows made up for them.
    synthetic: bool,
}

impl Checker<'_> {
    async fn run(mut self, progress: &mut (dyn FnMut(&Judged) + Send)) -> Result<Report> {
        let mut report = Report::default();
        let empty = self.scratch.snapshot().await?;
        self.states.insert(0, empty);
        let mut before = 0;
        for (at, migration) in self.folder.migrations.iter().enumerate() {
            let judged = self.judge(before, migration).await?;
            let stuck =
                judged.class == Class::Broken && !self.states.contains_key(&migration.number);
            if self
                .options
                .from
                .is_none_or(|from| migration.number >= from)
            {
                progress(&judged);
                report.judged.push(judged);
            }
            if stuck {
                let rest = &self.folder.migrations[at + 1..];
                report.unjudged = rest.iter().map(Migration::label).collect();
                return Ok(report);
            }
            before = migration.number;
        }
        self.whole(&mut report).await?;
        Ok(report)
    }

    /// Up, down, up of one migration on top of those before it.
    async fn judge(&mut self, before: i32, migration: &Migration) -> Result<Judged> {
        let mut judged = Judged::of(migration);
        let mut rows = self.scratch.contents().await?;
        let verdict = guard::look(&self.scratch.session.client, &[&migration.up]).await?;
        if let Err(e) = verdict.accept(&self.options.accept) {
            judged.blame(Class::Broken, &migration.up.file, e.to_string());
        }
        if let Err(e) = self.up(before, migration, &mut rows, &mut judged).await? {
            judged.blame(Class::Broken, &migration.up.file, e.to_string());
            return Ok(judged);
        }
        let after = self.scratch.snapshot().await?;
        self.states.insert(migration.number, after);
        match &migration.down {
            Down::Irreversible(why) => {
                judged.class = judged.class.max(Class::Irreversible);
                judged.details.push(why.clone());
            }
            Down::Script(_) => {
                self.there_and_back(before, migration, &rows, &mut judged)
                    .await?
            }
        }
        self.fill(migration, &mut judged).await?;
        Ok(judged)
    }

    /// Applies it; where made-up rows were in the way, once more without them.
    async fn up(
        &mut self,
        before: i32,
        migration: &Migration,
        rows: &mut Contents,
        judged: &mut Judged,
    ) -> Result<Result<(), Error>> {
        let outcome = self.scratch.trace(migration, Direction::Up).await;
        let error = match outcome {
            Ok(locks) => {
                judged.locks = locks;
                return Ok(Ok(()));
            }
            Err(error) => error,
        };
        lost(&error)?;
        if !(self.synthetic && error.is_bad_row()) {
            return Ok(Err(error));
        }
        self.synthetic = false;
        self.rebuild(before, true).await?;
        *rows = self.scratch.contents().await?;
        judged.notes.push(
            "the rows that were made up do not fit it: from here on only seeds are used (NNNN_name.seed.sql)".to_owned(),
        );
        let outcome = self.scratch.trace(migration, Direction::Up).await;
        Ok(outcome.map(|locks| judged.locks = locks))
    }

    async fn there_and_back(
        &mut self,
        before: i32,
        migration: &Migration,
        rows: &Contents,
        judged: &mut Judged,
    ) -> Result<()> {
        let down = migration.down()?.file.clone();
        let mut clean = true;
        match self.scratch.trace(migration, Direction::Down).await {
            Ok(locks) => judged.locks.extend(locks),
            Err(e) => {
                lost(&e)?;
                judged.blame(Class::Broken, &down, format!("down fails: {e}"));
                return self.rebuild(migration.number, false).await;
            }
        }
        let found = self.scratch.snapshot().await?;
        let differences = self.states[&before].compare(&found);
        if let Some(class) = class_of(&differences) {
            clean = false;
            for difference in &differences {
                judged.blame(class, &down, format!("after down: {difference}"));
            }
        }
        for loss in rows.lost(&self.scratch.contents().await?) {
            judged.blame(Class::LosesData, &down, format!("after down: {loss}"));
            clean = false;
        }
        if rows.is_empty() && before > 0 && destroys(migration) {
            judged.notes.push(
                "no rows to lose were there: write a seed to show what becomes of them".to_owned(),
            );
        }
        if let Err(e) = self.scratch.apply(migration, Direction::Up).await {
            lost(&e)?;
            judged.blame(Class::Broken, &down, format!("up after down fails: {e}"));
            return self.rebuild(migration.number, false).await;
        }
        let found = self.scratch.snapshot().await?;
        let differences = self.states[&migration.number].compare(&found);
        if let Some(class) = class_of(&differences)
            && class > judged.class
        {
            for difference in &differences {
                judged.blame(class, &down, format!("after down and up: {difference}"));
            }
            clean = false;
        }
        if !clean {
            self.rebuild(migration.number, false).await?;
        }
        Ok(())
    }

    /// Rows for the next migrations to prove themselves on.
    async fn fill(&mut self, migration: &Migration, judged: &mut Judged) -> Result<()> {
        if let Some(seed) = &migration.seed
            && let Err(e) = self.scratch.seed(seed).await
        {
            lost(&e)?;
            judged.blame(Class::Broken, &seed.file, format!("the seed fails: {e}"));
        }
        if self.synthetic {
            judged
                .notes
                .extend(rows::make(&self.scratch.session.client).await?);
        }
        Ok(())
    }

    /// A fresh database with everything up to `number`, rows included; those of the last
    /// migration only where `fill` says so.
    async fn rebuild(&mut self, number: i32, fill: bool) -> Result<()> {
        self.scratch.renew().await?;
        let migrations = self.folder.migrations.iter();
        for migration in migrations.take_while(|m| m.number <= number) {
            self.scratch.apply(migration, Direction::Up).await?;
            if fill || migration.number < number {
                self.fill(migration, &mut Judged::of(migration)).await?;
            }
        }
        Ok(())
    }

    /// All the way down with rows in every table, and up again.
    async fn whole(&mut self, report: &mut Report) -> Result<()> {
        let last = self.folder.newest();
        let mut numbers: Vec<i32> = vec![0];
        numbers.extend(self.folder.migrations.iter().map(|m| m.number));
        let bottom = self
            .folder
            .migrations
            .iter()
            .filter(|m| matches!(m.down, Down::Irreversible(_)))
            .map(|m| m.number)
            .max()
            .unwrap_or(0);
        if report.judged.iter().any(|j| j.class == Class::Broken) || bottom == last {
            return Ok(());
        }
        for direction in [Direction::Down, Direction::Up] {
            let mut chain: Vec<&Migration> = self
                .folder
                .migrations
                .iter()
                .filter(|m| m.number > bottom)
                .collect();
            if direction == Direction::Down {
                chain.reverse();
            }
            for migration in chain {
                let outcome = self.scratch.apply(migration, direction).await;
                let place = numbers
                    .iter()
                    .position(|n| *n == migration.number)
                    .unwrap_or(0);
                let state = match direction {
                    Direction::Up => migration.number,
                    Direction::Down => numbers[place.saturating_sub(1)],
                };
                let words = format!("with the whole chain going {}", direction.name());
                let blame = match outcome {
                    Err(e) => {
                        lost(&e)?;
                        Some((Class::Broken, format!("{words}: {e}")))
                    }
                    Ok(()) => {
                        let found = self.scratch.snapshot().await?;
                        let differences = self.states[&state].compare(&found);
                        class_of(&differences)
                            .map(|class| (class, format!("{words}: {}", differences[0])))
                    }
                };
                let Some((class, detail)) = blame else {
                    continue;
                };
                let file = match (direction, &migration.down) {
                    (Direction::Down, Down::Script(down)) => &down.file,
                    _ => &migration.up.file,
                };
                // What was found file by file is told already.
                match report
                    .judged
                    .iter_mut()
                    .find(|j| j.number == migration.number)
                {
                    Some(judged) if judged.class < class => judged.blame(class, file, detail),
                    _ => {}
                }
                if class == Class::Broken {
                    return Ok(());
                }
            }
        }
        report.whole = true;
        Ok(())
    }
}

impl Judged {
    fn of(migration: &Migration) -> Self {
        Self {
            number: migration.number,
            label: migration.label(),
            class: Class::Exact,
            file: migration.up.file.clone(),
            details: Vec::new(),
            notes: Vec::new(),
            locks: Vec::new(),
        }
    }

    fn blame(&mut self, class: Class, file: &str, detail: String) {
        if class > self.class {
            self.class = class;
            file.clone_into(&mut self.file);
        }
        self.details.push(detail);
    }
}

/// `None` for no difference.
fn class_of(differences: &[Difference]) -> Option<Class> {
    if differences.is_empty() {
        return None;
    }
    let order = differences.iter().all(Difference::is_order);
    Some(if order {
        Class::ColumnOrder
    } else {
        Class::Broken
    })
}

/// Whether a text takes rows or values away, as far as its words tell.
fn destroys(migration: &Migration) -> bool {
    use crate::sql::Operation as O;
    migration.up.statements().flat_map(|s| &s.parts).any(|p| {
        matches!(
            p.operation,
            O::DropColumn { .. } | O::AlterType { .. } | O::Truncate { .. } | O::Write { .. }
        )
    })
}

/// A lost server is no fault of a migration.
fn lost(error: &Error) -> Result<()> {
    if error.kind == Kind::Connection {
        return Err(Error::new(Kind::Connection, error.message.clone()));
    }
    Ok(())
}
