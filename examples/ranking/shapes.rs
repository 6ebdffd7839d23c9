//! Queries of many shapes, and tables to ask them of.

/// Tables of `scale` thousand orders; everything that looks random is a hash.
pub fn tables(scale: u32) -> String {
    let orders = scale * 1000;
    let customers = scale * 100;
    format!(
        "create table customers (id int primary key, email text not null, city text not null, country text not null, joined date not null, active boolean not null);
         insert into customers
         select g, 'c' || g || '@example.com', 'City ' || h % 300, (array['DE','FR','PL','NO','BR'])[1 + (h >> 9) % 5],
                date '2015-01-01' + (h >> 3) % 3000, h % 50 <> 0
         from generate_series(1, {customers}) g, lateral (select abs(hashint4(g)) h) x;
         create table orders (id int primary key, customer_id int not null, status text not null, placed_at timestamptz not null,
                              total int not null, country text not null, shipped_at timestamptz, note text, doc jsonb not null, tags text[] not null);
         insert into orders
         select g, 1 + h % {customers}, (array['new','paid','shipped','delivered','cancelled'])[case when h % 100 < 2 then 1 when h % 100 < 10 then 2 when h % 100 < 30 then 3 when h % 100 < 95 then 4 else 5 end],
                timestamptz '2022-01-01 00:00+00' + g * interval '3 minutes', (h >> 5) % 100000,
                (array['DE','FR','PL','NO','BR'])[1 + (h >> 11) % 5],
                case when h % 7 <> 0 then timestamptz '2022-01-03 00:00+00' + g * interval '3 minutes' end,
                case when h % 9 = 0 then md5(g::text) end,
                jsonb_build_object('channel', 'ch' || (h >> 7) % 40, 'ref', 'r' || (h >> 4) % 20000),
                array['t' || h % 500, 't' || (h >> 6) % 500]
         from generate_series(1, {orders}) g, lateral (select abs(hashint4(g + 7)) h) x;
         create table items (order_id int not null, line_no int not null, sku text not null, qty int not null, cents int not null, primary key (order_id, line_no));
         insert into items
         select g, n, 'SKU-' || h % 3000, 1 + h % 5, (h >> 8) % 20000
         from generate_series(1, {orders}) g, generate_series(1, 3) n, lateral (select abs(hashint4(g * 3 + n)) h) x;
         create table events (at timestamptz not null, kind int not null, customer_id int not null, body text) partition by range (at);
         create table events_a partition of events for values from ('2022-01-01') to ('2023-01-01');
         create table events_b partition of events for values from ('2023-01-01') to ('2024-01-01');
         create table events_c partition of events for values from ('2024-01-01') to ('2025-01-01');
         insert into events
         select timestamptz '2022-01-01 00:00+00' + (h % 1000) * interval '1 day', (h >> 10) % 400, 1 + (h >> 3) % {customers}, md5(g::text)
         from generate_series(1, {orders}) g, lateral (select abs(hashint4(g + 99)) h) x;
         create view open_orders as select id, customer_id, placed_at, total from orders where status = 'new';
         vacuum (analyze) customers, orders, items, events;"
    )
}

/// A name and a query.
pub const SHAPES: &[(&str, &str)] = &[
    (
        "one equality",
        "select id, total from orders where customer_id = 77",
    ),
    (
        "two equalities",
        "select id from orders where status = 'new' and country = 'NO'",
    ),
    (
        "equality and range",
        "select id, total from orders where country = 'PL' and total between 5000 and 5050",
    ),
    (
        "two ranges",
        "select id from orders where total < 60 and placed_at >= '2022-06-01' and placed_at < '2022-09-01'",
    ),
    (
        "range of time",
        "select sum(total) from orders where placed_at >= '2022-03-01' and placed_at < '2022-03-03'",
    ),
    (
        "newest of a customer",
        "select id, placed_at, total from orders where customer_id = 123 order by placed_at desc limit 10",
    ),
    (
        "newest of a status",
        "select id, placed_at from orders where status = 'paid' order by placed_at desc limit 20",
    ),
    (
        "top by amount",
        "select id, total from orders order by total desc limit 25",
    ),
    (
        "two orders",
        "select id, country, total from orders order by country, total desc limit 30",
    ),
    (
        "list of values",
        "select id, total from orders where customer_id in (5, 17, 99, 1024)",
    ),
    (
        "open ones",
        "select id, placed_at from orders where shipped_at is null and status = 'paid' and country = 'DE'",
    ),
    (
        "boolean",
        "select id, email from customers where not active and country = 'BR'",
    ),
    (
        "lower",
        "select id from customers where lower(email) = 'c4242@example.com'",
    ),
    (
        "by day",
        "select id, total from orders where (placed_at at time zone 'UTC')::date = '2022-05-05'",
    ),
    (
        "prefix",
        "select id from customers where email like 'c123%'",
    ),
    (
        "json value",
        "select id from orders where doc ->> 'ref' = 'r777'",
    ),
    (
        "json contains",
        "select id from orders where doc @> '{\"ref\": \"r4711\"}'",
    ),
    (
        "array contains",
        "select id, total from orders where tags @> array['t17', 't42']",
    ),
    (
        "join by foreign key",
        "select o.id, c.email from customers c join orders o on o.customer_id = c.id where c.email = 'c500@example.com'",
    ),
    (
        "join from the many side",
        "select o.id, i.qty from items i join orders o on o.id = i.order_id where i.sku = 'SKU-77' and o.status = 'new'",
    ),
    (
        "exists",
        "select c.id from customers c where c.city = 'City 7' and exists (select from orders o where o.customer_id = c.id and o.status = 'cancelled')",
    ),
    (
        "latest of each",
        "select c.id, (select max(o.placed_at) from orders o where o.customer_id = c.id) from customers c where c.city = 'City 9'",
    ),
    (
        "group by",
        "select status, count(*) from orders where country = 'NO' and total > 90000 group by status",
    ),
    (
        "count of few",
        "select count(*) from items where sku = 'SKU-4'",
    ),
    (
        "sum of few",
        "select sum(cents) from items where sku = 'SKU-5' and qty = 3",
    ),
    (
        "partitions",
        "select count(*) from events where kind = 17 and customer_id = 5",
    ),
    (
        "newest across partitions",
        "select at, body from events where customer_id = 9 order by at desc limit 5",
    ),
    (
        "through a view",
        "select id, total from open_orders where customer_id between 100 and 120",
    ),
    (
        "keyset page",
        "select id, placed_at, total from orders where status = 'shipped' and (placed_at, id) < ('2022-04-01', 99999999) order by placed_at desc, id desc limit 20",
    ),
    (
        "minimum",
        "select min(total) from orders where status = 'delivered'",
    ),
    (
        "left join",
        "select c.id, o.id from customers c left join orders o on o.customer_id = c.id and o.status = 'new' where c.joined >= '2023-03-01' and c.country = 'FR'",
    ),
];

/// Queries that no index makes better.
pub const AT_THEIR_BEST: &[(&str, &str)] = &[
    ("by key", "select * from orders where id = 4711"),
    (
        "all of it",
        "select count(*), sum(total), max(length(note)) from orders",
    ),
    ("most of it", "select sum(cents) from items where qty >= 1"),
    (
        "by key, joined",
        "select o.id, i.sku from orders o join items i on i.order_id = o.id where o.id = 99",
    ),
    (
        "first page by key",
        "select id, note from orders order by id limit 20",
    ),
];
