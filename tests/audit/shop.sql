-- A shop of 45 tables as one finds it after some years: mostly sound, with flaws, and
-- with much that only looks like one. What an expert would say of it is in shop.rs.
create schema shop;
set search_path = shop;
select setseed(0.42);

create table countries (code char(2) primary key, name text not null);
insert into countries select chr(65 + i / 26) || chr(65 + i % 26), 'Country ' || i from generate_series(0, 79) i;

create table currencies (code char(3) primary key, name text not null);
insert into currencies values ('EUR', 'Euro'), ('USD', 'US dollar'), ('GBP', 'Pound'), ('CHF', 'Franc'), ('SEK', 'Krona'), ('PLN', 'Zloty');

create table customers (
    id bigint generated always as identity primary key,
    email text not null unique,
    first_name text not null,
    last_name text not null,
    full_name text not null,
    phone text,
    loyalty_level int not null,
    country_code char(2) not null references countries,
    settings jsonb not null,
    is_active boolean not null,
    referral_code text,
    created_at timestamptz not null
);
insert into customers (email, first_name, last_name, full_name, phone, loyalty_level, country_code, settings, is_active, referral_code, created_at)
select 'c' || i || '@example.com', f, l, f || ' ' || l, '+49 30 ' || (100000 + (i * 7919) % 5000), 1 + i % 4,
       chr(65 + (i % 80) / 26) || chr(65 + (i % 80) % 26),
       jsonb_build_object('theme', (array['dark', 'light'])[1 + i % 2], 'page', jsonb_build_object('size', 10 + i % 50)),
       i % 3 <> 0, case when i % 4 = 0 then 'R' || (i % 900) end,
       timestamptz '2021-01-01' + i * interval '3 hours'
from (select i, 'First' || (random() * 400)::int as f, 'Last' || (random() * 900)::int as l from generate_series(1, 6000) i) g;

create table addresses (
    id bigint generated always as identity primary key,
    customer_id bigint not null references customers,
    address_line1 text not null,
    address_line2 text,
    city text not null,
    postal_code text not null,
    country_code char(2) not null references countries,
    coordinates text,
    created_at timestamptz not null
);
insert into addresses (customer_id, address_line1, address_line2, city, postal_code, country_code, coordinates, created_at)
select 1 + i % 6000, (random() * 120)::int || ' Main St, Block ' || chr(65 + i % 20), case when i % 6 = 0 then 'Apartment ' || i % 30 end,
       'City ' || (random() * 300)::int, lpad(((random() * 2000)::int)::text, 5, '0'),
       (select code from countries offset (random() * 79)::int + i * 0 limit 1), round((random() * 90)::numeric, 2) || ',' || round((random() * 90)::numeric, 2),
       timestamptz '2022-01-01' + i * interval '1 hour'
from generate_series(1, 7000) i;

create table categories (
    id bigint generated always as identity primary key,
    parent_id bigint references categories,
    name text not null,
    slug text not null unique
);
insert into categories (parent_id, name, slug)
select case when i > 10 then 1 + i % 10 end, 'Category ' || i, 'category-' || i from generate_series(1, 120) i;

create table brands (
    brand_id bigint generated always as identity primary key,
    name text not null,
    slogan char(40)
);
insert into brands (name, slogan) select 'Brand ' || i, 'We are number ' || i from generate_series(1, 60) i;

create table products (
    id bigint generated always as identity primary key,
    sku text not null unique,
    name text not null,
    brand_id bigint,
    category_id bigint not null references categories,
    tags text,
    price numeric(10, 2) not null,
    weight double precision,
    dimensions jsonb,
    color jsonb,
    version int not null default 1,
    created_at timestamptz not null
);
insert into products (sku, name, brand_id, category_id, tags, price, weight, dimensions, color, version, created_at)
select 'SKU-' || lpad(i::text, 6, '0'), 'Product ' || i, case when i % 9 > 0 then 1 + (i * 7) % 60 end, 1 + (i * 13) % 120,
       (array['new', 'new,sale', 'sale,eco,gift', 'eco', 'gift,new', 'outdoor,eco'])[1 + (random() * 5)::int],
       round((5 + random() * 200)::numeric, 2), random() * 30,
       jsonb_build_object('w', i % 90, 'h', i % 70, 'd', i % 50), jsonb_build_array(i % 256, (i * 3) % 256, (i * 7) % 256),
       1 + i % 5, timestamptz '2021-06-01' + i * interval '5 hours'
