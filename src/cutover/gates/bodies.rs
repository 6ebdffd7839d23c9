//! Functions whose bodies are text: the server knows of nothing that they refer to.

use tokio_postgres::Client;

use crate::error::Result;
use crate::sql::reference::{Reading, Target, mention};
use crate::transform::Plan;

/// Those whose text has the name in it at all, be it in quotes.
const ROUTINES: &str = r#"
select p.oid::regprocedure::text, p.prosrc,
       (select array(select btrim(part, ' "')
                     from regexp_split_to_table(split_part(c, '=', 2), ',') part)
        from unnest(p.proconfig) c where c like 'search_path=%')
from pg_catalog.pg_proc p
join pg_catalog.pg_language l on l.oid = p.prolang
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where l.lanname in ('sql', 'plpgsql')
  and (strpos(lower(p.prosrc), lower($1)) > 0
       or strpos(lower(p.prosrc), replace(lower($1), '"', '""')) > 0)
  and n.nspname not in ('pg_catalog', 'information_schema', 'crossfade')
  and not exists (select from pg_catalog.pg_depend d
                  where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
order by 1"#;

/// The functions and procedures whose bodies name the old table. One that has no search
/// path of its own is taken to find the table without its schema.
pub(super) async fn naming(client: &Client, plan: &Plan) -> Result<Vec<String>> {
    let source = &plan.source.name;
    let target = Target::Table {
        schema: source.schema.clone(),
        name: source.name.clone(),
    };
    let assumed = [source.schema.clone()];
    let rows = client.query(ROUTINES, &[&source.name]).await?;
    let names = rows.iter().filter_map(|row| {
        let path: Option<Vec<String>> = row.get(2);
        let reading = Reading {
            visible: path.as_deref().unwrap_or(&assumed),
            trigger: false,
        };
        mention(row.get(1), &target, reading)?;
        Some(row.get::<_, String>(0))
    });
    Ok(names.collect())
}
