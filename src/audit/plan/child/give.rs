//! What a child table gives back: the parent's columns as they were.

use super::super::name::{ident, table};
use super::{Child, Content, array};
use crate::pg::ident::literal;

impl Child {
    /// The rows of `alias` that belong to the parent's row `o`.
    fn mine(&self, alias: &str) -> String {
        let mine: Vec<_> = self
            .key
            .iter()
            .map(|(key, name)| format!("{alias}.{} = o.{}", ident(name), ident(&key.name)))
            .collect();
        mine.join(" and ")
    }

    /// Expressions for the moved columns, out of the child's rows of parent `o`.
    #[must_use]
    pub fn rebuilt(&self) -> Vec<String> {
        let mine = self.mine("c");
        let (own, place) = (table(&self.name), ident(&self.place));
        match &self.content {
            Content::Json {
                column,
                rest,
                empty,
                path,
                document,
                ..
            } => {
                let lines = format!(
                    "coalesce(\n        (\n            select jsonb_agg(\n                {}\n                order by c.{place}\n            )\n            from {own} c\n            where {mine}\n        ),\n        {empty}\n    )",
                    self.element(rest.as_deref()),
                );
                let value = match document {
                    None => lines,
                    // The rest of the document has an empty array where the lines go.
                    Some(document) => {
                        let (path, own) = (array(path), format!("d.{}", ident(column)));
                        format!(
                            "(\n        select case when jsonb_typeof({own} #> {path}) = 'array' then jsonb_set({own}, {path}, {lines}) else {own} end\n        from {} d\n        where {}\n    )",
                            table(document),
                            self.mine("d")
                        )
                    }
                };
                vec![format!("{value} as {}", ident(column))]
            }
            // The lines put it together.
            Content::Document { .. } => Vec::new(),
            Content::List {
                column,
                separator,
                empty,
            } => vec![format!(
                "coalesce(\n        (select string_agg(c.{}::text, {} order by c.{place}) from {own} c where {mine}),\n        {empty}\n    ) as {}",
                ident(&self.columns[0].name),
                literal(separator).trim_start(),
                ident(column)
            )],
            Content::Group { members } => members
                .iter()
                .flat_map(|m| {
                    m.columns
                        .iter()
                        .map(move |(place_no, column)| (m, place_no, column))
                })
                .map(|(m, place_no, column)| {
                    format!(
                        "(select c.{} from {own} c where {mine} and c.{place} = {place_no}) as {}",
                        ident(&m.name),
                        ident(column)
                    )
                })
                .collect(),
        }
    }

    /// A JSON element out of the row `c`.
    fn element(&self, rest: Option<&str>) -> String {
        if let [only] = &self.columns[..]
            && only.field.is_empty()
        {
            return format!("coalesce(to_jsonb(c.{}), 'null')", ident(&only.name));
        }
        let (always, sometimes): (Vec<_>, Vec<_>) =
            self.columns.iter().partition(|c| c.not_null && !c.odd);
        let mut parts = Vec::new();
        if let Some(rest) = rest {
            parts.push(format!("coalesce(c.{}, '{{}}')", ident(rest)));
        }
        if !always.is_empty() || rest.is_none() {
            let pairs: Vec<_> = always
                .iter()
                .map(|c| format!("{}, c.{}", literal(&c.field).trim_start(), ident(&c.name)))
                .collect();
            parts.push(format!("jsonb_build_object({})", pairs.join(", ")));
        }
        for column in sometimes {
            let (name, field) = (ident(&column.name), literal(&column.field));
            let field = field.trim_start();
            let mut arms = String::new();
            if let (true, Some(rest)) = (column.odd, rest.map(ident)) {
                arms = format!(
                    "when (c.{rest} ->> {field})::{} = c.{name} then '{{}}' ",
                    column.type_sql
                );
            }
            parts.push(format!(
                "case {arms}when c.{name} is null then '{{}}' else jsonb_build_object({field}, c.{name}) end"
            ));
        }
        parts.join("\n                || ")
    }
}