from generate_series(1, 2000) i;

create table product_images (
    id bigint generated always as identity primary key,
    product_id bigint not null references products,
    url text not null,
    position int not null,
    created_at timestamptz not null
);
insert into product_images (product_id, url, position, created_at)
select 1 + i % 2000, 'https://img.example.com/' || i || '.jpg', 1 + (random() * 3)::int, timestamptz '2022-06-01' + i * interval '1 hour'
from generate_series(1, 3000) i;

create table product_attributes (
    id bigint generated always as identity primary key,
    product_id bigint not null references products,
    attribute_name text not null,
    attribute_value text not null
);
insert into product_attributes (product_id, attribute_name, attribute_value)
select p, a.name, a.value || (p % 9)
from generate_series(1, 900) p,
     (values ('material', 'm'), ('size', 's'), ('voltage', ''), ('origin', 'o')) a (name, value);

create table product_translations (
    product_id bigint not null references products,
    locale text not null,
    title text not null,
    description text not null,
    primary key (product_id, locale)
);
insert into product_translations
select p, l, 'Title ' || p || ' ' || l, 'Light, strong, and made for you: item ' || p || ' in ' || l from generate_series(1, 1000) p, unnest(array['de', 'fr', 'sv']) l;

create table suppliers (
    id bigint generated always as identity primary key,
    name text not null,
    external_id text not null,
    contract_start varchar(10),
    phone1 text,
    phone2 text,
    phone3 text
);
insert into suppliers (name, external_id, contract_start, phone1, phone2, phone3)
select 'Supplier ' || i, 'SUP-' || (90000 + i * 3), to_char(date '2020-01-01' + i, 'DD.MM.YYYY'), '+1 ' || i,
       case when i % 2 = 0 then '+2 ' || i end, case when i % 8 = 0 then '+3 ' || i end
from generate_series(1, 300) i;

create table carriers (id bigint generated always as identity primary key, name text not null, phone text not null);
insert into carriers (name, phone) select 'Carrier ' || i, '+44 ' || (700 + i) from generate_series(1, 25) i;

create table warehouses (
    id bigint generated always as identity primary key,
    name text not null,
    code text not null unique,
    phone bigint not null
);
insert into warehouses (name, code, phone) select 'Warehouse ' || i, 'W' || i, 1555000000 + i * 12345 from generate_series(1, 18) i;

create table stock_levels (
    product_id bigint not null references products,
    warehouse_id bigint not null,
    quantity int not null,
    primary key (product_id, warehouse_id)
);
insert into stock_levels select p, w, (random() * 50)::int from generate_series(1, 800) p, generate_series(1, 18, 3) w;
create index on stock_levels (warehouse_id);

create table stock_movements (
    id bigint generated always as identity primary key,
    product_id bigint not null,
    warehouse_id bigint not null references warehouses,
    quantity int not null,
    reason text not null,
    direction text not null,
    created_at bigint not null
);
insert into stock_movements (product_id, warehouse_id, quantity, reason, direction, created_at)
select 1 + (i * 37) % 2000, 1 + i % 18, 1 + i % 12, r, case when r in ('sale', 'loss') then 'out' else 'in' end, 1650000000 + i * 700
from (select i, (array['purchase', 'sale', 'return', 'loss', 'count'])[1 + (random() * 4)::int] as r from generate_series(1, 9000) i) g;
create index on stock_movements (warehouse_id);

create table staff (
    id bigint generated always as identity primary key,
    name text not null,
    department_code text not null,
    department_name text not null,
    department_floor text not null,
    manager_id bigint,
    hired_on date not null
);
insert into staff (name, department_code, department_name, department_floor, manager_id, hired_on)
select 'Person ' || i, 'D' || d, 'Department ' || d, 'Floor ' || d % 9, case when i > 12 then 1 + (random() * 11)::int end, date '2015-01-01' + i
from (select i, (i * 11) % 24 as d from generate_series(1, 600) i) g;

