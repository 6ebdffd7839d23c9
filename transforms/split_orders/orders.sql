select
    o.id,
    o.customer_id,
    o.status::text as status,
    -- Seconds since 1970, so no time zone is involved.
    to_timestamp(o.created_at) as placed_at,
    -- Text without a time zone; the old application wrote UTC.
    o.shipped_at::timestamp at time zone 'UTC' as shipped_at,
    o.currency::text as currency,
    o.total_cents,
    o.note
from source o
