//! `docs/errors.md` shows the table of `src/error.rs`, word for word.

use std::fmt::Write;

use crossfade::error::{Retry, TABLE};

const BEGIN: &str = "<!-- errors: begin -->\n";
const END: &str = "<!-- errors: end -->";

fn table() -> String {
    let mut text = String::from(
        "| kind | tried again | exit code | what to do |\n| --- | --- | --- | --- |\n",
    );
    for row in TABLE {
        let retry = match row.retry {
            Retry::Never => "no",
            Retry::Soon => "at once, a few times",
            Retry::Backoff => "after reconnecting, ever slower",
        };
        let _ = writeln!(
            text,
            "| `{}` | {retry} | {} | {} |",
            row.name, row.exit, row.remedy
        );
    }
    text
}

/// With `CROSSFADE_WRITE_DOCS=1` the page is written instead of compared.
#[test]
fn the_page_shows_the_table_of_the_program() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors.md");
    let page = std::fs::read_to_string(path).unwrap();
    let start = page.find(BEGIN).unwrap() + BEGIN.len();
    let end = page.find(END).unwrap();
    if std::env::var_os("CROSSFADE_WRITE_DOCS").is_some() {
        let page = format!("{}{}{}", &page[..start], table(), &page[end..]);
        std::fs::write(path, page).unwrap();
        return;
    }
    assert_eq!(
        page[start..end],
        table(),
        "run `CROSSFADE_WRITE_DOCS=1 cargo test --test errors_doc`"
    );
}

#[test]
fn every_kind_has_one_line_a_name_of_its_own_and_a_listed_exit_code() {
    for (i, row) in TABLE.iter().enumerate() {
        assert_eq!(row.kind.row().name, row.name);
        assert!(
            TABLE[..i].iter().all(|r| r.name != row.name),
            "{}",
            row.name
        );
        assert!([2, 3].contains(&row.exit), "{}", row.name);
        assert!(!row.remedy.is_empty());
    }
}
