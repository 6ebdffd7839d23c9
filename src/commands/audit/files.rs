//! What an audit writes: the report, the diagram, the plan.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::audit::diagram::{Drawing, dot, mermaid, proposal, svg};
use crate::audit::plan::Plan;
use crate::audit::probe::Probe;
use crate::audit::report::{Report, html, sarif};
use crate::audit::{Audit, Finding};
use crate::error::{Context as _, Error, Kind, Result};
use crate::pg::ConnInfo;
use crate::pg::conninfo::Host;

#[derive(Debug, clap::Args)]
pub struct Files {
    /// Write the report for people: one HTML file with the diagrams.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the findings for code hosts and editors.
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
    /// Write the diagram: `.svg`, `.dot`, or `.mmd` for Mermaid (may be given again).
    #[arg(long, value_name = "FILE")]
    diagram: Vec<PathBuf>,
    /// The diagram of today, without what is proposed.
    #[arg(long, requires = "diagram")]
    today: bool,
    /// Write migrations and transform modules that mend the findings; an empty folder.
    #[arg(long, value_name = "DIR")]
    plan: Option<PathBuf>,
}

/// A file or folder that was written.
pub struct Written {
    pub path: PathBuf,
    /// What is in it, for people.
    pub what: String,
}

impl Files {
    /// Whether a diagram's name says what it should be, before anything is asked.
    ///
    /// # Errors
    /// [`Kind::Config`].
    pub fn check(&self) -> Result<()> {
        self.diagram
            .iter()
            .try_for_each(|path| format(path).map(|_| ()))
    }

    /// Writes what was asked for. The plan reads samples of tables whose rows take
    /// another shape, in a session that cannot write.
    ///
    /// # Errors
    /// Those of the server and of the file system; [`Kind::Config`] for a plan's folder
    /// that is not empty.
    pub async fn write(
        &self,
        audit: &Audit,
        findings: &[Finding],
        info: &ConnInfo,
        timeout: Duration,
    ) -> Result<Vec<Written>> {
        let findings: Vec<&Finding> = findings.iter().collect();
        let mut written = Vec::new();
        self.diagrams(audit, &findings, &mut written)?;
        if self.html.is_none() && self.sarif.is_none() && self.plan.is_none() {
            return Ok(written);
        }
        let probe = Probe::open(info, timeout).await?;
        let plan = Plan::of(&audit.database, &findings, probe.client()).await?;
        let sql = "select to_char(now() at time zone 'UTC', 'YYYY-MM-DD HH24:MI \"UTC\"')";
        let when: String = probe.client().query_one(sql, &[]).await?.try_get(0)?;
        let report = Report {
            database: &audit.database,
            findings: &findings,
            unread: &audit.unread,
            plan: Some(&plan),
            when: &when,
        };
        if let Some(path) = &self.html {
            save(path, &html::page(&report))?;
            written.push(note(path, "the report"));
        }
        if let Some(path) = &self.sarif {
            save(path, &format!("{:#}\n", sarif::document(&report)))?;
            written.push(note(path, "the findings as SARIF"));
        }
        if let Some(dir) = &self.plan {
            plan.write(dir, &address(info))?;
            written.push(note(dir, &summary(&plan)));
        }
        Ok(written)
    }

    fn diagrams(
        &self,
        audit: &Audit,
        findings: &[&Finding],
        written: &mut Vec<Written>,
    ) -> Result<()> {
        if self.diagram.is_empty() {
            return Ok(());
        }
        let mut graph = proposal::proposed(&audit.database, findings);
        if self.today {
            graph = graph.today();
        }
        for path in &self.diagram {
            match format(path)? {
                Format::Svg => save(path, &svg::standalone(&graph, &Drawing::of(&graph)))?,
                Format::Dot => save(path, &dot::text(&graph))?,
                Format::Mermaid => {
                    for (path, part) in parts(path, mermaid::parts(&graph)) {
                        save(&path, &part.text)?;
                        written.push(note(&path, &format!("the diagram, {}", part.title)));
                    }
                    continue;
                }
            }
            written.push(note(path, "the diagram"));
        }
        Ok(())
    }
}

enum Format {
    Svg,
    Dot,
    Mermaid,
}

fn format(path: &Path) -> Result<Format> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("svg") => Ok(Format::Svg),
        Some("dot" | "gv") => Ok(Format::Dot),
        Some("mmd" | "mermaid") => Ok(Format::Mermaid),
        _ => Err(Error::new(
            Kind::Config,
            format!("{} says no format for a diagram", path.display()),
        )
        .remedy("name a file that ends in .svg, .dot or .mmd")),
    }
}

/// `schema.mmd`, or `schema.1.mmd`, `schema.2.mmd` where Mermaid takes no more at once.
fn parts(path: &Path, parts: Vec<mermaid::Part>) -> Vec<(PathBuf, mermaid::Part)> {
    let several = parts.len() > 1;
    let numbered = |at: usize| {
        let end = path.extension().unwrap_or_default().to_string_lossy();
        path.with_extension(format!("{}.{end}", at + 1))
    };
    parts
        .into_iter()
        .enumerate()
        .map(|(at, part)| {
            (
                if several {
                    numbered(at)
                } else {
                    path.to_owned()
                },
                part,
            )
        })
        .collect()
}

fn save(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).context(format!("writing {}", path.display()))
}

fn note(path: &Path, what: &str) -> Written {
    Written {
        path: path.to_owned(),
        what: what.to_owned(),
    }
}

fn summary(plan: &Plan) -> String {
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let mut text = format!(
        "a plan of {} and {}; begin with its README.md",
        count(plan.migrations.len(), "migration"),
        count(plan.modules.len(), "transform module")
    );
    if !plan.left.is_empty() {
        text.push_str(&format!(
            ", which also names {} left to you",
            count(plan.left.len(), "finding")
        ));
    }
    text
}

/// Where the database is, as a connection string without a password.
fn address(info: &ConnInfo) -> String {
    let host = match &info.host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(dir) => dir.display().to_string(),
    };
    [
        ("host", host),
        ("port", info.port.to_string()),
        ("user", info.user.clone()),
        ("dbname", info.database.clone()),
    ]
    .iter()
    .map(|(key, value)| {
        let plain = !value.is_empty()
            && value
                .chars()
                .all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | ':'));
        if plain {
            format!("{key}={value}")
        } else {
            format!(
                "{key}='{}'",
                value.replace('\\', "\\\\").replace('\'', "\\'")
            )
        }
    })
    .collect::<Vec<_>>()
    .join(" ")
}
