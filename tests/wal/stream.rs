use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossfade::error::Kind;
use crossfade::pg::slot::{self, Active};
use crossfade::pg::{ConnInfo, Lsn, SessionLimits, connect_with};
use crossfade::wal::pgoutput::{Cell, Message, OldTuple, ReplicaIdentity};
use crossfade::wal::reader::{self, Event, Frame, Stream, StreamOptions, Timing};
use tokio_postgres::Client;

use crate::server::Server;

pub const BOUND: Duration = Duration::from_secs(120);

/// A table `t`, published as `p"'\`, and a slot `s`.
pub async fn prepare(client: &Client) -> Lsn {
    client
        .batch_execute(
            "create table t (id int primary key, big text, n int generated always as (id) stored)",
        )
        .await
        .unwrap();
    slot::create_publication(client, PUBLICATION, &["public.t".to_owned()].into())
        .await
        .unwrap();
    slot::create(client, "s", BOUND, true).await.unwrap()
}

/// A name that breaks every wrong way of quoting.
pub const PUBLICATION: &str = r#"p "'\ ,x"#;

pub fn options(conninfo: ConnInfo) -> StreamOptions {
    StreamOptions {
        conninfo,
        slot: "s".into(),
        publication: PUBLICATION.into(),
        start: Lsn(0),
    }
}

pub async fn next(stream: &mut Stream) -> crossfade::error::Result<Vec<Frame>> {
    tokio::time::timeout(BOUND, stream.next())
        .await
        .expect("the stream is silent")
}

/// Messages up to the one that ends the test's own part of the stream.
pub async fn until(stream: &mut Stream, last: impl Fn(&Message) -> bool) -> Vec<Message> {
    let mut seen = Vec::new();
    loop {
        for frame in next(stream).await.unwrap() {
            if let Event::Message(message) = frame.event {
                let end = last(&message);
                seen.push(message);
                if end {
                    return seen;
                }
            }
        }
    }
}

pub fn is_marker(message: &Message) -> bool {
    matches!(message, Message::Logical(m) if m.prefix == "marker" && m.content == b"end"[..])
}

pub async fn mark(client: &Client) {
    client
        .execute(
            "select pg_logical_emit_message(false, 'marker', 'end'), pg_switch_wal()",
            &[],
        )
        .await
        .unwrap();
}

