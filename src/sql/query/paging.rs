//! OFFSET, and where a page begins that continues after the last row of the one before.

use squawk_syntax::ast::AstNode;
use squawk_syntax::{SourceFile, SyntaxKind as K, SyntaxNode};

use super::{Rewording, of, only_select, span};

/// A query that skips rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paging {
    /// Returns the order's values, as text, of the last row that is skipped.
    pub boundary: String,
    columns: Vec<String>,
    descending: bool,
    /// Up to the end of FROM or WHERE.
    head: String,
    has_where: bool,
    /// ORDER BY and LIMIT.
    tail: String,
}

/// The paging of a query: one SELECT, ordered one way by plain columns, with an OFFSET
/// that is a number.
#[must_use]
pub fn paging(text: &str) -> Option<Paging> {
    let parsed = SourceFile::parse(text);
    let query = only_select(parsed.tree().syntax())?;
    let clause = |kind: K| query.children().find(|c| c.kind() == kind);
    let offset = clause(K::OFFSET_CLAUSE)?;
    let limit = clause(K::LIMIT_CLAUSE)?;
    let order = clause(K::ORDER_BY_CLAUSE)?;
    let from = clause(K::FROM_CLAUSE)?;
    if [
        K::GROUP_BY_CLAUSE,
        K::HAVING_CLAUSE,
        K::WINDOW_CLAUSE,
        K::LOCKING_CLAUSE,
    ]
    .into_iter()
    .any(|kind| clause(kind).is_some())
    {
        return None;
    }
    let skipped: u64 = of(&offset.children().next()?, text).parse().ok()?;
    let (columns, descending) = keys(&order, text)?;
    let select = clause(K::SELECT_CLAUSE)?;
    if select.children().any(|c| c.kind() == K::DISTINCT_CLAUSE) {
        return None;
    }
    let condition = clause(K::WHERE_CLAUSE);
    let end = condition.as_ref().map_or(span(&from).end, |c| span(c).end);
    let rows = &text[span(&from).start..end];
    // Under names of their own: ORDER BY takes a column of the result before one of the
    // table, and the text of a number has another order.
    let listed: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(at, c)| format!("({c})::text AS crossfade_{}", at + 1))
        .collect();
    let order_text = of(&order, text);
    Some(Paging {
        boundary: format!(
            "SELECT {} {rows} {order_text} LIMIT 1 OFFSET {}",
            listed.join(", "),
            skipped.checked_sub(1)?
        ),
        columns,
        descending,
        head: text[span(&query).start..end].to_owned(),
        has_where: condition.is_some(),
        tail: format!("{order_text} {}", of(&limit, text)),
    })
}

fn keys(order: &SyntaxNode, text: &str) -> Option<(Vec<String>, bool)> {
    let mut columns = Vec::new();
    let mut directions = Vec::new();
    for key in order.descendants().filter(|n| n.kind() == K::SORT_BY) {
        let mut children = key.children();
        let column = children.next()?;
        if !matches!(column.kind(), K::NAME_REF | K::FIELD_EXPR) {
            return None;
        }
        columns.push(of(&column, text).to_owned());
        let rest = text[span(&column).end..span(&key).end]
            .trim()
            .to_lowercase();
        directions.push(match rest.as_str() {
            "" | "asc" => false,
            "desc" => true,
            _ => return None,
        });
    }
    let first = *directions.first()?;
    directions
        .iter()
        .all(|d| *d == first)
        .then_some((columns, first))
}

impl Paging {
    /// The page after a row with these values of the order's columns.
    #[must_use]
    pub fn after(&self, values: &[String]) -> Option<Rewording> {
        if values.len() != self.columns.len() {
            return None;
        }
        let values: Vec<String> = values
            .iter()
            .map(|v| crate::pg::ident::literal(v))
            .collect();
        let (columns, operator) = (
            self.columns.join(", "),
            if self.descending { "<" } else { ">" },
        );
        // A row of one has no parentheses: `(a) > ('1')` is a plain comparison.
        let join = if self.has_where { "AND" } else { "WHERE" };
        let head = if self.has_where {
            wrap(&self.head)
        } else {
            self.head.clone()
        };
        Some(Rewording {
            rule: "offset-paging",
            what: "the page after a row, instead of counting the rows before it".to_owned(),
            equal_if: "no two rows are equal in the order's columns, and none is NULL",
            text: format!(
                "{head} {join} ({columns}) {operator} ({}) {}",
                values.join(", "),
                self.tail
            ),
        })
    }
}

/// Parentheses around the condition, which may hold an OR.
fn wrap(head: &str) -> String {
    let parsed = SourceFile::parse(head);
    let condition = only_select(parsed.tree().syntax())
        .and_then(|q| q.children().find(|c| c.kind() == K::WHERE_CLAUSE))
        .and_then(|w| w.children().next());
    condition.map_or_else(
        || head.to_owned(),
        |c| super::edit(head, span(&c), &format!("({})", of(&c, head))),
    )
}

#[cfg(test)]
mod tests {
    use super::paging;

    #[test]
    fn a_page_continues_after_the_last_row_before_it() {
        let p = paging(
            "select id, a from t where x = 1 or y order by a desc, id desc limit 20 offset 1000",
        )
        .unwrap();
        assert_eq!(
            p.boundary,
            "SELECT (a)::text AS crossfade_1, (id)::text AS crossfade_2 from t where x = 1 or y order by a desc, id desc LIMIT 1 OFFSET 999"
        );
        assert_eq!(
            p.after(&["it's".to_owned(), "7".to_owned()]).unwrap().text,
            "select id, a from t where (x = 1 or y) AND (a, id) < ('it''s', '7') order by a desc, id desc limit 20"
        );
        let plain = paging("select id from t order by id limit 5 offset 10").unwrap();
        assert_eq!(
            plain.after(&["9".to_owned()]).unwrap().text,
            "select id from t WHERE (id) > ('9') order by id limit 5"
        );
    }

    #[test]
    fn orders_that_no_row_comparison_has_are_left_alone() {
        for text in [
            "select id from t order by a desc, id limit 5 offset 10",
            "select id from t order by lower(a) limit 5 offset 10",
            "select id from t order by a nulls first limit 5 offset 10",
            "select a, count(*) from t group by a order by a limit 5 offset 10",
            "select id from t limit 5 offset 10",
            "select id from t order by id limit 5 offset 0",
        ] {
            assert_eq!(paging(text), None, "{text}");
        }
    }
}
