//! A folder of migrations: names and numbers checked, both directions read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::script::{self, IRREVERSIBLE, NO_OP, Script};
use crate::error::{Error, Kind, Result};

/// How a migration is taken back.
#[derive(Debug, Clone, PartialEq)]
pub enum Down {
    Script(Script),
    /// It is not, and why.
    Irreversible(String),
}

/// One numbered migration.
#[derive(Debug, Clone, PartialEq)]
pub struct Migration {
    pub number: i32,
    pub name: String,
    pub up: Script,
    pub down: Down,
    /// Rows for `check`, put in once this migration is applied.
    pub seed: Option<Script>,
}

impl Migration {
    /// `0003_name`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{:04}_{}", self.number, self.name)
    }

    /// The script of the way back.
    ///
    /// # Errors
    /// [`Kind::Precondition`] where there is none.
    pub fn down(&self) -> Result<&Script> {
        match &self.down {
            Down::Script(script) => Ok(script),
            Down::Irreversible(why) => Err(Error::new(
                Kind::Precondition,
                format!("{} is irreversible: {why}", self.label()),
            )
            .remedy("write a migration that goes on from here instead")),
        }
    }
}

/// Migrations with consecutive numbers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Folder {
    pub migrations: Vec<Migration>,
}

/// What a file of the folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Up,
    Down,
    Both,
    Seed,
}

#[derive(Default)]
struct Found {
    name: String,
    up: Option<PathBuf>,
    down: Option<PathBuf>,
    both: Option<PathBuf>,
    seed: Option<PathBuf>,
}

impl Folder {
    /// Reads a folder. Files that do not end in `.sql` are left alone.
    ///
    /// # Errors
    /// [`Kind::Config`] naming the file: a name that is none, a number twice or left
    /// out, a missing way back, and those of [`Script::parse`].
    pub fn read(dir: &Path) -> Result<Self> {
        let mut found: BTreeMap<i32, Found> = BTreeMap::new();
        for path in files(dir)? {
            sort_in(&mut found, &path)?;
        }
        consecutive(&found)?;
        let migrations = found
            .into_iter()
            .map(|(number, files)| files.read(number))
            .collect::<Result<_>>()?;
        Ok(Self { migrations })
    }

    /// A chain that is part of the program: number, name, up, down.
    ///
    /// # Errors
    /// As [`Folder::read`].
    pub fn embedded(chain: &[(i32, &str, &str, &str)]) -> Result<Self> {
        let one = |(number, name, up, down): &(i32, &str, &str, &str)| {
            let file = |direction: &str| format!("{number:04}_{name}.{direction}.sql");
            Ok(Migration {
                number: *number,
                name: (*name).to_owned(),
                up: Script::parse(&file("up"), up)?,
                down: Down::Script(Script::parse(&file("down"), down)?),
                seed: None,
            })
        };
        Ok(Self {
            migrations: chain.iter().map(one).collect::<Result<_>>()?,
        })
    }

    #[must_use]
    pub fn find(&self, number: i32) -> Option<&Migration> {
        self.migrations.iter().find(|m| m.number == number)
    }

    #[must_use]
    pub fn newest(&self) -> i32 {
        self.migrations.last().map_or(0, |m| m.number)
    }

    #[must_use]
    pub fn oldest(&self) -> i32 {
        self.migrations.first().map_or(1, |m| m.number)
    }

    /// The first statement of any file that could not be read.
    #[must_use]
    pub fn doubts(&self) -> Vec<&Script> {
        self.migrations
            .iter()
            .flat_map(|m| {
                let down = match &m.down {
                    Down::Script(script) => Some(script),
                    Down::Irreversible(_) => None,
                };
                [Some(&m.up), down, m.seed.as_ref()]
            })
            .flatten()
            .filter(|s| !s.doubts.is_empty())
            .collect()
    }
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).map_err(|e| {
        Error::new(
            Kind::Config,
            format!("cannot read the folder {}: {e}", dir.display()),
        )
        .remedy("name the folder of your migrations with --dir, or begin one with `crossfade migrate new NAME`")
    })?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "sql") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// `0003_name.up.sql` → 3, `name`, up.