/// Waits until the server's answer to `sql` is true.
pub async fn becomes_true(client: &Client, sql: &str) {
    let begun = Instant::now();
    loop {
        let row = client.query_opt(sql, &[]).await.unwrap();
        if row.is_some_and(|row| row.get::<_, Option<bool>>(0) == Some(true)) {
            return;
        }
        assert!(begun.elapsed() < BOUND, "{sql}");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

fn text(cell: &Cell) -> &[u8] {
    match cell {
        Cell::Text(bytes) => bytes,
        other => panic!("not text: {other:?}"),
    }
}

fn expect_changes(all: &[Message]) {
    // The server describes a relation again whenever its cache was invalidated, by an
    // autovacuum too: what is described as before is left out.
    let mut seen: Vec<&Message> = Vec::new();
    for message in all {
        if !matches!(message, Message::Relation(_)) || !seen.contains(&message) {
            seen.push(message);
        }
    }
    let names: Vec<_> = seen.iter().map(|m| m.name()).collect();
    let expected = [
        "Begin", "Relation", "Insert", "Commit", // with a large value
        "Begin", "Update", "Commit", // of the key
        "Begin", "Message", "Truncate", "Commit", "Message",
    ];
    assert_eq!(names, expected);
    let Message::Relation(relation) = &seen[1] else {
        panic!();
    };
    assert_eq!(
        (relation.schema.as_str(), relation.name.as_str()),
        ("public", "t")
    );
    assert_eq!(relation.identity, ReplicaIdentity::Default);
    let columns: Vec<_> = relation
        .columns
        .iter()
        .map(|c| (c.name.as_str(), c.key, c.type_oid))
        .collect();
    assert_eq!(columns, [("id", true, 23), ("big", false, 25)]);
    let Message::Insert { new, .. } = &seen[2] else {
        panic!();
    };
    assert_eq!((text(&new[0]), text(&new[1]).len()), (&b"1"[..], 100_000));
    let Message::Update {
        old: OldTuple::Key(old),
        new,
        ..
    } = &seen[5]
    else {
        panic!();
    };
    assert_eq!(old[1], Cell::Null);
    assert_eq!((text(&old[0]), text(&new[0])), (&b"1"[..], &b"2"[..]));
    assert_eq!(new[1], Cell::Unchanged);
    let Message::Logical(inside) = &seen[8] else {
        panic!();
    };
    assert!(inside.transactional && inside.content == b"x"[..]);
    let Message::Truncate {
        relations,
        cascade,
        restart_identity,
    } = &seen[9]
    else {
        panic!();
    };
    assert_eq!(
        (relations[0], *cascade, *restart_identity),
        (relation.oid, false, true)
    );
    let (Message::Begin(begin), Message::Commit(commit)) = (&seen[7], &seen[10]) else {
        panic!();
    };
    assert!(begin.final_lsn == commit.lsn && commit.end_lsn > commit.lsn);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_arrive_decoded_and_confirmations_reach_the_server_promptly() {
    let server = Server::start("wal_sender_timeout=0");
    let client = server.client().await;
    let consistent = prepare(&client).await;
    // No status is due within the test, so only a prompt one can bring a confirmation.
    let timing = Timing {
        status: Duration::from_secs(600),
        ..Timing::default()
    };
    for conninfo in [server.tcp(""), server.unix()] {
        let mut stream = reader::start_with(options(conninfo.clone()), timing)
            .await
            .unwrap();
        for sql in [
            "insert into t select 1, string_agg(md5(i::text), '') from generate_series(1, 3125) i",
            "update t set id = 2",
            "begin; select pg_logical_emit_message(true, 'inside', 'x'); truncate t restart identity; commit",
        ] {
            client.batch_execute(sql).await.unwrap();
        }
        mark(&client).await;
        let seen = until(&mut stream, is_marker).await;
        expect_changes(&seen);
        assert!(stream.server_position() > consistent);
        // Nobody confirmed anything yet, so the slot has not moved.
        let before = slot::read(&client, "s").await.unwrap().unwrap();
        assert!(before.active_pid.is_some() && before.plugin.as_deref() == Some("pgoutput"));
        // The last commit, wherever it is: a relation may have been described twice before it.
        let commit = seen.iter().rev().find_map(|message| match message {
            Message::Commit(commit) => Some(commit),
            _ => None,
        });
        let commit = commit.expect("the truncating transaction's commit");
        assert!(before.confirmed_flush < Some(commit.end_lsn));
        stream.confirm(commit.end_lsn);
        // Any of them: the one of the stream before may still be ending.
        let flushed = format!(
            "select bool_or(flush_lsn = '{0}' and replay_lsn = '{0}' and write_lsn >= '{0}')
             from pg_stat_replication",
            commit.end_lsn
        );
        becomes_true(&client, &flushed).await;
        let taken = reader::start(options(conninfo.clone())).await.unwrap_err();
        assert!(
            taken.is_sqlstate("55006") && taken.kind == Kind::Contention,
            "{taken}"
        );
        stream.stop().await;
        let after = slot::read(&client, "s").await.unwrap().unwrap();
        assert_eq!(after.active_pid, None);
        assert_eq!(after.confirmed_flush, Some(commit.end_lsn));
        // What was confirmed does not come again, what was not does.
        let mut again = reader::start(options(conninfo)).await.unwrap();
        let rest = until(&mut again, is_marker).await;
        assert_eq!(rest.len(), 1, "{rest:?}");
        again.confirm(stream_end(&client).await);
        again.stop().await;
    }
}

// Goal: who stops a stream may take its slot at once. The server lets go of the slot
// only after it has answered the end of the copy: seen often on busy processors.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_stream_has_given_its_slot_free() {
    let server = Server::start("");
    let client = server.client().await;
    prepare(&client).await;
    let busy = Arc::new(AtomicBool::new(true));
    for _ in 0..6 {
        let busy = Arc::clone(&busy);
        std::thread::spawn(move || {
            while busy.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
    }
    // Where the processors are busy with others too, a stop may take long.
    let timing = Timing {
        stop: Duration::from_secs(60),
        ..Timing::default()
    };
    for turn in 0..100 {
        let stream = reader::start_with(options(server.unix()), timing)
            .await
            .unwrap();
        stream.stop().await;
        let after = slot::read(&client, "s").await.unwrap().unwrap();
        assert_eq!(after.active_pid, None, "turn {turn}");
    }
    busy.store(false, Ordering::Relaxed);
}

async fn stream_end(client: &Client) -> Lsn {
    let row = client
        .query_one("select pg_current_wal_flush_lsn()::text", &[])
        .await
        .unwrap();
    row.get::<_, &str>(0).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_streams_and_large_values_pass_a_small_queue() {
    let server = Server::start("");
    server.openssl(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-keyout",
        &server.path("server.key"),
        "-out",
        &server.path("server.crt"),
    ]);
    let (crt, key) = (server.path("server.crt"), server.path("server.key"));
    let ssl = format!("\nssl=on\nssl_cert_file='{crt}'\nssl_key_file='{key}'\n");
    server.append("data/postgresql.conf", &ssl);
    server.reload();
    let client = server.client().await;
    becomes_true(&client, "select current_setting('ssl')::bool").await;
    prepare(&client).await;
    let timing = Timing {
        queue_bytes: 1 << 20,
        ..Timing::default()
    };
    let tls = server.tcp(&format!("sslmode=verify-ca sslrootcert={crt}"));
    let mut stream = reader::start_with(options(tls), timing).await.unwrap();
    client
        .batch_execute("insert into t values (1, repeat('x', 20 << 20)); insert into t select i, 'y' from generate_series(2, 50000) i")
        .await
        .unwrap();
    mark(&client).await;
    let seen = until(&mut stream, is_marker).await;
    let inserts: Vec<_> = seen
        .iter()
        .filter_map(|m| match m {
            Message::Insert { new, .. } => Some(text(&new[1]).len()),
            _ => None,
        })
        .collect();
    assert_eq!(inserts.len(), 50_000);
    assert_eq!(inserts[0], 20 << 20);
    assert!(inserts[1..].iter().all(|length| *length == 1));
    stream.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_are_created_in_bounded_time_and_dropped_from_under_a_stream() {
    let server = Server::start("");
    let client = server.client().await;
    prepare(&client).await;
    let writer = server.client().await;
    writer
        .batch_execute("begin; insert into t values (1, '')")
        .await
        .unwrap();
    let bound = Duration::from_millis(300);
    let error = slot::create(&client, "late", bound, false)
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::Contention, "{error}");
    writer.batch_execute("rollback").await.unwrap();
    assert_eq!(slot::read(&client, "late").await.unwrap(), None);
    for (name, value) in [
        ("statement_timeout", "5min"),
        ("lock_timeout", "10s"),
        ("client_connection_check_interval", "0"),
    ] {
        let limit = client.query_one(&format!("show {name}"), &[]).await;
        assert_eq!(limit.unwrap().get::<_, &str>(0), value, "{name}");
    }
    let error = slot::create(&client, "s", BOUND, false).await.unwrap_err();
    assert!(
        error.is_sqlstate("42710") && error.kind == Kind::Precondition,
        "{error}"
    );

    let mut stream = reader::start(options(server.unix())).await.unwrap();
    let info = slot::read(&client, "s").await.unwrap().unwrap();
    assert_eq!(info.wal_status, Some(slot::WalStatus::Reserved));
    assert!(info.retained.is_some() && info.confirmed_flush.is_some() && info.restart.is_some());
    let error = slot::drop(&client, "s", Active::Wait, bound)
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::Contention, "{error}");
    assert!(
        slot::drop(&client, "s", Active::Terminate, BOUND)
            .await
            .unwrap()
    );
    assert!(!slot::drop(&client, "s", Active::Wait, bound).await.unwrap());
    let error = loop {
        if let Err(error) = next(&mut stream).await {
            break error;
        }
    };
    assert_eq!(error.kind, Kind::Connection, "{error}");
    let error = reader::start(options(server.unix())).await.unwrap_err();
    assert_eq!(error.kind, Kind::Slot, "{error}");
    slot::drop_publication(&client, PUBLICATION).await.unwrap();
    slot::drop_publication(&client, PUBLICATION).await.unwrap();
}

/// Makes a slot in a session that waits for locks a moment only.
async fn make(info: ConnInfo, name: &'static str) -> crossfade::error::Result<Lsn> {
    let limits = SessionLimits {
        lock: Some(Duration::from_millis(100)),
        ..SessionLimits::default()
    };
    let client = connect_with(&info, "test", limits).await?;
    slot::create(&client, name, BOUND, false).await
}

// Goal: a slot that is made waits for whoever is writing as long as it may, not as long as
// the session may wait for a lock; and no longer than there is somebody who wants it.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_waits_for_writers_beyond_lock_timeout_and_only_while_it_is_wanted() {
    let server = Server::start("");
    let client = server.client().await;
    prepare(&client).await;
    let writer = server.client().await;
    writer
        .batch_execute("begin; insert into t values (1, '')")
        .await
        .unwrap();
    let wanted = tokio::spawn(make(server.unix(), "wanted"));
    let (leave, left) = tokio::sync::oneshot::channel::<()>();
    let info = server.unix();
    // A runtime of its own: with that the session's connection ends, as with a process.
    let unwanted = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            tokio::select! {
                made = make(info, "unwanted") => panic!("{made:?}"),
                _ = left => {}
            }
        });
    });
    becomes_true(
        &client,
        "select count(*) = 2 from pg_locks where locktype = 'transactionid' and not granted
             and waitstart < clock_timestamp() - interval '1 s'",
    )
    .await;
    assert!(!wanted.is_finished() && !unwanted.is_finished());
    leave.send(()).unwrap();
    unwanted.join().unwrap();
    becomes_true(
        &client,
        "select count(*) = 0 from pg_replication_slots where slot_name = 'unwanted'",
    )
    .await;
    writer.batch_execute("rollback").await.unwrap();
    wanted.await.unwrap().unwrap();
    let made = slot::read(&client, "wanted").await.unwrap().unwrap();
    assert!(made.is_ready());
}
