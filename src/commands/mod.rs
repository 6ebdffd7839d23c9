//! One file a verb: arguments → call → printed result.

pub mod audit;
pub mod demo;
pub mod explain;
pub mod finish;
pub mod init;
pub mod migrate;
pub mod pause;
pub mod preflight;
pub mod preview;
pub mod progress;
pub mod quarantine;
pub mod run;
pub mod status;
pub mod switch;
pub mod table;
pub mod throttle;
pub mod verify;

use std::path::PathBuf;

use clap::ValueEnum;
use tokio_postgres::Client;

use crate::config::Config;
use crate::error::Result;
use crate::pg::{ConnInfo, connect};
use crate::state::install;

/// For people or for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Text,
    Json,
}

/// What every command gets.
#[derive(Debug)]
pub struct Context {
    pub config: PathBuf,
    pub output: Output,
}

impl Context {
    /// Reads the configuration.
    ///
    /// # Errors
    /// Those of [`Config::load`].
    pub fn load(&self) -> Result<Config> {
        Config::load(&self.config)
    }

    /// Reads the configuration and connects to the database that holds the state.
    ///
    /// # Errors
    /// Configuration and connection errors; [`crate::error::Kind::Precondition`] where the
    /// state is another version's.
    pub async fn open(&self, purpose: &str) -> Result<(Config, Client)> {
        let config = self.load()?;
        let info = ConnInfo::parse(&config.source_url)?;
        let client = connect(&info, purpose).await?;
        install::require_newest(&client).await?;
        Ok((config, client))
    }

    /// Prints `json` for machines, or `text` for people.
    pub fn print(&self, json: &serde_json::Value, text: &str) {
        match self.output {
            Output::Json => println!("{json}"),
            Output::Text => print!("{text}"),
        }
    }
}
