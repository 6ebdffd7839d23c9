//! What a child table gets: the SELECTs of its module.

use super::super::name::ident;
use super::{Child, Content, array, document};
use crate::audit::fix::RepeatedColumn;
use crate::pg::ident::literal;

impl Child {
    /// The columns of the SELECT that carry the parent's key and the place.
    fn head(&self, place: &str) -> Vec<String> {
        let mut head: Vec<_> = self
            .key
            .iter()
            .map(|(key, name)| format!("o.{} as {}", ident(&key.name), ident(name)))
            .collect();
        if !place.is_empty() {
            head.push(format!("{place}::integer as {}", ident(&self.place)));
        }
        head
    }

    /// What the module makes of a row of the parent.
    #[must_use]
    pub fn select(&self) -> String {
        match &self.content {
            Content::Json { rest, .. } => {
                let mut parts = self.head("i.line_no");
                for c in &self.columns {
                    parts.push(format!("{} as {}", c.value("i.item"), ident(&c.name)));
                }
                if let Some(rest) = rest {
                    parts.push(format!("{} as {}", self.rest_of("i.item"), ident(rest)));
                }
                format!(
                    "select\n    {}\nfrom source o\ncross join lateral jsonb_array_elements({}) with ordinality as i (item, line_no)\n",
                    parts.join(",\n    "),
                    self.array("o")
                )
            }
            Content::List {
                column, separator, ..
            } => {
                let mut parts = self.head("i.line_no");
                for c in &self.columns {
                    parts.push(format!("i.item::{} as {}", c.type_sql, ident(&c.name)));
                }
                format!(
                    "select\n    {}\nfrom source o\ncross join lateral unnest(string_to_array(o.{}, {})) with ordinality as i (item, line_no)\n",
                    parts.join(",\n    "),
                    ident(column),
                    literal(separator).trim_start()
                )
            }
            Content::Group { members } => self.select_group(members),
            Content::Document { column, path, text } => {
                let document = document("o", column, *text);
                let path = array(path);
                let mut parts = self.head("");
                parts.push(format!(
                    "case when jsonb_typeof({document} #> {path}) = 'array' then jsonb_set({document}, {path}, '[]') else {document} end as {}",
                    ident(&self.columns[0].name)
                ));
                format!(
                    "select\n    {}\nfrom source o\nwhere o.{} is not null\n",
                    parts.join(",\n    "),
                    ident(column)
                )
            }
        }
    }

    fn select_group(&self, members: &[RepeatedColumn]) -> String {
        let mut parts = self.head("i.place");
        parts.extend(members.iter().map(|m| format!("i.{}", ident(&m.name))));
        let names: Vec<_> = members.iter().map(|m| ident(&m.name)).collect();
        let rows: Vec<_> = places(members)
            .iter()
            .map(|&place| {
                let values: Vec<_> = members
                    .iter()
                    .map(|m| match at(m, place) {
                        Some(column) => format!("o.{}", ident(column)),
                        None => format!("null::{}", m.type_sql),
                    })
                    .collect();
                format!("({place}, {})", values.join(", "))
            })
            .collect();
        let any: Vec<_> = names.iter().map(|n| format!("i.{n} is not null")).collect();
        format!(
            "select\n    {}\nfrom source o\ncross join lateral (\n    values {}\n) as i (place, {})\nwhere {}\n",
            parts.join(",\n    "),
            rows.join(",\n           "),
            names.join(", "),
            any.join(" or ")
        )
    }

    /// The array that is taken apart, out of the parent's row `row`; NULL where there is
    /// none.
    #[must_use]
    pub fn array(&self, row: &str) -> String {
        match &self.content {
            Content::Json {
                column, text, path, ..
            } if path.is_empty() => document(row, column, *text),
            Content::Json {
                column, text, path, ..
            } => {
                let place = format!("{} #> {}", document(row, column, *text), array(path));
                format!("case when jsonb_typeof({place}) = 'array' then {place} end")
            }
            _ => "null".to_owned(),
        }
    }

    /// What of an element no column says.
    fn rest_of(&self, item: &str) -> String {
        let fields: Vec<_> = self
            .columns
            .iter()
            .map(|c| literal(&c.field).trim_start().to_owned())
            .collect();
        let mut unsaid = vec![
            format!("f.key not in ({})", fields.join(", ")),
            "f.value = 'null'".to_owned(),
        ];
        for column in self.columns.iter().filter(|c| c.odd) {
            unsaid.push(format!(
                "(f.key = {} and to_jsonb({}) is distinct from f.value)",
                literal(&column.field).trim_start(),
                column.value(item)
            ));
        }
        format!(
            "(\n        select jsonb_object_agg(f.key, f.value)\n        from jsonb_each({item}) f\n        where {}\n    )",
            unsaid.join("\n           or ")
        )
    }
}

/// Every place that some member has, in order.
fn places(members: &[RepeatedColumn]) -> Vec<u32> {
    let mut places: Vec<u32> = members
        .iter()
        .flat_map(|m| m.columns.iter().map(|(place, _)| *place))
        .collect();
    places.sort_unstable();
    places.dedup();
    places
}

fn at(member: &RepeatedColumn, place: u32) -> Option<&str> {
    member
        .columns
        .iter()
        .find(|(p, _)| *p == place)
        .map(|(_, column)| column.as_str())
}
