//! The layout's promises, on many schemas of many sizes: boxes do not overlap, wires do
//! not run through boxes, and the same schema gives the same picture.

use crossfade::audit::diagram::layout::{Drawing, Wire};
use crossfade::audit::diagram::{Column, Graph, Mark, Reference, Table, dot, mermaid, svg};

/// A schema with a few hubs, chains, cycles, self-references and loose tables.
fn schema(tables: usize, seed: u64) -> Graph {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut graph = Graph::default();
    for at in 0..tables {
        let mut columns = vec![column("id", "bigint", true)];
        for c in 0..random.usize(1..14) {
            columns.push(column(
                &format!("column_{c}"),
                "character varying(120)",
                false,
            ));
        }
        graph.tables.push(Table {
            schema: "shop".to_owned(),
            name: format!("table_{at}_{}", "x".repeat(random.usize(0..20))),
            columns,
            mark: *random
                .choice([Mark::Kept, Mark::Kept, Mark::Kept, Mark::New])
                .as_ref()
                .unwrap(),
            rows: None,
        });
    }
    for _ in 0..tables * 13 / 10 {
        let child = random.usize(0..tables);
        let parent = match random.u32(0..10) {
            0..3 => random.usize(0..tables.min(4)),
            3..8 => child.saturating_sub(random.usize(0..12)),
            _ => random.usize(0..tables),
        };
        let name = format!("{parent}_id");
        let columns = &mut graph.tables[child].columns;
        columns.push(column(&name, "bigint", false));
        let at = columns.len() - 1;
        graph.references.push(Reference {
            name: format!("{child}_{name}_fkey"),
            child,
            child_columns: vec![at],
            parent,
            parent_columns: vec![0],
            one: random.u32(0..10) == 0,
            mark: Mark::Kept,
        });
    }
    graph
}

fn column(name: &str, type_sql: &str, key: bool) -> Column {
    Column {
        name: name.to_owned(),
        type_sql: type_sql.to_owned(),
        key,
        not_null: key,
        ..Column::default()
    }
}

/// Left, top, right, bottom.
type Bounds = (i32, i32, i32, i32);

fn bounds(drawing: &Drawing) -> Vec<Bounds> {
    let boxes = drawing
        .boxes
        .iter()
        .map(|b| (b.x, b.y, b.x + b.shape.w, b.y + b.shape.h));
    let pills = drawing
        .pills
        .iter()
        .map(|p| (p.at.x, p.at.y, p.at.x + p.at.w, p.at.y + p.at.h));
    boxes.chain(pills).collect()
}

/// Whether a piece of a wire has points inside of a box, not only on its edge.
fn enters(a: (i32, i32), b: (i32, i32), r: Bounds) -> bool {
    let (x0, x1, y0, y1) = (a.0.min(b.0), a.0.max(b.0), a.1.min(b.1), a.1.max(b.1));
    x0 < r.2 && x1 > r.0 && y0 < r.3 && y1 > r.1
}

fn check(graph: &Graph, drawing: &Drawing, what: &str) {
    assert_eq!(drawing.boxes.len(), graph.tables.len(), "{what}");
    assert_eq!(drawing.wires.len(), graph.references.len(), "{what}");
    let all = bounds(drawing);
    for (at, a) in all.iter().enumerate() {
        assert!(
            a.0 >= 0 && a.1 >= 0 && a.2 <= drawing.w && a.3 <= drawing.h,
            "{what}: {a:?} is outside"
        );
        for b in &all[at + 1..] {
            let apart = a.2 <= b.0 || b.2 <= a.0 || a.3 <= b.1 || b.3 <= a.1;
            assert!(apart, "{what}: {a:?} and {b:?} overlap");
        }
    }
    for wire in &drawing.wires {
        for piece in wire.points.windows(2) {
            assert!(
                piece[0].0 == piece[1].0 || piece[0].1 == piece[1].1,
                "{what}: a slant"
            );
            for r in &all {
                assert!(
                    !enters(piece[0], piece[1], *r),
                    "{what}: {piece:?} runs through {r:?}"
                );
            }
        }
        ends_at_its_tables(graph, drawing, wire, what);
    }
    // A frame holds its title: 9 units a letter, and 7 one of the count.
    for area in &drawing.areas {
        let letters = i32::try_from(area.title.chars().count().min(40)).unwrap();
        let count = i32::try_from(format!(" {} tables", area.tables).len()).unwrap();
        assert!(
            area.at.w >= 18 + letters * 9 + count * 7,
            "{} in {}",
            area.title,
            area.at.w
        );
    }
    let areas: Vec<Bounds> = drawing
        .areas
        .iter()
        .map(|a| (a.at.x, a.at.y, a.at.x + a.at.w, a.at.y + a.at.h))
        .collect();
    for (at, a) in areas.iter().enumerate() {
        for b in &areas[at + 1..] {
            assert!(
                a.2 <= b.0 || b.2 <= a.0 || a.3 <= b.1 || b.3 <= a.1,
                "{what}: clusters overlap"
            );
        }
    }
}

