//! What hangs on the old table and does not come along: objects that refer to it by
//! its OID stay with it under its new name, and what it has of its own (rights,
//! policies, triggers, …) the new tables have only if somebody gave it to them.

use tokio_postgres::{Client, Row};

use super::{Check, Verdict, bodies, check as gate};
use crate::config::{Config, Strategy};
use crate::error::Result;
use crate::pg::catalog::{Table, TableKind};
use crate::state::guard;
use crate::transform::Plan;

pub(super) async fn check(client: &Client, config: &Config, plan: &Plan) -> Result<Vec<Check>> {
    let targets: Vec<u32> = plan.row_targets().map(|(_, t)| t.table.oid).collect();
    let source = &plan.source.oid;
    let mut checks = vec![
        grants(client, plan, &targets).await?,
        inheritance(client, plan).await?,
    ];
    for aspect in aspects(client, config, plan, &targets).await? {
        checks.push(aspect.judge(plan));
    }
    // Under the old name there still is something with strategy `view`.
    if config.switch.strategy != Strategy::View {
        let naming = bodies::naming(client, plan).await?;
        if let Some(references) = checks.iter_mut().find(|c| c.name == "references") {
            mention(references, &naming, plan);
        }
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

/// What there is of each kind, looked for on the old table and on its partitions.
async fn aspects(
    client: &Client,
    config: &Config,
    plan: &Plan,
    targets: &[u32],
) -> Result<Vec<Aspect>> {
    let own = config.slot();
    let guard = guard::TRIGGER;
    let source = &plan.source.oid;
    let tree = with_partitions(client, &plan.source).await?;
    let mut new = Vec::new();
    for (_, target) in plan.row_targets() {
        new.extend(with_partitions(client, &target.table).await?);
    }
    Ok(vec![
        Aspect {
            name: "references",
            none: "nothing refers to",
            remedy: "point these at the new tables, or drop them: they would stay with the old table",
            names: client.query(REFERENCES, &[source, &tree]).await?,
        },
        Aspect {
            name: "rules",
            none: "no rules on",
            remedy: "make rules of this kind on the new tables, or drop them",
            names: client.query(RULES, &[source, &tree]).await?,
        },
        Aspect {
            name: "row_security",
            none: "no row security that the new tables lack on",
            remedy: "ENABLE ROW LEVEL SECURITY and create policies on the new tables",
            names: client
                .query(ROW_SECURITY, &[source, &targets, &tree])
                .await?,
        },
        Aspect {
            name: "triggers",
            none: "no triggers that the new tables lack on",
            remedy: "create triggers on the new tables that do this work, or drop these",
            names: client
                .query(TRIGGERS, &[source, &targets, &tree, &new, &guard])
                .await?,
        },
        Aspect {
            name: "publications",
            none: "nobody else publishes",
            remedy: "ALTER PUBLICATION … ADD TABLE the new tables, and tell who subscribes",
            names: client
                .query(PUBLICATIONS, &[source, &targets, &tree, &own])
                .await?,
        },
    ])
}

/// Adds what only mentions the old table: a text may never be run.
fn mention(references: &mut Check, naming: &[String], plan: &Plan) {
    if naming.is_empty() {
        return;
    }
    let (found, name) = (&references.found, &plan.source.name);
    references.found = format!("{found}; bodies that name {name}: {}", naming.join(", "));
    if references.passed() {
        references.verdict = Verdict::Note;
        references.remedy = "look whether these are called after the switch, and what they find under that name then".to_owned();
    }
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

/// The table and, where it is partitioned, all that it consists of: the old partitions go
/// with the old table, and so does what hangs on one of them alone.
///
/// # Errors
/// Connection errors.
pub(super) async fn with_partitions(client: &Client, table: &Table) -> Result<Vec<u32>> {
    let row = client
        .query_one(
            "select array(select $1::oid union select relid::oid from pg_partition_tree($1::oid::regclass))",
            &[&table.oid],
        )
        .await?;
    Ok(row.get(0))
}

/// Views, materialized views, rules of other tables, foreign keys, functions with a
/// parsed body, policies of other tables.
const REFERENCES: &str = "
with part(oid, said) as (
    select oid, case oid when $1 then '' else format(' (refers to %s)', oid::regclass) end
    from unnest($2::oid[]) p(oid))
select format('%s %s%s', case c.relkind when 'v' then 'view' when 'm' then 'materialized view'
                         else format('rule %I on', r.rulename) end, r.ev_class::regclass, part.said)
from pg_depend d
join part on part.oid = d.refobjid
join pg_rewrite r on r.oid = d.objid
join pg_class c on c.oid = r.ev_class
where d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass
  and r.ev_class <> all($2) and c.relpersistence <> 't'
union
select format('foreign key %I of %s%s', conname, conrelid::regclass, part.said)
from pg_constraint join part on part.oid = confrelid
where contype = 'f' and conrelid <> all($2) and conparentid = 0
union
select pg_describe_object(d.classid, d.objid, 0) || part.said
from pg_depend d join part on part.oid = d.refobjid
where d.refclassid = 'pg_class'::regclass and d.deptype = 'n'
  and (d.classid = 'pg_proc'::regclass
       or d.classid = 'pg_policy'::regclass
          and not exists (select from pg_policy p where p.oid = d.objid and p.polrelid = any($2)))
order by 1";

const RULES: &str = "
select format('rule %I', rulename) || case ev_class when $1 then '' else format(' on %s', ev_class::regclass) end
from pg_rewrite
where ev_class = any($2::oid[]) and rulename <> '_RETURN' order by 1";

/// What a partition has of its own a new table, or one of its partitions, must have.
const ROW_SECURITY: &str = "
select format('row security of %s is not that of %s', s.oid::regclass, t.oid::regclass)
from pg_class s, pg_class t
cross join lateral (
    select bool_or(n.relrowsecurity) as enabled, bool_or(n.relforcerowsecurity) as forced,
           bool_or(exists (select from pg_policy where polrelid = n.oid)) as policies
    from pg_class n
    where n.oid = t.oid
       or s.oid <> $1 and n.oid in (select relid from pg_partition_tree(t.oid::regclass))) new
where s.oid = any($3::oid[]) and t.oid = any($2)
  and (s.relrowsecurity and not new.enabled
       or s.relforcerowsecurity and not new.forced
       or exists (select from pg_policy where polrelid = s.oid) and not new.policies)
order by 1";

/// By the function that they call: one that a new table calls too is taken care of. Those
/// that partitions have from their table are the table's.
const TRIGGERS: &str = "
select format('trigger %I', tgname) || case tgrelid when $1 then '' else format(' on %s', tgrelid::regclass) end
from pg_trigger t
where tgrelid = any($3::oid[]) and not tgisinternal and tgenabled <> 'D' and tgname <> $5
  and not exists (select from pg_trigger p where p.oid = t.tgparentid and p.tgenabled <> 'D')
  and not exists (select from pg_trigger o
                  where (o.tgrelid = any($2) or t.tgrelid <> $1 and o.tgrelid = any($4))
                    and o.tgfoid = t.tgfoid and o.tgenabled <> 'D')
order by 1";

/// Which of the old table's and the new tables' parts a publication lists, by itself, by
/// their table or by their schema. Where it lists the old table as a whole it must list
/// the new ones as a whole, and some part of each otherwise.
const PUBLICATIONS: &str = "
with listed(pub, oid) as (
    select prpubid, prrelid from pg_publication_rel
    union
    select p.oid, c.oid from pg_publication p
    join pg_publication_tables t on t.pubname = p.pubname
    join pg_namespace ns on ns.nspname = t.schemaname
    join pg_class c on c.relnamespace = ns.oid and c.relname = t.tablename
    where p.pubname <> $4 and not p.puballtables),
part(root, oid, leaf) as (
    select c.oid, coalesce(p.relid, c.oid::regclass)::oid, coalesce(p.isleaf, true)
    from pg_class c left join pg_partition_tree(c.oid::regclass) p on true
    where c.oid = $1 or c.oid = any($2)),
has(pub, pubname, root, whole, anything) as (
    select p.oid, p.pubname, part.root,
           bool_or(l.oid is not null and part.oid = part.root)
               or bool_and(l.oid is not null or not part.leaf),
           bool_or(l.oid is not null)
    from pg_publication p
    cross join part
    left join listed l on l.pub = p.oid and l.oid = part.oid
    where p.pubname <> $4 and not p.puballtables
    group by p.oid, p.pubname, part.root)
select format('publication %I', old.pubname) || case when old.whole then '' else
           (select format(' of %s', string_agg(l.oid::regclass::text, ', ' order by l.oid::regclass::text))
            from listed l where l.pub = old.pub and l.oid = any($3::oid[])) end
from has old
where old.root = $1 and old.anything
  and exists (select from has new where new.pub = old.pub and new.root = any($2)
              and not case when old.whole then new.whole else new.anything end)
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
/// schema and left out. A right on a partition alone, which is not its owner's, asks for
/// one on a new table or on some partition of it.
const GRANTS: &str = "
with held as (
    select case x.grantee when 0 then 'public' else pg_get_userbyid(x.grantee) end::name as role,
           x.privilege_type as privilege, null::name as col, c.oid
    from pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) x
    where c.oid = any($4::oid[]) and (c.oid = $1 or x.grantee <> c.relowner)
    union
    select case x.grantee when 0 then 'public' else pg_get_userbyid(x.grantee) end::name,
           x.privilege_type, a.attname, a.attrelid
    from pg_attribute a, aclexplode(a.attacl) x
    where a.attrelid = any($4) and a.attnum > 0 and not a.attisdropped),
used as (select role, privilege, col, bool_or(oid = $1) as whole,
                string_agg(oid::regclass::text, ', ' order by oid::regclass::text) as parts
         from held where privilege in ('SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')
         group by role, privilege, col),
new as (select t.oid, n.oid as schema from unnest($2::oid[], $3::text[]) t(oid, schema)
        join pg_namespace n on n.nspname = t.schema)
select role::text, privilege, object, parts from (
    select role, privilege, format('TABLE %s', new.oid::regclass) as object,
           case when whole then '' else parts end as parts
    from used, new where col is null and not has_table_privilege(role, new.oid, privilege)
      and (whole or not exists (select from pg_partition_tree(new.oid::regclass) p
                                where has_table_privilege(role, p.relid::oid, privilege)))
    union
    select role, format('%s (%s)', privilege, string_agg(quote_ident(col), ', ' order by col)),
           format('TABLE %s', new.oid::regclass),
           case when bool_or(whole) then '' else min(parts) end
    from used, new
    join pg_attribute a on a.attrelid = new.oid and a.attnum > 0 and not a.attisdropped
    where col is not null and a.attname = col
      and not has_column_privilege(role, new.oid, a.attnum, privilege)
    group by role, privilege, new.oid
    union
    select role, 'USAGE', format('SCHEMA %s', new.schema::regnamespace), ''
    from used, new where not has_schema_privilege(role, new.schema, 'USAGE')
    union
    select role, 'USAGE', format('SEQUENCE %s', q.oid::regclass), ''
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
    let tree = with_partitions(client, &plan.source).await?;
    let rows = client
        .query(GRANTS, &[&plan.source.oid, &targets, &schemas, &tree])
        .await?;
    let mut lacking: Vec<Lacking> = Vec::new();
    for row in &rows {
        let (role, privilege, object): (String, String, String) =
            (row.get(0), row.get(1), row.get(2));
        let parts: String = row.get(3);
        match lacking.last_mut() {
            Some(l) if l.role == role && l.object == object && l.parts == parts => {
                l.privileges.push(privilege);
            }
            _ => lacking.push(Lacking {
                role,
                object,
                parts,
                privileges: vec![privilege],
            }),
        }
    }
    let found: Vec<String> = lacking.iter().map(Lacking::found).collect();
    let remedy: Vec<String> = lacking.iter().map(Lacking::remedy).collect();
    let found = if found.is_empty() {
        format!("who may use {} may use the new tables", plan.source.name)
    } else {
        found.join("; ")
    };
    Ok(gate("grants", remedy.is_empty(), found, remedy.join("; ")))
}

/// Rights that a role has on the old table and not on a new one.
struct Lacking {
    role: String,
    object: String,
    /// The partitions on which alone it has them, where it is so.
    parts: String,
    privileges: Vec<String>,
}

impl Lacking {
    fn found(&self) -> String {
        let list = self.privileges.join(", ");
        let Self { role, object, .. } = self;
        match self.parts.as_str() {
            "" => format!("{role} lacks {list} on {object}"),
            parts => format!("{role} has {list} on {parts} and lacks it on {object}"),
        }
    }

    fn remedy(&self) -> String {
        let role = match self.role.as_str() {
            "public" => "PUBLIC".to_owned(),
            role => crate::pg::quote(role),
        };
        let list = self.privileges.join(", ");
        let grant = format!("GRANT {list} ON {} TO {role}", self.object);
        match self.parts.as_str() {
            "" => grant,
            parts => format!("{grant} (it will see more than {parts}), or on a partition of it"),
        }
    }
}
