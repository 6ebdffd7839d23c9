//! The audit's result for people (one HTML file) and for machines (SARIF).

mod diagram;
mod findings;
pub mod html;
mod integrity;
pub mod sarif;

use super::finding::Finding;
use super::plan::Plan;
use super::schema::{Database, Unread};

/// What is reported.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    pub database: &'a Database,
    /// In the order of their rank.
    pub findings: &'a [&'a Finding],
    /// What the audit could not see.
    pub unread: &'a [Unread],
    /// Its migrations stand with the findings that they mend.
    pub plan: Option<&'a Plan>,
    /// When the database was looked at, for people.
    pub when: &'a str,
}
