//! The columns that a view, or a table made by a query, has.

use squawk_syntax::ast::{self, AstNode};
use squawk_syntax::column_name::ColumnName;
use squawk_syntax::{SourceFile, SyntaxKind as K, SyntaxNode};

use super::tree::{child, name, text};

/// Columns as far as a text tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    pub names: Vec<String>,
    /// There may be more: a `*`, a LIKE, a parent, or a query that names none.
    pub open: bool,
}

/// The columns of `CREATE VIEW`, `CREATE TABLE … AS` or `CREATE TABLE`.
#[must_use]
pub fn output(text: &str) -> Output {
    let parsed = SourceFile::parse(text);
    let known = parsed.tree().syntax().children().next().and_then(|node| {
        let made = match node.kind() {
            K::CREATE_TABLE => table(&node),
            K::CREATE_VIEW | K::CREATE_MATERIALIZED_VIEW | K::CREATE_TABLE_AS => query(&node)?,
            _ => return None,
        };
        Some(made)
    });
    known.unwrap_or(Output {
        names: Vec::new(),
        open: true,
    })
}

fn table(node: &SyntaxNode) -> Output {
    let arguments = child(node, K::TABLE_ARG_LIST);
    let columns = arguments.iter().flat_map(SyntaxNode::children);
    let names = columns
        .filter(|c| c.kind() == K::COLUMN)
        .filter_map(|c| child(&c, K::COLUMN_NAME).and_then(|n| name(&n)))
        .map(|n| n.name)
        .collect();
    // Only what stands in parentheses and nothing else is all that there is.
    let more = |n: SyntaxNode| {
        matches!(
            n.kind(),
            K::LIKE_CLAUSE | K::INHERITS | K::PARTITION_OF | K::OF_TYPE
        )
    };
    Output {
        names,
        open: arguments.is_none() || node.descendants().any(more),
    }
}

/// The columns of the query, the first of them under the names of a list before it.
fn query(node: &SyntaxNode) -> Option<Output> {
    let mut select = node.children().find_map(|c| first_select(&c))?;
    while select.kind() != K::SELECT {
        select = select.children().find_map(|c| first_select(&c))?;
    }
    let targets = child(&select, K::SELECT_CLAUSE)?
        .children()
        .find(|c| c.kind() == K::TARGET_LIST)?;
    let mut made = Output {
        names: Vec::new(),
        open: false,
    };
    for target in targets.children().filter_map(ast::Target::cast) {
        // Of a table's or a row's `*` nothing is inferred but that there is one.
        if text(target.syntax()).ends_with('*') {
            made.open = true;
            continue;
        }
        match ColumnName::from_target(target) {
            Some((ColumnName::Star, _)) | None => made.open = true,
            Some((column, _)) => made.names.extend(column.to_string()),
        }
    }
    let list = [K::COLUMN_LIST, K::TABLE_ARG_LIST]
        .into_iter()
        .find_map(|kind| child(node, kind));
    let listed: Vec<String> = list
        .iter()
        .flat_map(SyntaxNode::children)
        .filter_map(|c| name(&c))
        .map(|n| n.name)
        .collect();
    if made.open {
        made.names.extend(listed);
    } else {
        for (at, name) in listed.into_iter().enumerate() {
            if let Some(own) = made.names.get_mut(at) {
                *own = name;
            }
        }
    }
    Some(made)
}

fn first_select(node: &SyntaxNode) -> Option<SyntaxNode> {
    let is = matches!(
        node.kind(),
        K::SELECT | K::PAREN_SELECT | K::COMPOUND_SELECT
    );
    is.then(|| node.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_those_of_the_query_or_of_the_list_before_it() {
        let of = |text: &str| {
            let made = output(text);
            (made.names.join(","), made.open)
        };
        let closed = |names: &str| (names.to_owned(), false);
        assert_eq!(
            of(r#"create view v as select id, t.b, a as "Aa", lower(c), d::text from t"#),
            closed("id,b,Aa,lower,d")
        );
        assert_eq!(
            of(
                "create or replace view v (x, y) as with w as (select 1 as z) select a, b, c from w"
            ),
            closed("x,y,c")
        );
        assert_eq!(
            of("create materialized view v as (select a from t union all select b from u)"),
            closed("a")
        );
        assert_eq!(of("create table t as select a, b c from u"), closed("a,c"));
        assert_eq!(
            of("create table t (id int primary key, \"B\" text, check (id > 0))"),
            closed("id,B")
        );
        for text in [
            "create view v as select * from t",
            "create view v as select a, t.* from t",
            "create view v as table t",
            "create table t (a int, like u)",
            "create table t (a int) inherits (u)",
            "create table t partition of u default",
        ] {
            assert!(output(text).open, "{text}");
        }
    }
}
