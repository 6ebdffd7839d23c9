//! A plan as `EXPLAIN (FORMAT JSON)` prints it.
//!
//! Every field of every node is kept as it came, and what is asked for is looked up
//! by name: a node type or a field that a later server (or an extension's custom
//! scan) adds is carried along, never an error.

mod timing;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::{Error, Kind, Result};

/// Brackets within brackets beyond which a text is refused: reading is recursive, and
/// a file that someone hands in must not end the program. Two levels a node.
const DEEPEST: usize = 120;

/// One explained statement.
#[derive(Debug, Clone)]
pub struct Plan {
    /// In the order in which EXPLAIN prints them: a node comes before its children.
    pub nodes: Vec<Node>,
    /// `None` where the plan was not executed.
    pub execution_ms: Option<f64>,
    pub planning_ms: Option<f64>,
    pub jit: Option<Jit>,
    /// Settings that differ from their defaults and that the planner looks at.
    pub settings: BTreeMap<String, String>,
    /// The JSON as it was read.
    pub json: Value,
}

/// What just-in-time compilation cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jit {
    pub functions: f64,
    pub total_ms: f64,
}

/// One node of the tree.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its place in [`Plan::nodes`].
    pub id: usize,
    /// `Seq Scan`, `Hash Join`, … or whatever the server says.
    pub kind: String,
    pub parent: Option<usize>,
    pub children: Vec<usize>,
    pub depth: usize,
    /// Everything but the children.
    fields: Map<String, Value>,
    /// Wall-clock milliseconds in this node and below it; `None` where it was not
    /// measured.
    pub total_ms: Option<f64>,
    /// Wall-clock milliseconds in this node alone.
    pub self_ms: Option<f64>,
    /// Processes that worked on it at once.
    pub processes: f64,
}

impl Plan {
    /// Reads what `EXPLAIN (FORMAT JSON)` returned: an array of one object, or that
    /// object alone.
    ///
    /// # Errors
    /// [`Kind::Config`] for a text that is no JSON, holds no `Plan`, or is nested more
    /// than a plan can be.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |why: String| {
            Error::new(Kind::Config, format!("not a plan: {why}"))
                .remedy("give the output of EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)")
        };
        if nesting(text) > DEEPEST {
            return Err(bad(format!("nested deeper than {DEEPEST} levels")));
        }
        let json: Value = serde_json::from_str(text).map_err(|e| bad(e.to_string()))?;
        Self::from_json(json).ok_or_else(|| bad("there is no \"Plan\" in it".to_owned()))
    }

    fn from_json(json: Value) -> Option<Self> {
        let top = match &json {
            Value::Array(list) => list.first()?,
            other => other,
        };
        let root = top.get("Plan")?.as_object()?;
        let mut nodes = Vec::new();
        push(root, None, 0, &mut nodes);
        let jit = top.get("JIT").map(|jit| Jit {
            functions: number(jit.get("Functions")).unwrap_or(0.0),
            total_ms: number(jit.pointer("/Timing/Total")).unwrap_or(0.0),
        });
        let settings = top
            .get("Settings")
            .and_then(Value::as_object)
            .map(|map| map.iter().map(|(k, v)| (k.clone(), plain(v))).collect())
            .unwrap_or_default();
        let mut plan = Self {
            nodes,
            execution_ms: number(top.get("Execution Time")),
            planning_ms: number(top.get("Planning Time")),
            jit,
            settings,
            json: Value::Null,
        };
        timing::measure(&mut plan);
        plan.json = json;
        Some(plan)
    }

    /// The root. A plan has at least one node.
    #[must_use]
    pub fn root(&self) -> &Node {
        &self.nodes[0]
    }

    pub fn children<'a>(&'a self, node: &'a Node) -> impl Iterator<Item = &'a Node> {
        node.children.iter().map(|&id| &self.nodes[id])
    }

    #[must_use]
    pub fn parent(&self, node: &Node) -> Option<&Node> {
        node.parent.map(|id| &self.nodes[id])
    }

    /// The node and all below it.
    pub fn below<'a>(&'a self, node: &'a Node) -> impl Iterator<Item = &'a Node> {
        let end = self.nodes[node.id + 1..]
            .iter()
            .find(|other| other.depth <= node.depth)
            .map_or(self.nodes.len(), |other| other.id);
        self.nodes[node.id..end].iter()
    }

    /// Milliseconds that shares are parts of: the executor's, or what the root took.
    #[must_use]
    pub fn total_ms(&self) -> Option<f64> {
        self.execution_ms.or(self.root().total_ms)
    }

    /// The part of the time that a number of milliseconds is, 0 to 1. Of a plan that
    /// was not executed nothing is known: 0.
    #[must_use]
    pub fn share(&self, ms: Option<f64>) -> f64 {
        match (ms, self.total_ms()) {
            (Some(ms), Some(total)) if total > 0.0 => (ms / total).clamp(0.0, 1.0),
            _ => 0.0,
        }
    }

    /// The root of a sub-plan by the name that expressions use: `SubPlan 1`,
    /// `InitPlan 1`, `CTE x`.
    #[must_use]
    pub fn subplan(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| {
            node.text("Subplan Name").is_some_and(|found| {
                // Before version 17: `InitPlan 1 (returns $0)`.
                found == name || found.strip_prefix(name).is_some_and(|r| r.starts_with(' '))
            })
        })
    }

    /// A setting by name, as the plan lists it when it is not the default.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }
}