/// A wire ends at its child's box, and at its parent's box or a pill that stands for it.
fn ends_at_its_tables(graph: &Graph, drawing: &Drawing, wire: &Wire, what: &str) {
    let reference = &graph.references[wire.reference];
    let touches = |point: (i32, i32), table: usize| {
        let by = |x: i32, y: i32, w: i32, h: i32| {
            (point.0 == x || point.0 == x + w) && point.1 > y && point.1 < y + h
        };
        drawing
            .boxes
            .iter()
            .any(|b| b.table == table && by(b.x, b.y, b.shape.w, b.shape.h))
            || drawing
                .pills
                .iter()
                .any(|p| p.table == table && by(p.at.x, p.at.y, p.at.w, p.at.h))
    };
    let (first, last) = (wire.points[0], wire.points[wire.points.len() - 1]);
    let (parent, child) = if wire.to_child {
        (first, last)
    } else {
        (last, first)
    };
    assert!(
        touches(parent, reference.parent),
        "{what}: {wire:?} does not begin at its parent"
    );
    assert!(
        touches(child, reference.child),
        "{what}: {wire:?} does not end at its child"
    );
}

#[test]
fn boxes_stand_apart_and_wires_run_between_them() {
    for (tables, seeds) in [
        (1, 1),
        (2, 3),
        (6, 20),
        (20, 12),
        (45, 8),
        (120, 4),
        (300, 2),
    ] {
        for seed in 0..seeds {
            let graph = schema(tables, seed);
            check(
                &graph,
                &Drawing::of(&graph),
                &format!("{tables} tables, seed {seed}"),
            );
        }
    }
    check(
        &Graph::default(),
        &Drawing::of(&Graph::default()),
        "no tables",
    );
}

#[test]
fn the_same_schema_gives_the_same_picture() {
    let picture = |seed| {
        let graph = schema(150, seed);
        svg::standalone(&graph, &Drawing::of(&graph)) + &dot::text(&graph)
    };
    assert_eq!(picture(5), picture(5));
    assert_ne!(picture(5), picture(6));
}

/// Forty tables that refer to one share a wire and are not a column of forty.
#[test]
fn a_hub_keeps_the_picture_in_shape() {
    let mut graph = schema(41, 1);
    graph.references.clear();
    for child in 1..41 {
        graph.references.push(Reference {
            name: "fk".to_owned(),
            child,
            child_columns: vec![1],
            parent: 0,
            parent_columns: vec![0],
            one: false,
            mark: Mark::Kept,
        });
    }
    let drawing = Drawing::of(&graph);
    check(&graph, &drawing, "hub");
    let aspect = f64::from(drawing.w) / f64::from(drawing.h);
    assert!(
        (0.6..4.0).contains(&aspect),
        "{} x {}",
        drawing.w,
        drawing.h
    );
    let begins: std::collections::BTreeSet<_> = drawing.wires.iter().map(|w| w.points[0]).collect();
    assert_eq!(begins.len(), 1, "one wire leaves the hub");
}

#[test]
fn a_large_schema_is_cut_into_clusters_that_a_screen_can_hold() {
    let graph = schema(300, 3);
    let drawing = Drawing::of(&graph);
    assert!(drawing.areas.len() > 8, "{} clusters", drawing.areas.len());
    let largest = drawing.areas.iter().map(|a| a.tables).max().unwrap();
    assert!(largest <= 48, "a cluster of {largest} tables");
    // References between clusters are told by pills.
    assert!(!drawing.pills.is_empty());
}

/// What Mermaid would refuse to draw is folded, then split, and says so.
#[test]
fn mermaid_gets_no_text_that_is_too_long_for_it() {
    for (tables, parts, folded) in [(20, 1, false), (120, 1, true), (300, 2, true)] {
        let graph = schema(tables, 2);
        let made = mermaid::parts(&graph);
        assert!(made.len() >= parts, "{tables}: {} parts", made.len());
        assert_eq!(made.len() > 1, parts > 1, "{tables}");
        let mut entities = 0;
        for part in &made {
            assert!(part.text.len() < 50_000, "{} characters", part.text.len());
            assert_eq!(part.title.contains("keys"), folded, "{}", part.title);
            assert_eq!(part.text.starts_with("%% "), folded);
            entities += part.text.matches(" {\n").count();
        }
        assert_eq!(entities, tables, "every table is in one part");
    }
}

#[test]
fn today_is_the_proposal_without_what_is_new() {
    let mut graph = schema(30, 4);
    graph.tables[3].columns[1].mark = Mark::New;
    graph.tables[4].columns[1].mark = Mark::Dropped;
    graph.references[0].mark = Mark::New;
    let today = graph.today();
    let new = graph.tables.iter().filter(|t| t.mark == Mark::New).count();
    assert!(new > 0);
    assert_eq!(today.tables.len(), 30 - new);
    assert!(!today.has_changes());
    check(&today, &Drawing::of(&today), "today");
    let named = |graph: &Graph, table: &str| {
        graph
            .tables
            .iter()
            .find(|t| t.name == table)
            .map(|t| t.columns.len())
    };
    for table in graph.tables.iter().filter(|t| t.mark != Mark::New) {
        let gone = table.columns.iter().filter(|c| c.mark == Mark::New).count();
        assert_eq!(named(&today, &table.name), Some(table.columns.len() - gone));
    }
    // A reference keeps its columns whatever stood before them.
    for reference in &today.references {
        let child = &today.tables[reference.child];
        let column = &child.columns[reference.child_columns[0]].name;
        assert!(column.ends_with("_id"), "{column}");
    }
}
