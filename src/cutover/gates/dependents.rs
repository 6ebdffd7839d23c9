//! What hangs on the old table and does not come along: objects that refer to it by
//! its OID stay with it under its new name, and what it has of its own (rights,
//! policies, triggers, …) the new tables have only if somebody gave it to them.

use tokio_postgres::{Client, Row};

use super::{Check, Verdict, check as gate};
use crate::config::Config;
use crate::error::Result;
use crate::pg::catalog::TableKind;
use crate::state::guard;
use crate::transform::Plan;

pub(super) async fn check(client: &Client, config: &Config, plan: &Plan) -> Result<Vec<Check>> {
    let targets: Vec<u32> = plan.row_targets().map(|(_, t)| t.table.oid).collect();
    let own = config.slot();
    let guard = guard::TRIGGER;
    let source = &plan.source.oid;
    let mut checks = vec![
        grants(client, plan, &targets).await?,
        inheritance(client, plan).await?,
    ];
    for aspect in [
        Aspect {
            name: "references",
            none: "nothing refers to",
            remedy: "point these at the new tables, or drop them: they would stay with the old table",
            names: client.query(REFERENCES, &[source]).await?,
        },
        Aspect {
            name: "rules",
            none: "no rules on",
            remedy: "make rules of this kind on the new tables, or drop them",
            names: client.query(RULES, &[source]).await?,
        },
        Aspect {
            name: "row_security",
            none: "no row security that the new tables lack on",
            remedy: "ENABLE ROW LEVEL SECURITY and create policies on the new tables",
            names: client.query(ROW_SECURITY, &[source, &targets]).await?,
        },
        Aspect {
            name: "triggers",
            none: "no triggers that the new tables lack on",
            remedy: "create triggers on the new tables that do this work, or drop these",
            names: client.query(TRIGGERS, &[source, &targets, &guard]).await?,
        },
        Aspect {
            name: "publications",
            none: "nobody else publishes",
            remedy: "ALTER PUBLICATION … ADD TABLE the new tables, and tell who subscribes",
            names: client
                .query(PUBLICATIONS, &[source, &targets, &own])
                .await?,
        },
    ] {
        checks.push(aspect.judge(plan));
    }
    for (name, sql) in [
        ("comments", COMMENTS),
        ("default_privileges", DEFAULT_PRIVILEGES),
    ] {
        let found = client.query_opt(sql, &[source, &targets]).await?;
        if let Some(found) = found {
            let mut note = gate(name, true, found.get::<_, String>(0), "");
            note.verdict = Verdict::Note;
            checks.push(note);
        }
    }
    Ok(checks)
}

/// Objects of one kind, each by its name.
struct Aspect {
    name: &'static str,
    /// What to say when there are none, before the source's name.
    none: &'static str,
    remedy: &'static str,
    names: Vec<Row>,
}

impl Aspect {
    fn judge(&self, plan: &Plan) -> Check {
        let names: Vec<&str> = self.names.iter().map(|r| r.get(0)).collect();
        let found = if names.is_empty() {
            format!("{} {}", self.none, plan.source.name)
        } else {
            names.join(", ")
        };
        gate(self.name, names.is_empty(), found, self.remedy)
    }
}

/// Views, materialized views, rules of other tables, foreign keys, functions with a
/// parsed body, policies of other tables.
const REFERENCES: &str = "
select format('%s %s', case c.relkind when 'v' then 'view' when 'm' then 'materialized view'
                       else format('rule %I on', r.rulename) end, r.ev_class::regclass)
from pg_depend d
join pg_rewrite r on r.oid = d.objid
join pg_class c on c.oid = r.ev_class
where d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass
  and d.refobjid = $1 and r.ev_class <> $1 and c.relpersistence <> 't'
union
select format('foreign key %I of %s', conname, conrelid::regclass) from pg_constraint
where contype = 'f' and confrelid = $1 and conrelid <> $1 and conparentid = 0
union
select pg_describe_object(d.classid, d.objid, 0) from pg_depend d
where d.refclassid = 'pg_class'::regclass and d.refobjid = $1 and d.deptype = 'n'
  and (d.classid = 'pg_proc'::regclass
       or d.classid = 'pg_policy'::regclass
          and not exists (select from pg_policy p where p.oid = d.objid and p.polrelid = $1))
order by 1";

const RULES: &str = "
select format('rule %I', rulename) from pg_rewrite
where ev_class = $1 and rulename <> '_RETURN' order by 1";

const ROW_SECURITY: &str = "
select format('row security of %s is not that of %s', s.oid::regclass, t.oid::regclass)
from pg_class s, pg_class t
where s.oid = $1 and t.oid = any($2)
  and (s.relrowsecurity and not t.relrowsecurity
       or s.relforcerowsecurity and not t.relforcerowsecurity
       or exists (select from pg_policy where polrelid = s.oid)
          and not exists (select from pg_policy where polrelid = t.oid))
order by 1";

/// By the function that they call: one that a new table calls too is taken care of.
const TRIGGERS: &str = "
select format('trigger %I', tgname) from pg_trigger t
where tgrelid = $1 and not tgisinternal and tgenabled <> 'D' and tgname <> $3
  and not exists (select from pg_trigger o
                  where o.tgrelid = any($2) and o.tgfoid = t.tgfoid and o.tgenabled <> 'D')
order by 1";

