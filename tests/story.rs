//! The demo's story, told with a stand-in for crossfade that moves the data under
//! one lock (`tests/story/stand_in.sh`): what the story makes of good and bad ends.

use std::path::PathBuf;
use std::time::Duration;

use crossfade::demo::application::Layout;
use crossfade::demo::story::{self, Load, Options, Summary};
use crossfade::error::Result;

async fn tell(behaviour: &str, load: Option<Load>) -> Result<Summary> {
    tell_and_keep(behaviour, load, false).await
}

async fn tell_and_keep(behaviour: &str, load: Option<Load>, keep: bool) -> Result<Summary> {
    let temp = std::env::temp_dir().join(format!(
        "crossfade-story-{behaviour}-{}-{:08x}",
        std::process::id(),
        fastrand::u32(..)
    ));
    std::fs::create_dir(&temp).unwrap();
    let program = temp.join(behaviour);
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/story/stand_in.sh");
    std::os::unix::fs::symlink(script, &program).unwrap();
    if load.is_some() {
        std::fs::write(temp.join("busy"), "").unwrap();
    }
    let told = story::tell(Options {
        orders: 400,
        layout: Layout::Split,
        workers: 1,
        load,
        baseline: true,
        keep,
        dir: None,
        program,
        settle: Duration::from_millis(500),
        durable: false,
        quiet: true,
    })
    .await;
    std::fs::remove_dir_all(&temp).unwrap();
    told
}

const LOAD: Option<Load> = Some(Load {
    clients: 4,
    rate: 120.0,
});

#[tokio::test(flavor = "multi_thread")]
async fn a_good_migration_ends_well_and_says_so() {
    let summary = tell("well", LOAD).await.unwrap();
    assert!(summary.good(), "{}", summary.text());
    let app = summary.application.as_ref().unwrap();
    assert!(app.transactions > 30 && app.orders_checked > 30);
    assert_eq!(app.retried, 4);
    assert!(app.stall_ms > 0.0 && app.stall_ms <= app.longest_ms);
    assert_eq!((summary.rows_copied, summary.rows_streamed), (7, 3));
    assert_eq!(summary.switch_attempts, 2, "the first attempt is refused");
    assert!(summary.baseline_seconds.unwrap() > 0.0);
    assert_eq!(summary.largest_lag_bytes, 4096);
    let text = summary.text();
    assert!(text.contains("nothing was lost") && text.contains("0 lost, 0 doubled, 0 stale"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_application_old_and_new_are_compared_in_full() {
    let summary = tell("well", None).await.unwrap();
    assert!(summary.good(), "{}", summary.text());
    assert_eq!(summary.differing_rows, Some(0));
    let summary = tell("losing", None).await.unwrap();
    assert!(summary.differing_rows.unwrap() > 100 && !summary.good());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_server_goes_on_and_the_summary_says_how_to_connect_and_how_to_stop_it() {
    let summary = tell_and_keep("well", None, true).await.unwrap();
    let kept = summary.kept.clone().expect("the server is left running");
    let text = summary.text();
    for words in [
        format!("psql {}", kept.url),
        format!("kill -INT {}", kept.pid),
        format!("rm -r {}", kept.dir.display()),
    ] {
        assert!(text.contains(&words), "{words} is not in\n{text}");
    }
    let (client, connection) = tokio_postgres::connect(&kept.url, tokio_postgres::NoTls)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let row = client
        .query_one("select count(*) from shop.orders", &[])
        .await
        .unwrap();
    assert!(row.get::<_, i64>(0) > 0);
    drop(client);
    connection.await.unwrap().unwrap();
    // As the summary says.
    let stopped = std::process::Command::new("kill")
        .args(["-INT", &kept.pid.to_string()])
        .status()
        .unwrap();
    assert!(stopped.success());
    let deadline = std::time::Instant::now() + Duration::from_secs(120);
    while kept.dir.join("data/postmaster.pid").exists() {
        assert!(std::time::Instant::now() < deadline, "it does not stop");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    std::fs::remove_dir_all(kept.dir).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_lost_by_the_switch_are_found_by_the_application() {
    let summary = tell("losing", LOAD).await.unwrap();
    let app = summary.application.as_ref().unwrap();
    assert!(app.lost > 0 && !summary.good(), "{}", summary.text());
    assert!(summary.text().contains("NOT GOOD"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_stops_the_story_before_the_switch() {
    let summary = tell("different", LOAD).await.unwrap();
    assert!(!summary.good() && summary.switch.is_empty());
    assert!(summary.application.unwrap().clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_never_gets_its_lock_is_no_success() {
    let summary = tell("refusing", LOAD).await.unwrap();
    assert!(!summary.good() && summary.switch == "not_switched");
    assert_eq!(summary.switch_attempts, 5);
    assert!(summary.application.unwrap().clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_dies_is_reported_with_what_it_said() {
    let error = tell("dying", LOAD).await.unwrap_err();
    assert!(error.message.contains("no slot is free"), "{error}");
}

/// The split in place, with crossfade itself: there, back, there again, and the column
/// dropped, under one application.
#[tokio::test(flavor = "multi_thread")]
async fn the_split_in_place_is_told_to_its_end() {
    let summary = story::tell(Options {
        orders: 1500,
        layout: Layout::InPlace,
        workers: 1,
        load: LOAD,
        baseline: false,
        keep: false,
        dir: None,
        program: PathBuf::from(env!("CARGO_BIN_EXE_crossfade")),
        settle: Duration::from_millis(300),
        durable: false,
        quiet: true,
    })
    .await
    .unwrap();
    assert!(summary.good(), "{}", summary.text());
    assert!(summary.is_switched_back());
    assert_eq!(summary.reverse_verification.as_deref(), Some("identical"));
    let app = summary.application.as_ref().unwrap();
    assert!(app.retried >= 12, "{}", summary.text());
    assert_eq!(
        summary.contract.as_deref(),
        Some("0001_contract_orders.up.sql")
    );
    assert!(summary.text().contains("0001_contract_orders.up.sql"));
}
