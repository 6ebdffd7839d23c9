//! Statements prepared once a session: those that compare keys take longer to plan than
//! to run, and inside a switch writers wait for both.

use std::collections::HashMap;

use tokio::sync::Mutex;
use tokio_postgres::{GenericClient, Statement};

use crate::error::Result;

/// The statements of one session. To be used with that session only.
#[derive(Default)]
pub struct Prepared(Mutex<HashMap<String, Statement>>);

impl Prepared {
    /// The statement of this text, prepared at its first use.
    ///
    /// # Errors
    /// The server's.
    pub async fn get<C: GenericClient>(&self, client: &C, sql: &str) -> Result<Statement> {
        let mut statements = self.0.lock().await;
        if let Some(statement) = statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = client.prepare(sql).await?;
        statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}
