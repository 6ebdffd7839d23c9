//! A subquery that is computed for every row, said as a join with all of its results.

use squawk_syntax::{SyntaxKind as K, SyntaxNode};

use super::{Rewording, conjuncts, of, span};

/// `SELECT …, (SELECT max(x) FROM t WHERE t.k = o.k) FROM o` with the subquery grouped by
/// its key and joined. The outer FROM must be one item or joins, no list.
pub(super) fn joined(node: &SyntaxNode, text: &str) -> Option<Rewording> {
    let inner = node.children().find(|c| c.kind() == K::SELECT)?;
    if node.kind() != K::PAREN_EXPR || node.parent().is_none_or(|p| p.kind() != K::TARGET) {
        return None;
    }
    let outer = node.ancestors().find(|a| a.kind() == K::SELECT)?;
    let only = [K::SELECT_CLAUSE, K::FROM_CLAUSE, K::WHERE_CLAUSE];
    if inner.children().any(|c| !only.contains(&c.kind())) {
        return None;
    }
    let clause = |query: &SyntaxNode, kind: K| query.children().find(|c| c.kind() == kind);
    let target = clause(&inner, K::SELECT_CLAUSE)?
        .descendants()
        .find(|n| n.kind() == K::TARGET)?;
    let call = target.children().next()?;
    let name = of(&call, text).split('(').next()?.trim().to_lowercase();
    let counts = name == "count";
    if call.kind() != K::CALL_EXPR
        || !(counts || matches!(name.as_str(), "max" | "min" | "sum" | "avg"))
    {
        return None;
    }
    let from = clause(&inner, K::FROM_CLAUSE)?;
    let alias = alias(&from, text)?;
    let parts = conjuncts(&clause(&inner, K::WHERE_CLAUSE)?.children().next()?);
    let inside = |n: &SyntaxNode| of(n, text).starts_with(&format!("{alias}."));
    let (mut key, mut rest) = (None, Vec::new());
    for part in &parts {
        let sides: Vec<SyntaxNode> = part.children().collect();
        let equal =
            sides.len() == 2 && text[span(&sides[0]).end..span(&sides[1]).start].trim() == "=";
        let fields = sides.iter().all(|s| s.kind() == K::FIELD_EXPR);
        if part.kind() == K::BIN_EXPR && equal && fields && inside(&sides[0]) != inside(&sides[1]) {
            if key.is_some() {
                return None;
            }
            let first = usize::from(!inside(&sides[0]));
            key = Some((of(&sides[first], text), of(&sides[1 - first], text)));
        } else if part
            .descendants()
            .filter(|n| n.kind() == K::FIELD_EXPR)
            .all(|n| inside(&n))
        {
            rest.push(of(part, text));
        } else {
            return None;
        }
    }
    let (inner_key, outer_key) = key?;
    let outer_from = clause(&outer, K::FROM_CLAUSE)?;
    if outer_from
        .children_with_tokens()
        .filter_map(|e| e.into_token())
        .any(|t| t.kind() == K::COMMA)
    {
        return None;
    }
    let condition = if rest.is_empty() {
        String::new()
    } else {
        format!(" WHERE ({})", rest.join(") AND ("))
    };
    let join = format!(
        " LEFT JOIN (SELECT {inner_key} AS crossfade_key, {} AS crossfade_value {}{condition} GROUP BY 1) AS crossfade_each \
         ON crossfade_each.crossfade_key = {outer_key}",
        of(&call, text),
        of(&from, text)
    );
    let value = if counts {
        "coalesce(crossfade_each.crossfade_value, 0)"
    } else {
        "crossfade_each.crossfade_value"
    };
    // A column without a name takes that of the function.
    let unnamed = node.parent()?.children().all(|c| c.kind() != K::AS_NAME);
    let value = if unnamed {
        format!("{value} AS {name}")
    } else {
        value.to_owned()
    };
    let (at, from_end) = (span(node), span(&outer_from).end);
    if at.end > from_end {
        return None;
    }
    Some(Rewording {
        rule: "correlated-subplan",
        what: "the subquery computed once for all rows and joined".to_owned(),
        equal_if: "always; better when most rows are wanted",
        text: format!(
            "{}{value}{}{join}{}",
            &text[..at.start],
            &text[at.end..from_end],
            &text[from_end..]
        ),
    })
}

/// The name under which the only table of a FROM is known.
fn alias(from: &SyntaxNode, text: &str) -> Option<String> {
    let mut items = from.children();
    let item = items.next()?;
    if item.kind() != K::RELATION_FROM_ITEM || items.next().is_some() {
        return None;
    }
    let last = of(&item, text).split_whitespace().last()?;
    Some(last.rsplit('.').next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::rewordings;
    use super::super::tests::only;

    #[test]
    fn an_aggregate_for_each_row_is_grouped_and_joined() {
        assert_eq!(
            only(
                "correlated-subplan",
                "select c.id, (select max(o.x) from s.orders o where o.k = c.k and o.z > 3) as m from c where c.y"
            ),
            "select c.id, crossfade_each.crossfade_value as m from c LEFT JOIN (SELECT o.k AS crossfade_key, max(o.x) AS crossfade_value \
             from s.orders o WHERE (o.z > 3) GROUP BY 1) AS crossfade_each ON crossfade_each.crossfade_key = c.k where c.y"
        );
        assert!(
            only(
                "correlated-subplan",
                "select (select count(*) from o where o.k = c.k) from c"
            )
            .contains("coalesce(")
        );
    }

    #[test]
    fn what_depends_on_more_than_a_key_is_left_alone() {
        for text in [
            "select (select max(o.x) from o where o.k = c.k and o.z > c.z) from c",
            "select (select max(o.x) from o where o.k = c.k) from c, d",
            "select (select o.x from o where o.k = c.k limit 1) from c",
            "select (select max(o.x) from o) from c",
        ] {
            assert!(rewordings(text).is_empty(), "{text}");
        }
    }
}
