//! What the stream does when the consumer, the server or the network stops.

use std::time::{Duration, Instant};

use crossfade::error::Kind;
use crossfade::pg::slot;
use crossfade::wal::pgoutput::Message;
use crossfade::wal::reader::{self, Event, Timing};

use crate::server::Server;
use crate::stream::{becomes_true, is_marker, mark, next, options, prepare, until};

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_consumer_keeps_its_connection_and_bounded_memory() {
    // Longer than the reader's own thread may be stopped by the machine: the server would
    // rightly take that for its end.
    let server = Server::start_alone("wal_sender_timeout=15s");
    let client = server.client().await;
    prepare(&client).await;
    let mut stream = reader::start(options(server.tcp(""))).await.unwrap();
    let pid = slot::read(&client, "s").await.unwrap().unwrap().active_pid;
    client
        .batch_execute("insert into t select i, repeat('x', 200) from generate_series(1, 400000) i")
        .await
        .unwrap();
    mark(&client).await;
    let before = resident();
    // The consumer does nothing for twice the server's patience.
    let stalled = Instant::now();
    let mut highest = 0;
    while stalled.elapsed() < Duration::from_secs(32) {
        highest = highest.max(resident());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let grown = highest.saturating_sub(before);
    assert!(
        grown < 24 << 20,
        "{grown} bytes more while nobody took frames"
    );
    assert_eq!(
        slot::read(&client, "s").await.unwrap().unwrap().active_pid,
        pid
    );
    let mut inserts = 0;
    'all: loop {
        for frame in next(&mut stream).await.unwrap() {
            match frame.event {
                Event::Message(Message::Insert { .. }) => inserts += 1,
                Event::Message(message) if is_marker(&message) => break 'all,
                _ => {}
            }
        }
    }
    assert_eq!(inserts, 400_000);
    drop(stream);
    becomes_true(&client, "select not active from pg_replication_slots").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_of_the_server_a_new_start_goes_on() {
    let server = Server::start("");
    let client = server.client().await;
    prepare(&client).await;
    let mut stream = reader::start(options(server.tcp(""))).await.unwrap();
    let identity = stream.system().clone();
    client
        .batch_execute("insert into t values (1, 'a')")
        .await
        .unwrap();
    until(&mut stream, |m| matches!(m, Message::Commit(_))).await;
    drop(client);
    server.down("immediate");
    let error = loop {
        if let Err(error) = next(&mut stream).await {
            break error;
        }
    };
    assert_eq!(error.kind, Kind::Connection, "{error}");
    assert_eq!(next(&mut stream).await.unwrap_err().kind, Kind::Connection);
    let refused = reader::start(options(server.tcp(""))).await.unwrap_err();
    assert_eq!(refused.kind, Kind::Connection, "{refused}");
    server.up();
    let client = server.client().await;
    let mut stream = reader::start(options(server.tcp(""))).await.unwrap();
    assert_eq!(stream.system().identifier, identity.identifier);
    // Not confirmed, so it comes again.
    let seen = until(&mut stream, |m| matches!(m, Message::Insert { .. })).await;
    assert_eq!(seen.len(), 3);
    // An orderly shutdown waits for the walsender, which waits for nobody.
    drop(client);
    server.down("fast");
    let error = loop {
        if let Err(error) = next(&mut stream).await {
            break error;
        }
    };
    assert_eq!(error.kind, Kind::Connection, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent_is_given_up() {
    let server = Server::start("wal_sender_timeout=0");
    let client = server.client().await;
    prepare(&client).await;
    let timing = Timing {
        // Half of it is what the server has to answer in, which may be stopped by the machine.
        silence: Duration::from_secs(20),
        ..Timing::default()
    };
    let mut stream = reader::start_with(options(server.tcp("")), timing)
        .await
        .unwrap();
    let pid = slot::read(&client, "s")
        .await
        .unwrap()
        .unwrap()
        .active_pid
        .unwrap();
    // An idle server answers when it is asked, so the stream lives on.
    let idle = Instant::now();
    while idle.elapsed() < Duration::from_secs(22) {
        if let Ok(frames) = tokio::time::timeout(Duration::from_millis(100), stream.next()).await {
            frames.unwrap();
        }
    }
    let signal = |name: &str| {
        let status = std::process::Command::new("kill")
            .args([name, &pid.to_string()])
            .status();
        assert!(status.unwrap().success());
    };
    signal("-STOP");
    let begun = Instant::now();
    let error = loop {
        if let Err(error) = next(&mut stream).await {
            break error;
        }
    };
    signal("-CONT");
    assert_eq!(error.kind, Kind::Connection);
    assert!(error.message.contains("sent nothing"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(60));
}
