//! `crossfade migrate repair`.

use std::process::ExitCode;

use serde_json::json;

use super::{Context, Place};
use crate::error::{Error, Kind, Result};
use crate::migrate::history::{self, Direction, Event, History, State};
use crate::migrate::session::{Limits, Session};
use crate::migrate::{Folder, Migration, recover};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only say what there is to mend
    #[arg(long)]
    dry_run: bool,
    /// All migrations up to this number are in the database already: note them as applied
    #[arg(long, value_name = "NUMBER", group = "what")]
    mark_applied: Option<i32>,
    /// This migration is not in the database any more: forget it, steps included
    #[arg(long, value_name = "NUMBER", group = "what")]
    mark_pending: Option<i32>,
    /// The file as it is now is what was applied
    #[arg(long, value_name = "NUMBER", group = "what")]
    accept_edit: Option<i32>,
    /// The interrupted statement of this migration took effect
    #[arg(long, value_name = "NUMBER", group = "what")]
    step_done: Option<i32>,
    /// It did not; run it again
    #[arg(long, value_name = "NUMBER", group = "what")]
    step_again: Option<i32>,
}

struct Repair<'a> {
    session: Session,
    history: History,
    folder: &'a Folder,
    dry_run: bool,
    did: Vec<String>,
}

pub(super) async fn run(context: &Context, place: &Place, args: &Args) -> Result<ExitCode> {
    let folder = place.folder(context)?;
    let info = place.database(context)?;
    let mut session = Session::open(&info, Limits::default()).await?;
    session
        .lock(&place.chain, &mut |holder| {
            eprintln!("waiting for another run: {holder}")
        })
        .await?;
    history::ensure(&mut session.client).await?;
    let mut repair = Repair {
        session,
        history: History {
            chain: place.chain.clone(),
        },
        folder: &folder,
        dry_run: args.dry_run,
        did: Vec::new(),
    };
    if let Some(number) = args.mark_applied {
        repair.mark_applied(number).await?;
    } else if let Some(number) = args.mark_pending {
        repair.mark_pending(number).await?;
    } else if let Some(number) = args.accept_edit {
        repair.accept_edit(number).await?;
    } else if let Some(number) = args.step_done {
        repair.step(number, true).await?;
    } else if let Some(number) = args.step_again {
        repair.step(number, false).await?;
    } else {
        repair.indexes().await?;
    }
    let mut text: String = repair.did.iter().map(|d| format!("{d}\n")).collect();
    if repair.did.is_empty() {
        text.push_str("nothing to mend\n");
    }
    context.print(&json!({"dry_run": args.dry_run, "done": repair.did}), &text);
    Ok(ExitCode::SUCCESS)
}

impl Repair<'_> {
    fn migration(&self, number: i32) -> Result<&Migration> {
        self.folder.find(number).ok_or_else(|| {
            Error::new(Kind::Config, format!("there is no migration {number:04}"))
                .remedy("`crossfade migrate status` lists them")
        })
    }

    /// Writes it down; the log says who did it.
    async fn log(&mut self, number: i32, name: &str, note: &str) -> Result<()> {
        let event = Event {
            direction: "repair",
            outcome: "done",
            note: Some(note),
            ..Event::default()
        };
        let client = &self.session.client;
        self.history.log(client, number, name, None, &event).await?;
        self.did.push(format!("{number:04}_{name}: {note}"));
        Ok(())
    }

    fn only_saying(&mut self, what: String) -> bool {
        if self.dry_run {
            self.did.push(format!("would be done: {what}"));
        }
        self.dry_run
    }

    async fn mark_applied(&mut self, number: i32) -> Result<()> {
        self.migration(number)?;
        let records = history::read(&self.session.client, &self.history.chain).await?;
        let folder = self.folder;
        for migration in folder.migrations.iter().filter(|m| m.number <= number) {
            let known = records.iter().find(|r| r.number == migration.number);
            if known.is_some_and(|r| r.state == State::Applied)
                || self.only_saying(format!("{} noted as applied", migration.label()))
            {
                continue;
            }
            let client = &self.session.client;
            self.history
                .put(client, migration, State::Applied, None)
                .await?;
            self.history.clear_steps(client, migration.number).await?;
            self.log(
                migration.number,
                &migration.name,
                "noted as applied, not run",
            )
            .await?;
        }
        Ok(())
    }

    async fn mark_pending(&mut self, number: i32) -> Result<()> {
        let records = history::read(&self.session.client, &self.history.chain).await?;
        let Some(record) = records.iter().find(|r| r.number == number) else {
            return Err(
                Error::new(Kind::Config, format!("{number:04} is not applied"))
                    .remedy("`crossfade migrate status` lists what is"),
            );
        };
        if self.only_saying(format!("{} forgotten", record.label())) {
            return Ok(());
        }
        self.history.forget(&self.session.client, number).await?;
        self.log(number, &record.name, "forgotten: pending again")
            .await
    }

    async fn accept_edit(&mut self, number: i32) -> Result<()> {
        let migration = self.migration(number)?.clone();
        let records = history::read(&self.session.client, &self.history.chain).await?;
        let applied = |r: &&history::Record| r.number == number && r.state == State::Applied;
        let Some(record) = records.iter().find(applied) else {
            return Err(
                Error::new(Kind::Config, format!("{number:04} is not applied"))
                    .remedy("a file that is not applied may be edited freely"),
            );
        };
        if self.only_saying(format!("{} taken as it is now", migration.label())) {
            return Ok(());
        }
        let client = &self.session.client;
        self.history
            .put(client, &migration, State::Applied, record.duration_ms)
            .await?;
        self.log(
            number,
            &migration.name,
            "the file as it is now is taken as applied",
        )
        .await
    }

    async fn step(&mut self, number: i32, done: bool) -> Result<()> {
        let migration = self.migration(number)?.clone();
        let mut found = None;
        for direction in [Direction::Up, Direction::Down] {
            let steps = self
                .history
                .steps(&self.session.client, number, direction)
                .await?;
            found = found.or(steps.into_iter().find(|s| !s.done).map(|s| (direction, s)));
        }
        let Some((direction, mut step)) = found else {
            return Err(Error::new(
                Kind::Config,
                format!("{} has no interrupted statement", migration.label()),
            )
            .remedy("`crossfade migrate status` shows what stands halfway"));
        };
        let words = if done { "took effect" } else { "is run again" };
        if self.only_saying(format!(
            "step {} of {} {words}",
            step.step + 1,
            migration.label()
        )) {
            return Ok(());
        }
        let client = &self.session.client;
        if done {
            step.done = true;
            self.history
                .put_step(client, number, direction, &step)
                .await?;
        } else {
            // Another hash than the step's own: it counts as not begun.
            step.hash = String::new();
            self.history
                .put_step(client, number, direction, &step)
                .await?;
        }
        let note = format!("step {} {words}", step.step + 1);
        self.log(number, &migration.name, &note).await
    }

    async fn indexes(&mut self) -> Result<()> {
        for index in recover::invalid(&self.session.client).await? {
            let what = if index.leftover {
                format!(
                    "{} dropped: REINDEX CONCURRENTLY left it behind",
                    index.index
                )
            } else {
                format!("{} on {} built again", index.index, index.table)
            };
            if self.only_saying(what) {
                continue;
            }
            let did = recover::mend(&self.session.client, &index).await?;
            self.did.push(did);
        }
        Ok(())
    }
}
