//! The live schema beside the one that the applied migrations make on a fresh server.

use crate::error::Result;
use crate::migrate::Folder;
use crate::migrate::chain::{self, Options};
use crate::migrate::history::Direction;
use crate::migrate::snapshot::{Difference, Snapshot};
use crate::pg::{ConnInfo, connect};
use crate::server;

/// How the database differs from what its migrations up to `version` make. Owners and
/// privileges are left out: they differ from server to server.
pub(super) async fn look(
    live: &ConnInfo,
    folder: &Folder,
    version: i32,
) -> Result<Vec<Difference>> {
    let server = server::Server::start(server::Options::default())?;
    let fresh = ConnInfo::parse(&server.socket_url("postgres"))?;
    let options = Options {
        to: Some(version),
        ..Options::default()
    };
    if version > 0 {
        chain::run(
            &fresh,
            chain::DEFAULT,
            folder,
            Direction::Up,
            &options,
            &mut |_| {},
        )
        .await?;
    }
    let expected = take(&fresh).await?;
    let found = take(live).await?;
    Ok(expected.compare(&found))
}

async fn take(info: &ConnInfo) -> Result<Snapshot> {
    let mut client = connect(info, "migrate status").await?;
    Ok(Snapshot::take(&mut client).await?.without_roles())
}
