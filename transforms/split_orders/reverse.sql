-- The rows of legacy.orders, out of the new tables. Each order finds its lines by
-- its own id, so that asking for a few orders reads only theirs.
select
    o.id,
    o.customer_id,
    o.status,
    -- Whole seconds, as the old application reads them.
    floor(extract(epoch from o.placed_at))::bigint as created_at,
    to_char(o.shipped_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') as shipped_at,
    o.currency,
    o.total_cents,
    o.note,
    coalesce(
        (
            select jsonb_agg(
                -- A line without a note has no such key.
                jsonb_build_object('sku', i.sku, 'qty', i.qty, 'unit_cents', i.unit_cents)
                || case when i.note is null then '{}' else jsonb_build_object('note', i.note) end
                order by i.line_no
            )
            from shop.order_items i
            where i.order_id = o.id
        ),
        '[]'
    ) as items
from shop.orders o
