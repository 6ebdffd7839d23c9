//! One transaction that is far larger than a batch.

use crate::stage::{self, copied, daemon};
use crate::support::{Daemon, Point, World, split, until};

/// New rows in the one transaction, 16 kB each, so more than [`MEMORY`].
const ROWS: u32 = 12_000;
/// Peak resident memory of the daemon, a debug build, in MiB.
const MEMORY: u64 = 150;

/// The highest resident memory of the process so far, in MiB.
fn peak(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024
}

/// What the target shows of the new rows, orders and items.
async fn shown(world: &World) -> String {
    world
        .get(
            "select (select count(*) from t.orders where id > 300) || ' ' ||
                    (select count(*) from t.items where order_id > 300)",
        )
        .await
}

#[tokio::test]
async fn a_huge_transaction_is_applied_in_pieces_all_or_nothing_while_chunks_are_copied() {
    let world = stage::world().await;
    world.config(
        &["split"],
        "[copy]\nbatch_rows = 10\nworkers = 2\n[throttle]\nmax_lag_seconds = 1000",
    );
    let claim = Point::new(&world, "copy.before_commit");
    let daemon = daemon(&world, &[&claim], None);
    claim.reached().await;
    world
        .sql(&format!(
            "begin; insert into s.orders (id, items) select g, jsonb_build_array(
                        jsonb_build_object('sku', 'h', 'qty', 2, 'note', repeat(md5(g::text), 512)))
                    from generate_series(301, {}) g;
             update s.orders set status = 'huge' where id <= 300;
             delete from s.orders where id % 50 = 0 and id <= 300; commit",
            300 + ROWS
        ))
        .await;
    let all = format!("{ROWS} {ROWS}");
    // The chunk that is held keeps the transaction from being applied: so this look comes
    // before its end, however slow it is.
    assert_eq!(shown(&world).await, "0 0", "it was there at once");
    // The first piece asks the copiers to step aside; then they are let go.
    claim.release();
    until("the transaction to be applied", async || {
        let now = shown(&world).await;
        assert!(now == "0 0" || now == all, "a part is to be seen: {now}");
        now == all
    })
    .await;
    copied(&world).await;
    world.settled().await;
    split::assert_equal(&world).await;
    eprintln!("peak {} MiB", peak(&daemon));
    assert!(peak(&daemon) < MEMORY, "{} MiB", peak(&daemon));
}

/// Transactions of one row that wait for the applier. They fit into its queue.
const BACKLOG: i64 = 8000;

/// A daemon whose copier and applier are stopped, with a backlog in the applier's queue:
/// it will not find the stream drained before the backlog's end.
struct Backlog {
    world: World,
    daemon: Daemon,
    claim: Point,
    write: Point,
    commit: Point,
    end: String,
}

async fn backlog() -> Backlog {
    let world = stage::world().await;
    let claim = Point::new(&world, "copy.before_claim");
    let write = Point::new(&world, "apply.before_write");
    let commit = Point::new(&world, "apply.before_commit");
    let daemon = daemon(&world, &[&claim, &write, &commit], None);
    claim.reached().await;
    world.sql("insert into s.orders default values").await;
    write.reached().await;
    write.release();
    commit.reached().await;
    world
        .sql(&format!(
            "do $$ begin for i in 1..{BACKLOG} loop
                 insert into s.orders (status) values ('backlog'); commit;
             end loop; end $$"
        ))
        .await;
    let end = stage::log_end(&world).await;
    let received = format!("select write_lsn >= '{end}' from pg_stat_replication");
    world
        .until("the daemon to have received all", &received)
        .await;
    Backlog {
        world,
        daemon,
        claim,
        write,
        commit,
        end,
    }
}

#[tokio::test]
async fn a_backlog_of_small_transactions_is_applied_in_bounded_batches() {
    let backlog = backlog().await;
    let world = &backlog.world;
    let (write, commit) = (&backlog.write, &backlog.commit);
    // The first transaction commits; the batch after it is held before its commit.
    write.arm();
    commit.release();
    write.reached().await;
    commit.arm();
    write.release();
    commit.reached().await;
    // It commits; the next one is held, so what is to be seen is one batch.
    write.arm();
    commit.release();
    let count = "select count(*) from t.orders where status = 'backlog'";
    until("the first batch to commit", async || {
        world.get(count).await != "0"
    })
    .await;
    let first: i64 = world.get(count).await.parse().unwrap();
    assert!(
        first <= BACKLOG / 2,
        "{first} rows in one target transaction"
    );
    write.reached().await;
    write.release();
    backlog.claim.release();
    world.settled().await;
    split::assert_equal(world).await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_the_backlog_and_gives_the_lock_up_last() {
    let Backlog {
        world,
        daemon: mut stopped,
        claim,
        commit,
        end,
        ..
    } = backlog().await;
    stopped.terminate();
    // The tasks have been told, and still have work in their hands.
    let ended = |name: &str| {
        format!(
            "select count(*) = 0 from pg_stat_activity where application_name = 'crossfade {name}'"
        )
    };
    world
        .until("the planner to end", &ended("copy planner"))
        .await;
    assert_eq!(
        world.get(&ended("daemon")).await,
        "false",
        "the lock is given up"
    );
    commit.release();
    claim.release();
    assert_eq!(stopped.exit().await, 0);
    let left = format!("select applied_lsn < '{end}' from crossfade.checkpoint");
    assert_eq!(
        world.get(&left).await,
        "true",
        "all of it was applied first"
    );
    let _daemon = daemon(&world, &[], None);
    world.settled().await;
    split::assert_equal(&world).await;
}
