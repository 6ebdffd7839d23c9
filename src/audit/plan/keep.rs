//! Values that go and that nothing else tells, set aside by the key of their rows for the way
//! down. Each is kept with what the row says of it then: it comes back only where the row says
//! the same still, since what the application wrote afterwards is newer.

use super::super::schema::{Key, Table};
use super::backfill::range;
use super::belongings::collation;
use super::name::{Names, ident, kept, list, table};
use crate::pg::QualifiedName;

/// What is kept of a table, in which its row is `t`.
pub struct Keep<'a> {
    of: &'a Table,
    key: Option<&'a Key>,
    name: QualifiedName,
    /// The columns whose values are kept.
    values: Vec<String>,
    witnesses: Vec<Witness>,
    /// Joined to the rows when they are kept; nothing, or ` left join …`.
    join: String,
}

/// What a value was told by when it was kept.
#[derive(Debug, Clone)]
pub struct Witness {
    /// Its column among the kept ones.
    pub name: String,
    /// With its collation.
    pub type_sql: String,
    /// As SQL, of `t` and what is joined.
    pub now: String,
    /// These types are compared as text.
    pub as_text: bool,
}

impl Witness {
    fn is_the_same(&self) -> String {
        let cast = if self.as_text { "::text" } else { "" };
        let name = ident(&self.name);
        format!("{}{cast} is not distinct from k.{name}{cast}", self.now)
    }
}

/// A type without an equality of its own.
#[must_use]
pub fn is_compared_as_text(type_sql: &str) -> bool {
    matches!(type_sql, "json" | "xml" | "point")
}

/// A name that no column of the table has.
#[must_use]
pub fn free(of: &Table, wish: &str) -> String {
    let mut name = wish.to_owned();
    while of.column(&name).is_some() {
        name.push('_');
    }
    name
}

impl<'a> Keep<'a> {
    #[must_use]
    pub fn of(
        of: &'a Table,
        what: &str,
        values: Vec<String>,
        witnesses: Vec<Witness>,
        names: &mut Names,
    ) -> Self {
        let key = of.keys().find(|k| k.not_null);
        // The key says them already.
        let in_key = |w: &Witness| key.is_some_and(|k| k.columns.contains(&w.name));
        Self {
            of,
            key,
            name: names.relation(&QualifiedName::new(
                of.name.schema.clone(),
                format!("{}_{what}_kept", of.name.name),
            )),
            values,
            witnesses: witnesses.into_iter().filter(|w| !in_key(w)).collect(),
            join: String::new(),
        }
    }

    #[must_use]
    pub fn joined(mut self, join: String) -> Self {
        self.join = join;
        self
    }

    fn own(&self) -> String {
        table(&self.of.name)
    }

    fn typed(&self, column: &str) -> String {
        let kind = self.of.column(column);
        let kind = kind.map_or("text", |c| c.data_type.sql.as_str());
        format!("{kind}{}", collation(self.of, column))
    }

    /// The table for them; none where there is no key to keep them by.
    #[must_use]
    pub fn create(&self) -> Vec<String> {
        let Some(key) = self.key else {
            return Vec::new();
        };
        let own = key.columns.iter().chain(&self.values);
        let mut lines: Vec<String> = own
            .map(|c| format!("{} {}", ident(c), self.typed(c)))
            .collect();
        let told = self.witnesses.iter();
        lines.extend(told.map(|w| format!("{} {}", ident(&w.name), w.type_sql)));
        lines.push(format!("primary key ({})", list(&key.columns)));
        vec![
            format!(
                "create table {} (\n    {}\n)",
                table(&self.name),
                lines.join(",\n    ")
            ),
            kept(&self.name),
        ]
    }

    /// Sets aside what `differs` from what tells it; a value that is kept already is what the row
    /// has now. Without a key nothing can be kept, so nothing may be lost: it fails then.
    #[must_use]
    pub fn collect(&self, differs: &str) -> String {
        let (own, join) = (self.own(), &self.join);
        let Some(key) = self.key else {
            return format!(
                "do $check$\nbegin\n    if exists (select from {own} t{join} where {differs}) then\n        \
                 raise exception 'some values of ({}) would be lost: nothing else tells them, and the table has no key to keep them by';\n    \
                 end if;\nend\n$check$",
                list(&self.values).replace('\'', "''").replace('%', "%%")
            );
        };
        let own_columns: Vec<&String> = key.columns.iter().chain(&self.values).collect();
        let told = self.witnesses.iter();
        let columns: Vec<&String> = own_columns
            .iter()
            .copied()
            .chain(told.clone().map(|w| &w.name))
            .collect();
        let mut now: Vec<String> = own_columns
            .iter()
            .map(|c| format!("t.{}", ident(c)))
            .collect();
        now.extend(told.map(|w| w.now.clone()));
        let set: Vec<String> = columns[key.columns.len()..]
            .iter()
            .map(|c| format!("{0} = excluded.{0}", ident(c)))
            .collect();
        format!(
            "insert into {} ({})\nselect {}\nfrom {own} t{join}\nwhere {differs}\non conflict ({}) do update set {}",
            table(&self.name),
            list(&columns),
            now.join(", "),
            list(&key.columns),
            set.join(", ")
        )
    }

    /// Puts back what was kept, where the row says the same as then. `join` reaches what tells
    /// the values from `k`, and `untouched` is what a row has that only the plan wrote since.
    #[must_use]
    pub fn restore(&self, join: &str, untouched: &str) -> Option<String> {
        let key = self.key?;
        let set: Vec<String> = self
            .values
            .iter()
            .map(|c| format!("{0} = k.{0}", ident(c)))
            .collect();
        let on: Vec<String> = key
            .columns
            .iter()
            .map(|c| format!("t.{0} = k.{0}", ident(c)))
            .collect();
        let mut where_ = vec![on.join(" and ")];
        where_.extend(self.witnesses.iter().map(Witness::is_the_same));
        where_.push(untouched.to_owned());
        let (batch, range) = range(&self.of.name, &key.columns, "t.");
        Some(format!(
            "{batch}\nupdate {} t set {}\nfrom {} k{join}\nwhere {}\n  and {range}",
            self.own(),
            set.join(", "),
            table(&self.name),
            where_.join("\n  and ")
        ))
    }

    #[must_use]
    pub fn drop(&self) -> Option<String> {
        self.key
            .map(|_| format!("drop table {}", table(&self.name)))
    }

    /// Where they are, for the plan's reader.
    #[must_use]
    pub fn place(&self) -> Option<&QualifiedName> {
        self.key.map(|_| &self.name)
    }
}
