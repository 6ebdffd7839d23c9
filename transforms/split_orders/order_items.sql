select
    o.id as order_id,
    i.line_no::integer as line_no,
    i.item ->> 'sku' as sku,
    (i.item ->> 'qty')::integer as qty,
    (i.item ->> 'unit_cents')::bigint as unit_cents,
    i.item ->> 'note' as note
from source o
cross join lateral jsonb_array_elements(o.items) with ordinality as i (item, line_no)