impl Node {
    /// A field that is text.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field)?.as_str()
    }

    /// A field that is a number.
    #[must_use]
    pub fn number(&self, field: &str) -> Option<f64> {
        number(self.fields.get(field))
    }

    /// A field that is a list of texts; a single text counts as a list of one.
    #[must_use]
    pub fn list(&self, field: &str) -> Vec<&str> {
        match self.fields.get(field) {
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(one)) => vec![one],
            _ => Vec::new(),
        }
    }

    #[must_use]
    pub fn flag(&self, field: &str) -> bool {
        self.fields.get(field).and_then(Value::as_bool) == Some(true)
    }

    /// Every field, for whoever wants to show what it does not know.
    #[must_use]
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// The table that is scanned or written, with its schema where the plan is verbose.
    #[must_use]
    pub fn relation(&self) -> Option<String> {
        let name = self.text("Relation Name")?;
        Some(match self.text("Schema") {
            Some(schema) => format!("{schema}.{name}"),
            None => name.to_owned(),
        })
    }

    /// The name under which the query's expressions know it.
    #[must_use]
    pub fn alias(&self) -> Option<&str> {
        self.text("Alias").or_else(|| self.text("Relation Name"))
    }

    #[must_use]
    pub fn is_scan(&self) -> bool {
        self.kind.ends_with("Scan")
    }

    /// Runs of this node; 0 where it was never executed or not measured.
    #[must_use]
    pub fn loops(&self) -> f64 {
        self.number("Actual Loops").unwrap_or(0.0)
    }

    /// Rows it returned, all runs together. `None` where it was not executed.
    #[must_use]
    pub fn rows(&self) -> Option<f64> {
        (self.loops() > 0.0).then(|| self.number("Actual Rows").unwrap_or(0.0) * self.loops())
    }

    /// A count that EXPLAIN gives as an average of all runs, all runs together.
    #[must_use]
    pub fn per_loop(&self, field: &str) -> f64 {
        self.number(field).unwrap_or(0.0) * self.loops().max(1.0)
    }

    /// Rows that any filter or recheck of this node dropped, all runs together.
    #[must_use]
    pub fn removed(&self) -> f64 {
        [
            "Rows Removed by Filter",
            "Rows Removed by Join Filter",
            "Rows Removed by Index Recheck",
        ]
        .iter()
        .map(|field| self.per_loop(field))
        .sum()
    }

    /// Blocks this node and those below it touched: found in shared buffers, and read.
    #[must_use]
    pub fn blocks(&self) -> Option<(f64, f64)> {
        Some((
            self.number("Shared Hit Blocks")?,
            self.number("Shared Read Blocks")?,
        ))
    }

    /// Every condition it tests, as the server prints it, with the field's name.
    #[must_use]
    pub fn conditions(&self) -> Vec<(&str, &str)> {
        self.fields
            .iter()
            .filter(|(name, _)| {
                name.ends_with("Cond") || name.ends_with("Filter") || name.as_str() == "Filter"
            })
            .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
            .collect()
    }

    /// `Seq Scan on shop.orders o`, `Index Scan using orders_pkey on …`, `Hash Join`.
    #[must_use]
    pub fn title(&self) -> String {
        let mut title = String::new();
        if self.flag("Parallel Aware") {
            title.push_str("Parallel ");
        }
        if let (Some(part), "Aggregate") = (self.text("Partial Mode"), self.kind.as_str())
            && part != "Simple"
        {
            title.push_str(&format!("{part} "));
        }
        match self.text("Strategy") {
            Some("Hashed") if self.kind == "Aggregate" => title.push_str("HashAggregate"),
            Some("Sorted") if self.kind == "Aggregate" => title.push_str("GroupAggregate"),
            Some("Mixed") if self.kind == "Aggregate" => title.push_str("MixedAggregate"),
            Some("Hashed") if self.kind == "SetOp" => title.push_str("HashSetOp"),
            _ => title.push_str(&self.join_title()),
        }
        if self.kind == "ModifyTable" {
            title = self.text("Operation").unwrap_or("ModifyTable").to_owned();
        } else if let Some(provider) = self.text("Custom Plan Provider") {
            title = format!("{title} ({provider})");
        }
        if let Some(index) = self.text("Index Name") {
            title.push_str(&format!(" using {index}"));
        }
        if self.text("Scan Direction") == Some("Backward") {
            title.push_str(" backward");
        }
        let on = self
            .relation()
            .or_else(|| self.text("CTE Name").map(str::to_owned))
            .or_else(|| self.text("Function Name").map(str::to_owned));
        if let Some(on) = on {
            title.push_str(&format!(" on {on}"));
            if let Some(alias) = self.text("Alias").filter(|a| !on.ends_with(a)) {
                title.push_str(&format!(" {alias}"));
            }
        }
        title
    }

    fn join_title(&self) -> String {
        match self.text("Join Type") {
            Some(join) if join != "Inner" => match self.kind.as_str() {
                "Nested Loop" => format!("Nested Loop {join} Join"),
                kind => format!("{} {join} Join", kind.trim_end_matches(" Join")),
            },
            _ => self.kind.clone(),
        }
    }
}

