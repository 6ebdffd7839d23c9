//! A plan that can be run: numbered migrations, up and down, and transform modules where
//! rows take another shape.
//!
//! Everything that the application of today can live with comes first (expand: new
//! columns, tables, indexes and constraints beside the old ones, filled in batches), then
//! the modules, and what takes something away comes last (contract).

mod backfill;
mod belongings;
pub mod child;
mod convert;
mod cover;
mod draft;
mod extract;
mod fit;
mod identity;
mod index;
mod keep;
mod leave;
mod migration;
mod module;
pub mod name;
mod not_null;
mod obstacle;
mod readme;
mod reference;
mod remains;
mod statistics;
mod steps;
mod trigger;
mod write;

use tokio_postgres::Client;

use super::finding::Finding;
use super::schema::Database;
use crate::error::Result;
use draft::Draft;
pub use migration::{Migration, Phase, Script};
pub use module::Module;

/// Everything that is written.
#[derive(Debug, Default)]
pub struct Plan {
    /// In the order of their numbers.
    pub migrations: Vec<Entry>,
    pub modules: Vec<Module>,
    pub left: Vec<Left>,
}

/// A migration and the finding that it mends.
#[derive(Debug)]
pub struct Entry {
    pub migration: Migration,
    pub finding: String,
}

/// A finding that the plan has nothing for, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct Left {
    pub finding: String,
    pub why: String,
    /// SQL to be run by hand, where it can be written out.
    pub steps: Option<String>,
}

impl Plan {
    /// Plans the fixes of `findings`, in their order. Reads samples of the tables whose
    /// rows take another shape, to see that everything comes back as it was.
    ///
    /// # Errors
    /// What the server says.
    pub async fn of(database: &Database, findings: &[&Finding], client: &Client) -> Result<Self> {
        let remaining = remains::of(database, findings.iter().flat_map(|f| &f.fixes));
        let mut draft = Draft::new(database, &remaining);
        draft.expect(findings.iter().flat_map(|f| &f.fixes));
        for finding in findings {
            if finding.fixes.is_empty() {
                draft.leave(&finding.title, &finding.remedy);
            }
            for fix in &finding.fixes {
                match extract::homeless(client, database, fix).await? {
                    Some(why) => draft.leave(&finding.title, &why),
                    None => draft.fix(&finding.title, fix),
                }
            }
        }
        draft.fit(client).await?;
        Ok(draft.finish())
    }

    /// The configuration file of a module.
    #[must_use]
    pub fn config_of(&self, module: &Module) -> String {
        if self.modules.len() == 1 {
            "crossfade.toml".to_owned()
        } else {
            format!("{}.toml", module.name)
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.migrations.is_empty() && self.modules.is_empty()
    }
}