create table roles (id int generated always as identity primary key, name text not null unique);
insert into roles (name) select 'Role ' || i from generate_series(1, 8) i;

create table staff_roles (
    staff_id bigint not null references staff,
    role_id int not null references roles,
    primary key (staff_id, role_id)
);
alter table staff_roles add constraint staff_roles_staff_again foreign key (staff_id) references staff;
insert into staff_roles select s, 1 + s % 8 from generate_series(1, 600) s;
create index on staff_roles (role_id);

create table orders (
    id bigint generated always as identity primary key,
    customer_id bigint not null references customers,
    customer_name text not null,
    customer_email text not null,
    external_order_id int,
    status text not null,
    currency char(3) not null references currencies,
    items jsonb not null,
    total numeric(12, 2) not null,
    shipping_city text not null,
    version int not null default 1,
    created_at timestamptz not null
);
insert into orders (customer_id, customer_name, customer_email, external_order_id, status, currency, items, total, shipping_city, version, created_at)
select c.id, c.full_name, c.email, case when i % 3 = 0 then 1 + (i * 7) % 5000 end, (array['new', 'paid', 'shipped', 'done', 'cancelled'])[1 + (random() * 4)::int],
       (array['EUR', 'USD', 'GBP'])[1 + (random() * 2)::int],
       (select jsonb_agg(jsonb_build_object('sku', 'SKU-' || lpad((1 + (i * 5 + n) % 2000)::text, 6, '0'), 'qty', 1 + n, 'price', 9.5 + n)
                || case when n = 2 then jsonb_build_object('gift', true) else '{}' end)
        from generate_series(1, 1 + i % 4) n),
       round((10 + random() * 400)::numeric, 2), 'City ' || c.id % 300, 1 + i % 3, timestamptz '2023-01-01' + i * interval '40 minutes'
from generate_series(1, 8000) i join customers c on c.id = 1 + (i * 7) % 1500;
create index orders_customer_id on orders (customer_id);
create index orders_customer_id_created_at on orders (customer_id, created_at);

create table order_notes (
    id bigint generated always as identity primary key,
    order_id bigint not null,
    author_id bigint not null,
    note text not null,
    created_at timestamptz not null
);
insert into order_notes (order_id, author_id, note, created_at)
select case when i % 40 = 0 then 9000000 + i else 1 + (i * 3) % 8000 end, 1 + (i * 7) % 600, 'Called, no answer, try again ' || i,
       timestamptz '2023-02-01' + i * interval '2 hours'
from generate_series(1, 3000) i;
create index on order_notes (order_id);

create table payment_methods (id int generated always as identity primary key, name text not null);
insert into payment_methods (name) select 'Method ' || i from generate_series(1, 5) i;

create table payments (
    id bigint generated always as identity primary key,
    order_id bigint not null references orders,
    method_id int not null,
    amount numeric(12, 2) not null,
    gateway_transaction_id text not null,
    created_at varchar(30) not null
);
insert into payments (order_id, method_id, amount, gateway_transaction_id, created_at)
select i, 1 + i % 5, round((10 + random() * 400)::numeric, 2), 'ch_' || md5(i::text),
       case when i % 700 = 0 then 'unknown' else to_char(timestamp '2023-01-01' + i * interval '41 minutes', 'YYYY-MM-DD HH24:MI:SS') end
from generate_series(1, 7000) i;

create table refunds (
    id bigint generated always as identity primary key,
    payment_id bigint not null,
    amount double precision not null,
    reason text not null,
    created_at timestamptz not null
);
insert into refunds (payment_id, amount, reason, created_at)
select 1 + (i * 13) % 7000, random() * 100, 'Damaged, late, or wrong size', timestamptz '2023-03-01' + i * interval '5 hours' from generate_series(1, 1200) i;