fn read_name(file: &str) -> Option<(i32, &str, Part)> {
    let stem = file.strip_suffix(".sql")?;
    let (stem, part) = [
        (".up", Part::Up),
        (".down", Part::Down),
        (".seed", Part::Seed),
    ]
    .into_iter()
    .find_map(|(suffix, part)| Some((stem.strip_suffix(suffix)?, part)))
    .unwrap_or((stem, Part::Both));
    let (number, name) = stem.split_once('_')?;
    let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let fits = number.bytes().all(|b| b.is_ascii_digit()) && name.chars().all(plain);
    let number = number.parse().ok().filter(|n| *n > 0)?;
    (fits && !name.is_empty()).then_some((number, name, part))
}

fn sort_in(found: &mut BTreeMap<i32, Found>, path: &Path) -> Result<()> {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let wrong = |message: String, remedy: &str| {
        Err(Error::new(Kind::Config, format!("{}: {message}", path.display())).remedy(remedy))
    };
    let Some((number, name, part)) = read_name(&file) else {
        return wrong(
            "not the name of a migration".to_owned(),
            "name it NNNN_name.up.sql and NNNN_name.down.sql, or NNNN_name.sql with `-- Up` and `-- Down`; move other SQL files elsewhere",
        );
    };
    let entry = found.entry(number).or_default();
    if entry.name.is_empty() {
        name.clone_into(&mut entry.name);
    }
    let slot = match part {
        Part::Up => &mut entry.up,
        Part::Down => &mut entry.down,
        Part::Both => &mut entry.both,
        Part::Seed => &mut entry.seed,
    };
    if entry.name != name || slot.is_some() {
        return wrong(
            format!("number {number} is taken by {number:04}_{}", entry.name),
            "give one of them the next free number",
        );
    }
    *slot = Some(path.to_owned());
    Ok(())
}

fn consecutive(found: &BTreeMap<i32, Found>) -> Result<()> {
    let mut numbers = found.iter();
    let Some((mut last, mut before)) = numbers.next() else {
        return Ok(());
    };
    for (number, files) in numbers {
        if *number != last + 1 {
            return Err(Error::new(
                Kind::Config,
                format!(
                    "number {:04} is missing: {number:04}_{} follows {last:04}_{}",
                    last + 1,
                    files.name,
                    before.name
                ),
            )
            .remedy("renumber, or bring the missing file back: somebody may have forgotten to commit it"));
        }
        (last, before) = (number, files);
    }
    Ok(())
}

impl Found {
    fn read(self, number: i32) -> Result<Migration> {
        let label = format!("{number:04}_{}", self.name);
        let (up, down) = match (&self.both, &self.up) {
            (Some(both), None) if self.down.is_none() => {
                let text = text_of(both)?;
                let (up, down) = sections(&both.display().to_string(), &text)?;
                let down = down.ok_or_else(|| missing_down(&label, "a section `-- Down`"));
                let down = match (down, script::directive(&up, IRREVERSIBLE)) {
                    (Err(_), Some(why)) => Err(why),
                    (Err(e), None) => return Err(e),
                    (Ok(down), _) => Ok((both.clone(), down)),
                };
                ((both.clone(), up), down)
            }
            (None, Some(path)) => {
                let up = text_of(path)?;
                let down = match (&self.down, script::directive(&up, IRREVERSIBLE)) {
                    (Some(down), _) => Ok((down.clone(), text_of(down)?)),
                    (None, Some(why)) => Err(why),
                    (None, None) => {
                        return Err(missing_down(&label, &format!("{label}.down.sql")));
                    }
                };
                ((path.clone(), up), down)
            }
            (None, None) => {
                return Err(
                    Error::new(Kind::Config, format!("{label} has no {label}.up.sql"))
                        .remedy("write it, or take the other files of this number away"),
                );
            }
            (Some(_), _) => {
                return Err(Error::new(
                    Kind::Config,
                    format!("{label} has both {label}.sql and files for single directions"),
                )
                .remedy("keep one way of writing it"));
            }
        };
        let script =
            |(path, text): &(PathBuf, String)| Script::parse(&path.display().to_string(), text);
        let seed = match &self.seed {
            Some(path) => Some(script(&(path.clone(), text_of(path)?))?),
            None => None,
        };
        Ok(Migration {
            number,
            name: self.name,
            up: non_empty(script(&up)?)?,
            down: way_back(&label, down, script)?,
            seed,
        })
    }
}

