//! The indexes of columns that change, on the columns that take their place.

use super::super::super::schema::{Index, Table};
use super::super::migration::{Migration, Phase, Script};
use super::super::name::{Names, ident, table};
use super::Change;
use crate::pg::QualifiedName;
use crate::sql::token;

/// An index that cannot be told with another column in the old one's place.
pub(super) fn refuse(of: &Table, column: &str) -> Result<(), String> {
    for index in &of.indexes {
        let mentioned = index
            .keys
            .iter()
            .filter(|k| k.column.is_none())
            .map(|k| &k.sql)
            .chain(&index.predicate)
            .any(|sql| sql.contains(column));
        if mentioned {
            return Err(format!(
                "{}.{column}: the index {} uses it in an expression",
                of.name, index.name
            ));
        }
        if index.constraint.is_some() && has(index, column) {
            return Err(format!(
                "{}.{column}: the index {} stands for a constraint",
                of.name, index.name
            ));
        }
    }
    Ok(())
}

fn has(index: &Index, column: &str) -> bool {
    let key = |k: &super::super::super::schema::IndexKey| k.column.as_deref() == Some(column);
    index.keys.iter().any(key) || index.included.iter().any(|c| c == column)
}

impl Change<'_> {
    pub(super) fn is_in(&self, index: &Index) -> bool {
        has(index, &self.old.name)
    }

    /// The successors of `old`, whose columns are all there now.
    pub(super) fn indexes(
        &self,
        old: &[&Index],
        changes: &[&Change<'_>],
        names: &mut Names,
    ) -> Option<Migration> {
        let new_of = |column: &str| {
            let change = changes
                .iter()
                .find(|c| c.of.name == self.of.name && c.old.name == column);
            change.map(|c| c.new.as_str())
        };
        let (mut up, mut down) = (Vec::new(), Vec::new());
        for index in old {
            let plain: Vec<String> = index
                .keys
                .iter()
                .filter_map(|k| k.column.as_deref())
                .map(|c| new_of(c).unwrap_or(c).to_owned())
                .collect();
            let name = names.index(&self.of.name, &plain, "_idx");
            up.push(format!(
                "create {}index concurrently {} on {} using {}",
                if index.unique { "unique " } else { "" },
                ident(&name),
                self.own(),
                instead(&index.definition, &new_of),
            ));
            down.push(format!(
                "drop index concurrently {}",
                table(&QualifiedName::new(self.of.name.schema.clone(), name))
            ));
        }
        (!up.is_empty()).then(|| Migration {
            phase: Phase::Expand,
            name: self.name("index"),
            about: format!(
                "The indexes of the old column, on {}.{}.",
                self.own(),
                ident(&self.new)
            ),
            risks: Vec::new(),
            up: Script::Statements(up),
            down: Script::Statements(down),
        })
    }
}

/// What stands behind USING in an index's definition, with other columns. A collation
/// and an operator class belonged to the old column's type.
fn instead<'n>(definition: &str, new_of: &dyn Fn(&str) -> Option<&'n str>) -> String {
    let tokens = token::tokens(definition);
    let using = tokens.iter().position(|t| t.is_word(definition, "using"));
    let mut text = String::new();
    let mut tokens = tokens[using.map_or(0, |at| at + 1)..].iter().peekable();
    let mut end = None;
    while let Some(token) = tokens.next() {
        if end.is_some_and(|end| end < token.range.start) {
            text.push(' ');
        }
        end = Some(token.range.end);
        let Some(new) = token.identifier(definition).and_then(|c| new_of(&c)) else {
            text.push_str(token.text(definition));
            continue;
        };
        text.push_str(&ident(new));
        if tokens
            .next_if(|t| t.is_word(definition, "collate"))
            .is_some()
        {
            tokens.next();
            while tokens.next_if(|t| t.is(definition, '.')).is_some() {
                tokens.next();
            }
        }
        tokens.next_if(|t| t.text(definition).ends_with("_ops"));
        end = tokens.peek().map(|t| t.range.start - 1).or(end);
        if tokens
            .peek()
            .is_none_or(|t| t.is(definition, ',') || t.is(definition, ')'))
        {
            end = None;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_index_moves_to_another_column_without_what_belonged_to_its_type() {
        for (definition, moved) in [
            (
                "CREATE INDEX i ON s.t USING btree (created DESC, id) WHERE (id > 3)",
                "btree (at DESC, id) WHERE (id > 3)",
            ),
            (
                "CREATE INDEX i ON s.t USING btree (id, created COLLATE pg_catalog.\"C\" text_pattern_ops) INCLUDE (created)",
                "btree (id, at) INCLUDE (at)",
            ),
            (
                "CREATE INDEX i ON s.t USING brin (created text_minmax_ops DESC NULLS LAST, \"Created\")",
                "brin (at DESC NULLS LAST, \"Created\")",
            ),
        ] {
            assert_eq!(
                super::instead(definition, &|c| (c == "created").then_some("at")),
                moved
            );
        }
    }
}
