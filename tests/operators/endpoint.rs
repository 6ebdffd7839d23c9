//! What the daemon answers over HTTP.

use std::io::{BufRead, BufReader};

use serde_json::Value;

use super::http::{ask, free_port, get, open};
use super::support::{World, until};
use super::watch::fill;

fn config(world: &World, extra: &str) -> u16 {
    let port = free_port();
    world.config(
        &["split"],
        &format!("{extra}\n[metrics]\nlisten = \"127.0.0.1:{port}\""),
    );
    port
}

/// The status, once the database answers in the time that it has.
async fn status(port: u16) -> Value {
    let mut body = String::new();
    until("the status", async || {
        let answer = get(port, "/status").unwrap();
        body = answer.body;
        answer.status == 200
    })
    .await;
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn the_endpoint_tells_how_it_goes_to_people_probes_and_prometheus() {
    let mut world = World::new().await;
    fill(&world, 2000).await;
    let port = config(
        &world, // It copies for as long as the test looks.
        "[copy]\nworkers = 1\nsleep_ms = 1000\nbatch_rows = 20",
    );
    let mut daemon = world.daemon(&[]);
    until("the daemon to be ready", async || {
        get(port, "/ready").is_ok_and(|a| a.status == 200 && a.body.contains("\"owner\""))
    })
    .await;
    assert_eq!(get(port, "/health").unwrap().status, 200);
    let page = get(port, "/").unwrap();
    assert!(page.head.contains("text/html") && page.head.contains("content-security-policy"));
    // Self-contained: nothing that it would load from elsewhere.
    for outside in ["http://", "https://", "src=\"/", "@import"] {
        let own = page.body.replace("http://www.w3.org", "");
        assert!(!own.contains(outside), "{outside}");
    }
    let status = status(port).await;
    assert_eq!(
        (&status["name"], &status["daemon"]),
        (&"test".into(), &true.into())
    );
    assert_eq!(status["process"]["role"], "owner");
    // What it is comes with the first look, how it goes a moment later.
    let mut metrics = None;
    until("the metrics of the copy", async || {
        metrics = get(port, "/metrics").ok();
        metrics.as_ref().is_some_and(|m| {
            m.body
                .contains("crossfade_phase{migration=\"test\",phase=\"copying\"} 1")
        })
    })
    .await;
    let metrics = metrics.unwrap();
    assert!(metrics.head.contains("text/plain; version=0.0.4"));
    assert!(
        metrics
            .body
            .contains("process_resident_memory_bytes{migration=\"test\"}")
    );
    assert_eq!(get(port, "/nothing").unwrap().status, 404);
    assert_eq!(ask(port, "POST", "/status").unwrap().status, 405);

    // Events come by themselves, and the copy moves on meanwhile.
    let events = open(port, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut copied = Vec::new();
    for line in BufReader::new(events).lines() {
        if let Some(data) = line.unwrap().strip_prefix("data: ") {
            let news: Value = serde_json::from_str(data).unwrap();
            // A database that has not answered for seconds is told as an error.
            copied.extend(news["status"]["rows_copied"].as_i64());
        }
        if copied.len() >= 3 && copied.last() > copied.first() {
            break;
        }
        assert!(copied.len() < 100, "{copied:?}");
    }
    assert!(
        copied.is_sorted() && copied.last() > copied.first(),
        "{copied:?}"
    );

    // A database that is gone is told, and the process still answers.
    world
        .server
        .stop(crossfade::server::Mode::Immediate)
        .unwrap();
    until("the daemon to say that it is not ready", async || {
        get(port, "/ready").is_ok_and(|a| a.status == 503 && a.body.contains("retrying"))
    })
    .await;
    assert_eq!(get(port, "/health").unwrap().status, 200);
    assert_eq!(get(port, "/status").unwrap().status, 503);
    world.server.start_again().unwrap();
    until("the daemon to be back", async || {
        get(port, "/ready").is_ok_and(|a| a.status == 200)
    })
    .await;
    assert_eq!(daemon.stop().await, 0);
}

// Goal: somebody else on the port costs the page, not the migration; and the daemon that
// takes over on the same host takes the page over too.
#[tokio::test]
async fn a_daemon_whose_port_is_taken_works_without_its_page_until_the_port_is_free() {
    let world = World::new().await;
    fill(&world, 100).await;
    let port = config(&world, "");
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let mut first = world.daemon(&[]);
    world.settled().await;
    assert!(first.log().contains("metrics.listen: 127.0.0.1:"));
    drop(taken);
    let role = |role: &'static str| {
        until("the page", async move || {
            get(port, "/ready").is_ok_and(|a| a.status == 200 && a.body.contains(role))
        })
    };
    role("\"owner\"").await;
    let mut second = world.daemon(&[]);
    until("the second daemon to wait", async || {
        second.log().contains("waiting as a standby")
    })
    .await;
    let pid = second.pid();
    first.kill();
    world
        .until(
            "the second daemon to take over",
            &format!("select pid = {pid} from crossfade.daemon"),
        )
        .await;
    role("\"owner\"").await;
    assert_eq!(second.stop().await, 0);
}

#[tokio::test]
async fn a_standby_is_ready_and_says_that_it_is_one() {
    let world = World::new().await;
    fill(&world, 100).await;
    let port = config(&world, "");
    let _owner = world.daemon(&[]);
    until("the owner", async || {
        get(port, "/ready").is_ok_and(|a| a.body.contains("\"owner\""))
    })
    .await;
    let port = config(&world, "");
    let _standby = world.daemon(&[]);
    until("the standby", async || {
        get(port, "/ready").is_ok_and(|a| a.status == 200 && a.body.contains("\"standby\""))
    })
    .await;
    let status = status(port).await;
    assert_eq!(status["process"]["role"], "standby");
    assert_eq!(status["daemon"], true);
}
