//! Which schema a name without one stands for after a script has SET its search path.

use tokio_postgres::Client;

use crate::error::Result;
use crate::sql::Name;
use crate::sql::token::{self, Kind, Token};

/// The search path that the script itself has set so far.
#[derive(Debug, Default)]
pub(super) struct Path {
    /// `None` where it has set none: that of the session.
    schemas: Option<Vec<String>>,
}

impl Path {
    /// Takes notice of a statement that sets or resets it.
    pub(super) fn see(&mut self, text: &str) {
        let tokens: Vec<Token> = token::tokens(text)
            .into_iter()
            .filter(|t| t.kind != Kind::Comment)
            .collect();
        let word = |at: usize, w: &str| tokens.get(at).is_some_and(|t| t.is_word(text, w));
        if word(0, "select") {
            if let Some(set) = configured(&tokens, text) {
                self.schemas = Some(set);
            }
        } else if word(0, "reset") && (word(1, "search_path") || word(1, "all")) {
            self.schemas = None;
        } else if word(0, "set") {
            let scope = usize::from(word(1, "session") || word(1, "local"));
            let rest = match tokens.get(1 + scope) {
                Some(t) if t.is_word(text, "search_path") => tokens.get(3 + scope..),
                Some(t) if t.is_word(text, "schema") => tokens.get(2 + scope..),
                _ => return,
            };
            let rest = rest.unwrap_or_default();
            let default = rest.first().is_some_and(|t| t.is_word(text, "default"));
            self.schemas = (!default).then(|| rest.iter().filter_map(|t| value(t, text)).collect());
        }
    }

    /// The name with the schema in which a relation is found first.
    pub(super) async fn relation(&self, client: &Client, name: &Name) -> Result<Name> {
        let found = "exists (select from pg_catalog.pg_class c where c.relnamespace = n.oid \
                     and c.relname = $2 and c.relkind in ('r', 'p', 'v', 'm', 'f'))";
        self.qualified(client, name, found).await
    }

    /// The same for a routine.
    pub(super) async fn routine(&self, client: &Client, name: &Name) -> Result<Name> {
        let found = "exists (select from pg_catalog.pg_proc p where p.pronamespace = n.oid \
                     and p.proname = $2)";
        self.qualified(client, name, found).await
    }

    async fn qualified(&self, client: &Client, name: &Name, found: &str) -> Result<Name> {
        let (Some(schemas), None) = (&self.schemas, &name.schema) else {
            return Ok(name.clone());
        };
        let row = client
            .query_opt(
                &format!(
                    "select n.nspname::text from unnest($1::text[]) with ordinality as p (schema, place)
                     join pg_catalog.pg_namespace n
                         on n.nspname = case p.schema when '$user' then current_user else p.schema end
                     where {found} order by p.place limit 1"
                ),
                &[schemas, &name.name],
            )
            .await?;
        Ok(Name {
            schema: row.map(|row| row.get(0)),
            name: name.name.clone(),
        })
    }
}

/// `select set_config('search_path', 'a, b', …)`.
fn configured(tokens: &[Token], text: &str) -> Option<Vec<String>> {
    let at = tokens.iter().position(|t| t.is_word(text, "set_config"))?;
    let what = value(tokens.get(at + 2)?, text)?;
    let list = value(tokens.get(at + 4)?, text)?;
    let schemas = list
        .split(',')
        .map(|s| s.trim().trim_matches('"').to_owned());
    (what == "search_path").then(|| schemas.filter(|s| !s.is_empty()).collect())
}

fn value(token: &Token, text: &str) -> Option<String> {
    match token.kind {
        Kind::String => {
            let inner = token.text(text).trim_start_matches(['e', 'E']);
            Some(inner.trim_matches('\'').replace("''", "'"))
        }
        _ => token.identifier(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_the_one_that_was_set_last() {
        let after = |statements: &[&str]| {
            let mut path = Path::default();
            for statement in statements {
                path.see(statement);
            }
            path.schemas.map(|s| s.join("|"))
        };
        assert_eq!(after(&["set lock_timeout = 1", "select 1"]), None);
        for (text, path) in [
            ("set search_path = s", "s"),
            (
                "SET LOCAL search_path TO \"S x\", '$user', Public",
                "S x|$user|public",
            ),
            ("set /* here */ session search_path to 'a, b'", "a, b"),
            ("set schema 'legacy'", "legacy"),
            (
                "select pg_catalog.set_config('search_path', 'a, \"B\"', true)",
                "a|B",
            ),
            ("select set_config('search_path', '', false)", ""),
        ] {
            assert_eq!(after(&[text]).as_deref(), Some(path), "{text}");
        }
        assert_eq!(after(&["set search_path = s", "reset search_path"]), None);
        assert_eq!(
            after(&["set search_path = s", "set search_path to default"]),
            None
        );
    }
}
