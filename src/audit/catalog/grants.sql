-- Privileges of tables (without a column's name) and columns. A table's owner has all of them
-- anyway.
select c.oid, x.attname, r.rolname::text, p.privilege_type, p.is_grantable, p.grantor <> c.relowner
from pg_class c
cross join lateral (
  select null::text, c.relacl
  union all
  select a.attname::text, a.attacl from pg_attribute a
  where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attacl is not null
) x (attname, acl)
cross join lateral aclexplode(x.acl) p
left join pg_roles r on r.oid = p.grantee
where c.oid = any($1::oid[]) and (p.grantee = 0 or r.rolname is not null)
  and (x.attname is not null or p.grantee <> c.relowner)
order by c.oid, x.attname nulls first, r.rolname nulls first, p.privilege_type
