use crossfade::error::Kind;
use crossfade::pg::{ConnInfo, connect};
use crossfade::wal::transport::Transport;

use crate::server::Server;

/// Both clients must agree: the one for SQL and the one for replication.
async fn both(info: &ConnInfo) -> Result<bool, (Kind, String)> {
    let sql = connect(info, "test").await;
    let stream = Transport::connect(info, "test");
    match (sql, stream) {
        (Ok(client), Ok(mut transport)) => {
            let row = client
                .query_one(
                    "select ssl from pg_stat_ssl where pid = pg_backend_pid()",
                    &[],
                )
                .await
                .unwrap();
            assert!(transport.identify_system().unwrap().timeline == 1);
            let pinned = transport.query("show datestyle").unwrap();
            assert!(pinned[0][0].as_ref().unwrap().starts_with("ISO"));
            assert_eq!(row.get::<_, bool>(0), transport.is_tls());
            Ok(transport.is_tls())
        }
        (Err(a), Err(b)) => {
            assert_eq!(a.kind, b.kind, "{a} / {b}");
            for error in [&a, &b] {
                assert!(error.message.contains(&info.display()), "{error}");
                let shown = format!("{error:?} {}", error.what_to_do());
                assert!(!shown.contains("sesame"), "{shown}");
            }
            Err((a.kind, format!("{a} / {b}")))
        }
        (a, b) => panic!("{:?} / {:?}", a.err(), b.err()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_checked_with_scram_md5_and_clear_text() {
    let server = Server::start("");
    let admin = server.client().await;
    admin
        .batch_execute(
            "set password_encryption = 'scram-sha-256';
             create role scram login replication password 'open sesame';
             create role clear login replication password 'open sesame';
             set password_encryption = 'md5';
             create role md login replication password 'open sesame';",
        )
        .await
        .unwrap();
    let hba = "local all postgres trust\nhost all scram all scram-sha-256\nhost all md all md5\nhost all clear all password\n";
    std::fs::write(server.dir.join("data/pg_hba.conf"), hba).unwrap();
    server.reload();
    let login = |user: &str, rest: &str| {
        let port = server.port;
        ConnInfo::parse(&format!(
            "host=127.0.0.1 port={port} dbname=postgres user={user} {rest}"
        ))
        .unwrap()
    };
    // The reload is a signal: wait until it has been seen.
    while connect(&login("postgres", ""), "test").await.is_ok() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    for user in ["scram", "md", "clear"] {
        assert_eq!(
            both(&login(user, "password='open sesame'")).await,
            Ok(false),
            "{user}"
        );
        let (kind, message) = both(&login(user, "password='sesame'")).await.unwrap_err();
        assert_eq!(kind, Kind::Privilege);
        assert!(message.contains("28P01"), "{message}");
        let (kind, message) = both(&login(user, "passfile=/nonexistent"))
            .await
            .unwrap_err();
        assert_eq!(kind, Kind::Privilege, "{message}");
        let (kind, message) = both(&login(
            user,
            "password='open sesame' channel_binding=require",
        ))
        .await
        .unwrap_err();
        assert_eq!(kind, Kind::Precondition, "{message}");
    }
    let (kind, message) = both(&login("nobody", "")).await.unwrap_err();
    assert_eq!(kind, Kind::Privilege);
    assert!(message.contains("28000"), "{message}");
    let absent = login("scram", "password='open sesame'").with_database("absent");
    let (kind, message) = both(&absent).await.unwrap_err();
    assert_eq!(kind, Kind::Config, "{message}");
    let (kind, message) = both(&login("scram", "password='open sesame' sslmode=require"))
        .await
        .unwrap_err();
    assert_eq!(kind, Kind::Precondition, "{message}");
    let mut unreachable = login("scram", "password=sesame");
    unreachable.port = 1;
    assert_eq!(both(&unreachable).await.unwrap_err().0, Kind::Connection);
}

fn certificate(server: &Server, name: &str, names: &str) {
    let (key, crt) = (
        server.path(&format!("{name}.key")),
        server.path(&format!("{name}.crt")),
    );
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
        "-addext",
        names,
        "-keyout",
        &key,
        "-out",
        &crt,
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_means_what_each_sslmode_says() {
    let server = Server::start("");
    certificate(&server, "server", "subjectAltName=DNS:localhost");
    certificate(&server, "other", "subjectAltName=DNS:localhost");
    let ssl = format!(
        "\nssl=on\nssl_cert_file='{}'\nssl_key_file='{}'\n",
        server.path("server.crt"),
        server.path("server.key")
    );
    server.append("data/postgresql.conf", &ssl);
    let admin = server.client().await;
    admin
        .batch_execute("create role scram login superuser password 'open sesame'; create role plain login superuser")
        .await
        .unwrap();
    let hba = "local all postgres trust\nhostnossl all plain all trust\nhostssl all scram all scram-sha-256\n";
    std::fs::write(server.dir.join("data/pg_hba.conf"), hba).unwrap();
    drop(admin);
    server.down("fast");
    server.up();
    let info = |host: &str, user: &str, rest: &str| {
        let port = server.port;
        let text = format!(
            "host={host} port={port} dbname=postgres user={user} password='open sesame' {rest}"
        );
        ConnInfo::parse(&text).unwrap()
    };
    let root = format!("sslrootcert={}", server.path("server.crt"));
    let other = format!("sslrootcert={}", server.path("other.crt"));
    let missing = "sslrootcert=/nonexistent/root.crt";
    for (host, rest) in [
        ("127.0.0.1", format!("sslmode=require {missing}")),
        ("127.0.0.1", format!("sslmode=prefer {missing}")),
        ("127.0.0.1", format!("sslmode=allow {missing}")),
        (
            "127.0.0.1",
            format!("sslmode=require channel_binding=require {missing}"),
        ),
        ("127.0.0.1", format!("sslmode=require {root}")),
        ("127.0.0.1", format!("sslmode=verify-ca {root}")),
        ("localhost", format!("sslmode=verify-full {root}")),
    ] {
        assert_eq!(
            both(&info(host, "scram", &rest)).await,
            Ok(true),
            "{host} {rest}"
        );
    }
    for (host, rest, kind, part) in [
        (
            "127.0.0.1",
            format!("sslmode=verify-full {root}"),
            Kind::Precondition,
            "not valid for name",
        ),
        (
            "localhost",
            format!("sslmode=verify-ca {other}"),
            Kind::Precondition,
            "refused",
        ),
        (
            "localhost",
            format!("sslmode=require {other}"),
            Kind::Precondition,
            "refused",
        ),
        (
            "localhost",
            format!("sslmode=verify-ca {missing}"),
            Kind::Config,
            "does not exist",
        ),
        (
            "localhost",
            "sslmode=disable".to_owned(),
            Kind::Privilege,
            "28000",
        ),
    ] {
        let (found, message) = both(&info(host, "scram", &rest)).await.unwrap_err();
        assert_eq!(found, kind, "{rest}: {message}");
        assert!(message.contains(part), "{rest}: {message}");
    }
    // Falls back to clear text where pg_hba.conf wants that.
    for mode in ["allow", "prefer"] {
        let rest = format!("sslmode={mode} {missing}");
        assert_eq!(
            both(&info("127.0.0.1", "plain", &rest)).await,
            Ok(false),
            "{mode}"
        );
    }
}
