//! Limits that an administrator has set for the role: they are meant for applications.

use crossfade::pg::connect;
use crossfade::wal::reader::{Timing, start_with};
use crossfade::wal::transport::Transport;

use crate::server::Server;
use crate::stream::{becomes_true, is_marker, mark, options, prepare, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_role_s_limits_on_idle_sessions_and_long_transactions_end_no_session() {
    let server = Server::start("");
    let admin = server.client().await;
    prepare(&admin).await;
    // Newer than the oldest server.
    let known: bool = admin
        .query_one(
            "select current_setting('transaction_timeout', true) is not null",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    let mut settings = vec!["idle_session_timeout"];
    settings.extend(known.then_some("transaction_timeout"));
    for name in &settings {
        admin
            .batch_execute(&format!("alter role postgres set {name} = '300ms'"))
            .await
            .unwrap();
    }
    let sql = connect(&server.unix(), "test").await.unwrap();
    let mut replication = Transport::connect(&server.unix(), "test").unwrap();
    for name in &settings {
        let shown = sql.query_one(&format!("show {name}"), &[]).await.unwrap();
        assert_eq!(shown.get::<_, &str>(0), "0", "{name}");
        let shown = replication.query(&format!("show {name}")).unwrap();
        assert_eq!(shown[0][0].as_deref(), Some("0"), "{name}");
    }

    // Who sends a large transaction to a slow reader is in one as long as that takes.
    let rows = 20_000;
    admin
        .batch_execute(&format!(
            "insert into t select i, repeat('x', 1000) from generate_series(1, {rows}) i"
        ))
        .await
        .unwrap();
    mark(&admin).await;
    let timing = Timing {
        queue_bytes: 64 << 10,
        ..Timing::default()
    };
    let mut stream = start_with(options(server.unix()), timing).await.unwrap();
    becomes_true(
        &admin,
        "select clock_timestamp() - query_start > '1500 ms' and wait_event = 'WalSenderWriteData'
         from pg_stat_activity where application_name = 'crossfade stream s'",
    )
    .await;
    let messages = until(&mut stream, is_marker).await;
    let inserts = messages.iter().filter(|m| m.name() == "Insert").count();
    assert_eq!(inserts, rows);
    stream.stop().await;
    assert!(
        !sql.is_closed(),
        "it was idle for longer than the role may be"
    );
}
