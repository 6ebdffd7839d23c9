-- The tables behind the stored plans: see scripts/take-plans.
create extension postgres_fdw;

create table customers (id int primary key, email text not null, city text);
insert into customers select g, 'c' || g || '@example.com', 'City ' || g % 50 from generate_series(1, 2000) g;

create table orders (id bigint primary key, customer_id int not null, status text not null,
                     created_at timestamptz not null, total int not null, note text, doc jsonb);
insert into orders
select g, 1 + g % 2000, (array['new', 'paid', 'shipped', 'cancelled'])[1 + g % 4],
       timestamptz '2024-01-01 00:00+00' + g * interval '5 minutes', (g * 7919) % 10000,
       md5(g::text), jsonb_build_array(jsonb_build_object('sku', 'SKU-' || g % 10))
from generate_series(1, 20000) g;

create table items (order_id bigint, line_no int, sku text, total int, note text, primary key (order_id, line_no));
insert into items
select g, n, 'SKU-' || (g + n) % 10, (g * n) % 500, md5((g * n)::text)
from generate_series(1, 20000) g, generate_series(1, 2) n;
create index items_sku on items (sku);

-- Columns that depend on each other.
create table cities (id int primary key, city text, country text, zip text);
insert into cities
select g, c[1], c[2], c[3]
from generate_series(1, 6000) g,
lateral (select case g % 3 when 0 then array['Oslo', 'NO', '0100'] when 1 then array['Lyon', 'FR', '6900']
         else array['Paris', 'FR', '7500'] end) x(c);

create table events (at timestamptz not null, kind int) partition by range (at);
do $$
begin
    for m in 1..6 loop
        execute format('create table events_%s partition of events for values from (%L) to (%L)',
                       m, make_date(2024, m, 1), make_date(2024, m + 1, 1));
    end loop;
end $$;
insert into events select timestamptz '2024-01-01' + g * interval '10 minutes', g % 100 from generate_series(0, 25000) g;

-- A visibility map that lags behind.
create table churned (id int primary key, note text);
insert into churned select g, 'n' from generate_series(1, 5000) g;

create server here foreign data wrapper postgres_fdw options (host :'socket', dbname 'postgres');
create user mapping for postgres server here options (user 'postgres');
create foreign table remote_orders (id bigint, customer_id int, note text) server here options (table_name 'orders');
create foreign table remote_items (order_id bigint, sku text) server here options (table_name 'items');

vacuum (analyze) customers, orders, items, cities, events, churned;
update churned set note = 'm' where id % 2 = 0;

-- Never analyzed.
create table fresh (order_id bigint, flag boolean);
insert into fresh select g, g % 100 = 0 from generate_series(1, 20000) g;
