//! Names that nothing in a schema has.

use tokio_postgres::GenericClient;

use super::candidate::named;
use crate::error::{Context, Result};

/// Names from this stem on, with a number where need be, until one is free: nothing in the
/// schema has it, and none of `others`.
///
/// # Errors
/// What the server says.
pub async fn free(
    client: &impl GenericClient,
    schema: &str,
    (stem, suffix): (String, &str),
    others: impl Fn(&str) -> bool,
) -> Result<String> {
    let mut name = named(&stem, suffix);
    let mut number = 1;
    loop {
        let row = client
            .query_one(
                "select exists(select from pg_class where relname = $2 and relnamespace = to_regnamespace(quote_ident($1))) \
                     or exists(select from pg_statistic_ext where stxname = $2)",
                &[&schema, &name],
            )
            .await
            .context("looking for a free name")?;
        if !row.get::<_, bool>(0) && !others(&name) {
            return Ok(name);
        }
        number += 1;
        name = named(&stem, &format!("{suffix}{number}"));
    }
}