create table shipments (
    id bigint generated always as identity primary key,
    order_id bigint not null references orders,
    carrier_id bigint not null,
    carrier_name text not null,
    carrier_phone text not null,
    tracking_id text not null,
    shipped_at timestamptz not null
);
insert into shipments (order_id, carrier_id, carrier_name, carrier_phone, tracking_id, shipped_at)
select i, c.id, c.name, c.phone, 'TRK' || (100000000 + i * 97), timestamptz '2023-01-03' + i * interval '40 minutes'
from generate_series(1, 6000) i join carriers c on c.id = 1 + (i * 11) % 25;
create index on shipments (order_id);

create table shipment_events (
    id bigint generated always as identity primary key,
    shipment_id varchar(20) not null,
    event text not null,
    happened_at timestamptz not null
);
insert into shipment_events (shipment_id, event, happened_at)
select (1 + (i * 3) % 6000)::text, (array['picked', 'moved', 'delivered'])[1 + (random() * 2)::int], timestamptz '2023-01-05' + i * interval '20 minutes'
from generate_series(1, 9000) i;

create table carts (
    id bigint generated always as identity primary key,
    customer_id bigint,
    contents jsonb not null,
    items_count int not null,
    updated_at timestamptz not null
);
insert into carts (customer_id, contents, items_count, updated_at)
select case when i % 3 > 0 then 1 + (i * 17) % 6000 end,
       jsonb_build_object('channel', 'web', 'lines', (select jsonb_agg(jsonb_build_object('product', 1 + (i + n) % 2000, 'count', n, 'added', to_char(timestamp '2024-01-01' + n * interval '1 day', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))) from generate_series(1, 1 + i % 3) n)),
       1 + i % 3, timestamptz '2024-01-01' + i * interval '10 minutes'
from generate_series(1, 2500) i;

create table wishlists (id bigint generated always as identity primary key, customer_id bigint not null references customers, name text not null);
insert into wishlists (customer_id, name) select 1 + (i * 19) % 6000, 'List ' || i from generate_series(1, 900) i;

create table wishlist_items (
    wishlist_id bigint not null references wishlists,
    product_id bigint not null,
    primary key (wishlist_id, product_id)
);
insert into wishlist_items select 1 + i % 900, 1 + (i * 23) % 2000 from generate_series(1, 2600) i on conflict do nothing;

create table reviews (
    id bigint generated always as identity primary key,
    product_id bigint not null references products,
    customer_id bigint not null references customers,
    rating int not null,
    body text not null,
    is_spam boolean not null,
    reviewed_date timestamptz not null
);
insert into reviews (product_id, customer_id, rating, body, is_spam, reviewed_date)
select 1 + (i * 29) % 2000, 1 + (i * 31) % 6000, 1 + i % 5, 'Good, cheap, fast' || repeat('. I would buy it again, and again', i % 3), i % 90 = 0, timestamptz '2023-05-01' + i * interval '3 hours'
from generate_series(1, 4000) i;
create index reviews_product on reviews (product_id);
create index reviews_product_id_idx on reviews (product_id);
create index on reviews (customer_id);
create index reviews_spam on reviews (is_spam);

create table coupons (code text primary key, discount_percent int not null, starts_at timestamptz not null, ends_at timestamptz not null);
insert into coupons select 'SAVE' || i, 5 + i % 40, timestamptz '2023-01-01' + i * interval '1 day', timestamptz '2023-02-01' + i * interval '1 day' from generate_series(1, 150) i;

create table coupon_redemptions (coupon_code text not null, order_id bigint not null, redeemed_at timestamptz not null);
insert into coupon_redemptions select 'SAVE' || (1 + (i * 7) % 150), case when i % 50 = 0 then 800000 + i else i end, timestamptz '2023-01-02' + i * interval '50 minutes' from generate_series(1, 2000) i;
alter table coupon_redemptions add constraint coupon_redemptions_order foreign key (order_id) references orders not valid;
create index on coupon_redemptions (order_id);

create table gift_cards (
    id bigint generated always as identity primary key,
    code text not null unique,
    balance money not null,
    currency char(3) not null references currencies,
    issued_at timestamptz not null
);
insert into gift_cards (code, balance, currency, issued_at)
select 'GC' || md5(i::text), (i % 200)::numeric::money, 'EUR', timestamptz '2023-01-01' + i * interval '7 hours' from generate_series(1, 800) i;

