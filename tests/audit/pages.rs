//! Every rule has its page, every page its rule, and the list of rules in
//! `docs/audit.md` is the program's.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use crossfade::audit::finding::Category;
use crossfade::audit::rule::RULES;

const BEGIN: &str = "<!-- rules: begin -->\n";
const END: &str = "<!-- rules: end -->";

fn docs() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/docs"))
}

#[test]
fn every_rule_has_a_page_and_every_page_a_rule() {
    let pages: BTreeSet<String> = std::fs::read_dir(docs().join("rules"))
        .unwrap()
        .map(|e| {
            e.unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let rules: BTreeSet<String> = RULES.iter().map(|r| r.id.to_owned()).collect();
    assert_eq!(rules.len(), RULES.len(), "an id is there twice");
    assert_eq!(pages, rules);
    for id in &rules {
        let page = std::fs::read_to_string(docs().join(format!("rules/{id}.md"))).unwrap();
        for part in [
            &format!("# {id}\n") as &str,
            "\n## What it finds\n",
            "\n## Evidence\n",
            "\n## Remedy\n",
            "\n## When to ignore it\n",
        ] {
            assert!(page.contains(part), "{id}.md lacks {part:?}");
        }
    }
}

fn table() -> String {
    let mut text = String::new();
    for (category, title) in [
        (Category::Structure, "Structure"),
        (Category::Reference, "References"),
        (Category::Type, "Types"),
        (Category::Name, "Names"),
        (Category::Index, "Indexes"),
    ] {
        let _ = writeln!(text, "\n**{title}**\n\n| rule | finds |\n| --- | --- |");
        for rule in RULES.iter().filter(|r| r.category == category) {
            let _ = writeln!(text, "| [{0}](rules/{0}.md) | {1} |", rule.id, rule.finds);
        }
    }
    text
}

/// With `CROSSFADE_WRITE_DOCS=1` the page is written instead of compared.
#[test]
fn the_list_of_rules_is_the_programs() {
    let path = docs().join("audit.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let start = page.find(BEGIN).unwrap() + BEGIN.len();
    let end = page.find(END).unwrap();
    if std::env::var_os("CROSSFADE_WRITE_DOCS").is_some() {
        std::fs::write(
            path,
            format!("{}{}{}", &page[..start], table(), &page[end..]),
        )
        .unwrap();
        return;
    }
    assert_eq!(page[start..end], table(), "run with CROSSFADE_WRITE_DOCS=1");
}
