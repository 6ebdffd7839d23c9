//! Folders that are right, and every way to get one wrong.

use super::*;

struct Dir(PathBuf);

impl Dir {
    fn with(files: &[(&str, &str)]) -> Self {
        let dir = std::env::temp_dir().join(format!(
            "crossfade_folder_{}_{:x}",
            std::process::id(),
            fastrand::u64(..)
        ));
        std::fs::create_dir_all(&dir).unwrap();
        for (name, text) in files {
            std::fs::write(dir.join(name), text).unwrap();
        }
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn error(files: &[(&str, &str)]) -> String {
    let dir = Dir::with(files);
    let error = Folder::read(&dir.0).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    format!("{error} / {}", error.what_to_do())
}

#[test]
fn both_ways_of_writing_are_read() {
    let dir = Dir::with(&[
        ("0001_a.up.sql", "create table t ();"),
        ("0001_a.down.sql", "drop table t;"),
        (
            "0002_b.sql",
            "-- what it is for\n-- Up\ncreate table u ();\n\n-- Down\ndrop table u;\n",
        ),
        (
            "0003_c.sql",
            "-- +goose Up\nselect 1;\n-- +goose Down\nselect 2;",
        ),
        (
            "0004_d.up.sql",
            "-- irreversible: it is gone\ndrop table t;",
        ),
        ("README.md", "not SQL"),
    ]);
    let folder = Folder::read(&dir.0).unwrap();
    assert_eq!(folder.migrations.len(), 4);
    let second = &folder.migrations[1];
    assert_eq!(second.label(), "0002_b");
    let down = second.down().unwrap();
    let statement = down.statements().next().unwrap();
    assert_eq!(statement.text, "drop table u");
    assert_eq!(statement.place.line, 6);
    assert_eq!(
        folder.migrations[3].down,
        Down::Irreversible("it is gone".to_owned())
    );
    let refused = folder.migrations[3].down().unwrap_err();
    assert!(refused.to_string().contains("irreversible: it is gone"));
}

#[test]
fn a_missing_way_back_is_named() {
    let text = error(&[("0001_a.up.sql", "select 1")]);
    assert!(text.contains("0001_a.down.sql is missing"), "{text}");
    assert!(text.contains("irreversible: why"), "{text}");
    let text = error(&[("0001_a.sql", "-- Up\nselect 1")]);
    assert!(text.contains("`-- Down` is missing"), "{text}");
    let text = error(&[("0001_a.up.sql", "-- irreversible:\nselect 1")]);
    assert!(text.contains("without a reason"), "{text}");
}

#[test]
fn gaps_doubles_and_strange_names_are_refused() {
    let both = "-- Up\nselect 1;\n-- Down\nselect 1;";
    let text = error(&[("0001_a.sql", both), ("0003_c.sql", both)]);
    assert!(
        text.contains("number 0002 is missing: 0003_c follows 0001_a"),
        "{text}"
    );
    let text = error(&[("0001_a.sql", both), ("0001_b.sql", both)]);
    assert!(text.contains("number 1 is taken by 0001_a"), "{text}");
    let text = error(&[("0001_a.sql", both), ("1_a.sql", both)]);
    assert!(text.contains("number 1 is taken"), "{text}");
    for name in [
        "a.sql",
        "0001-a.up.sql",
        "0001_.sql",
        "0000_a.sql",
        "0001_a.upp.sql",
    ] {
        let text = error(&[(name, both)]);
        assert!(
            text.contains("not the name of a migration"),
            "{name}: {text}"
        );
    }
}

#[test]
fn files_that_hold_nothing_say_so() {
    let text = error(&[("0001_a.sql", "-- Up\n-- nothing\n-- Down\nselect 1;")]);
    assert!(text.contains("holds no statement"), "{text}");
    let dir = Dir::with(&[(
        "0001_a.sql",
        "-- Up\nselect 1;\n-- Down\n-- no-op: only data\n",
    )]);
    assert!(Folder::read(&dir.0).is_ok());
    let text = error(&[("0001_a.sql", "select 1;")]);
    assert!(text.contains("no section `-- Up`"), "{text}");
    let text = error(&[("0001_a.sql", "-- Down\nselect 1;\n-- Up\nselect 2;")]);
    assert!(text.contains("wrong order"), "{text}");
    let text = error(&[("0001_a.down.sql", "select 1;")]);
    assert!(text.contains("has no 0001_a.up.sql"), "{text}");
}