create table comments (
    id bigint generated always as identity primary key,
    subject_type text not null,
    subject_id bigint not null,
    customer_id bigint not null references customers,
    body text not null,
    created_at timestamptz not null
);
insert into comments (subject_type, subject_id, customer_id, body, created_at)
select (array['Product', 'Order', 'Review'])[1 + (random() * 2)::int], 1 + (i * 41) % 1900, 1 + (i * 43) % 6000, 'Thanks, all fine ' || i, timestamptz '2023-06-01' + i * interval '1 hour'
from generate_series(1, 2400) i;
create index on comments (customer_id);

create table campaigns (
    id bigint generated always as identity primary key,
    name text not null,
    channels text not null,
    created_by bigint not null,
    price_list_id bigint not null,
    budget_q1 numeric not null, budget_q2 numeric not null, budget_q3 numeric not null, budget_q4 numeric not null,
    created_at timestamptz not null
);
insert into campaigns (name, channels, created_by, price_list_id, budget_q1, budget_q2, budget_q3, budget_q4, created_at)
select 'Campaign ' || i, (array['email', 'email;sms', 'sms;push;email', 'push'])[1 + (random() * 3)::int], 1 + (i * 5) % 600, 1 + i % 12,
       (random() * 900)::int, (random() * 900)::int, (random() * 900)::int, (random() * 900)::int, timestamptz '2023-01-01' + i * interval '1 day'
from generate_series(1, 240) i;

create table price_lists (
    id bigint generated always as identity primary key,
    name text not null,
    currency char(3) not null references currencies,
    campaign_id bigint not null references campaigns,
    valid_from date not null,
    valid_to date
);
insert into price_lists (name, currency, campaign_id, valid_from, valid_to)
select 'List ' || i, (array['EUR', 'USD'])[1 + i % 2], i, date '2023-01-01' + i * 30, case when i < 9 then date '2023-02-01' + i * 30 end from generate_series(1, 12) i;
alter table campaigns add constraint campaigns_price_list foreign key (price_list_id) references price_lists;

create table price_list_entries (
    price_list_id bigint not null references price_lists,
    product_id bigint not null references products,
    product_name text not null,
    price numeric(10, 2) not null,
    primary key (price_list_id, product_id)
);
insert into price_list_entries select l, p.id, p.name, p.price + l from generate_series(1, 12) l join products p on p.id <= 500;
create index on price_list_entries (product_id);

create table invoices (
    id bigint generated always as identity primary key,
    order_id bigint not null references orders,
    number text not null unique,
    lines json not null,
    net numeric(12, 2) not null,
    tax numeric(12, 2) not null,
    gross numeric(12, 2) not null,
    sha256 text not null,
    issued_at timestamp not null
);
insert into invoices (order_id, number, lines, net, tax, gross, sha256, issued_at)
select i, 'INV-' || (100000 + i),
       (select json_agg(json_build_object('text', 'Line ' || n, 'amount', round((n * 7.25)::numeric, 2), 'account', lpad((4000 + n)::text, 6, '0'))) from generate_series(1, 2 + i % 3) n),
       n, t, n + t, md5(i::text) || md5((i + 1)::text), timestamp '2023-01-04' + i * interval '45 minutes'
from (select i, round((random() * 300)::numeric, 2) as n, round((random() * 60)::numeric, 2) as t from generate_series(1, 5000) i) g;
create index on invoices (order_id);

create table webhook_events (
    id bigint generated always as identity primary key,
    topic text not null,
    source_id text not null,
    status int not null,
    attempts int not null,
    payload jsonb not null,
    received_at timestamptz not null
);
create index w1 on webhook_events (topic);
create index w2 on webhook_events (source_id);
create index w3 on webhook_events (status, attempts);
create index w4 on webhook_events (attempts, topic);
create index w5 on webhook_events (received_at);
create index w6 on webhook_events (topic, status, received_at);
create index w7 on webhook_events (source_id, status, topic);
create index w8 on webhook_events (received_at desc, attempts);
insert into webhook_events (topic, source_id, status, attempts, payload, received_at)
select 'topic.' || i % 7, 'evt_' || md5(i::text), 200 + i % 4, i % 3,
       case i % 3 when 0 then jsonb_build_object('rows', jsonb_build_array(jsonb_build_object('a', i), jsonb_build_object('a', i + 1)))
                  when 1 then jsonb_build_object('customer', i) else jsonb_build_object('error', 'none') end,
       timestamptz '2023-01-01' + i * interval '30 minutes'
