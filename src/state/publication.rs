//! Whether a publication is still the one that was made.
//!
//! The server decides by the publication what a stream has in it, at each change. A table
//! taken out for a moment leaves a gap that nothing in the stream tells of. So what the
//! catalog said of the publication when it was made is kept, with the identity of its
//! entries: what was changed and changed back is another one.

use tokio_postgres::GenericClient;

use crate::error::{Error, Kind, Result};

/// The publication's row and its tables' entries. An entry has a number of its own, which a
/// table taken out and put back does not get again; the row's own `xmin` tells that its
/// options were written.
const AS_IT_IS: &str = "
select pg_catalog.concat_ws(' ', p.oid, p.xmin, (
    select pg_catalog.string_agg(pg_catalog.concat(r.prrelid, ':', r.oid), ' ' order by r.oid)
    from pg_catalog.pg_publication_rel r where r.prpubid = p.oid))
from pg_catalog.pg_publication p where p.pubname = $1";

/// Keeps what the publication is now.
///
/// # Errors
/// [`Kind::Slot`] where it is gone already; connection errors.
pub async fn remember<C: GenericClient>(client: &C, migration: i32, name: &str) -> Result<()> {
    let sql = format!(
        "insert into crossfade.publication (migration_id, name, made)
         select $2, $1, made.x from ({AS_IT_IS}) made(x)
         on conflict (migration_id, name) do update set made = excluded.made"
    );
    if client.execute(&sql, &[&name, &migration]).await? == 1 {
        return Ok(());
    }
    Err(Error::new(
        Kind::Slot,
        format!("the publication {name} is gone"),
    ))
}

/// What is wrong with the publication: `None` where it is as it was made, or nobody knows
/// how that was.
///
/// # Errors
/// Connection errors.
pub async fn changed<C: GenericClient>(
    client: &C,
    migration: i32,
    name: &str,
) -> Result<Option<String>> {
    let sql = format!(
        "select ({AS_IT_IS}) is null from crossfade.publication k
         where k.migration_id = $2 and k.name = $1 and k.made is distinct from ({AS_IT_IS})"
    );
    let found = client.query_opt(&sql, &[&name, &migration]).await?;
    Ok(found.map(|row| {
        let what = if row.get(0) {
            "was dropped"
        } else {
            "was changed by somebody"
        };
        format!("the publication {name} {what}: changes may be missing from the stream")
    }))
}
