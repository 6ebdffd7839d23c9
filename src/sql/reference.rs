//! Whether a text of SQL or PL/pgSQL mentions a table, a column or a routine.
//!
//! Bodies of functions and statements of applications are read token by token: names
//! in comments do not count, aliases are followed, and a text that no parser accepts
//! (PL/pgSQL, or statements with placeholders) is read all the same. Where it cannot be
//! sure it says yes: what is overlooked breaks in production, what is reported in vain
//! costs a look.

use std::collections::BTreeSet;

use self::clauses::{AFTER_RELATION, Clauses, Relations};
use super::place::Place;
use super::token::{Kind, Token, tokens};

mod clauses;

/// What is looked for; names as they are in the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Table {
        schema: String,
        name: String,
    },
    Column {
        schema: String,
        table: String,
        column: String,
    },
    Routine {
        schema: String,
        name: String,
    },
}

impl Target {
    /// A quick look before [`mention`]: false where the text cannot have the name in it.
    /// A trigger's function need not name its table.
    #[must_use]
    pub fn may_stand_in(&self, text: &str) -> bool {
        let name = match self {
            Self::Table { name, .. } | Self::Routine { name, .. } => name,
            Self::Column { table, .. } => table,
        };
        // Quotes are doubled, and U&"…" hides characters; others stand as they are.
        name.contains('"')
            || text.contains("&\"")
            || text.to_lowercase().contains(&name.to_lowercase())
    }
}

/// How the text mentions it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// By its name.
    Named,
    /// `INSERT` or `COPY` without a list of columns: by its place.
    Positional,
    /// `NEW.column` or `OLD.column` in a trigger's function.
    TriggerRow,
    /// A row variable that was filled from the whole table.
    Record,
    /// In a string that is run.
    DynamicText,
}

impl How {
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Named => "names it",
            Self::Positional => "reads or writes by position, without a list of columns",
            Self::TriggerRow => "reads or writes it as NEW or OLD",
            Self::Record => "uses it through a row variable",
            Self::DynamicText => "has it in a text that it executes",
        }
    }
}

/// Where a text mentions it for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mention {
    pub place: Place,
    pub how: How,
}

/// How a text is to be read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading<'a> {
    /// Schemas whose tables and routines need no qualification.
    pub visible: &'a [String],
    /// The text is the function of a trigger on the target's table.
    pub trigger: bool,
}

/// The first mention of `target` in `text`.
#[must_use]
pub fn mention(text: &str, target: &Target, reading: Reading<'_>) -> Option<Mention> {
    let found: Vec<Token> = tokens(text)
        .into_iter()
        .filter(|t| t.kind != Kind::Comment)
        .collect();
    let look = Look {
        text,
        target,
        reading,
    };
    let statements: Vec<&[Token]> = found.split(|t| t.is(text, ';')).collect();
    let plain = statements.iter().find_map(|s| look.statement(s));
    plain
        .or_else(|| look.through_record(&statements))
        .or_else(|| look.dynamic(&found))
        .or_else(|| look.block(&found))
}

struct Look<'a> {
    text: &'a str,
    target: &'a Target,
    reading: Reading<'a>,
}

/// `a.b.c` and the index of the token after it.
struct Chain {
    parts: Vec<String>,
    from: usize,
    after: usize,
}

