-- Subscriptions and their bills: singular names, uuids for what customers see, numbers for
-- the rest, amounts in cents.
select setseed(0.3);
-- A number below n that looks random and is the same everywhere.
create function h(i int, salt int, n int) returns int language sql immutable as $$ select (hashint4(i # salt * 7919) & 2147483647) % n $$;
create schema app;
set search_path = app, public;

create table currency (code char(3) primary key, name text not null, minor_digits int not null);
insert into currency values ('EUR', 'Euro', 2), ('USD', 'US dollar', 2), ('GBP', 'Pound', 2), ('CHF', 'Franc', 2), ('JPY', 'Yen', 0), ('SEK', 'Krona', 2), ('NOK', 'Krone', 2), ('DKK', 'Krone', 2);

create table organization (
    id uuid primary key,
    slug text not null unique,
    name text not null,
    parent_id uuid references organization,
    stripe_customer_id text,
    country_code char(2) not null,
    billing_currency char(3) not null references currency,
    address_line1 text not null,
    address_line2 text,
    postal_code text not null,
    city text not null,
    feature_flags text not null,
    seat_count int not null,
    phone bigint,
    created_at timestamptz not null
);
insert into organization
select md5('org' || i)::uuid, 'org-' || i, 'Organization ' || i, case when h(i, 20, 20) = 0 then md5('org' || i - 7)::uuid end, 'cus_' || md5('s' || i),
       (array['DE', 'US', 'GB', 'CH', 'JP', 'SE'])[1 + h(i, 6, 6)],
       case when h(i, 11, 11) = 0 then 'USD' else (array['EUR', 'USD', 'GBP', 'CHF', 'JPY', 'SEK'])[1 + h(i, 6, 6)] end,
       i || ' Main Street', case when h(i, 4, 4) = 0 then 'Floor ' || h(i, 9, 9) end, 'Z' || lpad((h(i, 140, 140))::text, 4, '0'), 'Town ' || h(i, 140, 140),
       (array['beta', 'beta,sso', 'sso,audit,exports', 'exports', 'audit,beta'])[1 + (random() * 4)::int],
       1 + (random() * 80)::int, 1555000000 + (random() * 9000000)::int, timestamptz '2021-01-01' + i * interval '17 hours'
from generate_series(1, 1500) i;

create table organization_profile (
    organization_id uuid primary key references organization,
    legal_name text not null,
    contact_email_1 text not null,
    contact_email_2 text,
    contact_email_3 text,
    employees_band text not null,
    utm_source text
);
insert into organization_profile
select id, name || ' Ltd.', 'a@' || slug || '.example', case when seat_count % 3 > 0 then 'b@' || slug || '.example' end,
       case when seat_count % 7 = 0 then 'c@' || slug || '.example' end, (array['1-9', '10-49', '50+'])[1 + seat_count % 3], (array['ads', 'mail', null])[1 + seat_count % 3]
from organization;

create table app_user (
    id uuid primary key,
    organization_id uuid not null references organization,
    email text not null unique,
    given_name text not null,
    family_name text not null,
    full_name text not null,
    locale text not null,
    time_zone text not null,
    is_admin boolean not null,
    sha256_1 text,
    created_at timestamptz not null,
    updated_at timestamptz not null
);
insert into app_user
select md5('user' || i)::uuid, md5('org' || 1 + h(i, 7, 1500))::uuid, 'u' || i || '@example.org', g, f, g || ' ' || f,
       (array['de-DE', 'en-US', 'en-GB', 'fr-CH'])[1 + h(i, 4, 4)], (array['Europe/Berlin', 'America/New_York', 'Europe/London', 'Europe/Zurich'])[1 + h(i, 3, 4)], h(i, 9, 9) = 0, md5('pw' || i),
       timestamptz '2021-02-01' + i * interval '3 hours', timestamptz '2023-02-01' + i * interval '1 hour'
from (select i, 'Given' || h(i, 90, 90) as g, 'Family' || h(i, 7, 400) as f from generate_series(1, 4000) i) s;
create index app_user_organization on app_user (organization_id);
create index app_user_admin on app_user (is_admin, organization_id);

create table role (code text primary key, title text not null);
insert into role values ('owner', 'Owner'), ('billing', 'Billing'), ('member', 'Member'), ('viewer', 'Viewer');

create table membership (
    organization_id uuid not null references organization,
    user_id uuid not null references app_user,
    role_code text not null references role,
    invited_by uuid,
    joined_at timestamptz not null,
    primary key (organization_id, user_id)
);
insert into membership
select organization_id, id, (array['owner', 'billing', 'member', 'viewer'])[1 + (random() * 3)::int],
       case when random() < 0.8 then md5('user' || 1 + (random() * 3999)::int)::uuid end, created_at
from app_user;
create index membership_user on membership (user_id);

create table plan (
    id int primary key,
    code text not null unique,
    name text not null,
    interval_unit text not null,
    price_cents bigint not null,
    is_public boolean not null
);
insert into plan select i * 10, 'plan_' || i, 'Plan ' || chr(64 + i), (array['month', 'year'])[1 + h(i, 2, 2)], i * 1900, h(i, 3, 3) > 0 from generate_series(1, 24) i;

create table plan_feature (plan_id int not null references plan, feature_key text not null, limit_value int, primary key (plan_id, feature_key));
insert into plan_feature select i * 10, f, (random() * 1000)::int from generate_series(1, 24) i, unnest(array['seats', 'projects', 'exports', 'api_calls']) f;

create table price (plan_code text not null, currency char(3) not null references currency, unit_cents bigint not null, primary key (plan_code, currency));
insert into price select 'plan_' || i, code, i * 1900 + length(name) from generate_series(1, 24) i, currency;

create table price_tier (
    plan_code text not null,
    currency char(3) not null,
    up_to int not null,
    unit_cents bigint not null,
    primary key (plan_code, currency, up_to)
);
insert into price_tier select plan_code, currency, n * 100, unit_cents - n from price, generate_series(1, 6) n;

create table subscription (
    id bigint generated always as identity primary key,
    organization_id uuid not null references organization,
    plan_id int not null,
    plan_name text not null,
    unit_price_cents bigint not null,
    quantity int not null,
    status text not null,
    external_subscription_id text not null,
    current_period_start timestamptz not null,
    current_period_end timestamptz not null,
    canceled_at timestamptz,
    created_at timestamptz not null,
    updated_at timestamptz not null
);
insert into subscription (organization_id, plan_id, plan_name, unit_price_cents, quantity, status, external_subscription_id, current_period_start, current_period_end, canceled_at, created_at, updated_at)
select md5('org' || 1 + h(i, 11, 1500))::uuid, p * 10, 'Plan ' || chr(64 + p), p * 1900 - (i / 500) * 100, 1 + (random() * 40)::int,
       (array['active', 'trialing', 'past due', 'canceled'])[1 + (random() * 3)::int], 'sub_' || md5('x' || i),
       t, t + interval '1 month', case when h(i, 5, 5) = 0 then t end, t, t
from (select i, 1 + h(i, 13, 24) as p, timestamptz '2023-01-01' + i * interval '2 hours' as t from generate_series(1, 3000) i) s;
create index subscription_organization on subscription (organization_id);
create index subscription_org_status on subscription (organization_id, status);
create index subscription_open on subscription (current_period_end) where canceled_at is null;

create table meter (id bigint generated always as identity primary key, code text not null unique, title text not null, unit text not null);
insert into meter (code, title, unit) select 'meter.' || i, 'Meter ' || i, (array['call', 'GB', 'seat'])[1 + h(i, 3, 3)] from generate_series(1, 45) i;

create table usage_record (
    id int generated by default as identity primary key,
    subscription_id bigint not null references subscription,
    meter_code text not null,
    quantity numeric not null,
    recorded_at timestamptz not null,
    idempotency_key uuid not null unique,
    created_at bigint not null
);
insert into usage_record (id, subscription_id, meter_code, quantity, recorded_at, idempotency_key, created_at)
select 2050000000 + i, 1 + h(i, 17, 3000), 'meter.' || 1 + h(i, 7, 45), round((random() * 50)::numeric, 3), timestamptz '2024-01-01' + i * interval '7 minutes',
       md5('idem' || i)::uuid, 1704067200000 + i * 420000::bigint
from generate_series(1, 9000) i;
select setval(pg_get_serial_sequence('usage_record', 'id'), 2050009000);
create index usage_record_subscription on usage_record (subscription_id);

create table usage_rollup (organization_id uuid not null references organization, day date not null, calls bigint not null, gigabytes numeric not null, primary key (organization_id, day));
insert into usage_rollup select md5('org' || 1 + i % 1500)::uuid, date '2024-01-01' + i / 1500, (random() * 9000)::int, random() * 30 from generate_series(0, 2999) i;

create table invoice (
    id bigint generated always as identity primary key,
    number text not null unique,
    organization_id uuid not null references organization,
    subscription_id bigint,
    period text not null,
    subtotal_cents bigint not null,
    tax_cents bigint not null,
    total_cents bigint not null,
    adjustments jsonb not null,
    snapshot jsonb not null,
    attempt_count int not null,
    memo text,
    due_date date not null,
    created_at timestamptz not null,
    updated_at timestamptz not null
);
insert into invoice (number, organization_id, subscription_id, period, subtotal_cents, tax_cents, total_cents, adjustments, snapshot, attempt_count, memo, due_date, created_at, updated_at)
select 'INV-2024-' || lpad(i::text, 6, '0'), md5('org' || 1 + h(i, 11, 1500))::uuid, case when h(i, 130, 130) = 0 then 90000 + i when h(i, 8, 8) > 0 then 1 + h(i, 19, 3000) end,
       '2024-' || lpad((1 + h(i, 12, 12))::text, 2, '0'), s, x, s + x,
       jsonb_build_object('version', 2, 'entries', (select jsonb_agg(jsonb_build_object('reason', 'goodwill ' || n, 'cents', n * 100, 'approved', n % 2 = 0)) from generate_series(1, 1 + h(i, 3, 3)) n)),
       jsonb_build_object('lines', jsonb_build_array(jsonb_build_object('sku', 'a', 'qty', i), jsonb_build_object('sku', 'b', 'qty', 2))),
       (random() * 4)::int, case when h(i, 3, 3) = 0 then 'Please pay on time, thank you; see the terms' end, date '2024-01-15' + h(i, 360, 360), timestamptz '2024-01-01' + i * interval '1 hour', timestamptz '2024-01-02' + i * interval '1 hour'
from (select i, 1000 + (random() * 90000)::int as s, (random() * 9000)::int as x from generate_series(1, 5000) i) g;
create index invoice_organization on invoice (organization_id);
create index invoice_org_again on invoice (organization_id);

create table invoice_line (
    id bigint generated always as identity primary key,
    invoice_id bigint not null references invoice,
    product_code text not null,
    product_title text not null,
    quantity int not null,
    unit_cents bigint not null
);
insert into invoice_line (invoice_id, product_code, product_title, quantity, unit_cents)
select 1 + h(i, 5000, 5000), 'PR-' || p, 'Product number ' || p, 1 + (random() * 9)::int, 100 + (random() * 5000)::int
from (select i, h(i, 31, 60) as p from generate_series(0, 11999) i) g;

create table invoice_bak_20230401 (id bigint, number text, organization_id uuid, subscription_id bigint, period text, subtotal_cents bigint, tax_cents bigint, total_cents bigint, adjustments jsonb, snapshot jsonb, attempt_count int, memo text, due_date date, created_at timestamptz, updated_at timestamptz);
insert into invoice_bak_20230401 select * from invoice where id < 500;

create table credit_note (
    id bigint generated always as identity primary key,
    invoice_number text not null,
    reason text not null,
    amount_cents bigint not null,
    created_at timestamptz not null
);
insert into credit_note (invoice_number, reason, amount_cents, created_at)
select 'INV-2024-' || lpad((1 + h(i, 29, 5000))::text, 6, '0'), (array['refund', 'goodwill', 'error'])[1 + h(i, 3, 3)], 100 + i, timestamptz '2024-03-01' + i * interval '5 hours'
from generate_series(1, 700) i;

-- Ledger accounts came with the business: the oldest entries know the first ones only.
create table account (id bigint generated always as identity primary key, login text not null unique, disabled boolean not null, created_at timestamptz not null);
insert into account (login, disabled, created_at) select 'login' || i, h(i, 30, 30) = 0, timestamptz '2020-01-01' + i * interval '1 day' from generate_series(1, 500) i;
create table ledger_account (id bigint generated always as identity primary key, title text not null, kind text not null);
insert into ledger_account (title, kind) select 'Ledger account ' || i, (array['asset', 'liability', 'revenue'])[1 + h(i, 3, 3)] from generate_series(1, 2400) i;
create table ledger_entry (
    id bigint generated always as identity primary key,
    account_id bigint not null,
    debit_cents bigint not null,
    credit_cents bigint not null,
    booked_at timestamptz not null
);
insert into ledger_entry (account_id, debit_cents, credit_cents, booked_at)
select 1 + (random() * least(i / 3, 2398))::int, case when h(i, 2, 2) = 0 then i * 3 else 0 end, case when h(i, 2, 2) = 1 then i * 3 else 0 end, timestamptz '2022-01-01' + i * interval '1 hour'
from generate_series(1, 9000) i;

create table payment_method (
    id bigint generated always as identity primary key,
    organization_id uuid not null references organization,
    brand text not null,
    last4 char(4) not null,
    exp_month int not null,
    exp_year int not null,
    created_at timestamptz not null
);
insert into payment_method (organization_id, brand, last4, exp_month, exp_year, created_at)
select id, (array['visa', 'amex', 'mc'])[1 + seat_count % 3], lpad((seat_count * 97 % 10000)::text, 4, '0'), 1 + seat_count % 12, 2025 + seat_count % 5, created_at from organization;
create index payment_method_organization on payment_method (organization_id);

create table wallet (id bigint generated always as identity primary key, payment_method_id bigint references payment_method, balance money not null);
insert into wallet (payment_method_id, balance) select i, (random() * 500)::numeric::money from generate_series(1, 400) i;
create index wallet_payment_method on wallet (payment_method_id);

create table payment_attempt (
    id bigint generated always as identity primary key,
    invoice_id bigint not null references invoice on delete cascade,
    payment_method bigint not null,
    amount_cents bigint not null,
    gateway_reference text not null,
    request_id uuid not null,
    succeeded boolean not null,
    created_at text not null
);
insert into payment_attempt (invoice_id, payment_method, amount_cents, gateway_reference, request_id, succeeded, created_at)
select 1 + h(i, 3, 5000), 1 + h(i, 7, 1500), 100 + (random() * 9000)::int, 'ch_' || md5('g' || i), md5('req' || i)::uuid, h(i, 8, 8) > 0, to_char(timestamp '2024-01-01' + i * interval '90 minutes', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
from generate_series(1, 6000) i;
create index payment_attempt_invoice on payment_attempt (invoice_id);
alter table payment_attempt add constraint payment_attempt_invoice_again foreign key (invoice_id) references invoice (id) on delete cascade;

create table tax_jurisdiction (code text primary key, region char(24) not null, tax_rate double precision not null);
insert into tax_jurisdiction select 'TX' || lpad(i::text, 3, '0'), 'Region ' || i, (h(i, 25, 25)) / 100.0 from generate_series(1, 80) i;

create table tax_line (
    id bigint generated always as identity primary key,
    invoice_id bigint not null,
    jurisdiction text not null,
    tax_cents bigint not null
);
insert into tax_line (invoice_id, jurisdiction, tax_cents) select 1 + h(i, 5000, 5000), 'TX' || lpad((1 + h(i, 7, 80))::text, 3, '0'), (random() * 900)::int from generate_series(1, 5000) i;
create index tax_line_invoice on tax_line (invoice_id);
alter table tax_line add constraint tax_line_invoice_fk foreign key (invoice_id) references invoice not valid;

create table coupon (id int primary key, code text not null unique, percent_off int, duration_days int not null, expires_at timestamp, created_at timestamptz not null);
insert into coupon select i, 'SAVE' || md5(i::text), h(i, 50, 50), 30 + h(i, 90, 90), timestamp '2025-01-01' + i * interval '1 day', timestamptz '2024-01-01' + i * interval '1 hour' from generate_series(1, 300) i;

create table discount (id bigint generated always as identity primary key, subscription_id bigint not null references subscription, coupon_id int not null references coupon, amount_off double precision not null, started_at timestamptz not null);
insert into discount (subscription_id, coupon_id, amount_off, started_at) select 1 + h(i, 5, 3000), 1 + h(i, 300, 300), round((random() * 50)::numeric, 2), timestamptz '2024-02-01' + i * interval '1 hour' from generate_series(1, 900) i;

create table email_template (id int primary key, subject text not null, body text not null);
insert into email_template select i, 'Subject ' || i, 'Dear customer, we are sorry; pay soon, please. ' || i from generate_series(1, 60) i;

create table dunning_step (
    id bigint generated always as identity primary key,
    invoice_id bigint not null references invoice,
    email_template_id text not null,
    step_no int not null,
    sent_at timestamptz not null
);
insert into dunning_step (invoice_id, email_template_id, step_no, sent_at)
select 1 + h(i, 3, 5000), (1 + h(i, 7, 60))::text, 1 + h(i, 4, 4), timestamptz '2024-04-01' + i * interval '2 hours' from generate_series(1, 2500) i;
create index dunning_step_invoice on dunning_step (invoice_id);

create table ticket (
    id bigint generated always as identity primary key,
    organization_id uuid not null references organization,
    subject text not null,
    description text not null,
    priority int not null,
    assigned_to uuid,
    merged_into_id bigint,
    status text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null
);
insert into ticket (organization_id, subject, description, priority, assigned_to, merged_into_id, status, created_at, updated_at)
select md5('org' || 1 + h(i, 3, 1500))::uuid, 'Invoice, wrong amount ' || i, 'It is wrong, as I said before, and late; please mend it.', 1 + h(i, 5, 5),
       case when h(i, 4, 4) > 0 then md5('user' || 1 + (random() * 3999)::int)::uuid end, case when h(i, 10, 10) = 0 then 1 + (i * 7) % (i - 1) end, (array['open', 'in progress', 'on hold', 'done'])[1 + (random() * 3)::int],
       timestamptz '2024-01-01' + i * interval '1 hour', timestamptz '2024-05-01' + (h(i, 37, 6000)) * interval '1 hour'
from generate_series(2, 6001) i;
create index ticket_organization on ticket (organization_id);

create table attachment (
    id bigint generated always as identity primary key,
    attachable_type text not null,
    attachable_id bigint not null,
    file_name text not null,
    byte_size bigint not null,
    created_at timestamptz not null
);
insert into attachment (attachable_type, attachable_id, file_name, byte_size, created_at)
select (array['Ticket', 'Invoice'])[1 + h(i, 2, 2)], 1 + h(i, 7, 5000), 'file' || i || '.pdf', 1000 + i, timestamptz '2024-01-01' + i * interval '1 hour' from generate_series(1, 3000) i;

create table api_key (
    id bigint generated always as identity primary key,
    organization_id uuid not null references organization,
    owner uuid not null,
    prefix text not null,
    scopes text not null,
    last_used_ip text,
    created_at timestamptz not null
);
insert into api_key (organization_id, owner, prefix, scopes, last_used_ip, created_at)
select md5('org' || 1 + h(i, 3, 1500))::uuid, md5('user' || 1 + h(i, 13, 4000))::uuid, substr(md5('k' || i), 1, 8),
       (array['invoices:read', 'invoices:read invoices:write', 'invoices:read customers:read customers:write', 'customers:read', 'usage:write customers:read'])[1 + (random() * 4)::int],
       '10.0.' || h(i, 250, 250) || '.' || h(i, 7, 250), timestamptz '2024-01-01' + i * interval '1 hour'
from generate_series(1, 1800) i;
create index api_key_organization on api_key (organization_id);

create table change_request (
    id bigint generated always as identity primary key,
    subscription_id bigint not null references subscription,
    wanted_plan_id int not null references plan,
    approvals jsonb not null,
    created_at timestamptz not null
);
insert into change_request (subscription_id, wanted_plan_id, approvals, created_at)
select 1 + h(i, 7, 3000), 10 * (1 + h(i, 24, 24)), (select jsonb_agg(jsonb_build_object('approver', 'u' || n * h(i, 4000, 4000) || '@example.org', 'decision', (array['yes', 'no'])[1 + n % 2], 'decided_at', '2024-05-0' || 1 + n || 'T10:00:00Z')) from generate_series(1, 1 + h(i, 4, 4)) n), timestamptz '2024-04-01' + i * interval '3 hours'
from generate_series(1, 1500) i;
create index change_request_subscription on change_request (subscription_id);
create index change_request_plan on change_request (wanted_plan_id);

create table calendar_event (
    id bigint generated always as identity primary key,
    organization_id uuid not null references organization,
    title text not null,
    attendees jsonb not null,
    starts_at timestamptz not null,
    ends_at timestamptz not null
);
insert into calendar_event (organization_id, title, attendees, starts_at, ends_at)
select md5('org' || 1 + h(i, 3, 1500))::uuid, 'Review ' || i, (select jsonb_agg(jsonb_build_object('email', 'u' || n * h(i, 4000, 4000) || '@example.org', 'rsvp', (array['yes', 'no', 'maybe'])[1 + n % 3], 'optional', n > 2)) from generate_series(1, 1 + h(i, 5, 5)) n), timestamptz '2024-04-01' + i * interval '3 hours', timestamptz '2024-04-01' + i * interval '3 hours' + interval '1 hour'
from generate_series(1, 1200) i;
create index calendar_event_organization on calendar_event (organization_id);

create table customer_custom_field (
    id bigint generated always as identity primary key,
    organization_id uuid not null references organization,
    field_name text not null,
    field_value text not null
);
insert into customer_custom_field (organization_id, field_name, field_value)
select md5('org' || o)::uuid, f, f || o % 11 from generate_series(1, 1200) o, unnest(array['segment', 'region', 'csm', 'vat number']) f;
create index customer_custom_field_organization on customer_custom_field (organization_id);

create table login_attempt (
    organization_id text not null,
    email text not null,
    ip text not null,
    user_agent text not null,
    succeeded boolean not null,
    created_at timestamptz not null
);
insert into login_attempt
select md5('org' || 1 + h(i, 3, 1500))::uuid::text, 'u' || 1 + h(i, 7, 6000) || '@example.org', '10.0.' || h(i, 250, 250) || '.' || h(i, 7, 250), 'Mozilla/5.0 (X11; Linux x86_64; rv:' || h(i, 90, 90) || ')', h(i, 5, 5) > 0, timestamptz '2024-01-01' + i * interval '11 minutes'
from generate_series(1, 7000) i;

create table audit_log (id bigint generated always as identity primary key, actor_id uuid references app_user, table_name text not null, row_id text not null, changes jsonb not null, created_at timestamptz not null);
insert into audit_log (actor_id, table_name, row_id, changes, created_at)
select md5('user' || 1 + h(i, 4000, 4000))::uuid, (array['invoice', 'ticket', 'plan'])[1 + h(i, 3, 3)], i::text, jsonb_build_array(jsonb_build_object('field', 'status', 'old', 'a', 'new', 'b'), jsonb_build_object('field', 'memo', 'old', 'c', 'new', 'd')), timestamptz '2024-01-01' + i * interval '5 minutes'
from generate_series(1, 3000) i;
create index audit_log_actor on audit_log (actor_id);

create table "webhookDelivery" (id bigint generated always as identity primary key, "targetUrl" text not null, payload jsonb not null, http_status int, created_at timestamptz not null);
insert into "webhookDelivery" ("targetUrl", payload, http_status, created_at)
select 'https://hooks.example.com/' || i, jsonb_build_object('type', 'invoice.paid', 'items', jsonb_build_array(jsonb_build_object('sku', 'a', 'qty', i), jsonb_build_object('sku', 'b', 'qty', 2))), (array[200, 500, null])[1 + h(i, 3, 3)], timestamptz '2024-01-01' + i * interval '5 minutes'
from generate_series(1, 2000) i;

create table setting (key text primary key, value text not null);
insert into setting select 'setting.' || i, 'value ' || i from generate_series(1, 40) i;

create table exchange_rate (base char(3) not null references currency, quote char(3) not null references currency, day date not null, rate double precision not null, primary key (base, quote, day));
insert into exchange_rate select a.code, b.code, date '2024-01-01' + d, 0.5 + random() from currency a, currency b, generate_series(0, 29) d where a.code <> b.code;

create table deployment (id bigint generated always as identity primary key, build_number int not null, version text not null, day_1_errors int, day_7_errors int, started_at timestamptz not null);
insert into deployment (build_number, version, day_1_errors, day_7_errors, started_at) select 20230000 + i * 7, '1.' || h(i, 40, 40) || '.' || i, h(i, 4, 4), h(i, 6, 6), timestamptz '2023-01-01' + i * interval '1 day' from generate_series(1, 600) i;

alter table organization add column default_payment_method_id bigint;
update organization o set default_payment_method_id = (select min(id) from payment_method p where p.organization_id = o.id);
alter table organization alter column default_payment_method_id set not null;
alter table organization add constraint organization_default_method foreign key (default_payment_method_id) references payment_method;
create index organization_default_method on organization (default_payment_method_id);
analyze;
