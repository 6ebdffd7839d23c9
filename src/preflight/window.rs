//! The time of the day in which the copy may run.

use tokio_postgres::Client;

use super::Finding;
use crate::config::window::Window;
use crate::error::{Error, Kind, Result};

/// Whether the server can tell when that is.
///
/// # Errors
/// [`Kind::Config`] where it does not know the time zone; connection errors.
pub async fn check_window(client: &Client, window: &Window) -> Result<Finding> {
    let asked = client
        .query_one(
            "select to_char(clock_timestamp() at time zone $1, 'HH24:MI')",
            &[&window.zone],
        )
        .await
        .map_err(Error::from);
    match asked {
        Ok(row) => {
            let now: String = row.try_get(0)?;
            Ok(Finding::ok(format!("{window}; it is {now} there")))
        }
        Err(e) if e.is_sqlstate("22023") => Err(Error::new(
            Kind::Config,
            format!(
                "the server knows no time zone {:?} (throttle.window = {window})",
                window.zone
            ),
        )
        .remedy("take a name from the view pg_timezone_names, as in 22:00-06:00 Europe/Berlin")),
        Err(e) => Err(e),
    }
}