fn way_back(
    label: &str,
    down: Result<(PathBuf, String), String>,
    script: impl Fn(&(PathBuf, String)) -> Result<Script>,
) -> Result<Down> {
    let why = match down {
        Ok(file) => match script::directive(&file.1, IRREVERSIBLE) {
            Some(why) => why,
            None => return Ok(Down::Script(non_empty(script(&file)?)?)),
        },
        Err(why) => why,
    };
    if why.is_empty() {
        return Err(Error::new(
            Kind::Config,
            format!("{label}: `-- {IRREVERSIBLE}:` without a reason"),
        )
        .remedy("say why after the colon"));
    }
    Ok(Down::Irreversible(why))
}

fn non_empty(script: Script) -> Result<Script> {
    if !script.steps.is_empty()
        || script::directive(&script.text, NO_OP).is_some_and(|w| !w.is_empty())
    {
        return Ok(script);
    }
    Err(
        Error::new(Kind::Config, format!("{} holds no statement", script.file)).remedy(format!(
            "write what it does; where there is nothing to do, say `-- {NO_OP}: why`"
        )),
    )
}

fn missing_down(label: &str, what: &str) -> Error {
    Error::new(
        Kind::Config,
        format!("{label} has no way back: {what} is missing"),
    )
    .remedy(format!(
        "write it, or say `-- {IRREVERSIBLE}: why` in the up file"
    ))
}

fn text_of(path: &Path) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|e| Error::new(Kind::Config, format!("cannot read {}: {e}", path.display())))
}

/// The two sections of one file; each keeps the file's line numbers.
fn sections(file: &str, text: &str) -> Result<(String, Option<String>)> {
    let (mut up, mut down) = (String::new(), String::new());
    let mut section = None;
    let mut twice = None;
    for (number, line) in text.lines().enumerate() {
        if let Some(found) = marker(line) {
            if section == Some(found) || (section == Some(Part::Down) && found == Part::Up) {
                twice = Some(number + 1);
            }
            section = Some(found);
        }
        let (own, other) = match section {
            Some(Part::Down) => (&mut down, &mut up),
            _ => (&mut up, &mut down),
        };
        own.push_str(line);
        own.push('\n');
        other.push('\n');
    }
    let wrong = |message: String| {
        Err(Error::new(Kind::Config, message)
            .remedy("write `-- Up`, its statements, `-- Down`, its statements"))
    };
    if let Some(line) = twice {
        return wrong(format!(
            "{file}:{line}: a section twice, or in the wrong order"
        ));
    }
    if section.is_none() {
        return wrong(format!("{file} has no section `-- Up`"));
    }
    Ok((up, (section == Some(Part::Down)).then_some(down)))
}

/// `-- Up`, `-- +goose Up`, `-- +migrate Up`, `-- migrate:up`; the same for Down.
fn marker(line: &str) -> Option<Part> {
    let comment = line.trim().strip_prefix("--")?.trim().to_lowercase();
    let word = ["+goose", "+migrate", "migrate:"]
        .iter()
        .find_map(|p| comment.strip_prefix(p))
        .unwrap_or(&comment);
    match word.trim().trim_matches(['-', '=', ' ', ':']) {
        "up" => Some(Part::Up),
        "down" => Some(Part::Down),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
