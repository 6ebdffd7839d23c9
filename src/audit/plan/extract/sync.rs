//! The new table, kept up by triggers while the old columns are written, and filled from the
//! rows that are there.

use super::super::backfill;
use super::super::keep::is_compared_as_text;
use super::super::name::{ident, list, table};
use super::Split;

impl Split<'_> {
    /// That a dependent is another one on the right; types without an equality of their own are
    /// compared as text.
    pub(super) fn differs(&self, place: usize, left: &str, right: &str) -> String {
        let kind = &self.extraction.dependents[place].type_sql;
        let cast = if is_compared_as_text(kind) {
            "::text"
        } else {
            ""
        };
        format!("{left}{cast} is distinct from {right}{cast}")
    }

    /// The triggers that bring what the old columns are told to the new table: ahead of the row
    /// the one that it refers to, and behind it what was changed in it. A row that changes nothing
    /// there locks nothing there, and one that is not written in the end (ON CONFLICT) tells
    /// nothing. OLD is NULL where a row is new: it tells what it has.
    pub(super) fn keep_up(&self) -> Vec<String> {
        let all = [&self.key[..], &self.values[..]].concat();
        let old = [&self.from[..], &self.moved[..]].concat();
        let told: Vec<_> = old.iter().map(|c| format!("new.{}", ident(c))).collect();
        let mut changed: Vec<_> = self
            .from
            .iter()
            .map(|c| format!("new.{0} is distinct from old.{0}", ident(c)))
            .collect();
        let (mut set, mut differs) = (Vec::new(), Vec::new());
        for (place, (moved, value)) in self.moved.iter().zip(&self.values).enumerate() {
            let (new, own) = (
                format!("new.{}", ident(moved)),
                format!("t.{}", ident(value)),
            );
            let changes = self.differs(place, &new, &format!("old.{}", ident(moved)));
            set.push(format!(
                "{} = case when {changes} then {new} else {own} end",
                ident(value)
            ));
            let other = self.differs(place, &own, &new);
            differs.push(format!("{changes} and {other}"));
            changed.push(changes);
        }
        let on: Vec<_> = self
            .key
            .iter()
            .zip(&self.from)
            .map(|(key, from)| format!("t.{} = new.{}", ident(key), ident(from)))
            .collect();
        let (target, sync) = (table(&self.target), table(&self.sync));
        let mut statements = vec![format!(
            "create function {sync}() returns trigger language plpgsql as $sync$\nbegin\n    \
             if not ({known}) or not ({changed}) then\n        \
             return new;\n    \
             end if;\n    \
             if tg_when = 'BEFORE' then\n        \
             insert into {target} ({all}) values ({told})\n        \
             on conflict ({key}) do nothing;\n    \
             else\n        \
             update {target} t\n        set {set}\n        \
             where {on}\n          and ({differs});\n    \
             end if;\n    return new;\nend\n$sync$",
            known = self.known("new."),
            changed = changed.join(" or "),
            all = list(&all),
            told = told.join(", "),
            key = list(&self.key),
            set = set.join(",\n            "),
            on = on.join(" and "),
            differs = differs.join(" or "),
        )];
        for (trigger, when) in [(&self.ahead, "before"), (&self.behind, "after")] {
            statements.push(format!(
                "create trigger {} {when} insert or update on {}\n    for each row execute function {sync}()",
                ident(trigger),
                self.own()
            ));
        }
        statements
    }

    pub(super) fn let_go(&self) -> Vec<String> {
        let mut statements: Vec<String> = [&self.ahead, &self.behind]
            .iter()
            .map(|trigger| format!("drop trigger {} on {}", ident(trigger), self.own()))
            .collect();
        statements.push(format!("drop function {}()", table(&self.sync)));
        statements
    }

    /// The rows that are there, in short transactions: a writer of a value that one of them has
    /// brought waits for its end.
    pub(super) fn fill(&self) -> String {
        let of = self.extraction.of;
        let all = [&self.key[..], &self.values[..]].concat();
        let key = of.keys().find(|k| k.not_null);
        let (batch, range, order) = match key {
            Some(key) => {
                let (batch, range) = backfill::range(&of.name, &key.columns, "");
                let order = format!(", {}", list(&key.columns));
                (format!("{batch}\n"), format!("\n  and {range}"), order)
            }
            None => Default::default(),
        };
        format!(
            "{batch}insert into {} ({})\nselect distinct on ({from}) {}\nfrom {}\nwhere {}{range}\norder by {from}{order}\non conflict do nothing",
            table(&self.target),
            list(&all),
            list(&[&self.from[..], &self.moved[..]].concat()),
            self.own(),
            self.known(""),
            from = list(&self.from),
        )
    }
}
