-- A freight forwarder grown over twenty years: keys called after their table, codes of the
-- trade as natural keys, days as numbers, few references declared.
select setseed(0.9);
-- A number below n that looks random and is the same everywhere.
create function h(i int, salt int, n int) returns int language sql immutable as $$ select (hashint4(i # salt * 7919) & 2147483647) % n $$;

create table party (
    party_id int generated always as identity (start with 1000 increment by 7) primary key,
    party_name text not null,
    vat_no text,
    street text not null,
    postcode text not null,
    city char(30) not null,
    country_code char(2) not null,
    credit_limit numeric(12, 2) not null
);
insert into party (party_name, vat_no, street, postcode, city, country_code, credit_limit)
select 'Party ' || i, case when h(i, 5, 5) > 0 then 'DE' || 100000000 + i * 37 end, i || ' Dock Road', lpad((10000 + h(i, 300, 300))::text, 5, '0'), 'City ' || h(i, 300, 300), (array['DE', 'NL', 'BE', 'PL'])[1 + h(i, 4, 4)], (random() * 90000)::int
from generate_series(1, 2500) i;

create table port (unlocode char(5) primary key, port_name text not null, latitude double precision not null, longitude double precision not null);
insert into port select chr(65 + i % 20) || chr(65 + i / 20 % 20) || lpad(i::text, 3, '0'), 'Port ' || i, random() * 90, random() * 90 from generate_series(1, 160) i;

create table depot (
    depot_id int generated always as identity primary key,
    depot_name text not null,
    city text not null,
    dock_count int not null,
    lead_vehicle text
);
insert into depot (depot_name, city, dock_count) select 'Depot ' || i, 'City ' || i % 37, 1 + i % 12 from generate_series(1, 60) i;

create table vehicle (
    vin text primary key,
    plate_no text not null,
    home_depot int not null references depot,
    equipment text not null,
    axle1_load int not null,
    axle2_load int not null,
    axle3_load int not null,
    fuel_rate real not null,
    specs jsonb not null,
    is_active boolean not null,
    updated_at timestamptz not null
);
insert into vehicle
select 'WDB' || lpad(i::text, 14, '0'), 'HH-' || i, 1 + h(i, 60, 60), (array['tail-lift', 'tail-lift;crane', 'gps;tail-lift;reefer', 'gps', 'crane;gps'])[1 + (random() * 4)::int],
       6000 + h(i, 900, 900), 7000 + h(i, 700, 700), 7000 + h(i, 500, 500), 20 + random() * 15, jsonb_build_object('euro_class', 6, 'tyres', jsonb_build_array('a', 'b')), h(i, 12, 12) > 0, timestamptz '2023-01-01' + i * interval '1 hour'
from generate_series(1, 700) i;
create index vehicle_depot on vehicle (home_depot);

create table vehicle_property (vehicle_property_id int generated always as identity primary key, vin text not null references vehicle, property text not null, value text not null);
insert into vehicle_property (vin, property, value) select vin, p, p || length(plate_no) from vehicle, unnest(array['colour', 'height', 'seats', 'tacho']) p;
create index vehicle_property_vin on vehicle_property (vin);

create table driver (
    driver_id int generated always as identity (start with 500 increment by 3) primary key,
    driver_name text not null,
    licence_classes text not null,
    depot_id int not null references depot,
    depot_city text not null,
    hired_on date not null,
    supervisor_id int
);
insert into driver (driver_name, licence_classes, depot_id, depot_city, hired_on, supervisor_id)
select 'Driver ' || i, (array['B', 'B,C', 'B,C,CE', 'C,CE'])[1 + (random() * 3)::int], d, 'City ' || d % 37, date '2010-01-01' + i * 3, case when i > 20 then 500 + 3 * (h(i, 20, 20)) end
from (select i, 1 + h(i, 7, 60) as d from generate_series(1, 900) i) g;
create index driver_depot on driver (depot_id);

create table "DriverShift" ("DriverShift_id" int generated always as identity primary key, driver_id int not null references driver, "startsAt" timestamptz not null, "endsAt" timestamptz not null);
insert into "DriverShift" (driver_id, "startsAt", "endsAt") select 500 + 3 * (h(i, 900, 900)), t, t + interval '9 hours' from generate_series(1, 3000) i, lateral (select timestamptz '2024-01-01' + i * interval '1 hour') s (t);
create index driver_shift_driver on "DriverShift" (driver_id);

create table warehouse (id int generated always as identity primary key, warehouse_code text not null unique, depot_id int not null references depot);
insert into warehouse (warehouse_code, depot_id) select 'WH' || lpad(i::text, 2, '0'), i from generate_series(1, 40) i;

create table storage_bin (warehouse_code text not null references warehouse (warehouse_code), bin_code text not null, max_kg int not null, primary key (warehouse_code, bin_code));
insert into storage_bin select 'WH' || lpad(w::text, 2, '0'), 'B' || b, 500 + b from generate_series(1, 40) w, generate_series(1, 50) b;

create table stock_item (
    stock_item_id bigint generated always as identity primary key,
    warehouse_code text not null,
    bin_code text not null,
    article_no text not null,
    quantity int not null,
    counted_at timestamptz not null
);
insert into stock_item (warehouse_code, bin_code, article_no, quantity, counted_at)
select 'WH' || lpad((1 + h(i, 40, 40))::text, 2, '0'), 'B' || 1 + h(i, 7, 50), 'ART' || h(i, 13, 5000), (random() * 90)::int, timestamptz '2024-01-01' + i * interval '10 minutes' from generate_series(1, 6000) i;

create table carrier (carrier_code text primary key, carrier_name text not null, scac char(4) not null);
insert into carrier select 'CA' || i, 'Carrier ' || i, chr(65 + h(i, 20, 20)) || 'XYZ' from generate_series(1, 45) i;

create table carrier_service (carrier_code text not null references carrier, service_code text not null, transit_days int not null, primary key (carrier_code, service_code));
insert into carrier_service select 'CA' || i, s, 1 + h(i, 9, 9) from generate_series(1, 45) i, unnest(array['EXP', 'STD', 'ECO']) s;

create table container (
    container_no text primary key,
    iso_type text not null,
    iso_type_description text not null,
    tare_kg int not null,
    size_feet int not null,
    parent_container_no text references container
);
insert into container select 'MSKU' || 1000000 + i * 11, 'T' || t, 'Container of type ' || t, 2000 + t * 10, (array[20, 40, 45])[1 + t % 3], case when h(i, 50, 50) = 0 then 'MSKU' || 1000011 end
from (select i, h(i, 7, 30) as t from generate_series(1, 2000) i) g;

create table shipment (
    shipment_id bigint generated always as identity primary key,
    shipment_no text not null unique,
    shipper_id int not null,
    consignee_id int not null,
    origin_port char(5) not null,
    dest_port char(5) not null,
    tariff_zone text not null,
    carrier_code text not null,
    service_code text not null,
    depot_id int,
    customer_ref text,
    seal_no text,
    status text not null,
    remark text,
    pickup_date int not null,
    updated_at timestamptz not null
);
insert into shipment (shipment_no, shipper_id, consignee_id, origin_port, dest_port, tariff_zone, carrier_code, service_code, depot_id, customer_ref, seal_no, status, remark, pickup_date, updated_at)
select 'SH' || 100000 + i, 1000 + 7 * (random() * 2499)::int, 1000 + 7 * (random() * 2499)::int, o.unlocode, d.unlocode, 'Zone ' || (ascii(o.unlocode) * 31 + ascii(substr(d.unlocode, 5)) * 17 + ascii(substr(o.unlocode, 5)) * 5) % 90,
       'CA' || 1 + h(i, 7, 45), (array['EXP', 'STD', 'ECO'])[1 + h(i, 3, 3)], case when h(i, 3, 3) > 0 then 1 + h(i, 60, 60) end, case when h(i, 2, 2) = 0 then 'PO ' || md5(i::text) end, 'S' || 500000 + i * 3,
       (array['booked', 'in transit', 'delivered', 'customs hold'])[1 + (random() * 3)::int], case when h(i, 4, 4) = 0 then 'call before arrival; gate 3, ask for Jim' end,
       (to_char(date '2023-01-01' + i / 12, 'YYYYMMDD'))::int, timestamptz '2023-01-01' + i * interval '3 hours'
from (select i, h(i, 3, 12) as a, h(i, 5, 14) as b from generate_series(1, 8000) i) g
join (select unlocode, row_number() over () - 1 as n from port) o on o.n = g.a
join (select unlocode, row_number() over () - 1 as n from port) d on d.n = 20 + g.b
order by i;
alter table shipment add constraint shipment_depot foreign key (depot_id) references depot not valid;
create index shipment_depot on shipment (depot_id);
create index shipment_status on shipment (status, updated_at);
create index shipment_status_only on shipment (status);

create table shipment_old (
    shipment_old_id bigint generated always as identity primary key,
    shipment_no text not null,
    packages jsonb not null,
    closed_on date not null
);
insert into shipment_old (shipment_no, packages, closed_on)
select 'SA' || 100000 + i, (select jsonb_agg(jsonb_build_object('kind', (array['pallet', 'crate'])[1 + n % 2], 'weight_kg', 10.5 * n + h(i, 7, 7), 'pieces', n, 'fragile', n % 2 = 0)) from generate_series(1, 1 + h(i, 4, 4)) n), date '2015-01-01' + i
from generate_series(1, 1500) i;

create table route_request (
    route_request_id bigint generated always as identity primary key,
    depot_id int not null references depot,
    stops jsonb not null,
    geometry jsonb not null,
    requested_at timestamptz not null
);
insert into route_request (depot_id, stops, geometry, requested_at)
select 1 + h(i, 60, 60), (select jsonb_agg(jsonb_build_object('city', 'City ' || (i + n) % 90, 'zip', lpad((i * n % 99999)::text, 5, '0'), 'minutes', 5 * n)) from generate_series(1, 2 + h(i, 5, 5)) n),
       jsonb_build_object('type', 'LineString', 'coordinates', jsonb_build_array(jsonb_build_array(i, 1), jsonb_build_array(2, i))), timestamptz '2024-01-01' + i * interval '1 hour'
from generate_series(1, 1300) i;
create index route_request_depot on route_request (depot_id);

create table leg (
    leg_id bigint generated always as identity primary key,
    shipment_id bigint not null references shipment,
    seq_no int not null,
    from_port char(5) not null,
    from_port_name text not null,
    to_port char(5) not null,
    distance_km double precision not null
);
insert into leg (shipment_id, seq_no, from_port, from_port_name, to_port, distance_km)
select 1 + i % 8000, 1 + i / 8000, a.unlocode, a.port_name, b.unlocode, random() * 900
from generate_series(0, 11999) i
join (select unlocode, port_name, row_number() over () - 1 as n from port) a on a.n = h(i, 7, 160)
join (select unlocode, row_number() over () - 1 as n from port) b on b.n = h(i, 11, 160)
order by i;

create table package (
    package_id bigint generated always as identity primary key,
    shipment_id bigint not null references shipment,
    length_cm int not null,
    width_cm int not null,
    height_cm int not null,
    volume_ccm bigint not null,
    weight_kg double precision not null
);
insert into package (shipment_id, length_cm, width_cm, height_cm, volume_ccm, weight_kg)
select 1 + h(i, 8000, 8000), l, w, h, l::bigint * w * h, random() * 90 from (select i, 10 + (random() * 110)::int as l, 10 + (random() * 90)::int as w, 5 + (random() * 120)::int as h from generate_series(1, 7000) i) g;
create index package_shipment on package (shipment_id);

create table trip (
    trip_id bigint generated always as identity primary key,
    vehicle_vin text not null,
    driver_id int not null,
    co_driver_id int,
    stop1_city text not null,
    stop1_minutes int not null,
    stop2_city text,
    stop2_minutes int,
    stop3_city text,
    stop3_minutes int,
    pallets_in int not null,
    pallets_out int not null,
    coordinates text not null,
    started_at timestamptz not null,
    updated_at text not null
);
insert into trip (vehicle_vin, driver_id, co_driver_id, stop1_city, stop1_minutes, stop2_city, stop2_minutes, stop3_city, stop3_minutes, pallets_in, pallets_out, coordinates, started_at, updated_at)
select 'WDB' || lpad((1 + h(i, 13, 700))::text, 14, '0'), 500 + 3 * (h(i, 7, 900)), case when h(i, 4, 4) = 0 then 500 + 3 * (h(i, 11, 900)) end,
       'City ' || h(i, 90, 90), 5 + h(i, 40, 40), case when h(i, 3, 3) > 0 then 'City ' || h(i, 70, 70) end, case when h(i, 3, 3) > 0 then h(i, 50, 50) end, case when h(i, 6, 6) = 1 then 'City ' || h(i, 40, 40) end, case when h(i, 6, 6) = 1 then h(i, 30, 30) end,
       (random() * 33)::int, (random() * 33)::int, 50 + h(i, 5, 5) || '.25,' || h(i, 11, 11) || '.5', timestamptz '2024-01-01' + i * interval '2 hours', to_char(timestamp '2024-01-01' + i * interval '2 hours', 'YYYY-MM-DD HH24:MI:SS')
from generate_series(1, 5000) i;

create table container_event (
    container_event_id bigint generated always as identity primary key,
    container_no text not null,
    event_code int not null,
    port char(5) not null,
    raw jsonb not null,
    updated_at bigint not null
);
insert into container_event (container_no, event_code, port, raw, updated_at)
select case when h(i, 200, 200) = 0 then 'XXXU' || i else 'MSKU' || 1000000 + (1 + h(i, 17, 2000)) * 11 end, 1 + h(i, 9, 9), (select unlocode from port offset h(i, 160, 160) limit 1), jsonb_build_array(jsonb_build_object('code', i, 'at', 'x'), jsonb_build_object('code', 2, 'at', 'y')), 1704067200 + i * 400
from generate_series(1, 8000) i;

create table gate_log (
    gate_log_id int generated by default as identity primary key,
    depot_id int not null references depot,
    plate_no text not null,
    passed_at int not null,
    lane int not null
);
insert into gate_log (gate_log_id, depot_id, plate_no, passed_at, lane) select 1980000000 + i, 1 + h(i, 60, 60), 'HH-' || 1 + h(i, 11, 900), 1704067200 + i * 300, 1 + h(i, 4, 4) from generate_series(1, 6000) i;
select setval(pg_get_serial_sequence('gate_log', 'gate_log_id'), 1980006000);
create index gate_log_depot on gate_log (depot_id);

create table fuel_card (fuel_card_id int generated always as identity primary key, card_no text not null unique, vehicle text not null, pin_hash text not null);
insert into fuel_card (card_no, vehicle, pin_hash) select '7002' || lpad(i::text, 12, '0'), 'WDB' || lpad((1 + h(i, 3, 700))::text, 14, '0'), md5(i::text) from generate_series(1, 900) i;

create table maintenance (maintenance_id int generated always as identity primary key, vin text not null references vehicle, depot int not null, odometer_km int not null, hours double precision not null, done_on date not null, note text);
insert into maintenance (vin, depot, odometer_km, hours, done_on, note) select 'WDB' || lpad((1 + h(i, 3, 700))::text, 14, '0'), 1 + h(i, 7, 60), 1000 + i * 31, random() * 9, date '2023-01-01' + i / 5, case when h(i, 2, 2) = 0 then 'brakes, tyres, oil and so on, as usual' end from generate_series(1, 2400) i;
create index maintenance_vin on maintenance (vin);
create index maintenance_vin_hash on maintenance using hash (vin);

create table freight_charge (
    freight_charge_id bigint generated always as identity primary key,
    shipment_id bigint not null references shipment,
    base_amount numeric(12, 2) not null,
    fuel_surcharge real not null,
    handling numeric(12, 2) not null,
    customs numeric(12, 2) not null,
    total numeric(12, 2) not null,
    load_factor double precision not null
);
insert into freight_charge (shipment_id, base_amount, fuel_surcharge, handling, customs, total, load_factor)
select 1 + h(i, 8000, 8000), b, round((random() * 50)::numeric, 2), h, c, b + h + c, random() from (select i, round((random() * 900)::numeric, 2) as b, round((random() * 90)::numeric, 2) as h, round((random() * 40)::numeric, 2) as c from generate_series(1, 5000) i) g;
create index freight_charge_shipment on freight_charge (shipment_id);
create index freight_charge_shipment_total on freight_charge (shipment_id, total);

create table freight_invoice (
    freight_invoice_id bigint generated always as identity primary key,
    invoice_no text not null unique,
    bill_to int not null,
    net_amount numeric(12, 2) not null,
    vat_rate real not null,
    due_day int not null,
    booked_on text not null,
    updated_at timestamptz not null
);
insert into freight_invoice (invoice_no, bill_to, net_amount, vat_rate, due_day, booked_on, updated_at)
select 'FI' || 200000 + i, 1000 + 7 * (random() * 2499)::int, (random() * 9000)::int, (array[0.07, 0.19])[1 + h(i, 2, 2)], 1 + h(i, 28, 28), to_char(date '2023-01-01' + h(i, 700, 700), 'DD.MM.YYYY'), timestamptz '2023-01-01' + i * interval '1 hour'
from generate_series(1, 4500) i;

create table pod (pod_id bigint generated always as identity primary key, shipment_no text not null, signed_name text not null, signed_at timestamptz not null);
insert into pod (shipment_no, signed_name, signed_at) select 'SH' || 100000 + 1 + h(i, 3, 8000), 'Person ' || h(i, 300, 300), timestamptz '2023-02-01' + i * interval '2 hours' from generate_series(1, 2600) i;

create table hs_code (hs_code text primary key, description text not null, duty_rate double precision not null);
insert into hs_code select lpad((i * 137)::text, 6, '0'), 'Goods, not elsewhere specified, of kind ' || i, (h(i, 15, 15)) / 100.0 from generate_series(1, 400) i;

create table customs_line (customs_line_id bigint generated always as identity primary key, shipment_id bigint not null references shipment, hs_code text not null, gross_kg double precision not null, goods_value numeric(12, 2) not null);
insert into customs_line (shipment_id, hs_code, gross_kg, goods_value) select 1 + h(i, 8000, 8000), lpad(((1 + h(i, 7, 400)) * 137)::text, 6, '0'), random() * 90, (random() * 9000)::int from generate_series(1, 4000) i;
create index customs_line_shipment on customs_line (shipment_id);

create table document (document_id bigint generated always as identity primary key, parent_table text not null, parent_id bigint not null, file_path text not null);
insert into document (parent_table, parent_id, file_path) select (array['shipment', 'trip', 'leg'])[1 + h(i, 3, 3)], 1 + h(i, 7, 5000), '/files/' || i from generate_series(1, 2000) i;

create table scan (
    scan_id bigint generated always as identity primary key,
    package_id bigint not null references package,
    scan_type int not null,
    depot_id int not null references depot,
    device_id int not null,
    scanned_at timestamptz not null,
    temperature real
);
insert into scan (package_id, scan_type, depot_id, device_id, scanned_at, temperature) select 1 + h(i, 7000, 7000), 1 + h(i, 9, 9), 1 + h(i, 60, 60), 1 + h(i, 7, 55), timestamptz '2024-01-01' + i * interval '1 minute', random() * 20 from generate_series(1, 12000) i;
create index scan_package on scan (package_id);
create index scan_depot on scan (depot_id);
create index scan_type_at on scan (scan_type, scanned_at);
create index scan_at on scan (scanned_at);
create index scan_device on scan (device_id, scanned_at);
create index scan_temp on scan (temperature);
create index scan_depot_at on scan (scanned_at, depot_id);
create index scan_cold on scan (depot_id) where temperature < 0;

create table team (team_id int generated always as identity primary key, driver1_id int not null references driver, driver2_id int not null references driver);
insert into team (driver1_id, driver2_id) select 500 + 3 * (h(i, 900, 900)), 500 + 3 * (h(i, 7, 900)) from generate_series(1, 800) i;

create table rate_card (lane_code text not null, valid_from date not null, valid_to date, base_rate numeric(12, 2) not null, primary key (lane_code, valid_from));
insert into rate_card select 'L' || i % 120, date '2015-01-01' + 90 * (i / 120), case when i < 2280 then date '2015-01-01' + 90 * (i / 120) + 89 end, 100 + i from generate_series(0, 2399) i;

create table customs_form (
    customs_form_id bigint generated always as identity primary key,
    shipment_id bigint not null references shipment,
    box01 text, box02 text, box03 text, box04 text, box05 text, box06 text, box07 text, box08 text, box09 text, box10 text,
    exporter_eori text, exporter_name text, exporter_phone text, importer_eori text, importer_name text, importer_phone text,
    broker_eori text, broker_name text, broker_phone text, transit_office text, transit_seal text, transit_until date,
    vet_certificate text, vet_office text, vet_date date, phyto_certificate text, phyto_office text, phyto_date date,
    dg_class text, dg_un_number text, dg_packing text, dg_contact text, weapon_permit text, weapon_office text, art_permit text, art_office text
);
insert into customs_form (shipment_id, exporter_eori, exporter_name) select 1 + h(i, 8000, 8000), 'DE' || i, 'Exporter ' || h(i, 700, 700) from generate_series(1, 2200) i;
update customs_form set vet_certificate = 'V' || customs_form_id, vet_office = 'Office ' || customs_form_id % 9, vet_date = date '2024-01-01' where customs_form_id % 9 = 0;
create index customs_form_shipment on customs_form (shipment_id);

create table party_tmp (party_id int, party_name text, vat_no text, street text, postcode text, city char(30), country_code char(2), credit_limit numeric(12, 2));
insert into party_tmp select * from party where party_id < 2000;

create table config (config_key text primary key, config_value text not null);
insert into config select 'key' || i, 'v' || i from generate_series(1, 30) i;

create table yard_move (vehicle text not null, from_slot text not null, to_slot text not null, moved_at timestamp not null);
insert into yard_move select 'WDB' || lpad((1 + h(i, 3, 700))::text, 14, '0'), 'A' || h(i, 40, 40), 'B' || h(i, 30, 30), timestamp '2024-01-01' + i * interval '7 minutes' from generate_series(1, 2600) i;

update depot set lead_vehicle = 'WDB' || lpad(depot_id::text, 14, '0');
alter table depot alter column lead_vehicle set not null;
alter table depot add foreign key (lead_vehicle) references vehicle;
analyze;
