//! A function or a cast around a column of times, said as a range of the column.

use squawk_syntax::{SyntaxKind as K, SyntaxNode};

use super::{Rewording, edit, of, span};

/// `x::date = D`, `date_trunc('month', x) = D`, `extract(year from x) = 2024`.
pub(super) fn wrapped(node: &SyntaxNode, text: &str) -> Option<Rewording> {
    if node.kind() != K::BIN_EXPR {
        return None;
    }
    let parts: Vec<SyntaxNode> = node.children().collect();
    let [left, right] = parts.as_slice() else {
        return None;
    };
    let operator = text[span(left).end..span(right).start].trim();
    if operator != "=" || !is_constant(right) {
        return None;
    }
    let value = of(right, text);
    let (column, low, high) = by_cast(left, value, text)
        .or_else(|| by_truncation(left, value, text))
        .or_else(|| by_year(left, value, text))?;
    Some(Rewording {
        rule: "wrapped-column",
        what: format!("a range of {column}, which an index of the column serves"),
        equal_if: "the session's time zone is the one that was meant, and a truncated value is compared",
        text: edit(
            text,
            span(node),
            &format!("({column} >= {low} AND {column} < {high})"),
        ),
    })
}

fn is_constant(node: &SyntaxNode) -> bool {
    !node.descendants().any(|n| {
        matches!(n.kind(), K::NAME_REF | K::FIELD_EXPR)
            && n.parent().is_none_or(|p| p.kind() != K::CALL_EXPR)
    }) || node.kind() == K::LITERAL
}

type Bounds = (String, String, String);

fn by_cast(left: &SyntaxNode, value: &str, text: &str) -> Option<Bounds> {
    if left.kind() != K::CAST_EXPR {
        return None;
    }
    let column = left.children().find(|c| is_column(c.kind()))?;
    let to = left.children().find(|c| c.kind() == K::PATH_TYPE)?;
    if !of(&to, text).eq_ignore_ascii_case("date") {
        return None;
    }
    let day = format!("({value})::date");
    Some((
        of(&column, text).to_owned(),
        day.clone(),
        format!("({day} + 1)"),
    ))
}

fn by_truncation(left: &SyntaxNode, value: &str, text: &str) -> Option<Bounds> {
    if left.kind() != K::CALL_EXPR || !of(left, text).to_lowercase().starts_with("date_trunc") {
        return None;
    }
    let arguments: Vec<SyntaxNode> = left.descendants().filter(|n| n.kind() == K::ARG).collect();
    let [unit, column] = arguments.as_slice() else {
        return None;
    };
    let unit = of(unit, text).trim_matches('\'').to_lowercase();
    if !matches!(
        unit.as_str(),
        "minute" | "hour" | "day" | "week" | "month" | "quarter" | "year"
    ) {
        return None;
    }
    if !column.children().all(|c| is_column(c.kind())) {
        return None;
    }
    let step = if unit == "quarter" {
        "3 months".to_owned()
    } else {
        format!("1 {unit}")
    };
    let low = if value.starts_with('\'') {
        format!("{value}::timestamp")
    } else {
        value.to_owned()
    };
    Some((
        of(column, text).to_owned(),
        low.clone(),
        format!("{low} + interval '{step}'"),
    ))
}

fn by_year(left: &SyntaxNode, value: &str, text: &str) -> Option<Bounds> {
    let extract = left.children().find(|c| c.kind() == K::EXTRACT_FN)?;
    let field = extract
        .children()
        .find(|c| c.kind() == K::EXTRACT_FIELD_NAME)?;
    let column = extract.children().find(|c| is_column(c.kind()))?;
    let year: i32 = value.parse().ok()?;
    if !of(&field, text).eq_ignore_ascii_case("year") {
        return None;
    }
    Some((
        of(&column, text).to_owned(),
        format!("make_date({year}, 1, 1)"),
        format!("make_date({}, 1, 1)", year + 1),
    ))
}

fn is_column(kind: K) -> bool {
    matches!(kind, K::NAME_REF | K::FIELD_EXPR)
}

#[cfg(test)]
mod tests {
    use super::super::rewordings;
    use super::super::tests::only;

    #[test]
    fn times_are_compared_as_ranges() {
        assert_eq!(
            only(
                "wrapped-column",
                "select 1 from t where t.placed_at::date = '2024-01-01' and x"
            ),
            "select 1 from t where (t.placed_at >= ('2024-01-01')::date AND t.placed_at < (('2024-01-01')::date + 1)) and x"
        );
        assert_eq!(
            only(
                "wrapped-column",
                "select 1 from t where date_trunc('month', at) = '2024-02-01'"
            ),
            "select 1 from t where (at >= '2024-02-01'::timestamp AND at < '2024-02-01'::timestamp + interval '1 month')"
        );
        assert_eq!(
            only(
                "wrapped-column",
                "select 1 from t where extract(year from t.at) = 2024"
            ),
            "select 1 from t where (t.at >= make_date(2024, 1, 1) AND t.at < make_date(2025, 1, 1))"
        );
        assert!(rewordings("select 1 from t where a::date = b").is_empty());
        assert!(rewordings("select 1 from t where a::text = '1'").is_empty());
    }
}
