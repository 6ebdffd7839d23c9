//! The query, or the plan, that is to be explained.

use std::io::Read;
use std::path::Path;

use crate::error::{Context, Error, Kind, Result};
use crate::explain::catalog::Catalog;
use crate::explain::diagnose::{Facts, diagnose};
use crate::explain::examine::Examined;
use crate::explain::plan::Plan;
use crate::explain::statement::Statement;

/// A query out of a file, standard input, or the command line.
pub fn text(file: Option<&str>, text: Option<&str>) -> Result<String> {
    match (file, text) {
        (_, Some(text)) => Ok(text.to_owned()),
        (Some("-"), None) => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .context("reading the query from standard input")?;
            Ok(text)
        }
        (Some(path), None) => std::fs::read_to_string(path).map_err(|e| {
            Error::new(Kind::Config, format!("cannot read {path}: {e}"))
                .remedy("name a file with one query, or give it with --sql")
        }),
        (None, None) => Err(Error::new(Kind::Config, "no query is given")
            .remedy("name a file, `-` for standard input, or --sql TEXT; --top N takes them from pg_stat_statements")),
    }
}

/// A plan out of a file, with what the rules say about it.
pub fn stored(path: &Path) -> Result<(Statement, Examined)> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Error::new(Kind::Config, format!("cannot read {}: {e}", path.display())))?;
    let plan = Plan::parse(&text).context(path.display())?;
    let catalog = Catalog::default();
    let facts = Facts {
        catalog: &catalog,
        waits: &[],
    };
    let statement = Statement {
        text: plan
            .json
            .pointer("/0/Query Text")
            .and_then(serde_json::Value::as_str)
            .map_or_else(
                || format!("(the plan in {})", path.display()),
                str::to_owned,
            ),
        values: Vec::new(),
        parameters: 0,
        writes: false,
    };
    let examined = Examined {
        findings: diagnose(&plan, &facts),
        measured: None,
        fingerprint: None,
        waits: Vec::new(),
        relations: Vec::new(),
        uses: Vec::new(),
        notes: Vec::new(),
        catalog: Catalog::default(),
        plan,
    };
    Ok((statement, examined))
}
