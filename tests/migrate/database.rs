//! A server, a database and a folder of migrations.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crossfade::pg::{ConnInfo, connect};
use crossfade::server::{Options, Server};
use tokio_postgres::Client;

/// How long anything may take before a test fails.
pub const BOUND: Duration = Duration::from_secs(120);

pub struct Database {
    pub server: Server,
    pub dir: PathBuf,
    pub client: Client,
}

/// What the program said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub text: String,
    pub error: String,
}

impl Database {
    pub async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        let server = Server::start(options).unwrap();
        let dir = std::env::temp_dir().join(format!(
            "crossfade_migrate_{}_{:x}",
            std::process::id(),
            fastrand::u64(..)
        ));
        std::fs::create_dir_all(dir.join("migrations")).unwrap();
        let client = open(&server.url("postgres")).await;
        Self {
            server,
            dir,
            client,
        }
    }

    pub async fn open(&self) -> Client {
        open(&self.server.url("postgres")).await
    }

    pub fn folder(&self) -> PathBuf {
        self.dir.join("migrations")
    }

    /// Writes a file of the folder.
    pub fn file(&self, name: &str, text: &str) {
        std::fs::write(self.folder().join(name), text).unwrap();
    }

    /// Writes `0001_m.up.sql` and its way back.
    pub fn migration(&self, number: i32, up: &str, down: &str) {
        self.file(&format!("{number:04}_m.up.sql"), up);
        self.file(&format!("{number:04}_m.down.sql"), down);
    }

    pub fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crossfade"));
        command
            .current_dir(&self.dir)
            .env_remove("CROSSFADE_SOURCE_URL")
            .args(["migrate", "--url", &self.server.url("postgres"), "--dir"])
            .arg(folder)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs `crossfade migrate …` on the folder to its end.
    pub fn migrate(&self, arguments: &[&str]) -> Said {
        said(self.command(&self.folder(), arguments).output().unwrap())
    }

    /// The same, which must succeed.
    pub fn done(&self, arguments: &[&str]) -> String {
        let said = self.migrate(arguments);
        assert_eq!(said.code, 0, "{arguments:?}\n{}\n{}", said.text, said.error);
        said.text
    }

    /// The same, which must be refused: what it said on standard error.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let said = self.migrate(arguments);
        assert_eq!(said.code, 2, "{arguments:?}\n{}\n{}", said.text, said.error);
        said.error
    }

    /// Starts it with a failpoint.
    pub fn start(&self, arguments: &[&str], point: &Point) -> Child {
        self.command(&self.folder(), arguments)
            .env("CROSSFADE_FAILPOINTS", point.spec())
            .spawn()
            .unwrap()
    }

    pub async fn sql(&self, sql: &str) {
        self.client
            .batch_execute(sql)
            .await
            .unwrap_or_else(|e| panic!("{e:?}\n{sql}"));
    }

    /// The first column of the only row, as text.
    pub async fn get(&self, sql: &str) -> String {
        let sql = format!("select v::text from ({sql}) q (v)");
        self.client
            .query_one(&sql, &[])
            .await
            .unwrap_or_else(|e| panic!("{e:?}\n{sql}"))
            .get::<_, Option<String>>(0)
            .unwrap_or_default()
    }

    /// Whether publications can be of some columns of a table: since PostgreSQL 15.
    pub async fn publishes_columns(&self) -> bool {
        let sql = "select current_setting('server_version_num')::int >= 150000";
        self.get(sql).await == "true"
    }

    /// Numbers that are applied in full, as `{1,2}`.
    pub async fn applied(&self) -> String {
        self.get(
            "select array_agg(number order by number) from crossfade.schema_migration
             where chain = 'main' and state = 'applied'",
        )
        .await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

async fn open(url: &str) -> Client {
    connect(&ConnInfo::parse(url).unwrap(), "test")
        .await
        .unwrap()
}

pub fn said(output: Output) -> Said {
    Said {
        code: output.status.code().unwrap_or(-1),
        text: String::from_utf8(output.stdout).unwrap(),
        error: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Kills a run at once, as a power cut would, and waits for it to be gone.
pub fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Waits for a condition, no longer than [`BOUND`].
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let since = Instant::now();
    while !condition().await {
        assert!(since.elapsed() < BOUND, "waited in vain for {what}");
        // Between two looks at the condition, which has its bound.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A failpoint's folder: the program stops at the point until it is let go.
pub struct Point {
    dir: PathBuf,
    name: String,
}

impl Point {
    pub fn new(database: &Database, name: &str) -> Self {
        let dir = database.dir.join(format!("{name}_{:x}", fastrand::u32(..)));
        std::fs::create_dir_all(&dir).unwrap();
        Self {
            dir,
            name: name.to_owned(),
        }
    }

    pub fn spec(&self) -> String {
        format!("{}={}", self.name, self.dir.display())
    }

    pub async fn reached(&self) {
        until(&self.name, async || self.was_reached()).await;
    }

    pub fn was_reached(&self) -> bool {
        self.dir.join("reached").exists()
    }

    pub fn release(&self) {
        std::fs::write(self.dir.join("go"), b"").unwrap();
    }
}
