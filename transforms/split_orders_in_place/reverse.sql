-- The moved column of legacy.orders, out of the lines. An order without lines has an
-- empty array, so the orders themselves are where this begins; of them it reads
-- nothing but the key.
select
    o.id,
    coalesce(
        (
            select jsonb_agg(
                -- A line without a note has no such key.
                jsonb_build_object('sku', i.sku, 'qty', i.qty, 'unit_cents', i.unit_cents)
                || case when i.note is null then '{}' else jsonb_build_object('note', i.note) end
                order by i.line_no
            )
            from legacy.order_items i
            where i.order_id = o.id
        ),
        '[]'
    ) as items
from legacy.orders o
