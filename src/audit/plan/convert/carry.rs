//! The indexes of columns that change, on the columns that take their place.

use super::super::super::schema::{Index, Table};
use super::super::belongings;
use super::super::migration::{Migration, Phase, Script};
use super::super::name::{Names, ident, table};
use super::Change;
use crate::pg::QualifiedName;
use crate::sql::token;

/// An index that cannot be told with another column in the old one's place.
pub(super) fn refuse(of: &Table, column: &str) -> Result<(), String> {
    for index in &of.indexes {
        let uses = &of.belongings.index(&index.name).uses;
        let hidden = uses.iter().any(|c| c == column) && !has(index, column);
        let mentioned = index
            .keys
            .iter()
            .filter(|k| k.column.is_none())
            .map(|k| &k.sql)
            .chain(&index.predicate)
            .any(|sql| sql.contains(column));
        if mentioned || hidden {
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

/// An index of a kind that has no operator classes for all that can be sorted or hashed: what it
/// has for the old type says nothing of the new one.
pub(super) fn sortable(of: &Table, column: &str) -> Result<(), String> {
    let key = |i: &&Index| i.keys.iter().any(|k| k.column.as_deref() == Some(column));
    let other = |i: &&Index| !["btree", "hash", "brin"].contains(&&i.method[..]);
    let index = of.indexes.iter().filter(key).find(other);
    index.map_or(Ok(()), |index| {
        Err(format!(
            "{}.{column}: the {} index {} is for its type",
            of.name, index.method, index.name
        ))
    })
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
                .find(|c| c.of.name == self.of.name && c.old.name == column)?;
            let text = change.stays_text.then(|| {
                let padded = change.conversion.to_type.starts_with("char")
                    && !change.conversion.to_type.starts_with("character varying");
                if padded { "bpchar" } else { "text" }
            });
            Some(Successor {
                name: &change.new,
                text,
            })
        };
        let (mut up, mut down) = (Vec::new(), Vec::new());
        for index in old {
            let plain: Vec<String> = index
                .keys
                .iter()
                .filter_map(|k| k.column.as_deref())
                .map(|c| new_of(c).map_or(c, |new| new.name).to_owned())
                .collect();
            let name = names.index(&self.of.name, &plain, "_idx");
            up.push(format!(
                "create {}index concurrently {} on {} using {}",
                if index.unique { "unique " } else { "" },
                ident(&name),
                self.own(),
                instead(&index.definition, &new_of),
            ));
            let name = QualifiedName::new(self.of.name.schema.clone(), name);
            up.extend(belongings::successor_index(self.of, index, &name));
            down.push(format!("drop index concurrently {}", table(&name)));
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

/// What an index has in a column's place.
struct Successor<'n> {
    name: &'n str,
    /// Both are text, and operator classes of the new one's type begin with this.
    text: Option<&'static str>,
}

/// What stands behind USING in an index's definition, with other columns. A collation
/// and an operator class belonged to the old column's type, unless both are text.
fn instead<'n>(definition: &str, new_of: &dyn Fn(&str) -> Option<Successor<'n>>) -> String {
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
            if token.is_word(definition, "tablespace")
                && let Some(name) = tokens.next()
            {
                text.push(' ');
                text.push_str(name.text(definition));
                end = Some(name.range.end);
            }
            continue;
        };
        text.push_str(&ident(new.name));
        if let Some(own) = new.text {
            let rest = key_of_text(definition, &mut tokens, own);
            text.push_str(&rest);
            end = None;
            continue;
        }
        if tokens
            .next_if(|t| t.is_word(definition, "collate"))
            .is_some()
        {
            tokens.next();
            while tokens.next_if(|t| t.is(definition, '.')).is_some() {
                tokens.next();
            }
        }
        let mut ahead = tokens.clone();
        if ahead.next().is_some() && ahead.next().is_some_and(|t| t.is(definition, '.')) {
            // The class's schema.
            tokens = ahead;
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

/// Collation and operator class behind a column of text, the latter for the type that begins
/// with `own`.
fn key_of_text<'t>(
    definition: &str,
    tokens: &mut std::iter::Peekable<impl Iterator<Item = &'t token::Token>>,
    own: &str,
) -> String {
    let mut text = String::new();
    let mut end = None;
    while let Some(token) = tokens.next_if(|t| !t.is(definition, ',') && !t.is(definition, ')')) {
        if end.is_none_or(|end| end < token.range.start) {
            text.push(' ');
        }
        end = Some(token.range.end);
        let word = token.text(definition);
        let class = ["text_", "varchar_", "bpchar_", "citext_"]
            .iter()
            .find_map(|of| word.strip_suffix("_ops")?.strip_prefix(of));
        match class {
            Some(class) => text.push_str(&format!("{own}_{class}_ops")),
            None => text.push_str(word),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::Successor;

    #[test]
    fn an_index_of_text_keeps_collations_and_operator_classes() {
        for (definition, moved) in [
            (
                "CREATE INDEX i ON s.t USING btree (created COLLATE pg_catalog.\"C\" bpchar_pattern_ops DESC, id) INCLUDE (created) WITH (fillfactor='70') TABLESPACE created WHERE (id > 3)",
                "btree (at COLLATE pg_catalog.\"C\" text_pattern_ops DESC, id) INCLUDE (at) WITH (fillfactor='70') TABLESPACE created WHERE (id > 3)",
            ),
            (
                "CREATE INDEX i ON s.t USING gin (created gin_trgm_ops)",
                "gin (at gin_trgm_ops)",
            ),
        ] {
            let new_of = |c: &str| {
                (c == "created").then_some(Successor {
                    name: "at",
                    text: Some("text"),
                })
            };
            assert_eq!(super::instead(definition, &new_of), moved);
        }
    }

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
            (
                "CREATE INDEX i ON s.t USING btree (created public.citext_pattern_ops, id)",
                "btree (at, id)",
            ),
        ] {
            let new_of = |c: &str| {
                (c == "created").then_some(Successor {
                    name: "at",
                    text: None,
                })
            };
            assert_eq!(super::instead(definition, &new_of), moved);
        }
    }
}
