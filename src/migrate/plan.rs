//! The files beside the history: what is to be done, and what does not fit. Pure.

use super::diff;
use super::folder::{Folder, Migration};
use super::history::{Direction, Record, State, conflict};
use crate::error::{Error, Result};

/// How a migration of the folder stands in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Pending,
    Applied,
    Halfway(Direction),
    /// Applied, and the file was edited since.
    Edited,
}

impl Standing {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Applied => "applied",
            Self::Halfway(Direction::Up) => "going up",
            Self::Halfway(Direction::Down) => "going down",
            Self::Edited => "edited",
        }
    }
}

/// The folder and what the database says of it.
#[derive(Debug)]
pub struct Plan<'a> {
    pub folder: &'a Folder,
    pub records: &'a [Record],
}

impl<'a> Plan<'a> {
    #[must_use]
    pub fn record(&self, number: i32) -> Option<&'a Record> {
        self.records.iter().find(|r| r.number == number)
    }

    #[must_use]
    pub fn standing(&self, migration: &Migration) -> Standing {
        match self.record(migration.number) {
            None => Standing::Pending,
            Some(record) => match record.state {
                State::Halfway(direction) => Standing::Halfway(direction),
                State::Applied if record.checksum == migration.up.checksum() => Standing::Applied,
                State::Applied => Standing::Edited,
            },
        }
    }

    /// The highest number that is applied in full.
    #[must_use]
    pub fn version(&self) -> i32 {
        let applied = self.records.iter().filter(|r| r.state == State::Applied);
        applied.map(|r| r.number).max().unwrap_or(0)
    }

    /// What was changed in a file since it was applied.
    #[must_use]
    pub fn edit(&self, migration: &Migration) -> Option<String> {
        let record = self.record(migration.number)?;
        (self.standing(migration) == Standing::Edited)
            .then(|| diff::lines(&record.up, &migration.up.stored()))
    }

    /// Everything about the history that does not fit the files.
    #[must_use]
    pub fn conflicts(&self) -> Vec<Error> {
        let mut found = Vec::new();
        for record in self.records {
            let Some(migration) = self.folder.find(record.number) else {
                // Files of the beginning may have been squashed away.
                if record.number >= self.folder.oldest() {
                    found.push(conflict(
                        format!("{} is applied, but its file is not here", record.label()),
                        "bring the file back, or take the migration back with the version that has it; `crossfade migrate status` lists both sides",
                    ));
                }
                continue;
            };
            if migration.name != record.name {
                found.push(conflict(
                    format!(
                        "number {:04} was applied as {}, the file is {}",
                        record.number,
                        record.label(),
                        migration.label()
                    ),
                    "give the new file the next free number; a file that was only renamed: `crossfade migrate repair --accept-edit NUMBER`",
                ));
            } else if let Some(diff) = self.edit(migration) {
                found.push(conflict(
                    format!(
                        "{} was edited after it was applied ({} by {}):\n{}",
                        record.label(),
                        record.at,
                        record.by,
                        diff.trim_end()
                    ),
                    format!(
                        "undo the edit and write a new migration; where the edit changes nothing that counts: `crossfade migrate repair --accept-edit {}`",
                        record.number
                    ),
                ));
            }
        }
        found.extend(self.out_of_order());
        found
    }

    /// A file that came in below one that is applied, as after merging a branch. Whoever
    /// adopts a database notes every file up to a number as applied.
    fn out_of_order(&self) -> Option<Error> {
        let newest = self.records.iter().map(|r| r.number).max()?;
        let late = self
            .folder
            .migrations
            .iter()
            .find(|m| m.number < newest && self.record(m.number).is_none())?;
        Some(conflict(
            format!(
                "{} is not applied, but {newest:04} already is",
                late.label()
            ),
            format!(
                "give it the next free number ({:04}); a database that has it anyway: `crossfade migrate repair --mark-applied {}`",
                self.folder.newest() + 1,
                late.number
            ),
        ))
    }

    /// What `up` has to do, in order; first of all what stands halfway.
    ///
    /// # Errors
    /// A conflict, an unknown number, or a migration that stands halfway down.
    pub fn up(&self, to: Option<i32>) -> Result<Vec<&'a Migration>> {
        self.fits(to)?;
        for record in self.records {
            if record.state == State::Halfway(Direction::Down) {
                return Err(conflict(
                    format!("{} is halfway down", record.label()),
                    "`crossfade migrate down` finishes it; then `up` can begin",
                ));
            }
        }
        Ok(self
            .folder
            .migrations
            .iter()
            .filter(|m| to.is_none_or(|to| m.number <= to))
            .filter(|m| match self.record(m.number) {
                None => true,
                Some(record) => record.state == State::Halfway(Direction::Up),
            })
            .collect())
    }

    /// What `down` has to take back, the newest first.
    ///
    /// # Errors
    /// A conflict, an unknown number, or a migration that stands halfway up.
    pub fn down(&self, to: Option<i32>) -> Result<Vec<&'a Migration>> {
        if to != Some(0) {
            self.fits(to)?;
        }
        if let Some(conflict) = self.conflicts().into_iter().next() {
            return Err(conflict);
        }
        if let Some(record) = self
            .records
            .iter()
            .find(|r| r.state == State::Halfway(Direction::Up))
        {
            return Err(conflict(
                format!("{} is halfway up", record.label()),
                format!(
                    "`crossfade migrate up` finishes it, also with what remains of the file corrected; or undo by hand what it has done, then `crossfade migrate repair --mark-pending {}`",
                    record.number
                ),
            ));
        }
        let newest = self.records.iter().map(|r| r.number).max().unwrap_or(0);
        let above = to.unwrap_or(newest - 1);
        let mut numbers: Vec<i32> = self
            .records
            .iter()
            .map(|r| r.number)
            .filter(|n| *n > above)
            .collect();
        numbers.reverse();
        numbers
            .into_iter()
            .map(|n| {
                self.folder.find(n).ok_or_else(|| {
                    conflict(
                        format!("the file of {n:04} is not here, so it cannot be taken back"),
                        "bring the file back",
                    )
                })
            })
            .collect()
    }

    fn fits(&self, to: Option<i32>) -> Result<()> {
        if let Some(to) = to
            && self.folder.find(to).is_none()
            && self.record(to).is_none()
        {
            return Err(Error::new(
                crate::error::Kind::Config,
                format!("there is no migration {to:04}"),
            )
            .remedy("`crossfade migrate status` lists them"));
        }
        self.conflicts().into_iter().next().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::script::checksum;

    fn folder(count: i32) -> Folder {
        let chain: Vec<_> = (1..=count)
            .map(|n| (n, "m", "select 1;", "select 2;"))
            .collect();
        Folder::embedded(&chain).unwrap()
    }

    fn record(number: i32, state: State) -> Record {
        Record {
            number,
            name: "m".to_owned(),
            state,
            checksum: checksum("select 1;"),
            up: "select 1;".to_owned(),
            down: Some("select 2;".to_owned()),
            by: "me".to_owned(),
            at: "2026-01-01 00:00:00".to_owned(),
            duration_ms: Some(1),
        }
    }

    fn numbers(found: &[&Migration]) -> Vec<i32> {
        found.iter().map(|m| m.number).collect()
    }

    #[test]
    fn up_goes_on_after_the_last_and_down_takes_back_from_the_top() {
        let folder = folder(4);
        let records = [record(1, State::Applied), record(2, State::Applied)];
        let plan = Plan {
            folder: &folder,
            records: &records,
        };
        assert_eq!(numbers(&plan.up(None).unwrap()), [3, 4]);
        assert_eq!(numbers(&plan.up(Some(3)).unwrap()), [3]);
        assert_eq!(numbers(&plan.down(None).unwrap()), [2]);
        assert_eq!(numbers(&plan.down(Some(0)).unwrap()), [2, 1]);
        assert!(plan.up(Some(9)).is_err());
    }

    #[test]
    fn what_stands_halfway_is_finished_in_its_own_direction() {
        let folder = folder(3);
        let halfway = |direction| {
            [
                record(1, State::Applied),
                record(2, State::Halfway(direction)),
            ]
        };
        let up = halfway(Direction::Up);
        let plan = Plan {
            folder: &folder,
            records: &up,
        };
        assert_eq!(numbers(&plan.up(None).unwrap()), [2, 3]);
        assert!(
            plan.down(None)
                .unwrap_err()
                .to_string()
                .contains("halfway up")
        );
        let down = halfway(Direction::Down);
        let plan = Plan {
            folder: &folder,
            records: &down,
        };
        assert!(
            plan.up(None)
                .unwrap_err()
                .to_string()
                .contains("halfway down")
        );
        assert_eq!(numbers(&plan.down(None).unwrap()), [2]);
    }

    #[test]
    fn an_edited_file_is_shown_with_its_change() {
        let folder = folder(2);
        let mut edited = record(1, State::Applied);
        edited.up = "select 0;".to_owned();
        edited.checksum = checksum(&edited.up);
        let records = [edited];
        let plan = Plan {
            folder: &folder,
            records: &records,
        };
        let error = plan.up(None).unwrap_err();
        assert!(
            error.to_string().contains("- select 0;\n+ select 1;"),
            "{error}"
        );
        assert_eq!(plan.standing(&folder.migrations[0]), Standing::Edited);
    }

    #[test]
    fn a_file_that_came_in_late_and_one_that_is_gone_are_refused() {
        let four = folder(4);
        let records = [record(1, State::Applied), record(3, State::Applied)];
        let plan = Plan {
            folder: &four,
            records: &records,
        };
        let error = plan.up(None).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("0002_m is not applied, but 0003 already is"),
            "{error}"
        );
        assert!(
            error.what_to_do().contains("0005"),
            "{}",
            error.what_to_do()
        );
        // Below the first one too, and while a later one stands halfway.
        for state in [State::Applied, State::Halfway(Direction::Up)] {
            let records = [record(2, state)];
            let plan = Plan {
                folder: &four,
                records: &records,
            };
            let error = plan.up(None).unwrap_err();
            assert!(
                error
                    .to_string()
                    .contains("0001_m is not applied, but 0002"),
                "{error}"
            );
            assert!(plan.conflicts().len() == 1);
        }
        let two = folder(2);
        let records = [1, 2, 3].map(|n| record(n, State::Applied));
        let plan = Plan {
            folder: &two,
            records: &records,
        };
        let error = plan.up(None).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("0003_m is applied, but its file is not here"),
            "{error}"
        );
    }
}
