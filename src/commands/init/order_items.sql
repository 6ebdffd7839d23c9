-- One row of the old table can become many of the new one.
select o.id as order_id, i.line_no, i.item ->> 'sku' as sku, (i.item ->> 'qty')::int as qty
from source o, jsonb_array_elements(o.items) with ordinality as i(item, line_no)