const PUBLICATIONS: &str = "
select format('publication %I', p.pubname)
from pg_publication p
join pg_class s on s.oid = $1
where p.pubname <> $3 and not p.puballtables
  and (exists (select from pg_publication_rel r where r.prpubid = p.oid and r.prrelid = s.oid)
       or exists (select from pg_publication_tables t where t.pubname = p.pubname
                    and t.schemaname = s.relnamespace::regnamespace::text and t.tablename = s.relname))
  and exists (select from pg_class n where n.oid = any($2)
              and not exists (select from pg_publication_rel r where r.prpubid = p.oid and r.prrelid = n.oid)
              and not exists (select from pg_publication_tables t
                              join pg_namespace ns on ns.nspname = t.schemaname
                              where t.pubname = p.pubname and ns.oid = n.relnamespace and t.tablename = n.relname))
order by 1";

const COMMENTS: &str = "
select format('%s comments on %s and its columns; the new tables have their own or none',
              count(*), $1::oid::regclass)
from pg_description
where classoid = 'pg_class'::regclass and objoid = $1
  and exists (select from unnest($2::oid[]) t(oid) where obj_description(t.oid, 'pg_class') is null)
having count(*) > 0";

const DEFAULT_PRIVILEGES: &str = "
select format('schema %s gives default privileges to tables as they are created in it: see `grants`',
              relnamespace::regnamespace)
from pg_class c
where c.oid = $1 and cardinality($2::oid[]) > 0
  and exists (select from pg_default_acl d
              where d.defaclnamespace = c.relnamespace and d.defaclobjtype in ('r', 'S'))";

/// A plain table's children keep their rows and names, and a child's rows would be
/// missing from its parent.
async fn inheritance(client: &Client, plan: &Plan) -> Result<Check> {
    let rows = client
        .query(
            "select format('%s inherits from %s', inhrelid::regclass, inhparent::regclass)
             from pg_inherits
             where inhrelid = $1 or inhparent = $1 and $2 order by 1",
            &[
                &plan.source.oid,
                &(plan.source.kind != TableKind::Partitioned),
            ],
        )
        .await?;
    let aspect = Aspect {
        name: "inheritance",
        none: "no parent and no children of",
        remedy: "ALTER TABLE … NO INHERIT, or DETACH PARTITION, and give the new tables their place",
        names: rows,
    };
    Ok(aspect.judge(plan))
}

/// Whoever may use the old table must be able to use the new ones: rights on the
/// table, on columns of the same name, on its schema (where it will be), and on the
/// sequences behind plain defaults. REFERENCES and TRIGGER are rights to change the
/// schema and left out.
const GRANTS: &str = "
with held as (
    select case x.grantee when 0 then 'public' else pg_get_userbyid(x.grantee) end::name as role,
           x.privilege_type as privilege, null::name as col
    from pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) x
    where c.oid = $1
    union
    select case x.grantee when 0 then 'public' else pg_get_userbyid(x.grantee) end::name,
           x.privilege_type, a.attname
    from pg_attribute a, aclexplode(a.attacl) x
    where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped),
used as (select * from held
         where privilege in ('SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')),
new as (select t.oid, n.oid as schema from unnest($2::oid[], $3::text[]) t(oid, schema)
        join pg_namespace n on n.nspname = t.schema)
select role::text, privilege, object from (
    select role, privilege, format('TABLE %s', new.oid::regclass) as object
    from used, new where col is null and not has_table_privilege(role, new.oid, privilege)
    union
    select role, format('%s (%s)', privilege, string_agg(quote_ident(col), ', ' order by col)),
           format('TABLE %s', new.oid::regclass)
    from used, new
    join pg_attribute a on a.attrelid = new.oid and a.attnum > 0 and not a.attisdropped
    where col is not null and a.attname = col
      and not has_column_privilege(role, new.oid, a.attnum, privilege)
    group by role, privilege, new.oid
    union
    select role, 'USAGE', format('SCHEMA %s', new.schema::regnamespace)
    from used, new where not has_schema_privilege(role, new.schema, 'USAGE')
    union
    select role, 'USAGE', format('SEQUENCE %s', q.oid::regclass)
    from used, new
    join pg_attrdef f on f.adrelid = new.oid
    join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = f.oid
                    and d.refclassid = 'pg_class'::regclass
    join pg_class q on q.oid = d.refobjid and q.relkind = 'S'
    where privilege = 'INSERT' and not has_sequence_privilege(role, q.oid, 'USAGE')
) lacking order by 1, 3, 2";

async fn grants(client: &Client, plan: &Plan, targets: &[u32]) -> Result<Check> {
    let schemas: Vec<&str> = plan
        .row_targets()
        .map(|(_, t)| {
            t.rename_to
                .as_ref()
                .unwrap_or(&t.table.name)
                .schema
                .as_str()
        })
        .collect();
    let rows = client
        .query(GRANTS, &[&plan.source.oid, &targets, &schemas])
        .await?;
    let mut lacking: Vec<(String, String, Vec<String>)> = Vec::new();
    for row in &rows {
        let (role, privilege, object): (String, String, String) =
            (row.get(0), row.get(1), row.get(2));
        match lacking.last_mut() {
            Some((r, o, list)) if *r == role && *o == object => list.push(privilege),
            _ => lacking.push((role, object, vec![privilege])),
        }
    }
    let found: Vec<String> = lacking
        .iter()
        .map(|(role, object, list)| format!("{role} lacks {} on {object}", list.join(", ")))
        .collect();
    let remedy: Vec<String> = lacking
        .iter()
        .map(|(role, object, list)| {
            let role = match role.as_str() {
                "public" => "PUBLIC".to_owned(),
                role => crate::pg::quote(role),
            };
            format!("GRANT {} ON {object} TO {role}", list.join(", "))
        })
        .collect();
    let found = if found.is_empty() {
        format!("who may use {} may use the new tables", plan.source.name)
    } else {
        found.join("; ")
    };
    Ok(gate("grants", remedy.is_empty(), found, remedy.join("; ")))
}
