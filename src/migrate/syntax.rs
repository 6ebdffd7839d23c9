//! Where the parser refuses a text, the server has the last word: it reads a text as
//! the body of a function that is never made.

use tokio_postgres::Client;
use tokio_postgres::error::ErrorPosition;

use super::script::Script;
use crate::error::{Error, Result};

/// Byte of the character that a server counts from 1.
pub(super) fn byte_of(text: &str, position: u32) -> usize {
    let at = usize::try_from(position)
        .unwrap_or(usize::MAX)
        .saturating_sub(1);
    text.char_indices()
        .nth(at)
        .map_or(text.len(), |(byte, _)| byte)
}

/// The script's first syntax error, if the server agrees that there is one; else `None`.
/// Where the server cannot be asked, the parser is believed.
///
/// # Errors
/// Connection errors.
pub async fn ask(client: &mut Client, script: &Script) -> Result<Option<Error>> {
    if script.doubts.is_empty() {
        return Ok(None);
    }
    let tx = client.transaction().await?;
    // A tag that the text cannot hold by accident.
    let tag = format!("$crossfade_{:016x}$", fastrand::u64(..));
    let head =
        format!("create function pg_temp.crossfade_syntax() returns void language sql as {tag}");
    tx.batch_execute("set local check_function_bodies = on")
        .await?;
    // The whole text goes through the grammar before anything in it is looked up, so
    // that no table has to exist.
    let outcome = tx
        .batch_execute(&format!("{head}{}{tag}", script.text))
        .await;
    tx.rollback().await?;
    let Err(e) = outcome else {
        return Ok(None);
    };
    let Some(db) = e.as_db_error() else {
        return Err(e.into());
    };
    match (db.code().code(), db.position()) {
        ("42601", Some(ErrorPosition::Internal { position, .. })) => {
            let at = byte_of(&script.text, *position);
            Ok(Some(script.error(at, db.message())))
        }
        // Mostly the server translates the place into one of the whole statement.
        ("42601", Some(ErrorPosition::Original(position))) => {
            let head = u32::try_from(head.chars().count()).unwrap_or(0);
            let at = byte_of(&script.text, position.saturating_sub(head));
            Ok(Some(script.error(at, db.message())))
        }
        ("42601", None) | ("42501", _) => Ok(script.doubt()),
        _ => Ok(None),
    }
}

/// The first of these scripts that is no SQL, as an error.
///
/// # Errors
/// That error; connection errors.
pub async fn check<'a>(
    client: &mut Client,
    scripts: impl Iterator<Item = &'a Script>,
) -> Result<()> {
    for script in scripts {
        if let Some(error) = ask(client, script).await? {
            return Err(error);
        }
    }
    Ok(())
}
