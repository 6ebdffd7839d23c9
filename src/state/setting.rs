//! What an operator has set at run time, over the configuration file.

use std::collections::BTreeMap;

use tokio_postgres::GenericClient;

use crate::config::Live;
use crate::error::Result;

/// Every setting of a migration, by key; nothing where the state is that of an
/// older version.
///
/// # Errors
/// Connection errors.
pub async fn read<C: GenericClient>(
    client: &C,
    migration: i32,
) -> Result<BTreeMap<String, String>> {
    let rows = client
        .query(
            "select key, value from crossfade.setting where migration_id = $1",
            &[&migration],
        )
        .await;
    match rows.map_err(crate::error::Error::from) {
        Ok(rows) => Ok(rows.iter().map(|r| (r.get(0), r.get(1))).collect()),
        Err(e) if e.is_sqlstate("42P01") => Ok(BTreeMap::new()),
        Err(e) => Err(e),
    }
}

/// Sets a key, or with `None` gives it back to the file.
///
/// # Errors
/// Connection errors.
pub async fn write<C: GenericClient>(
    client: &C,
    migration: i32,
    key: &str,
    value: Option<&str>,
) -> Result<()> {
    let Some(value) = value else {
        client
            .execute(
                "delete from crossfade.setting where migration_id = $1 and key = $2",
                &[&migration, &key],
            )
            .await?;
        return Ok(());
    };
    client
        .execute(
            "insert into crossfade.setting (migration_id, key, value) values ($1, $2, $3)
             on conflict (migration_id, key) do update
             set value = excluded.value, set_at = clock_timestamp()",
            &[&migration, &key, &value],
        )
        .await?;
    Ok(())
}

/// The file's settings with what was set over them. What this version does not
/// understand is left out: it was set by another one.
#[must_use]
pub fn over(file: &Live, set: &BTreeMap<String, String>) -> Live {
    let mut live = file.clone();
    for (key, value) in set {
        let mut changed = live.clone();
        match changed.set(key, value) {
            Ok(()) => live = changed,
            Err(error) => tracing::debug!(%error, "a setting is ignored"),
        }
    }
    live
}
