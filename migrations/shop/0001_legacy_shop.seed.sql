-- Rows on which `crossfade migrate check` proves the later migrations.

insert into legacy.customers (id, email, full_name, phone, created_at) values
    (1, 'ada@example.com', 'Ada Müller', '+49 30 100001', 1500000000),
    (2, 'bjorn@example.com', 'Björn O''Brien', null, 0),
    (3, 'before@example.com', 'Éva Novák', null, -86400);

insert into legacy.addresses (customer_id, street, zip, city, country) values
    (1, 'Street 1', '10115', 'Berlin', 'DE');

insert into legacy.products (sku, title, price_cents, tags) values
    ('SKU-1', 'Product 1', 1990, 'new,sale'),
    ('SKU-2', 'Product 2', 500, null);

insert into legacy.orders (id, customer_id, status, created_at, shipped_at, total_cents, note, items) values
    (1, 1, 'shipped', 1709296496, '2024-03-01 13:34:56', 2490, null,
     '[{"sku": "SKU-1", "qty": 1, "unit_cents": 1990}, {"sku": "SKU-2", "qty": 1, "unit_cents": 500}]'),
    (2, 2, 'new', 1709296497, null, 0, 'ring twice', '[]');

insert into legacy.payments (id, order_id, method, amount_cents, paid_at) values
    (1, 1, 'card', 2490, '2024-02-29 23:59:59'),
    (2, 2, 'invoice', 0, null);

insert into legacy.shipments (order_id, carrier, tracking, shipped_at) values
    (1, 'DHL', 'a1b2', '2024-03-01 13:34:56'),
    (1, 'UPS', null, '1969-12-31 00:00:00');
