//! What the triggers of a table do to what a plan writes. A function's body is read as far as
//! its words tell; where they do not, the finding is left to people.

use super::super::belongings::Trigger;
use super::super::schema::{Database, Table};
use super::belongings::family;
use crate::sql::token::{self, Kind, Token};

/// What a trigger has to do with a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    Nothing,
    Reads,
    Writes,
    /// It may write it, and nothing that can be read says whether.
    Unknown,
}

/// Functions in C whose doings are known: they write the column that is their first argument,
/// and read the others.
const WRITE_THE_FIRST: [&str; 3] = [
    "tsvector_update_trigger",
    "tsvector_update_trigger_column",
    "moddatetime",
];
/// They write nothing.
const WRITE_NOTHING: [&str; 1] = ["triggered_change_notification"];

/// The triggers of a table and its partitions, each once.
fn triggers<'d>(database: &'d Database, of: &'d Table) -> Vec<&'d Trigger> {
    let mut found: Vec<&Trigger> = Vec::new();
    for table in family(database, of) {
        for trigger in &table.belongings.triggers {
            if trigger.enabled && !found.iter().any(|t| t.name == trigger.name) {
                found.push(trigger);
            }
        }
    }
    found
}

/// No trigger writes a column that the plan changes or takes away: what it wrote would be
/// overwritten by it, or miss its column in the end.
///
/// # Errors
/// Why the plan leaves it to people.
pub fn refuse(database: &Database, of: &Table, columns: &[String]) -> Result<(), String> {
    for trigger in triggers(database, of) {
        for column in columns {
            let (name, at) = (&trigger.name, &of.name);
            if trigger.columns.contains(column) || condition(trigger).contains(column) {
                return Err(format!(
                    "the trigger {name} of {at} fires by {column}, and does not let it go: replace the trigger first"
                ));
            }
            match doing(trigger, column) {
                Use::Writes => {
                    return Err(format!(
                        "the trigger {name} of {at} writes {column} itself: let it write what takes its place, or drop it, first"
                    ));
                }
                Use::Unknown => {
                    return Err(format!(
                        "the trigger {name} of {at} may write {column}: its function {} does not tell",
                        trigger.function
                    ));
                }
                Use::Reads | Use::Nothing => {}
            }
        }
    }
    Ok(())
}

/// Functions of triggers that fail once the columns are gone, for the plan's reader.
#[must_use]
pub fn readers(database: &Database, of: &Table, columns: &[String]) -> Option<String> {
    let found: Vec<&Trigger> = triggers(database, of)
        .into_iter()
        .filter(|t| columns.iter().any(|c| doing(t, c) == Use::Reads))
        .collect();
    (!found.is_empty()).then(|| {
        format!(
            "every write of {} fails from here on where the function of a trigger still names ({}): change that of {} before",
            of.name,
            columns.join(", "),
            named(&found)
        )
    })
}

/// The triggers that fire when a plan writes rows: of `columns`, or of no column that they
/// are declared for.
#[must_use]
pub fn fired(database: &Database, of: &Table, columns: &[String], when: &str) -> Option<String> {
    let found: Vec<&Trigger> = triggers(database, of)
        .into_iter()
        .filter(|t| t.update)
        .filter(|t| t.columns.is_empty() || t.columns.iter().any(|c| columns.contains(c)))
        .collect();
    (!found.is_empty()).then(|| {
        format!(
            "{when} the triggers of {} that fire on UPDATE: {}. What they do, such as setting a time of change or writing a history, they do then as well, and it is not taken back: where that must not be, have their functions leave these statements out",
            of.name,
            named(&found)
        )
    })
}

fn named(triggers: &[&Trigger]) -> String {
    let names: Vec<_> = triggers.iter().map(|t| t.name.as_str()).collect();
    names.join(", ")
}

/// The columns and other names in WHEN.
fn condition(trigger: &Trigger) -> Vec<String> {
    let text = &trigger.definition;
    let tokens = token::tokens(text);
    let Some(when) = tokens.iter().rposition(|t| t.is_word(text, "when")) else {
        return Vec::new();
    };
    tokens[when..]
        .iter()
        .take_while(|t| !t.is_word(text, "execute"))
        .filter_map(|t| t.identifier(text))
        .collect()
}

fn doing(trigger: &Trigger, column: &str) -> Use {
    if !trigger.insert && !trigger.update {
        return Use::Nothing;
    }
    if trigger.language == "plpgsql" {
        return Body::of(&trigger.source).uses(column);
    }
    let function = trigger.function.as_str();
    if WRITE_NOTHING.contains(&function) {
        return Use::Nothing;
    }
    if !WRITE_THE_FIRST.contains(&function) {
        return Use::Unknown;
    }
    match trigger.arguments.iter().position(|a| a == column) {
        Some(0) => Use::Writes,
        Some(_) => Use::Reads,
        None => Use::Nothing,
    }
}

/// The body of a function in PL/pgSQL.
struct Body<'t> {
    text: &'t str,
    tokens: Vec<Token>,
}

impl<'t> Body<'t> {
    fn of(text: &'t str) -> Self {
        let mut tokens = token::tokens(text);
        tokens.retain(|t| t.kind != Kind::Comment);
        Self { text, tokens }
    }

    fn word(&self, at: usize, word: &str) -> bool {
        self.tokens
            .get(at)
            .is_some_and(|t| t.is_word(self.text, word))
    }

    fn is(&self, at: usize, punctuation: char) -> bool {
        self.tokens
            .get(at)
            .is_some_and(|t| t.is(self.text, punctuation))
    }

    fn identifier(&self, at: usize) -> Option<String> {
        self.tokens.get(at)?.identifier(self.text)
    }

