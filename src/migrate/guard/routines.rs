//! Bodies of functions and procedures, which are only text to PostgreSQL.

use tokio_postgres::Client;

use super::Loss;
use crate::error::Result;
use crate::sql::reference::{self, Reading, Target};

/// A routine whose body is text.
#[derive(Debug)]
pub(super) struct Routine {
    /// As `regprocedure`.
    identity: String,
    oid: u32,
    body: String,
    /// Of its own `SET search_path`.
    path: Option<Vec<String>>,
    /// Tables whose triggers run it.
    fired_by: Vec<u32>,
}

const ROUTINES: &str = r#"
select p.oid::regprocedure::text, p.oid, p.prosrc,
       (select array(select btrim(part, ' "')
                     from regexp_split_to_table(split_part(c, '=', 2), ',') part)
        from unnest(p.proconfig) c where c like 'search_path=%'),
       array(select t.tgrelid from pg_catalog.pg_trigger t where t.tgfoid = p.oid)
from pg_catalog.pg_proc p
join pg_catalog.pg_language l on l.oid = p.prolang
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where l.lanname in ('sql', 'plpgsql') and p.prosrc <> ''
  and n.nspname not in ('pg_catalog', 'information_schema', 'crossfade')
  and not exists (select from pg_catalog.pg_depend d
                  where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
order by 1"#;

pub(super) async fn read(client: &Client) -> Result<Vec<Routine>> {
    let rows = client.query(ROUTINES, &[]).await?;
    Ok(rows
        .iter()
        .map(|row| Routine {
            identity: row.get(0),
            oid: row.get(1),
            body: row.get(2),
            path: row.get(3),
            fired_by: row.get(4),
        })
        .collect())
}

impl Routine {
    pub(super) fn depends(&self, loss: &Loss, visible: &[String]) -> Option<(String, String)> {
        // A routine that goes may call itself.
        if matches!(loss.target, Target::Routine { .. }) && loss.oid == self.oid {
            return None;
        }
        let reading = Reading {
            visible: self.path.as_deref().unwrap_or(visible),
            trigger: self.fired_by.contains(&loss.oid),
        };
        if !reading.trigger && !loss.target.may_stand_in(&self.body) {
            return None;
        }
        let mention = reference::mention(&self.body, &loss.target, reading)?;
        Some((
            format!("routine:{}", self.identity),
            format!(
                "{} (line {} of its body)",
                mention.how.words(),
                mention.place.line
            ),
        ))
    }
}
