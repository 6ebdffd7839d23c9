//! Other words for a query: what the same question looks like in a form that plans
//! better.
//!
//! None of these is claimed to be equal: NULLs, ties and time zones decide, and whoever
//! uses one has to prove it on the data first. They are texts, made by replacing exactly
//! the parts that change.

mod correlated;
mod paging;
mod range;
mod spread;

use std::ops::Range;

use squawk_syntax::ast::AstNode;
use squawk_syntax::{SourceFile, SyntaxKind as K, SyntaxNode};

pub use paging::{Paging, paging};

/// The same question in other words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewording {
    /// `not-in`, `or-union`, …
    pub rule: &'static str,
    /// What was done, for people.
    pub what: String,
    /// When it is the same question.
    pub equal_if: &'static str,
    pub text: String,
}

/// Every rewording of one query that is known here, each for one place in it.
#[must_use]
pub fn rewordings(text: &str) -> Vec<Rewording> {
    let parsed = SourceFile::parse(text);
    if !parsed.errors().is_empty() {
        return Vec::new();
    }
    let root = parsed.tree().syntax().clone();
    let mut found = Vec::new();
    for node in root.descendants() {
        found.extend(not_in(&node, text));
        found.extend(counted(&node, text));
        found.extend(materialized(&node, text));
        found.extend(union(&node, text));
        found.extend(range::wrapped(&node, text));
        found.extend(correlated::joined(&node, text));
    }
    if let Some(query) = only_select(&root) {
        found.extend(spread::union_all(&query, text));
    }
    found
}

/// The SELECT that the whole text is, without a WITH.
fn only_select(root: &SyntaxNode) -> Option<SyntaxNode> {
    let mut children = root.children();
    let first = children.next()?;
    let with = first.children().any(|c| c.kind() == K::WITH_CLAUSE);
    (first.kind() == K::SELECT && children.next().is_none() && !with).then_some(first)
}

/// `x NOT IN (SELECT y …)`.
fn not_in(node: &SyntaxNode, text: &str) -> Option<Rewording> {
    let parts: Vec<SyntaxNode> = node.children().collect();
    let [left, operator, right] = parts.as_slice() else {
        return None;
    };
    if node.kind() != K::BIN_EXPR || operator.kind() != K::NOT_IN {
        return None;
    }
    let query = right.children().find(|c| is_query(c.kind()))?;
    if left.kind() == K::TUPLE_EXPR {
        return None;
    }
    let new = format!(
        "NOT EXISTS (SELECT FROM ({}) AS crossfade_list (crossfade_value) WHERE crossfade_list.crossfade_value = {})",
        of(&query, text),
        of(left, text)
    );
    Some(Rewording {
        rule: "not-in",
        what: "NOT IN as NOT EXISTS, which becomes an anti join".to_owned(),
        equal_if: "neither side is NULL",
        text: edit(text, span(node), &new),
    })
}

/// `(SELECT count(*) …) > 0` and the like.
fn counted(node: &SyntaxNode, text: &str) -> Option<Rewording> {
    let parts: Vec<SyntaxNode> = node.children().collect();
    let (left, right) = match parts.as_slice() {
        [left, right] => (left, right),
        [left, _, right] => (left, right),
        _ => return None,
    };
    if node.kind() != K::BIN_EXPR || left.kind() != K::PAREN_EXPR || right.kind() != K::LITERAL {
        return None;
    }
    let operator: String = text[span(left).end..span(right).start]
        .split_whitespace()
        .collect();
    let exists = match (operator.as_str(), of(right, text)) {
        (">", "0") | (">=", "1") | ("<>" | "!=", "0") => "EXISTS",
        ("=", "0") | ("<", "1") => "NOT EXISTS",
        _ => return None,
    };
    let query = left.children().find(|c| c.kind() == K::SELECT)?;
    let grouped = [
        K::GROUP_BY_CLAUSE,
        K::HAVING_CLAUSE,
        K::LIMIT_CLAUSE,
        K::OFFSET_CLAUSE,
    ];
    if query.children().any(|c| grouped.contains(&c.kind())) {
        return None;
    }
    let select = query.children().find(|c| c.kind() == K::SELECT_CLAUSE)?;
    let selected: String = of(&select, text)
        .split_whitespace()
        .collect::<String>()
        .to_lowercase();
    if selected != "selectcount(*)" {
        return None;
    }
    let rest = &text[span(&select).end..span(&query).end];
    Some(Rewording {
        rule: "count-for-existence",
        what: format!("count(*) compared with nothing as {exists}, which stops at the first row"),
        equal_if: "always",
        text: edit(text, span(node), &format!("{exists} (SELECT{rest})")),
    })
}

