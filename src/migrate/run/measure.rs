//! What `migrate check` looks at between the statements of a run; other runs ask nothing.

use super::Run;
use crate::error::Result;
use crate::migrate::event::{Event, Observer};
use crate::migrate::lock::Lock;
use crate::migrate::trace::{Held, look};
use crate::sql::Statement;

impl Run<'_> {
    /// Before a transaction, or before a statement that makes its own.
    pub(super) async fn look_before(&self, observer: Observer<'_>) -> Result<()> {
        if self.traced {
            let relations = look::relations(&self.session.client).await?;
            observer(Event::Begun {
                relations: &relations,
            });
        }
        Ok(())
    }

    /// Inside the transaction, after a statement.
    pub(super) async fn look_inside(
        &self,
        statement: &Statement,
        foreseen: &[Lock],
        observer: Observer<'_>,
    ) -> Result<()> {
        // It takes no lock, and SET TRANSACTION may be followed by others that must come
        // before the first query.
        if statement.command.starts_with("SET") {
            return Ok(());
        }
        if let Some(held) = self.held().await? {
            observer(Event::Held {
                statement,
                foreseen,
                held: &held,
            });
        }
        Ok(())
    }

    /// The locks of this moment, where they are asked for.
    pub(super) async fn held(&self) -> Result<Option<Vec<Held>>> {
        if !self.traced {
            return Ok(None);
        }
        look::held(&self.session.client).await.map(Some)
    }

    /// After a statement that has ended its own transactions.
    pub(super) async fn look_after(
        &self,
        statement: &Statement,
        foreseen: &[Lock],
        observer: Observer<'_>,
    ) -> Result<()> {
        if self.traced {
            let relations = look::relations(&self.session.client).await?;
            observer(Event::Outside {
                statement,
                foreseen,
                relations: &relations,
            });
        }
        Ok(())
    }
}
