-- `source` is the relation of the old rows. Name the columns after the target's.
-- The result must follow from the row alone: no now(), no random().
select o.id, o.customer, o.order_date::timestamptz as ordered_at
from source o
