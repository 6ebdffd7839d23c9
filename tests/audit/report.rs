//! The report: complete, self-contained, and unmoved by what a schema is called.

use std::path::PathBuf;

use crossfade::audit::diagram::{Drawing, dot, mermaid, proposal, svg};
use crossfade::audit::plan::Plan;
use crossfade::audit::report::{Report, html, sarif};
use crossfade::audit::{Audit, Finding};

use crate::place::Place;

/// What people and machines get; the page is left in the target folder to be looked at.
struct Made {
    page: String,
    sarif: serde_json::Value,
    svg: String,
    dot: String,
    mermaid: Vec<mermaid::Part>,
}

fn make(place: &Place, audit: &Audit, file: &str) -> Made {
    let findings: Vec<&Finding> = audit.findings.iter().collect();
    let (client, connection) = place
        .runtime
        .block_on(tokio_postgres::connect(
            &place.url("postgres"),
            tokio_postgres::NoTls,
        ))
        .unwrap();
    place.runtime.spawn(connection);
    let plan = place
        .runtime
        .block_on(Plan::of(&audit.database, &findings, &client))
        .unwrap();
    let report = Report {
        database: &audit.database,
        findings: &findings,
        unread: &audit.unread,
        plan: Some(&plan),
        when: "2026-11-27 08:00 UTC",
    };
    let graph = proposal::proposed(&audit.database, &findings);
    let made = Made {
        page: html::page(&report),
        sarif: sarif::document(&report),
        svg: svg::standalone(&graph, &Drawing::of(&graph)),
        dot: dot::text(&graph),
        mermaid: mermaid::parts(&graph),
    };
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("audit");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join(format!("{file}.html")), &made.page).unwrap();
    std::fs::write(dir.join(format!("{file}.svg")), &made.svg).unwrap();
    std::fs::write(dir.join(format!("{file}.dot")), &made.dot).unwrap();
    made
}

/// The names of the elements that are open at the end, and every element's name.
/// Panics where the text is not well-formed.
fn elements(xml: &str) -> Vec<String> {
    let mut open: Vec<String> = Vec::new();
    let mut seen = Vec::new();
    let mut rest = xml;
    while let Some(at) = rest.find('<') {
        let text = &rest[..at];
        assert!(!text.contains('>'), "a stray > in {text:?}");
        let end = at + rest[at..].find('>').expect("a tag that does not end");
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "near {rest:.80}");
            continue;
        }
        let name: String = tag
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric())
            .collect();
        assert!(!name.is_empty(), "<{tag}>");
        assert_eq!(tag.matches('"').count() % 2, 0, "quotes in <{tag}>");
        seen.push(name.clone());
        if name == "style" {
            let close = rest.find("</style>").unwrap();
            rest = &rest[close + "</style>".len()..];
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
    seen
}

/// What lies between the last `open` and the `close` after it.
fn between<'a>(text: &'a str, open: &str, close: &str) -> &'a str {
    let from = text.rfind(open).unwrap() + open.len();
    &text[from..from + text[from..].find(close).unwrap()]
}

