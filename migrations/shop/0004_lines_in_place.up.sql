-- Another way to the lines, without 0002 and 0003: legacy.orders stays what it is,
-- only its JSON moves to a table of its own.
-- The table stays empty until `crossfade run` fills it.

create table legacy.order_items (
    order_id    bigint not null,
    line_no     integer not null,
    sku         text not null,
    qty         integer not null,
    unit_cents  bigint not null,
    note        text,
    primary key (order_id, line_no)
);
