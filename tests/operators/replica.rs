//! A physical standby of a test's server.

use std::process::{Child, Command, Stdio};

use crossfade::pg::{ConnInfo, connect};
use crossfade::server::binaries::Binaries;
use tokio_postgres::Client;

use super::http::free_port;
use super::support::{World, until};

pub struct Standby {
    child: Child,
    dir: std::path::PathBuf,
    pub client: Client,
    pub url: String,
}

impl Standby {
    /// Copies the server's files in a backup and starts a second server on them.
    pub async fn start(world: &World) -> Self {
        Self::start_with(world, "").await
    }

    /// The same with more lines of its configuration.
    pub async fn start_with(world: &World, more: &str) -> Self {
        let binaries = Binaries::find().unwrap();
        let dir = world.server.dir().join("standby");
        let session = world.open().await;
        // Renamed in 15; before, the label comes with more columns.
        let (begin, end) = if world
            .get("select current_setting('server_version_num')::int < 150000")
            .await
            == "true"
        {
            (
                "pg_start_backup('standby', true, false)",
                "pg_stop_backup(false, true)",
            )
        } else {
            ("pg_backup_start('standby', true)", "pg_backup_stop(false)")
        };
        session
            .execute(&format!("select {begin}"), &[])
            .await
            .unwrap();
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(world.server.data_dir()).arg(&dir);
        // Files that vanish while they are copied are no loss: the log has them.
        let _ = copy.stderr(Stdio::null()).status().unwrap();
        let label: String = session
            .query_one(&format!("select labelfile from {end}"), &[])
            .await
            .unwrap()
            .get(0);
        let port = free_port();
        let settings = format!(
            "port = {port}\nprimary_conninfo = '{} application_name=standby1'\nhot_standby = on\nwal_receiver_status_interval = 1s\n{more}",
            world.server.url("postgres").replace('\'', "''")
        )
        .replace(
            &format!("{} application_name", world.server.url("postgres")),
            &format!(
                "host=127.0.0.1 port={} user={} dbname=postgres application_name",
                world.server.port(),
                crossfade::server::SUPERUSER
            ),
        );
        let put = |name: &str, text: &str| {
            let path = dir.join(name);
            std::fs::write(&path, text).unwrap();
            binaries.give(&path).unwrap();
        };
        put("backup_label", &label);
        put("standby.signal", "");
        put("postgresql.auto.conf", &settings);
        let _ = std::fs::remove_file(dir.join("postmaster.pid"));
        let child = binaries
            .command("postgres", &dir)
            .arg("-D")
            .arg(&dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let url = format!(
            "postgres://{}@127.0.0.1:{port}/postgres",
            crossfade::server::SUPERUSER
        );
        let info = ConnInfo::parse(&url).unwrap();
        let mut client = None;
        until("the standby to answer", async || {
            client = connect(&info, "test").await.ok();
            client.is_some()
        })
        .await;
        world
            .until(
                "the standby to stream",
                "select exists(select from pg_stat_replication where state = 'streaming'
                 and application_name = 'standby1')",
            )
            .await;
        Self {
            child,
            dir,
            client: client.unwrap(),
            url,
        }
    }

    /// Makes a primary of it.
    pub async fn promote(&mut self) {
        self.client
            .execute("select pg_promote(true)", &[])
            .await
            .unwrap();
        until("the standby to be the primary", async || {
            let row = self
                .client
                .query_one("select pg_is_in_recovery()", &[])
                .await;
            row.is_ok_and(|r| !r.get::<_, bool>(0))
        })
        .await;
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-QUIT", &pid]).status();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
