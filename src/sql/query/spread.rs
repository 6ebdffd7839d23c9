//! OR over different columns, said as one query a side.

use squawk_syntax::{SyntaxKind as K, SyntaxNode};

use super::{Rewording, conjuncts, joined_by, of, span};

/// Clauses whose meaning changes when a query is cut in two.
const WHOLE: &[K] = &[
    K::GROUP_BY_CLAUSE,
    K::HAVING_CLAUSE,
    K::ORDER_BY_CLAUSE,
    K::LIMIT_CLAUSE,
    K::OFFSET_CLAUSE,
    K::FETCH_CLAUSE,
    K::LOCKING_CLAUSE,
    K::WINDOW_CLAUSE,
    K::DISTINCT_CLAUSE,
];

/// `… WHERE a AND (p OR q)` as two queries; the second leaves out what the first has.
pub(super) fn union_all(query: &SyntaxNode, text: &str) -> Option<Rewording> {
    let select = query.children().find(|c| c.kind() == K::SELECT_CLAUSE)?;
    let whole = query
        .children()
        .chain(select.children())
        .any(|c| WHOLE.contains(&c.kind()));
    let aggregates = select.descendants().any(|n| {
        n.kind() == K::OVER_CLAUSE || n.kind() == K::CALL_EXPR && is_aggregate(of(&n, text))
    });
    if whole || aggregates {
        return None;
    }
    let clause = query.children().find(|c| c.kind() == K::WHERE_CLAUSE)?;
    let condition = clause.children().next()?;
    let parts = conjuncts(&condition);
    let (at, sides) = parts
        .iter()
        .enumerate()
        .map(|(i, part)| (i, joined_by(part, K::OR_KW)))
        .find(|(_, sides)| sides.len() == 2)?;
    let common: String = parts
        .iter()
        .enumerate()
        .filter(|(i, _)| *i != at)
        .map(|(_, part)| format!("({}) AND ", of(part, text)))
        .collect();
    let (first, second) = (of(&sides[0], text), of(&sides[1], text));
    let head = &text[span(query).start..span(&clause).start];
    let head = head.trim_end();
    Some(Rewording {
        rule: "or-condition",
        what: "one query for each side of the OR, put together".to_owned(),
        equal_if: "always; the order of rows may be another",
        text: format!(
            "{head} WHERE {common}({first})\nUNION ALL\n{head} WHERE {common}({second}) AND ({first}) IS NOT TRUE"
        ),
    })
}

fn is_aggregate(call: &str) -> bool {
    let name = call.split('(').next().unwrap_or("").trim().to_lowercase();
    matches!(
        name.as_str(),
        "count"
            | "sum"
            | "avg"
            | "min"
            | "max"
            | "array_agg"
            | "string_agg"
            | "json_agg"
            | "jsonb_agg"
            | "bool_and"
            | "bool_or"
            | "every"
            | "jsonb_object_agg"
            | "json_object_agg"
            | "stddev"
            | "variance"
    )
}

#[cfg(test)]
mod tests {
    use super::super::rewordings;
    use super::super::tests::only;

    #[test]
    fn each_side_is_a_query_and_no_row_comes_twice() {
        assert_eq!(
            only(
                "or-condition",
                "select id from t where a = 1 and (b = 2 or c = 3)"
            ),
            "select id from t WHERE (a = 1) AND (b = 2)\nUNION ALL\n\
             select id from t WHERE (a = 1) AND (c = 3) AND (b = 2) IS NOT TRUE"
        );
        for text in [
            "select count(*) from t where b = 2 or c = 3",
            "select id from t where b = 2 or c = 3 order by id",
            "select id from t where b = 2 or c = 3 limit 5",
            "select distinct id from t where b = 2 or c = 3",
        ] {
            assert!(
                rewordings(text).iter().all(|r| r.rule != "or-condition"),
                "{text}"
            );
        }
    }
}
