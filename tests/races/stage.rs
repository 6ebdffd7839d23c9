//! What the scenarios share: a filled source, a daemon with points armed and a guard
//! taken out, sessions that hang on purpose.

use crossfade::server::Options;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::support::{Daemon, Point, World, split, until};

/// Chunks of 100 rows, one copier, and no throttle by a lag that a scenario makes.
pub const ONE_COPIER: &str =
    "[copy]\nbatch_rows = 100\nworkers = 1\n[throttle]\nmax_lag_seconds = 1000";

/// A world with the JSON split and 300 orders, one to three items each.
pub async fn world() -> World {
    let world = World::with(Options::default().setting("log_lock_waits", "on")).await;
    split::install(&world).await;
    world.config(&["split"], ONE_COPIER);
    world
        .sql(
            // The tests' own session must never hang for a standby.
            "set synchronous_commit = local;
             insert into s.orders (items)
             select (select jsonb_agg(jsonb_build_object('sku', 'S' || g, 'qty', i))
                     from generate_series(1, 1 + g % 3) i)
             from generate_series(1, 300) g; analyze s.orders",
        )
        .await;
    world
}

/// Starts a daemon that stops at these points and lacks the guard `omit`.
pub fn daemon(world: &World, points: &[&Point], omit: Option<&str>) -> Daemon {
    let points: Vec<_> = points.iter().map(|p| p.spec()).collect();
    world.daemon(&[
        ("CROSSFADE_FAILPOINTS", &points.join(",")),
        ("CROSSFADE_OMIT", omit.unwrap_or_default()),
    ])
}

/// Rows of both targets that are missing or too many.
pub async fn differing(world: &World) -> i64 {
    let mut all = 0;
    for (select, table) in [(split::ORDERS, "t.orders"), (split::ITEMS, "t.items")] {
        let select = select.replace("source o", "s.orders o");
        let (missing, extra) = world.difference(&select, table).await;
        all += missing + extra;
    }
    all
}

/// Plays a scenario with its guard and without it, side by side: it ends with
/// equal targets in the first form only.
pub async fn guarded(guard: &str, scenario: impl AsyncFn(Option<&str>) -> World) {
    let (whole, mutant) = tokio::join!(scenario(None), scenario(Some(guard)));
    split::assert_equal(&whole).await;
    let lost = differing(&mutant).await;
    eprintln!("without {guard}: {lost} rows of the targets are wrong");
    assert_ne!(lost, 0, "nothing went wrong without {guard}");
}

/// Waits until every chunk of the first source is copied.
pub async fn copied(world: &World) {
    world
        .until(
            "every chunk to be copied",
            "select bool_and(state = 'copied') from crossfade.chunk_1",
        )
        .await;
}

/// Waits until a session waits for a lock of this kind (a condition on `pg_locks`).
pub async fn lock_wait(world: &World, what: &str, condition: &str) {
    world
        .until(
            what,
            &format!("select exists(select from pg_locks where not granted and {condition})"),
        )
        .await;
}

/// The end of the log now.
pub async fn log_end(world: &World) -> String {
    world.get("select pg_current_wal_insert_lsn()").await
}

/// Ends every server process whose session has this application name.
pub async fn terminate(world: &World, application: &str) {
    let ended = world
        .get(&format!(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity
             where application_name = '{application}'"
        ))
        .await;
    assert_ne!(ended, "0", "no session is named {application}");
}

/// A statement in a session of its own that may take its time.
pub async fn spawn(world: &World, sql: &str) -> JoinHandle<Result<(), tokio_postgres::Error>> {
    let client = world.open().await;
    // It is to wait for a lock for as long as the test stands at a point.
    client
        .batch_execute("set lock_timeout = '120s'")
        .await
        .unwrap();
    let sql = sql.to_owned();
    tokio::spawn(async move { client.batch_execute(&sql).await })
}

async fn pid(client: &Client) -> i32 {
    let row = client.query_one("select pg_backend_pid()", &[]).await;
    row.unwrap().get(0)
}

/// A transaction that has written its commit record and is invisible: it waits for
/// a synchronous standby that does not exist.
pub struct Gap {
    commit: JoinHandle<Result<(), tokio_postgres::Error>>,
    /// The end of the log once it hung.
    pub end: String,
}

impl Gap {
    /// Makes commits wait for a standby from now on.
    pub async fn prepare(world: &mut World) {
        world
            .server
            .set("synchronous_standby_names", "nobody")
            .unwrap();
        // Another process of the server puts it into force: try until a commit hangs.
        let probe = world.open().await;
        let backend = pid(&probe).await;
        let cancel = probe.cancel_token();
        let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
        let probing = tokio::spawn(async move {
            while stopped.try_recv().is_err() {
                let emit = "select pg_logical_emit_message(true, 'probe', '')";
                let _ = probe.batch_execute(emit).await;
            }
        });
        waits_for_standby(world, backend).await;
        let _ = stop.send(());
        let _ = cancel.cancel_query(tokio_postgres::NoTls).await;
        probing.await.unwrap();
    }

    /// Commits `sql` into the gap.
    pub async fn commit(world: &World, sql: &str) -> Self {
        let client = world.open().await;
        let backend = pid(&client).await;
        let sql = format!("begin; {sql}; commit");
        let commit = tokio::spawn(async move { client.batch_execute(&sql).await });
        waits_for_standby(world, backend).await;
        let end = log_end(world).await;
        Self { commit, end }
    }

    /// Lets it become visible.
    pub async fn close(self, world: &mut World) {
        assert!(!self.commit.is_finished(), "the gap closed by itself");
        world.server.set("synchronous_standby_names", "").unwrap();
        self.commit.await.unwrap().unwrap();
    }
}

async fn waits_for_standby(world: &World, backend: i32) {
    world
        .until(
            "a commit to wait for a standby",
            &format!(
                "select exists(select from pg_stat_activity
                               where pid = {backend} and wait_event = 'SyncRep')"
            ),
        )
        .await;
}

/// Waits until the daemon says that it waits for something like `what`.
pub async fn daemon_waits(world: &World, what: &str) {
    world
        .until(
            what,
            &format!("select waiting like '%{what}%' from crossfade.daemon"),
        )
        .await;
}

/// Waits for a line in the daemon's log.
pub async fn logged(daemon: &Daemon, text: &str) {
    until(text, async || daemon.log().contains(text)).await;
}