impl Look<'_> {
    fn schema(&self) -> &str {
        match self.target {
            Target::Table { schema, .. }
            | Target::Column { schema, .. }
            | Target::Routine { schema, .. } => schema,
        }
    }

    fn visible(&self) -> bool {
        self.reading.visible.iter().any(|s| s == self.schema())
    }

    fn found(&self, token: &Token, how: How) -> Mention {
        Mention {
            place: Place::of(self.text, token.range.start),
            how,
        }
    }

    fn chain(&self, tokens: &[Token], from: usize) -> Option<Chain> {
        let mut parts = vec![tokens.get(from)?.identifier(self.text)?];
        let mut after = from + 1;
        while tokens.get(after).is_some_and(|t| t.is(self.text, '.')) {
            let Some(part) = tokens.get(after + 1).and_then(|t| t.identifier(self.text)) else {
                break;
            };
            parts.push(part);
            after += 2;
        }
        Some(Chain { parts, from, after })
    }

    /// Whether `parts` may stand for the table `name`.
    fn is_table(&self, parts: &[String], name: &str) -> bool {
        match parts {
            [schema, table] => schema == self.schema() && table == name,
            [table] => table == name && self.visible(),
            _ => false,
        }
    }

    fn statement(&self, tokens: &[Token]) -> Option<Mention> {
        match self.target {
            Target::Table { name, .. } => self
                .relations(tokens, name)
                .map(|r| self.found(&tokens[r.at], How::Named)),
            Target::Column { table, column, .. } => self.column(tokens, table, column),
            Target::Routine { name, .. } => self.routine(tokens, name),
        }
    }

    fn routine(&self, tokens: &[Token], name: &str) -> Option<Mention> {
        let mut at = 0;
        while at < tokens.len() {
            if let Some(chain) = self.chain(tokens, at) {
                let called = tokens
                    .get(chain.after)
                    .is_some_and(|t| t.is(self.text, '('));
                if called && self.is_table(&chain.parts, name) {
                    return Some(self.found(&tokens[at], How::Named));
                }
                at = chain.after;
            } else {
                at += 1;
            }
        }
        None
    }

    /// Where a statement uses the table, and what it calls it.
    fn relations(&self, tokens: &[Token], name: &str) -> Option<Relations> {
        let mut relations = Relations::default();
        let mut clauses = Clauses::default();
        let mut seen = None;
        let mut at = 0;
        while at < tokens.len() {
            let Some(chain) = self.chain(tokens, at) else {
                clauses.punctuation(self.text, &tokens[at]);
                at += 1;
                continue;
            };
            let single = chain.parts.len() == 1 && tokens[at].kind == Kind::Word;
            if single
                && (clauses.command(self.text, &tokens[..=at]) || clauses.keyword(&chain.parts[0]))
            {
                at += 1;
                continue;
            }
            let copied = std::mem::take(&mut clauses.copies);
            let calls = tokens
                .get(chain.after)
                .is_some_and(|t| t.is(self.text, '('));
            let is_relation = std::mem::take(&mut clauses.expected) && (!calls || clauses.writes);
            let type_of = self.type_of(tokens, &chain, name);
            let qualified = chain.parts.len() >= 2 && self.is_table(&chain.parts[..2], name);
            let ours = type_of || qualified || (is_relation && self.is_table(&chain.parts, name));
            if ours {
                seen.get_or_insert(at);
                relations.names.insert(name.to_owned());
                relations.by_position |=
                    copied && !calls || clauses.writes && self.inserts_by_position(tokens, &chain);
                relations.type_of |= type_of;
            }
            let alias = is_relation
                .then(|| self.alias(tokens, chain.after))
                .flatten();
            let called = alias.unwrap_or_else(|| chain.parts.last().cloned().unwrap_or_default());
            if is_relation {
                if ours {
                    relations.names.insert(called);
                } else {
                    relations.others.insert(called);
                }
            }
            at = chain.after;
        }
        relations.at = seen?;
        Some(relations)
    }

    /// `table%rowtype`, `table.column%type`.
    fn type_of(&self, tokens: &[Token], chain: &Chain, name: &str) -> bool {
        let percent = tokens
            .get(chain.after)
            .is_some_and(|t| t.is(self.text, '%'));
        let word = |w: &str| {
            tokens
                .get(chain.after + 1)
                .is_some_and(|t| t.is_word(self.text, w))
        };
        let table = match (percent, word("rowtype"), word("type")) {
            (true, true, _) => &chain.parts[..],
            (true, _, true) => &chain.parts[..chain.parts.len() - 1],
            _ => return false,
        };
        self.is_table(table, name)
    }

    fn inserts_by_position(&self, tokens: &[Token], chain: &Chain) -> bool {
        let into = chain.from.checked_sub(2).is_some_and(|i| {
            tokens[i].is_word(self.text, "insert") && tokens[i + 1].is_word(self.text, "into")
        });
        into && tokens.get(chain.after).is_some_and(|t| {
            ["values", "select", "with", "table"]
                .iter()
                .any(|w| t.is_word(self.text, w))
        })
    }

    fn alias(&self, tokens: &[Token], at: usize) -> Option<String> {
        let next = tokens.get(at)?;
        if next.is_word(self.text, "as") {
            return tokens.get(at + 1)?.identifier(self.text);
        }
        let name = next.identifier(self.text)?;
        let keyword = next.kind == Kind::Word && AFTER_RELATION.contains(&name.as_str());
        (!keyword).then_some(name)
    }

    fn column(&self, tokens: &[Token], table: &str, column: &str) -> Option<Mention> {
        if let Some(mention) = self.trigger_row(tokens, column) {
            return Some(mention);
        }
        let relations = self.relations(tokens, table)?;
        let mut at = 0;
        while at < tokens.len() {
            let Some(chain) = self.chain(tokens, at) else {
                at += 1;
                continue;
            };
            let calls = tokens
                .get(chain.after)
                .is_some_and(|t| t.is(self.text, '('));
            let ours = match &chain.parts[..] {
                // `insert into t (column)` is no call, for a column `t`.
                [name] => name == column && !calls,
                [owner, name] => name == column && relations.names.contains(owner),
                [schema, owner, name, ..] => {
                    name == column && owner == table && schema == self.schema()
                }
                [] => false,
            };
            if ours {
                return Some(self.found(&tokens[at], How::Named));
            }
            at = chain.after;
        }
        relations
            .by_position
            .then(|| self.found(&tokens[relations.at], How::Positional))
    }

    fn trigger_row(&self, tokens: &[Token], column: &str) -> Option<Mention> {
        if !self.reading.trigger {
            return None;
        }
        (0..tokens.len()).find_map(|at| {
            let chain = self.chain(tokens, at)?;
            let row = matches!(chain.parts[0].as_str(), "new" | "old");
            let ours = row && chain.parts.get(1).is_some_and(|c| c == column);
            ours.then(|| self.found(&tokens[at], How::TriggerRow))
        })
    }

    /// `for r in select * from t loop … r.column`: the column is named in another
    /// statement than the table.
    fn through_record(&self, statements: &[&[Token]]) -> Option<Mention> {
        let Target::Column { table, column, .. } = self.target else {
            return None;
        };
        let whole = |s: &&[Token]| {
            self.relations(s, table)
                .is_some_and(|r| r.type_of || s.iter().any(|t| t.is(self.text, '*')))
        };
        if !statements.iter().any(whole) {
            return None;
        }
        statements.iter().find_map(|tokens| {
            let others = self.relations_of_others(tokens);
            (0..tokens.len()).find_map(|at| {
                let chain = self.chain(tokens, at)?;
                let ours = matches!(&chain.parts[..],
                    [owner, name] if name == column && !others.contains(owner));
                ours.then(|| self.found(&tokens[at], How::Record))
            })
        })
    }

    fn relations_of_others(&self, tokens: &[Token]) -> BTreeSet<String> {
        // A name that no table has: everything that is a relation is another's.
        let nobody = Target::Table {
            schema: String::new(),
            name: String::new(),
        };
        let look = Look {
            target: &nobody,
            ..*self
        };
        let mut relations = Relations::default();
        let mut clauses = Clauses::default();
        let mut at = 0;
        while at < tokens.len() {
            let Some(chain) = look.chain(tokens, at) else {
                clauses.punctuation(self.text, &tokens[at]);
                at += 1;
                continue;
            };
            if chain.parts.len() == 1 && clauses.keyword(&chain.parts[0]) {
                at += 1;
                continue;
            }
            if std::mem::take(&mut clauses.expected) {
                let alias = look.alias(tokens, chain.after);
                relations
                    .others
                    .extend(alias.or_else(|| chain.parts.last().cloned()));
            }
            at = chain.after;
        }
        relations.others
    }

    /// `DO`: its string is a body.
    fn block(&self, all: &[Token]) -> Option<Mention> {
        let runs = all.first()?.is_word(self.text, "do");
        let string = all.iter().find(|t| runs && t.kind == Kind::String)?;
        let body = string.content(self.text)?;
        let inner = mention(&body, self.target, self.reading)?;
        Some(self.found(string, inner.how))
    }

    /// Strings of a body that executes text: all its words together.
    fn dynamic(&self, all: &[Token]) -> Option<Mention> {
        let runs = |t: &Token| t.is_word(self.text, "execute") || t.is_word(self.text, "dblink");
        if !all.iter().any(runs) {
            return None;
        }
        let mut words = BTreeSet::new();
        let mut first = None;
        for string in all.iter().filter(|t| t.kind == Kind::String) {
            let inner = string
                .text(self.text)
                .trim_matches(|c| c == '\'' || c == '$');
            let inner_tokens = tokens(inner);
            words.extend(inner_tokens.iter().filter_map(|t| t.identifier(inner)));
            first.get_or_insert(string);
        }
        let all_there = match self.target {
            Target::Table { name, .. } | Target::Routine { name, .. } => words.contains(name),
            Target::Column { table, column, .. } => words.contains(table) && words.contains(column),
        };
        first
            .filter(|_| all_there)
            .map(|t| self.found(t, How::DynamicText))
    }
}

#[cfg(test)]
mod tests;