fn push(object: &Map<String, Value>, parent: Option<usize>, depth: usize, nodes: &mut Vec<Node>) {
    let id = nodes.len();
    let mut fields = object.clone();
    let plans = fields.remove("Plans");
    nodes.push(Node {
        id,
        kind: fields
            .get("Node Type")
            .and_then(Value::as_str)
            .unwrap_or("Unknown node")
            .to_owned(),
        parent,
        children: Vec::new(),
        depth,
        fields,
        total_ms: None,
        self_ms: None,
        processes: 1.0,
    });
    if let Some(parent) = parent {
        nodes[parent].children.push(id);
    }
    for child in plans.iter().filter_map(Value::as_array).flatten() {
        if let Some(child) = child.as_object() {
            push(child, Some(id), depth + 1, nodes);
        }
    }
}

fn number(value: Option<&Value>) -> Option<f64> {
    match value? {
        Value::Number(n) => n.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// How deep the brackets of a JSON text are nested, strings left out.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut inside, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            b'{' | b'[' if !inside => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !inside => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_and_fields_that_nobody_knows_are_carried_along() {
        let plan = Plan::parse(
            r#"{"Plan": {"Node Type": "Quantum Scan", "Flux": [1, {"a": 2}], "Relation Name": "t",
                "Plans": [{"Strange": true}, 7]}, "Later": 1}"#,
        )
        .unwrap();
        assert_eq!(plan.nodes.len(), 2);
        assert_eq!(plan.root().title(), "Quantum Scan on t");
        assert_eq!(plan.nodes[1].kind, "Unknown node");
        assert!(plan.root().fields().contains_key("Flux"));
        assert_eq!(plan.total_ms(), None);
        assert!(plan.share(Some(3.0)).abs() < f64::EPSILON);
    }

    #[test]
    fn what_is_no_plan_is_refused_with_a_reason() {
        for text in ["", "[]", "{}", "[1]", "{\"Plan\": 3}", "Seq Scan on t"] {
            let e = Plan::parse(text).unwrap_err();
            assert_eq!(e.exit_code(), 2, "{text}");
            assert!(e.to_string().starts_with("not a plan"), "{e}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(
            Plan::parse(&deep)
                .unwrap_err()
                .to_string()
                .contains("nested")
        );
    }

    #[test]
    fn a_node_says_what_it_is() {
        let title = |json: &str| Plan::parse(json).unwrap().root().title();
        assert_eq!(
            title(r#"{"Plan": {"Node Type": "Hash Join", "Join Type": "Left"}}"#),
            "Hash Left Join"
        );
        assert_eq!(
            title(
                r#"{"Plan": {"Node Type": "Index Scan", "Scan Direction": "Backward",
                "Index Name": "i", "Schema": "s", "Relation Name": "t", "Alias": "x"}}"#
            ),
            "Index Scan using i backward on s.t x"
        );
    }
}
