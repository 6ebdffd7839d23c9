//! What must hold before a view takes the old table's place, and what is good to know.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::{constraints, numbers};
use crate::cutover::gates::{Check, Verdict, check};
use crate::error::Result;
use crate::pg::quote;
use crate::transform::Plan;
use crate::transform::plan::Target;

/// # Errors
/// Connection errors.
pub async fn run(client: &Client, plan: &Plan) -> Result<Vec<Check>> {
    let mut checks = table(client, plan).await?;
    checks.push(owner(client, plan).await?);
    checks.push(expressions(client, plan).await?);
    checks.push(unique(client, plan).await?);
    checks.extend(locking(client, plan).await?);
    checks.extend(sequences(client, plan).await?);
    checks.extend(generated(plan));
    Ok(checks)
}

async fn table(client: &Client, plan: &Plan) -> Result<Vec<Check>> {
    let source = &plan.module.source;
    let free = plan
        .targets
        .iter()
        .all(|t| t.rename_to.as_ref() != Some(source));
    let secured: bool = client
        .query_one(
            "select relrowsecurity from pg_class where oid = $1",
            &[&plan.source.oid],
        )
        .await?
        .get(0);
    Ok(vec![
        check(
            "rebuilt",
            plan.reverse.is_some(),
            format!(
                "module {} {}",
                plan.module.name,
                if plan.reverse.is_some() {
                    "rebuilds the old rows"
                } else {
                    "has no [reverse]"
                }
            ),
            "add [reverse] to transform.toml: a view of the old rows has to rebuild them",
        ),
        check(
            "view_name",
            free,
            format!(
                "{source} {}",
                if free {
                    "is the view's"
                } else {
                    "is taken by a `rename_to`"
                }
            ),
            "leave out that `rename_to`, or use strategy = \"rename\"",
        ),
        check(
            "view_security",
            !secured,
            if secured {
                format!("{source} has row security, which a view cannot have")
            } else {
                "no row security to carry over".to_owned()
            },
            "use strategy = \"rename\" with policies on the new tables",
        ),
    ])
}

/// The view reads with the rights of its owner, who is the old table's. UPDATE is for
/// the switch back: it locks the view before it drops it, and a lock on a view is one
/// on its tables, asked for in the owner's name.
///
/// # Errors
/// Connection errors.
pub async fn owner(client: &Client, plan: &Plan) -> Result<Check> {
    let targets: Vec<u32> = plan.targets.iter().map(|t| t.table.oid).collect();
    let lacking = client
        .query(
            "select pg_get_userbyid(s.relowner)::text, t.oid::regclass::text from pg_class s, pg_class t
             where s.oid = $1 and t.oid = any($2)
               and not (has_table_privilege(s.relowner, t.oid, 'SELECT')
                        and has_table_privilege(s.relowner, t.oid, 'UPDATE')) order by 2",
            &[&plan.source.oid, &targets],
        )
        .await?;
    let mut grants: Vec<String> = lacking
        .iter()
        .map(|r| {
            let (owner, table): (String, String) = (r.get(0), r.get(1));
            format!("GRANT SELECT, UPDATE ON {table} TO {}", quote(&owner))
        })
        .collect();
    grants.extend(schema_of_owner(client, plan).await?);
    Ok(check(
        "view_owner",
        grants.is_empty(),
        if grants.is_empty() {
            "the view's owner may own it, and read and lock the new tables"
        } else {
            "the view's owner may not own it, or not read and lock the new tables"
        },
        grants.join("; "),
    ))
}

/// Who is made the owner of something needs CREATE on its schema, which he may have lost
/// since he made the table.
async fn schema_of_owner(client: &Client, plan: &Plan) -> Result<Option<String>> {
    let row = client
        .query_opt(
            "select pg_get_userbyid(c.relowner)::text from pg_class c
             where c.oid = $1 and not has_schema_privilege(c.relowner, $2::text, 'CREATE')
               and not (select rolsuper from pg_roles where rolname = current_user)",
            &[&plan.source.oid, &plan.module.source.schema],
        )
        .await?;
    Ok(row.map(|row| {
        format!(
            "GRANT CREATE ON SCHEMA {} TO {}",
            quote(&plan.module.source.schema),
            quote(row.get(0))
        )
    }))
}

/// The trigger evaluates the old table's expressions outside the table.
async fn expressions(client: &Client, plan: &Plan) -> Result<Check> {
    let constraints = constraints::read(client, plan).await?;
    let mut found = Vec::new();
    for (name, expression) in &constraints.checks {
        let trial = constraints.trial(plan, expression);
        let Err(e) = client.prepare(&trial).await else {
            continue;
        };
        if e.as_db_error().is_none() {
            return Err(e.into());
        }
        found.push(quote(name));
    }
    Ok(check(
        "view_checks",
        found.is_empty(),
        if found.is_empty() {
            "the view's trigger can check what the old table checks".to_owned()
        } else {
            format!(
                "{} of {} can be evaluated in the table only: the view would refuse every row",
                found.join(", "),
                plan.source.name
            )
        },
        "write the constraint over columns instead of the whole row, or drop it",
    ))
}

