//! Where sequences stand: one that begins again gives out numbers that rows have.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use crate::error::{Context, Result};

/// By the sequence's quoted name, the numbers that it has given out: where it stands, in the
/// direction in which it counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Numbers(BTreeMap<String, i64>);

impl Numbers {
    pub async fn read(client: &Client) -> Result<Self> {
        let sequences = client
            .query(
                "select quote_ident(n.nspname) || '.' || quote_ident(c.relname), s.seqincrement
                 from pg_catalog.pg_sequence s join pg_catalog.pg_class c on c.oid = s.seqrelid
                 join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                 where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'crossfade')",
                &[],
            )
            .await?;
        let mut numbers = BTreeMap::new();
        for sequence in &sequences {
            let (name, step): (String, i64) = (sequence.get(0), sequence.get(1));
            let state = client
                .query_one(&format!("select last_value, is_called from {name}"), &[])
                .await
                .context(format!("reading {name}"))?;
            let (last, called): (i64, bool) = (state.get(0), state.get(1));
            let given = if called {
                last
            } else {
                last.saturating_sub(step)
            };
            numbers.insert(name, given.saturating_mul(step.signum()));
        }
        Ok(Self(numbers))
    }

    /// The sequences that stand before where they stood. Behind it is no loss: what a migration
    /// and its way back give out is left out for good.
    pub fn lost(&self, found: &Self) -> Vec<String> {
        let begun = |(name, stood): (&String, &i64)| {
            let stands = found.0.get(name)?;
            (stands < stood).then(|| format!("{name} gives out numbers again that it gave out"))
        };
        self.0.iter().filter_map(begun).collect()
    }
}
