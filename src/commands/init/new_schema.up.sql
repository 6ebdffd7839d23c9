-- The new schema, empty. It has to exist before `crossfade run`.
--
-- A target needs a primary key or unique constraint that contains the columns
-- which carry the source row's key, and an index that leads with them.

create schema shop;

create table shop.orders (
    id          bigint primary key,
    customer    text not null,
    ordered_at  timestamptz not null
);

create table shop.order_items (
    order_id  bigint not null,
    line_no   int not null,
    sku       text not null,
    qty       int not null,
    primary key (order_id, line_no)
);
