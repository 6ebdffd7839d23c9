//! A plan drawn: an icicle whose widths are time, and a table of its nodes.

use std::fmt::Write as _;

use super::{extent, tree};
use crate::explain::plan::{Node, Plan};
use crate::explain::words::{count, percent, short, time};

const WIDTH: f64 = 560.0;
const ROW: f64 = 26.0;
/// Narrower than this nobody sees a box.
const NARROWEST: f64 = 1.5;

/// The icicle: a node is as wide as its part of the time, its inputs lie below it.
pub fn icicle(plan: &Plan) -> String {
    let deepest = plan.nodes.iter().map(|n| n.depth).max().unwrap_or(0);
    let height = ROW * (f64::from(u32::try_from(deepest).unwrap_or(0)) + 1.0);
    let mut out = format!(
        "<svg class=\"icicle\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"plan, widths are time\">"
    );
    place(plan, 0, 0.0, WIDTH, &mut out);
    out.push_str("</svg>");
    out
}

fn place(plan: &Plan, id: usize, x: f64, width: f64, out: &mut String) {
    if width < NARROWEST {
        return;
    }
    let node = &plan.nodes[id];
    let y = ROW * f64::from(u32::try_from(node.depth).unwrap_or(0));
    let heat = heat(plan, node);
    let label = fit(&format!("{}{}", tree::name(node), node.title()), width);
    let _ = write!(
        out,
        "<g><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"3\" class=\"h{heat}\"/>\
         <title>{}</title><text x=\"{:.1}\" y=\"{:.1}\" class=\"t{heat}\">{}</text></g>",
        (width - 1.0).max(0.5),
        ROW - 2.0,
        escape(&hover(plan, node)),
        x + 6.0,
        y + 16.5,
        escape(&label)
    );
    let inputs: f64 = node.children.iter().map(|&c| extent(plan, c)).sum();
    let own = extent(plan, id).max(inputs).max(f64::MIN_POSITIVE);
    let mut at = x;
    for &child in &node.children {
        let part = width * extent(plan, child) / own;
        place(plan, child, at, part, out);
        at += part;
    }
}

/// 0 to 4: how much of the whole this node alone takes.
fn heat(plan: &Plan, node: &Node) -> u8 {
    let share = if plan.root().total_ms.is_some() {
        plan.share(node.self_ms)
    } else {
        let below: f64 = node.children.iter().map(|&c| extent(plan, c)).sum();
        (extent(plan, node.id) - below).max(0.0) / extent(plan, 0).max(f64::MIN_POSITIVE)
    };
    match share {
        s if s < 0.05 => 0,
        s if s < 0.15 => 1,
        s if s < 0.3 => 2,
        s if s < 0.6 => 3,
        _ => 4,
    }
}

fn hover(plan: &Plan, node: &Node) -> String {
    let mut text = format!("{}{}", tree::name(node), node.title());
    if let (Some(own), Some(total)) = (node.self_ms, node.total_ms) {
        let _ = write!(
            text,
            "\n{} of the time: {} alone, {} with its inputs",
            percent(plan.share(Some(own))),
            time(own),
            time(total)
        );
    }
    if let Some(rows) = node.rows() {
        let _ = write!(text, "\n{} rows", count(rows));
    }
    for (field, condition) in node.conditions() {
        let _ = write!(text, "\n{field}: {condition}");
    }
    text
}

/// As much of a label as its box has room for, at 6.4 units a character.
fn fit(label: &str, width: f64) -> String {
    let room = ((width - 12.0) / 6.4).floor();
    let length = label.chars().count();
    if room < 4.0 {
        return String::new();
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "4 to 200"
    )]
    let room = room as usize;
    if length <= room {
        return label.to_owned();
    }
    let cut: String = label.chars().take(room - 1).collect();
    format!("{cut}…")
}

/// Every node in a table, with bars for its share.
pub fn table(plan: &Plan) -> String {
    let run = plan.root().total_ms.is_some();
    let mut out = String::from("<table class=\"nodes\"><thead><tr><th>node</th>");
    out.push_str(if run {
        "<th>alone</th><th class=\"n\">rows</th><th class=\"n\">expected</th><th class=\"n\">pages</th></tr></thead>"
    } else {
        "<th class=\"n\">cost</th><th class=\"n\">expected rows</th></tr></thead>"
    });
    for node in &plan.nodes {
        let conditions: String = node
            .conditions()
            .into_iter()
            .map(|(field, text)| {
                format!(
                    "<div class=\"c\">{}: {}</div>",
                    escape(field),
                    escape(&short(text))
                )
            })
            .collect();
        let _ = write!(
            out,
            "<tr><td style=\"padding-left:{}px\"><span class=\"k\">{}</span>{}{conditions}</td>",
            8 + node.depth * 14,
            escape(&tree::name(node)),
            escape(&node.title())
        );
        if run {
            let share = plan.share(node.self_ms);
            let rows = node.rows().map_or_else(|| "never run".to_owned(), count);
            let expected = node.number("Plan Rows").unwrap_or(0.0) * node.loops().max(1.0);
            let pages = node
                .blocks()
                .map_or_else(String::new, |(hit, read)| count(hit + read));
            let _ = write!(
                out,
                "<td class=\"b\"><span class=\"bar h{}\" style=\"width:{:.0}px\"></span>{}</td>\
                 <td class=\"n\">{rows}</td><td class=\"n\">{}</td><td class=\"n\">{pages}</td></tr>",
                heat(plan, node),
                (share * 60.0).max(1.0),
                time(node.self_ms.unwrap_or(0.0)),
                count(expected)
            );
        } else {
            let _ = write!(
                out,
                "<td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                count(node.number("Total Cost").unwrap_or(0.0)),
                count(node.number("Plan Rows").unwrap_or(0.0))
            );
        }
    }
    out.push_str("</table>");
    out
}

pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' => out.push('·'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_plan_becomes_markup() {
        let plan = Plan::parse(
            r#"{"Plan": {"Node Type": "<script>", "Filter": "(a = '</svg><b>'::text)", "Actual Loops": 1,
                "Actual Total Time": 1, "Plans": [{"Node Type": "x", "Actual Loops": 1, "Actual Total Time": 50}]}}"#,
        )
        .unwrap();
        for page in [icicle(&plan), table(&plan)] {
            assert!(
                !page.contains("<script>") && !page.contains("<b>"),
                "{page}"
            );
        }
        // An input that took longer than the node around it stays inside of it.
        assert!(!icicle(&plan).contains("width=\"50000"));
    }

    #[test]
    fn labels_are_cut_to_their_box() {
        assert_eq!(fit("Seq Scan on orders", 80.0), "Seq Scan …");
        assert_eq!(fit("Seq Scan", 20.0), "");
    }
}
