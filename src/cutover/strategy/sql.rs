//! Strategy `sql`: the module's own file decides.

use tokio_postgres::Client;

use super::Direction;
use crate::error::{Context, Error, Kind, Result};
use crate::pg::QualifiedName;
use crate::state::guard;
use crate::transform::Plan;

/// Runs the file, then guards the old table wherever it has gone; back, frees it first.
/// What the file has set in the session ends with it.
///
/// # Errors
/// The server's; [`Kind::Module`] without a file, or where the tables do not have the names
/// that the module gives them when the file has run.
pub async fn apply(client: &Client, plan: &Plan, direction: Direction) -> Result<()> {
    let (file, key) = match direction {
        Direction::Forward => (&plan.module.switch_sql, "switch"),
        Direction::Back => (&plan.module.switch_back_sql, "switch_back"),
    };
    let sql = file.as_deref().ok_or_else(|| {
        Error::new(
            Kind::Module,
            format!("module {} has no `{key}` file", plan.module.name),
        )
    })?;
    if direction == Direction::Back {
        guard::remove_source(client, &plan.source.name).await?;
    }
    let before = settings(client).await?;
    client
        .batch_execute(sql)
        .await
        .context(format!("the file of `{key}`"))?;
    give_back(client, &before).await?;
    let placed = Placed::read(client, plan).await?;
    placed.check(plan, direction, key)?;
    match (direction, &placed.source) {
        // The file may have dropped the table.
        (Direction::Back, _) | (_, None) => Ok(()),
        (Direction::Forward, Some(name)) => {
            guard::source(client, name, &placed.instead(plan)).await
        }
    }
}

/// A setting of the session: name and value.
type Setting = (String, String);

async fn settings(client: &Client) -> Result<Vec<Setting>> {
    let rows = client
        .query(
            "select name, setting from pg_catalog.pg_settings
             where context in ('user', 'superuser')",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|r| (r.get(0), r.get(1))).collect())
}

/// The session as it was before: a role, a search path or a timeout of the file's would be
/// that of everything which the switch still has to do. What cannot be asked for in the list
/// is said by name.
async fn give_back(client: &Client, before: &[Setting]) -> Result<()> {
    client
        .batch_execute(
            "reset session authorization; reset role; set constraints all immediate;
             select pg_catalog.set_config('crossfade.session', 'on', false)",
        )
        .await
        .context("after the file: giving the role back")?;
    for (name, now) in settings(client).await? {
        let Some((_, was)) = before.iter().find(|(n, v)| *n == name && *v != now) else {
            continue;
        };
        client
            .execute("select pg_catalog.set_config($1, $2, true)", &[&name, was])
            .await
            .context(format!("after the file: giving {name} back"))?;
    }
    Ok(())
}

/// Where the tables are when the file has run: they are known by their OIDs.
struct Placed {
    source: Option<QualifiedName>,
    targets: Vec<Option<QualifiedName>>,
}

impl Placed {
    async fn read(client: &Client, plan: &Plan) -> Result<Self> {
        let source = place(client, plan.source.oid).await?;
        let mut targets = Vec::new();
        for target in &plan.targets {
            targets.push(place(client, target.table.oid).await?);
        }
        Ok(Self { source, targets })
    }

    /// The new tables have to be there, under the names of `rename_to` where there are such;
    /// back, every table has the name that it began with, which is where the next switch
    /// and everything in between look for it.
    fn check(&self, plan: &Plan, direction: Direction, key: &str) -> Result<()> {
        let mut wrong = Vec::new();
        let mut expect =
            |was: &QualifiedName, now: &Option<QualifiedName>, wanted: Option<&QualifiedName>| {
                match (now, wanted) {
                    (None, _) => wrong.push(format!("{was} is gone")),
                    (Some(now), Some(wanted)) if now != wanted => {
                        wrong.push(format!("{now} is not called {wanted}"));
                    }
                    _ => {}
                }
            };
        if direction == Direction::Back {
            expect(&plan.source.name, &self.source, Some(&plan.module.source));
        }
        for ((spec, target), now) in plan
            .module
            .targets
            .iter()
            .zip(&plan.targets)
            .zip(&self.targets)
        {
            let wanted = match direction {
                Direction::Forward => target.rename_to.as_ref(),
                Direction::Back => Some(&spec.table),
            };
            expect(&target.table.name, now, wanted);
        }
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Error::new(
            Kind::Module,
            format!(
                "not switched, nothing has changed: after the file of `{key}` of module {} {}",
                plan.module.name,
                wrong.join(", ")
            ),
        )
        .remedy(match direction {
            Direction::Forward => {
                "let the file keep every target, under the name of its `rename_to` if it has one"
            }
            Direction::Back => {
                "let the file give every table the name that transform.toml has for it"
            }
        }))
    }

    /// The row targets' names by now, for the guard's message.
    fn instead(&self, plan: &Plan) -> String {
        let names: Vec<_> = plan
            .row_targets()
            .filter_map(|(i, _)| self.targets[i].as_ref().map(ToString::to_string))
            .collect();
        names.join(", ")
    }
}

async fn place(client: &Client, oid: u32) -> Result<Option<QualifiedName>> {
    let row = client
        .query_opt(
            "select n.nspname::text, c.relname::text from pg_catalog.pg_class c
             join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.oid = $1",
            &[&oid],
        )
        .await?;
    Ok(row.map(|r| QualifiedName::new(r.get::<_, String>(0), r.get::<_, String>(1))))
}