const HOSTILE: &str = r#"
create schema "</script><script>alert(1)</script>";
create schema "-->'"";--";
create table "</script><script>alert(1)</script>"."<img src=x onerror=alert(2)>" (
    "id&amp;""'" int primary key, "</text></svg>" int, "]]>" jsonb, "a
b" text, "%x\y`;#" timestamp);
insert into "</script><script>alert(1)</script>"."<img src=x onerror=alert(2)>"
select g, g % 50 + 1, '[{"</pre>": 1, "sku": "x"}, {"</pre>": 2, "sku": "y"}]', 't', now() from generate_series(1, 300) g;
create table "-->'"";--"."$(touch /tmp/x)" ("id&amp;""'" int primary key, "javascript:alert(3)" int references "-->'"";--"."$(touch /tmp/x)");
insert into "-->'"";--"."$(touch /tmp/x)" select g from generate_series(1, 60) g;
create index "<b>" on "</script><script>alert(1)</script>"."<img src=x onerror=alert(2)>" ("</text></svg>");
create index "<b>2" on "</script><script>alert(1)</script>"."<img src=x onerror=alert(2)>" ("</text></svg>");
comment on table "-->'"";--"."$(touch /tmp/x)" is '</details><script>alert(4)</script>';
analyze;
"#;

#[test]
fn no_name_gets_out_of_its_place() {
    let place = Place::open("hostile_names");
    place.load(HOSTILE);
    let audit = place.audit();
    assert!(audit.findings.len() > 3, "{:#?}", audit.findings);
    let made = make(&place, &audit, "hostile");
    // The page's own elements and no others: one script, its data, one picture.
    for (text, count) in [
        ("<script", 2),
        ("</script>", 2),
        ("<img", 0),
        ("<svg", 1),
        ("</svg>", 1),
        ("onerror=alert(2)>", 0),
    ] {
        assert_eq!(made.page.matches(text).count(), count, "{text}");
    }
    let picture = format!("<svg{}</svg>", between(&made.page, "<svg", "</svg>"));
    let names = elements(&picture);
    let known = ["svg", "g", "title", "rect", "path", "text", "tspan"];
    assert!(
        names.iter().all(|n| known.contains(&n.as_str())),
        "{names:?}"
    );
    elements(&made.svg);
    let data = between(&made.page, "id=\"data\">", "</script>");
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    let labels: Vec<_> = data["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["n"].as_str().unwrap())
        .collect();
    assert!(
        labels.contains(&"</script><script>alert(1)</script>.<img src=x onerror=alert(2)>"),
        "{labels:?}"
    );
    // The script runs because the policy names it, and no other would.
    assert!(made.page.contains("script-src 'sha256-"), "no policy");
    for part in &made.mermaid {
        for line in part.text.lines() {
            assert_eq!(line.matches('"').count() % 2, 0, "{line}");
            assert!(!line.contains('<') && !line.contains('\\'), "{line}");
        }
    }
    assert!(
        !made.dot.contains("<img") && !made.dot.contains("</text>"),
        "{}",
        made.dot
    );
    assert_eq!(
        made.sarif["runs"][0]["results"].as_array().unwrap().len(),
        audit.findings.len()
    );
}

#[test]
fn the_report_of_the_shop_holds_every_finding_with_its_proof_and_its_plan() {
    let place = Place::open("shop");
    place.load(include_str!("shop.sql"));
    let audit = place.audit();
    let made = make(&place, &audit, "shop");
    for (at, finding) in audit.findings.iter().enumerate() {
        let card = format!(
            "id=\"f-{}\" data-severity=\"{}\"",
            at + 1,
            finding.severity.name()
        );
        assert!(made.page.contains(&card), "{card}");
        for text in [&finding.title, &finding.remedy, &finding.proof] {
            assert!(made.page.contains(&svg::escape(text.trim())), "{text}");
        }
    }
    // Nothing is fetched from anywhere.
    for outside in ["src=\"", "href=\"http", "url(", "@import"] {
        assert!(!made.page.contains(outside), "{outside}");
    }
    for (word, least) in [
        ("class=\"table new\"", 3),
        ("class=\"wire new", 8),
        ("class=\"row dropped\"", 6),
    ] {
        assert!(made.svg.matches(word).count() >= least, "{word}");
    }
    assert!(
        made.page.contains("create index concurrently"),
        "the plan's SQL"
    );
    let results = made.sarif["runs"][0]["results"].as_array().unwrap();
    let rules = made.sarif["runs"][0]["tool"]["driver"]["rules"]
        .as_array()
        .unwrap();
    for (result, finding) in results.iter().zip(&audit.findings) {
        assert_eq!(result["ruleId"], finding.rule);
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], finding.rule);
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()));
    }
}

/// Three hundred tables of a few departments, with hubs that all of them know.
fn large() -> String {
    let mut sql = String::from("create schema big;\n");
    let mut random = fastrand::Rng::with_seed(11);
    let nouns = [
        "account", "order", "item", "event", "note", "task", "plan", "price", "member", "log",
    ];
    let areas = [
        "sales", "billing", "stock", "people", "web", "ship", "support", "media", "risk", "core",
    ];
    let mut made: Vec<String> = Vec::new();
    for area in areas {
        for at in 0..30 {
            let name = match at {
                0 => area.to_owned(),
                at => format!("{area}_{}_{}", nouns[at % 10], at),
            };
            let mut columns = vec![
                "id bigint primary key".to_owned(),
                "name text not null".to_owned(),
                "created_at timestamptz not null default now()".to_owned(),
            ];
            let own = made.len() / 30 * 30;
            let parents = if at == 0 { 0 } else { random.usize(1..4) };
            for p in 0..parents {
                let parent = match random.u32(0..10) {
                    0 if own > 0 => made[random.usize(0..own) / 30 * 30].clone(),
                    1 => made[random.usize(0..made.len())].clone(),
                    2..5 => area.to_owned(),
                    _ => made[random.usize(own..made.len())].clone(),
                };
                columns.push(format!(
                    "{parent}_id{} bigint references big.{parent}",
                    if p == 0 {
                        String::new()
                    } else {
                        format!("_{p}")
                    }
                ));
            }
            for c in 0..random.usize(1..9) {
                columns.push(format!(
                    "value_{c} {}",
                    ["text", "int", "numeric(12,2)", "boolean", "jsonb"][c % 5]
                ));
            }
            sql.push_str(&format!(
                "create table big.{name} ({});\n",
                columns.join(", ")
            ));
            made.push(name);
        }
    }
    sql + "analyze;"
}

/// For how long this thread has had a processor: on a busy machine it waits for longer.
fn busy() -> std::time::Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds = text.split(' ').next().unwrap().parse().unwrap();
    std::time::Duration::from_nanos(nanoseconds)
}

#[test]
fn three_hundred_tables_make_a_page_that_a_browser_bears() {
    let place = Place::open("large");
    place.load(&large());
    let audit = place.audit();
    let began = busy();
    let made = make(&place, &audit, "large");
    let took = busy() - began;
    println!(
        "{} bytes of HTML, {} of SVG, in {took:?}",
        made.page.len(),
        made.svg.len()
    );
    assert!(made.page.len() < 4_000_000, "{} bytes", made.page.len());
    assert!(took.as_secs() < 20, "{took:?}");
    assert_eq!(made.svg.matches("<g class=\"table").count(), 300);
    assert!(made.mermaid.iter().all(|p| p.text.len() < 50_000));
}