/// `AS MATERIALIZED (…)`.
fn materialized(node: &SyntaxNode, text: &str) -> Option<Rewording> {
    if node.kind() != K::WITH_TABLE {
        return None;
    }
    let word = node
        .descendants_with_tokens()
        .filter_map(|e| e.into_token())
        .take_while(|t| {
            t.kind() != K::L_PAREN || t.parent().is_some_and(|p| p.kind() == K::COLUMN_LIST)
        })
        .find(|t| t.text().eq_ignore_ascii_case("materialized"))?;
    let range = word.text_range();
    let denied = text[..usize::from(range.start())]
        .trim_end()
        .to_lowercase()
        .ends_with("not");
    (!denied).then(|| Rewording {
        rule: "cte-fence",
        what: "the CTE as part of the query, so that conditions reach into it".to_owned(),
        equal_if: "the CTE calls nothing volatile",
        text: edit(
            text,
            usize::from(range.start())..usize::from(range.end()),
            "NOT MATERIALIZED",
        ),
    })
}

/// `UNION` without ALL.
fn union(node: &SyntaxNode, text: &str) -> Option<Rewording> {
    let recursive = node.ancestors().any(|a| a.kind() == K::WITH_CLAUSE);
    if node.kind() != K::UNION || recursive || of(node, text).to_lowercase().contains("all") {
        return None;
    }
    Some(Rewording {
        rule: "union-all",
        what: "UNION ALL, which does not look for duplicates".to_owned(),
        equal_if: "no row comes twice",
        text: edit(text, span(node), "UNION ALL"),
    })
}

fn is_query(kind: K) -> bool {
    matches!(
        kind,
        K::SELECT | K::COMPOUND_SELECT | K::VALUES | K::PAREN_SELECT
    )
}

fn span(node: &SyntaxNode) -> Range<usize> {
    let range = node.text_range();
    usize::from(range.start())..usize::from(range.end())
}

fn of<'a>(node: &SyntaxNode, text: &'a str) -> &'a str {
    &text[span(node)]
}

/// The text with one part replaced.
fn edit(text: &str, range: Range<usize>, new: &str) -> String {
    format!("{}{new}{}", &text[..range.start], &text[range.end..])
}

/// The conditions that AND joins.
fn conjuncts(node: &SyntaxNode) -> Vec<SyntaxNode> {
    joined_by(node, K::AND_KW)
}

fn joined_by(node: &SyntaxNode, word: K) -> Vec<SyntaxNode> {
    let inner = match node.kind() {
        K::PAREN_EXPR => node.children().next(),
        _ => None,
    };
    let node = inner.as_ref().unwrap_or(node);
    let joins = node.kind() == K::BIN_EXPR
        && node
            .children_with_tokens()
            .filter_map(|e| e.into_token())
            .any(|t| t.kind() == word);
    if !joins {
        return vec![node.clone()];
    }
    node.children().flat_map(|c| joined_by(&c, word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    pub(super) fn only(rule: &str, text: &str) -> String {
        let found: Vec<_> = rewordings(text)
            .into_iter()
            .filter(|r| r.rule == rule)
            .collect();
        assert_eq!(found.len(), 1, "{found:#?}");
        found[0].text.clone()
    }

    #[test]
    fn not_in_becomes_not_exists() {
        assert_eq!(
            only(
                "not-in",
                "select a from t where x not in (select y from u) and b"
            ),
            "select a from t where NOT EXISTS (SELECT FROM (select y from u) AS crossfade_list (crossfade_value) \
             WHERE crossfade_list.crossfade_value = x) and b"
        );
        assert!(rewordings("select a from t where x not in (1, 2)").is_empty());
    }

    #[test]
    fn counting_to_compare_with_nothing_becomes_exists() {
        assert_eq!(
            only(
                "count-for-existence",
                "select 1 from t where (select count(*) from v where v.k = t.k) > 0"
            ),
            "select 1 from t where EXISTS (SELECT from v where v.k = t.k)"
        );
        assert_eq!(
            only(
                "count-for-existence",
                "select 1 from t where (select count(*) from v) = 0"
            ),
            "select 1 from t where NOT EXISTS (SELECT from v)"
        );
        assert!(rewordings("select 1 from t where (select count(*) from v) > 5").is_empty());
        assert!(
            rewordings("select 1 from t where (select count(*) from v group by a) > 0").is_empty()
        );
    }

    #[test]
    fn fences_and_duplicates() {
        assert_eq!(
            only(
                "cte-fence",
                "with x as materialized (select 1) select * from x"
            ),
            "with x as NOT MATERIALIZED (select 1) select * from x"
        );
        assert_eq!(
            only("union-all", "select 1 union select 2"),
            "select 1 UNION ALL select 2"
        );
        assert!(rewordings("select 1 union all select 2").is_empty());
        assert!(
            rewordings("with recursive t as (select 1 union select 2 from t) select * from t")
                .is_empty()
        );
    }

    #[test]
    fn what_is_no_sql_has_no_other_words() {
        assert!(rewordings("select from where (((").is_empty());
        assert!(rewordings("").is_empty());
    }
}
