//! The throwaway server that all other tests stand on.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crossfade::server::{Auth, Mode, Options, Server};
use tokio_postgres::{Client, NoTls};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn value(url: &str, sql: &str) -> String {
    block_on(async { connect(url).await.query_one(sql, &[]).await.unwrap().get(0) })
}

fn execute(url: &str, sql: &str) {
    block_on(async { connect(url).await.batch_execute(sql).await.unwrap() });
}

#[test]
fn eight_servers_start_at_once_and_have_identifiers_of_their_own() {
    let identifiers: Vec<String> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| Server::start(Options::default()).unwrap()))
            .collect();
        let servers: Vec<_> = started.into_iter().map(|s| s.join().unwrap()).collect();
        servers
            .iter()
            .map(|server| {
                let sql = "select system_identifier::text from pg_control_system()";
                assert_eq!(
                    value(&server.url("postgres"), sql),
                    value(&server.socket_url("postgres"), sql)
                );
                value(&server.url("postgres"), sql)
            })
            .collect()
    });
    let distinct: std::collections::BTreeSet<_> = identifiers.iter().collect();
    assert_eq!(distinct.len(), 8, "{identifiers:?}");
}

#[test]
fn the_server_is_ready_for_logical_replication_and_takes_settings() {
    let options = Options::default()
        .setting("work_mem", "5MB")
        .setting("cluster_name", "it's");
    let mut server = Server::start(options).unwrap();
    let url = server.url("postgres");
    let show = |name: &str| value(&url, &format!("show {name}"));
    assert_eq!(show("wal_level"), "logical");
    assert_eq!(show("max_replication_slots"), "20");
    assert_eq!(show("fsync"), "off");
    assert_eq!(show("work_mem"), "5MB");
    assert_eq!(show("cluster_name"), "it's");
    for kilobytes in 100..120 {
        server.set("work_mem", &format!("{kilobytes}kB")).unwrap();
        assert_eq!(show("work_mem"), format!("{kilobytes}kB"));
    }
}

#[test]
fn restart_and_crash_keep_port_and_data() {
    let mut server = Server::start(Options {
        durable: true,
        ..Options::default()
    })
    .unwrap();
    let url = server.url("postgres");
    execute(&url, "create table t as select 41 + 1 as n");
    let first = server.pid();
    server.restart().unwrap();
    assert_ne!(server.pid(), first);
    assert_eq!(value(&url, "select n::text from t"), "42");
    execute(&url, "update t set n = 43");
    server.stop(Mode::Immediate).unwrap();
    assert_eq!(server.pid(), None);
    server.start_again().unwrap();
    assert_eq!(value(&url, "select n::text from t"), "43");
    assert!(
        std::fs::read_to_string(server.log_path())
            .unwrap()
            .contains("automatic recovery")
    );
}

#[test]
fn scram_lets_in_only_who_has_the_password() {
    let password = "s3cret/'@: ü".to_owned();
    let auth = Auth::Scram {
        password: password.clone(),
    };
    let server = Server::start(Options {
        auth,
        ..Options::default()
    })
    .unwrap();
    assert_eq!(value(&server.url("postgres"), "select 'in'"), "in");
    assert_eq!(value(&server.socket_url("postgres"), "select 'in'"), "in");
    let url = format!(
        "postgres://postgres:wrong@127.0.0.1:{}/postgres",
        server.port()
    );
    let refused = block_on(async { tokio_postgres::connect(&url, NoTls).await.err().unwrap() });
    assert_eq!(refused.code().unwrap().code(), "28P01");
    let log = std::fs::read_to_string(server.log_path()).unwrap();
    assert!(!log.contains("s3cret") && !log.contains("SCRAM-SHA-256$"));
}

#[test]
fn dropping_removes_the_directory_and_the_process_unless_kept() {
    let server = Server::start(Options::default()).unwrap();
    let (dir, pid) = (server.dir().to_owned(), server.pid().unwrap());
    drop(server);
    assert!(!dir.exists());
    assert!(!running(pid));

    let kept = std::env::temp_dir().join(format!("crossfade-kept-{}", std::process::id()));
    let options = Options {
        dir: Some(kept.clone()),
        keep: true,
        ..Options::default()
    };
    drop(Server::start(options).unwrap());
    assert!(kept.join("data/PG_VERSION").exists());
    let again = Server::start(Options {
        dir: Some(kept.clone()),
        ..Options::default()
    });
    assert!(again.unwrap_err().message.contains("is not empty"));
    std::fs::remove_dir_all(kept).unwrap();
}

#[test]
fn a_directory_too_deep_for_a_socket_still_works() {
    let base = std::env::temp_dir().join(format!("crossfade-deep-{}", std::process::id()));
    let dir = base.join("d".repeat(120));
    let server = Server::start(Options {
        dir: Some(dir),
        ..Options::default()
    })
    .unwrap();
    assert_eq!(value(&server.socket_url("postgres"), "select 'in'"), "in");
    drop(server);
    std::fs::remove_dir(base).unwrap();
}

#[test]
fn a_setting_the_server_refuses_is_reported_from_its_log() {
    let options = Options::default().setting("max_connections", "many");
    let error = Server::start(options).unwrap_err();
    assert!(error.message.contains("max_connections"), "{error}");
}

/// The variable under which this test binary runs itself as a process to kill.
const VICTIM: &str = "CROSSFADE_TEST_VICTIM";

#[test]
fn a_server_whose_owner_was_killed_stops_and_leaves_nothing() {
    if std::env::var_os(VICTIM).is_some() {
        let server = Server::start(Options::default()).unwrap();
        println!(
            "VICTIM {} {}",
            server.pid().unwrap(),
            server.dir().display()
        );
        // Lives until the test kills it; the bound is for a test that forgot.
        std::thread::sleep(Duration::from_secs(600));
    }
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--nocapture",
            "a_server_whose_owner_was_killed_stops_and_leaves_nothing",
        ])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(owner.stdout.take().unwrap()));
    let told = lines
        .find_map(|line| {
            line.unwrap()
                .split_once("VICTIM ")
                .map(|(_, rest)| rest.to_owned())
        })
        .unwrap();
    let (pid, dir) = told.split_once(' ').unwrap();
    let (pid, dir) = (pid.parse().unwrap(), PathBuf::from(dir));
    assert!(running(pid) && dir.exists());
    owner.kill().unwrap();
    owner.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    while running(pid) || dir.exists() {
        assert!(
            Instant::now() < deadline,
            "server {pid} or {} is still there",
            dir.display()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a process is there and not a zombie waiting for a parent.
fn running(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        let state = stat.rsplit(')').next().unwrap_or("").trim_start();
        !state.starts_with('Z')
    })
}