/// `select … for update` of the view is one of what the reverse reads, which not every
/// SELECT allows.
async fn locking(client: &Client, plan: &Plan) -> Result<Option<Check>> {
    let Some(reverse) = &plan.reverse else {
        return Ok(None);
    };
    // Planned and not run: the planner has a say in it.
    let trial = format!("explain select from {} b for update", reverse.inline());
    let refused = match client.simple_query(&trial).await {
        Ok(_) => false,
        Err(e) => match e.code() {
            Some(&SqlState::FEATURE_NOT_SUPPORTED) => true,
            // Rights and the like are other checks' matter.
            Some(_) => false,
            None => return Err(e.into()),
        },
    };
    Ok(Some(check(
        "view_locking",
        !refused,
        if refused {
            format!(
                "select … for update of {} will fail: the reverse of module {} has an outer join, GROUP BY or the like",
                plan.module.source, plan.module.name
            )
        } else {
            "rows of the view can be locked".to_owned()
        },
        "gather what belongs to a row in a scalar subquery of [reverse], and begin anew with that module",
    )))
}

/// Unique indexes of the old table that no target has: by the names of their columns, the
/// key's under the targets' own, or word for word.
async fn unique(client: &Client, plan: &Plan) -> Result<Check> {
    let targets: Vec<u32> = plan.targets.iter().map(|t| t.table.oid).collect();
    // An index that asks for fewer columns keeps more rows out.
    let rows = client
        .query(
            "with held as (
                 select i.indrelid, i.indpred is null and i.indexprs is null and not i.indisexclusion as plain,
                        x.relname::text as name,
                        regexp_replace(pg_get_indexdef(i.indexrelid), '^.* ON .*? USING ', '') as definition,
                        array(select a.attname::text
                              from unnest(i.indkey::int2[]) with ordinality k (attnum, ord)
                              join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
                              where k.ord <= i.indnkeyatts) as columns
                 from pg_index i join pg_class x on x.oid = i.indexrelid
                 where (i.indisunique or i.indisexclusion) and i.indisvalid)
             select s.name, s.plain, s.columns,
                    exists (select from held t where t.indrelid = any($2) and t.definition = s.definition)
             from held s where s.indrelid = $1 order by s.name",
            &[&plan.source.oid, &targets],
        )
        .await?;
    let mut lost = Vec::new();
    for row in &rows {
        let (name, plain, columns): (String, bool, Vec<String>) =
            (row.get(0), row.get(1), row.get(2));
        let filled = |c: &String| plan.row_targets().any(|(_, t)| t.columns.contains(c));
        let word_for_word: bool = row.get(3);
        let kept = word_for_word && columns.iter().all(filled)
            || plain && plan.targets.iter().any(|t| is_unique(plan, t, &columns));
        if !kept {
            lost.push(quote(&name));
        }
    }
    Ok(check(
        "view_unique",
        lost.is_empty(),
        if lost.is_empty() {
            "what is unique in the old table is unique in the new ones".to_owned()
        } else {
            format!(
                "{} of {} has no counterpart in the new tables: the view takes what the old table would refuse",
                lost.join(", "),
                plan.source.name
            )
        },
        "CREATE UNIQUE INDEX CONCURRENTLY on the new table",
    ))
}

/// Whether a target has a unique index on the counterparts of these columns, or on some
/// of them.
fn is_unique(plan: &Plan, target: &Target, columns: &[String]) -> bool {
    let counterparts: Vec<&str> = columns
        .iter()
        .map(|c| {
            let part = plan.key_columns().position(|k| k.name == *c);
            let carried = part.and_then(|part| target.key.get(part));
            carried.map_or(c.as_str(), String::as_str)
        })
        .collect();
    !target.is_lookup()
        && target.table.unique.iter().any(|index| {
            index
                .columns
                .iter()
                .all(|c| target.columns.contains(c) && counterparts.contains(&c.as_str()))
        })
}

/// Old clients that call a sequence by its name, or ask what was drawn last.
async fn sequences(client: &Client, plan: &Plan) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for parted in numbers::parted(client, plan).await? {
        let mut part = check(
            "sequences",
            false,
            format!(
                "{}: a client that calls nextval or currval on the old sequence itself gets numbers that the new one hands out too, or another row's",
                parted.found
            ),
            parted.remedy,
        );
        if !parted.known {
            part.verdict = Verdict::Note;
        }
        checks.push(part);
    }
    let own = numbers::own(client, plan).await?;
    if !own.is_empty() {
        let mut note = check(
            "sequences",
            true,
            format!(
                "{} is numbered while the view is written: lastval() gives such a number afterwards",
                own.join(", ")
            ),
            "let old clients use RETURNING, or currval of the key's own sequence",
        );
        note.verdict = Verdict::Note;
        checks.push(note);
    }
    Ok(checks)
}

/// COPY leaves generated columns of a table out by itself, and knows none in a view.
fn generated(plan: &Plan) -> Option<Check> {
    let columns: Vec<_> = plan
        .source
        .columns
        .iter()
        .filter(|c| c.generated)
        .map(|c| c.quoted())
        .collect();
    if columns.is_empty() {
        return None;
    }
    let mut note = check(
        "view_columns",
        true,
        format!(
            "COPY {} FROM without a list of columns will want a value for {}, too",
            plan.module.source,
            columns.join(", ")
        ),
        "name the columns in COPY",
    );
    note.verdict = Verdict::Note;
    Some(note)
}
