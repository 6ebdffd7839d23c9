use std::os::unix::fs::PermissionsExt;

use super::*;

fn with(env: &[(&str, &str)], text: &str) -> Result<ConnInfo> {
    let find = |name: &str| {
        env.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    };
    ConnInfo::parse_in(text, &find)
}

fn directory(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("crossfade-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_string_beats_the_environment_and_the_environment_the_defaults() {
    let env = [
        ("PGHOST", "env"),
        ("PGPORT", "1"),
        ("PGUSER", "eve"),
        ("PGPASSWORD", "pw"),
        ("PGSSLMODE", "verify-ca"),
        ("PGCONNECT_TIMEOUT", "1"),
    ];
    let info = with(&env, "postgres://ann@db/shop").unwrap();
    assert_eq!(info.display(), "ann@db:1/shop");
    assert_eq!(info.password().as_deref(), Some("pw"));
    assert_eq!(info.ssl.mode, SslMode::VerifyCa);
    assert_eq!(info.connect_timeout, Duration::from_secs(2));
    let info = with(&[("USER", "os")], "host=h").unwrap();
    assert_eq!(info.display(), "os@h:5432/os");
    assert_eq!(info.ssl.mode, SslMode::Prefer);
    assert!(info.password().is_none());
}

#[test]
fn sockets_are_paths_and_never_speak_tls() {
    for text in [
        "host=/tmp user=u sslmode=require",
        "postgres://u@%2Ftmp/u?sslmode=require",
    ] {
        let info = with(&[], text).unwrap();
        assert_eq!(info.socket_file().unwrap(), Path::new("/tmp/.s.PGSQL.5432"));
        assert_eq!(info.ssl_mode(), SslMode::Disable);
    }
}

#[test]
fn what_is_unknown_or_ambiguous_is_refused() {
    for (text, part) in [
        (
            "postgres://u@h/d?sslmod=require",
            "unknown connection parameter `sslmod`",
        ),
        ("host=a,b user=u", "several hosts"),
        ("postgres://u@h:0/d", "not a port"),
        ("postgres://u@h:5432,h2:5/d", "not a port"),
        ("user=u host=h sslmode=on", "sslmode `on`"),
        (
            "user=u host=h sslrootcert=system sslmode=require",
            "verify-full",
        ),
        ("user=u host=h connect_timeout=soon", "connect_timeout"),
        ("host=h", "no user"),
        ("user=u service=nowhere", "`nowhere`"),
    ] {
        let error = with(&[], text).unwrap_err();
        assert_eq!(error.kind, Kind::Config);
        assert!(error.message.contains(part), "{error}");
    }
}

#[test]
fn no_text_form_shows_the_password() {
    let info = with(&[], "postgres://u:hunter2@h/d").unwrap();
    assert!(!format!("{info} {info:?} {}", info.display()).contains("hunter2"));
}

#[test]
fn a_service_fills_what_the_string_leaves_open() {
    let dir = directory("service");
    let file = dir.join("services");
    write(
        &file,
        "[shop]\nhost=svc\nport=7\nuser=s\ndbname=x\n[bad]\nhots=1\n",
        0o644,
    );
    let env = [
        ("PGSERVICEFILE", file.to_str().unwrap()),
        ("PGHOST", "env"),
        ("PGUSER", "env"),
    ];
    let info = with(&env, "service=shop dbname=mine").unwrap();
    assert_eq!(info.display(), "s@svc:7/mine");
    let error = with(&env, "service=bad").unwrap_err();
    assert!(error.message.contains("hots"), "{error}");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_password_file_is_matched_per_database_and_ignored_when_others_can_read_it() {
    let dir = directory("passfile");
    let file = dir.join("pgpass");
    write(
        &file,
        "# comment\nh:5432:a:u:first\nlocalhost:*:*:u:second\n",
        0o600,
    );
    let env = [("PGPASSFILE", file.to_str().unwrap())];
    let info = with(&env, "postgres://u@h/a").unwrap();
    assert_eq!(info.password().as_deref(), Some("first"));
    assert!(info.with_database("b").password().is_none());
    let socket = with(&env, "host=/tmp user=u").unwrap();
    assert_eq!(socket.password().as_deref(), Some("second"));
    write(&file, "*:*:*:*:open\n", 0o644);
    assert!(info.password().is_none());
    std::fs::remove_dir_all(dir).unwrap();
}