from generate_series(1, 12000) i;

create table sessions (
    id uuid primary key,
    customer_id bigint not null references customers,
    device_id text not null,
    user_agent text not null,
    expires_at timestamp not null
);
insert into sessions select md5(i::text)::uuid, 1 + (i * 3) % 6000, 'dev-' || (700000 + (i * 7) % 9000), (array['Mozilla/5.0 (X11; Linux x86_64; rv:' || (random() * 9)::int || ')', 'curl/7.88'])[1 + random()::int], timestamp '2024-01-01' + i * interval '1 minute' from generate_series(1, 22000) i;
create index on sessions (customer_id);

create table product_links (
    entity0 bigint not null references products,
    entity1 bigint not null references products,
    kind text not null,
    primary key (entity0, entity1)
);
insert into product_links select 1 + i % 2000, 1 + (i * 7 + 3) % 2000, (array['similar', 'spare'])[1 + i % 2] from generate_series(1, 2500) i on conflict do nothing;
create index on product_links (entity1);

create table tax_rate (
    id bigint generated always as identity primary key,
    country_code char(2) not null references countries,
    region text not null,
    zone text not null,
    rate double precision not null
);
insert into tax_rate (country_code, region, zone, rate)
select 'A' || chr(65 + i % 20), 'Region ' || i % 12, 'Zone ' || (i % 12) % 2, 0.05 + (i % 5) * 0.04 from generate_series(1, 36) i;

create table settings (key text primary key, value text not null);
insert into settings select 'setting.' || i, i::text from generate_series(1, 40) i;

create table legacy_contacts (
    id bigint generated always as identity primary key,
    legacy_customer_id int,
    name text not null
);
do $$ begin
  for i in 1..42 loop
    execute format('alter table shop.legacy_contacts add %I text', (array['fax', 'telex', 'pager', 'nickname', 'title', 'suffix', 'company', 'division', 'hobby', 'spouse', 'car', 'assistant', 'region', 'segment', 'remark', 'origin', 'channel', 'language', 'birthplace', 'employer', 'website', 'skype', 'icq', 'msn', 'twitter', 'blog', 'club', 'bank', 'broker', 'notary', 'doctor', 'lawyer', 'agent', 'manager', 'editor', 'tutor', 'coach', 'mentor', 'sponsor', 'patron', 'guild', 'order_form'])[i]);
  end loop;
end $$;
insert into legacy_contacts (legacy_customer_id, name, fax, company) select 1 + (i * 7) % 900, 'Contact ' || i, case when i % 9 = 0 then '+49' || i end, case when i % 2 = 0 then 'Company ' || i end from generate_series(1, 1500) i;

create table products_backup_20210105 as select * from products where id <= 500;

create table "AuditTrail" (
    id int generated always as identity primary key,
    "tableName" text not null,
    action text not null,
    "createdAt" bigint not null
);
insert into "AuditTrail" ("tableName", action, "createdAt") select (array['orders', 'products'])[1 + i % 2], (array['insert', 'update'])[1 + i % 2], 1680000000000 + i * 60000 from generate_series(1, 1500) i;
select setval(pg_get_serial_sequence('shop."AuditTrail"', 'id'), 1900000000);

-- Indexes that look superfluous and are not, and some that are.
create index customers_email_created_at on customers (email, created_at);
create index customers_active_created_at on customers (is_active, created_at);
create index customers_new on customers (created_at) where is_active;
create index customers_country on customers (country_code);
create index addresses_customer on addresses (customer_id);
create index addresses_country on addresses (country_code);
create index addresses_city on addresses (city);
create index addresses_city_down on addresses (city desc);
create index on products (category_id);
create index on product_images (product_id);
create index on product_attributes (product_id);
create index orders_currency on orders (currency);
create index on orders (status) where status = 'new';

delete from sessions where customer_id % 3 <> 0;
analyze;