    fn uses(&self, column: &str) -> Use {
        (0..self.tokens.len())
            .map(|at| self.used_at(at, column))
            .max()
            .unwrap_or(Use::Nothing)
    }

    fn used_at(&self, at: usize, column: &str) -> Use {
        // Statements that are put together as text, procedures that may change what they are
        // given, and other names for NEW.
        if ["execute", "call", "alias"]
            .iter()
            .any(|w| self.word(at, w))
        {
            return Use::Unknown;
        }
        // FOR UPDATE and FOR NO KEY UPDATE write nothing.
        let locks = at > 0 && (self.word(at - 1, "for") || self.word(at - 1, "key"));
        if self.word(at, "merge") || self.word(at, "update") && !locks {
            return self.written_by_statement(at, column);
        }
        if !self.word(at, "new") || at > 0 && self.is(at - 1, '.') {
            return Use::Nothing;
        }
        let whole = !self.is(at + 1, '.');
        if !whole && self.identifier(at + 2).is_none_or(|c| c != column) {
            return Use::Nothing;
        }
        let end = if whole { at + 1 } else { at + 3 };
        match (self.is_assigned(at, end), whole) {
            (true, true) => Use::Unknown,
            (true, false) => Use::Writes,
            (false, true) => Use::Nothing,
            (false, false) => Use::Reads,
        }
    }

    /// An UPDATE or MERGE, of this table or another, up to the statement's end.
    fn written_by_statement(&self, at: usize, column: &str) -> Use {
        let end = (at..self.tokens.len()).find(|n| self.is(*n, ';'));
        let own = |n: usize| {
            let row = n > 1 && self.is(n - 1, '.');
            let row = row && (self.word(n - 2, "new") || self.word(n - 2, "old"));
            !row && self.identifier(n).is_some_and(|i| i == column)
        };
        if (at..end.unwrap_or(self.tokens.len())).any(own) {
            Use::Writes
        } else {
            Use::Nothing
        }
    }

    /// Whether what stands at `at` and ends before `end` gets a value.
    fn is_assigned(&self, at: usize, end: usize) -> bool {
        if self.is(end, ':') && self.is(end + 1, '=') {
            return true;
        }
        let begins = at == 0
            || self.is(at - 1, ';')
            || self.is(at - 1, '>')
            || [
                "begin",
                "then",
                "else",
                "loop",
                "diagnostics",
                "for",
                "foreach",
            ]
            .iter()
            .any(|w| self.word(at - 1, w));
        if begins && (self.is(end, '=') || self.is(end, '[') || self.is(end, '.')) {
            return true;
        }
        self.is_target(at)
    }

    /// Whether it stands in the list of INTO.
    fn is_target(&self, at: usize) -> bool {
        let mut before = at;
        while before > 0 {
            before -= 1;
            if self.word(before, "into") {
                return true;
            }
            let token = &self.tokens[before];
            let within = matches!(token.kind, Kind::Quoted | Kind::Number)
                || token.kind == Kind::Word && !ends_a_list(token.text(self.text))
                || [',', '.', '[', ']'].iter().any(|p| self.is(before, *p));
            if !within {
                return false;
            }
        }
        false
    }
}

/// Words that stand in no list of targets.
fn ends_a_list(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    [
        "select",
        "from",
        "where",
        "using",
        "values",
        "returning",
        "set",
        "return",
        "in",
    ]
    .contains(&&word[..])
}

#[cfg(test)]
mod tests {
    use super::{Body, Use};

    #[test]
    fn a_function_tells_whether_it_writes_a_column() {
        for (body, does) in [
            ("begin new.paid := now(); return new; end", Use::Writes),
            ("begin NEW.\"paid\" = now(); return new; end", Use::Writes),
            (
                "begin if new.id > 3 then new.paid = 1; end if; return new; end",
                Use::Writes,
            ),
            (
                "begin /* x */ new.paid[2] := 1; return new; end",
                Use::Writes,
            ),
            (
                "begin select a, b into strict new.id, new.paid from x; end",
                Use::Writes,
            ),
            ("begin select max(a) into new.paid from x; end", Use::Writes),
            (
                "begin get diagnostics new.paid = row_count; end",
                Use::Writes,
            ),
            (
                "begin update s.t set paid = 3 where id = new.id; return null; end",
                Use::Writes,
            ),
            (
                "begin insert into x as t values (new.id) on conflict (id) do update set paid = 1; end",
                Use::Writes,
            ),
            (
                "begin new := jsonb_populate_record(new, '{}'); return new; end",
                Use::Unknown,
            ),
            (
                "begin select * into new from x; return new; end",
                Use::Unknown,
            ),
            (
                "begin execute format('update %I', tg_table_name); return new; end",
                Use::Unknown,
            ),
            (
                "declare n alias for new; begin n.paid := 1; return n; end",
                Use::Unknown,
            ),
            (
                "begin if new.paid = 3 then raise exception 'no'; end if; return new; end",
                Use::Reads,
            ),
            (
                "begin insert into h select new.id, new.paid; return null; end",
                Use::Reads,
            ),
            (
                "begin insert into h (id) values (new.id) returning at into x; perform f(new.paid); end",
                Use::Reads,
            ),
            (
                "begin update h set n = new.paid where id = 1; end",
                Use::Reads,
            ),
            (
                "begin new.updated := now(); -- new.paid := 1;\n return new; end",
                Use::Nothing,
            ),
            (
                "begin if tg_op = 'UPDATE' then new.id := 'paid'; end if; return new; end",
                Use::Nothing,
            ),
            (
                "begin perform from h where id = new.id for update; insert into h select new.*; return new; end",
                Use::Nothing,
            ),
            ("", Use::Nothing),
        ] {
            assert_eq!(Body::of(body).uses("paid"), does, "{body}");
        }
    }
}
