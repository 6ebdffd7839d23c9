//! Plays one script inside one transaction and notes what it changes.

use std::collections::HashMap;

use tokio_postgres::Client;

use super::form::Form;
use super::ledger::{Entry, Ledger};
use super::order::Order;
use super::script::{Script, Step, Which, edited};
use crate::error::{Error, Kind, Result};

/// What a transaction will have changed once it is committed.
pub type Changes = HashMap<i64, Entry>;

/// A transaction in progress. Every write is read back and compared with what
/// was meant, inside the transaction.
pub struct Play<'a> {
    pub client: &'a Client,
    pub form: Form,
    /// What earlier transactions were told is committed.
    pub ledger: &'a Ledger,
    changes: Changes,
    placed: Option<i64>,
    /// The changes up to the last savepoint.
    saved: Changes,
}

impl<'a> Play<'a> {
    #[must_use]
    pub fn new(client: &'a Client, form: Form, ledger: &'a Ledger) -> Self {
        Self {
            client,
            form,
            ledger,
            changes: Changes::new(),
            placed: None,
            saved: Changes::new(),
        }
    }

    /// Plays the steps; begin and end are the caller's.
    ///
    /// # Errors
    /// The server's errors, and [`Kind::Data`] when an order is not what it was
    /// acknowledged to be.
    pub async fn steps(mut self, script: &Script) -> Result<Changes> {
        for step in &script.steps {
            self.step(step).await?;
        }
        Ok(self.changes)
    }

    async fn step(&mut self, step: &Step) -> Result<()> {
        let (client, form) = (self.client, self.form);
        match step {
            Step::Place(order) => {
                let id = form.place(client, order).await?;
                if self.changes.contains_key(&id) || self.ledger.contains(id) {
                    return Err(Error::new(
                        Kind::Data,
                        format!("id {id} was given out twice"),
                    ));
                }
                self.placed = Some(id);
                self.wrote(id, order.clone()).await
            }
            Step::EditItems { which, seed } => {
                let (id, mut order) = self.locked(*which).await?;
                let items = edited(&order.items, *seed);
                form.set_items(client, id, &order.items, &items).await?;
                order.set_items(items);
                self.wrote(id, order).await
            }
            Step::SetStatus { which, status } => {
                let (id, mut order) = self.locked(*which).await?;
                form.set_status(client, id, status).await?;
                (*status).clone_into(&mut order.status);
                self.wrote(id, order).await
            }
            Step::Ship { which, at } => {
                let (id, mut order) = self.locked(*which).await?;
                form.ship(client, id, *at).await?;
                "shipped".clone_into(&mut order.status);
                order.shipped_at = Some(*at);
                self.wrote(id, order).await
            }
            Step::Delete { which } => {
                let (id, _) = self.locked(*which).await?;
                form.delete(client, id).await?;
                self.changes.insert(id, Entry::Deleted);
                Ok(())
            }
            Step::Savepoint => {
                client.batch_execute("savepoint step").await?;
                self.saved.clone_from(&self.changes);
                Ok(())
            }
            Step::RollbackToSavepoint => {
                client.batch_execute("rollback to savepoint step").await?;
                self.changes.clone_from(&self.saved);
                Ok(())
            }
        }
    }

    /// Locks and reads an order, which must be as last known.
    async fn locked(&self, which: Which) -> Result<(i64, Order)> {
        let id = match which {
            Which::Id(id) => id,
            Which::Placed => self.placed.ok_or_else(|| {
                Error::new(Kind::Data, "a script uses an order before placing it")
            })?,
        };
        let order = self
            .form
            .read(self.client, &[id], true)
            .await?
            .remove(&id)
            .ok_or_else(|| Error::new(Kind::Data, format!("order {id} is not there")))?;
        // An order of the past that nobody has touched yet is taken as it is.
        match self.changes.get(&id).or_else(|| self.ledger.get(id)) {
            Some(Entry::Present(known)) if *known != order => Err(not_as_known(id)),
            Some(Entry::Deleted) => Err(Error::new(
                Kind::Data,
                format!("order {id} was deleted and is there"),
            )),
            _ => Ok((id, order)),
        }
    }

    /// Reads back what was written and notes it.
    async fn wrote(&mut self, id: i64, order: Order) -> Result<()> {
        let read = self.form.read(self.client, &[id], false).await?;
        if read.get(&id) != Some(&order) {
            return Err(not_as_known(id));
        }
        self.changes.insert(id, Entry::Present(order));
        Ok(())
    }
}

fn not_as_known(id: i64) -> Error {
    Error::new(
        Kind::Data,
        format!("order {id} is not what was written last"),
    )
}
