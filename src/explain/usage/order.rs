//! Orders that a query asks for.

/// One key of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortKey {
    /// As an index would name it.
    pub sql: String,
    pub columns: Vec<String>,
    pub descending: bool,
    /// Where it is not the direction's own default.
    pub nulls_first: Option<bool>,
}

/// The keys of one table in an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub keys: Vec<SortKey>,
    /// No other table's keys follow.
    pub complete: bool,
    /// Only its first rows are wanted.
    pub limited: bool,
}

/// A sort key as EXPLAIN prints it: expression, descending, NULLS where said.
#[must_use]
pub fn direction(text: &str) -> (&str, bool, Option<bool>) {
    let mut rest = text.trim();
    let mut nulls = None;
    if let Some(cut) = rest.strip_suffix(" NULLS FIRST") {
        (rest, nulls) = (cut, Some(true));
    } else if let Some(cut) = rest.strip_suffix(" NULLS LAST") {
        (rest, nulls) = (cut, Some(false));
    }
    let mut descending = false;
    if let Some(cut) = rest.strip_suffix(" DESC") {
        (rest, descending) = (cut, true);
    }
    (rest, descending, nulls)
}

#[cfg(test)]
mod tests {
    use super::direction;

    #[test]
    fn directions_are_read_off_the_end() {
        assert_eq!(direction("o.created_at DESC"), ("o.created_at", true, None));
        assert_eq!(direction("o.a NULLS FIRST"), ("o.a", false, Some(true)));
        assert_eq!(direction("o.a DESC NULLS LAST"), ("o.a", true, Some(false)));
        assert_eq!(direction("((o.a + 1))"), ("((o.a + 1))", false, None));
    }
}
