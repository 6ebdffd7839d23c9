-- A clinic: quoted names in camel case, composite and natural keys, keys that are uuids,
-- few declared references.
select setseed(0.7);

create table "Hospital" ("hospitalCode" char(4) primary key, title text not null);
insert into "Hospital" select 'H' || lpad(i::text, 3, '0'), 'Hospital ' || i from generate_series(1, 30) i;

create table "Ward" (
    "hospitalCode" char(4) not null,
    "wardCode" text not null,
    "wardName" text not null,
    primary key ("hospitalCode", "wardCode")
);
insert into "Ward" select h."hospitalCode", 'W' || w, 'Ward ' || w || ' of ' || h.title from "Hospital" h, generate_series(1, 9) w;

create table "Bed" (
    "hospitalCode" char(4) not null,
    "wardCode" text not null,
    "bedNo" int not null,
    heated boolean not null,
    primary key ("hospitalCode", "wardCode", "bedNo")
);
insert into "Bed" select "hospitalCode", "wardCode", b, random() < 0.5 from "Ward", generate_series(1, 8) b;

create table "Patient" (
    "patientNo" int primary key,
    "surName" text not null,
    "birthDate" date not null,
    "insurerMemberId" text not null,
    "contact1Name" text,
    "contact1Phone" text,
    "contact2Name" text,
    "contact2Phone" text
);
insert into "Patient"
select 100000 + i * 3, 'Name' || (random() * 900)::int, date '1950-01-01' + (random() * 20000)::int, 'M' || md5(i::text),
       'Kin ' || (random() * 5000)::int, '+49 ' || (random() * 1e6)::int,
       case when i % 3 = 0 then 'Kin ' || (random() * 5000)::int end, case when i % 3 = 0 then '+49 ' || (random() * 1e6)::int end
from generate_series(1, 3000) i;

create table "Doctor" (
    "doctorId" uuid primary key,
    "fullTitle" text not null,
    "specialtyCode" text not null,
    "specialtyText" text not null,
    grade int not null
);
insert into "Doctor"
select md5('doctor' || i)::uuid, 'Dr. Name' || i, 'S' || s, 'Specialty ' || s, 1 + (random() * 3)::int
from (select i, (random() * 15)::int as s from generate_series(1, 500) i) g;

create table "Admission" (
    "admissionId" uuid primary key,
    "patientNo" int not null,
    "hospitalCode" char(4) not null,
    "wardCode" text not null,
    "diagnosisList" text not null,
    "admittedTs" bigint not null,
    "dischargedTs" bigint,
    severity int not null
);
insert into "Admission"
select md5('admission' || i)::uuid, 100000 + (1 + (random() * 2999)::int) * 3, 'H' || lpad((1 + (random() * 29)::int)::text, 3, '0'), 'W' || (1 + (random() * 8)::int),
       (array['A01', 'A01|B20', 'C34|A01|I10', 'I10', 'B20|I10'])[1 + (random() * 4)::int],
       1640000000000 + i * 3600000::bigint, case when i % 9 > 0 then 1640100000000 + i * 3600000::bigint end, 1 + (random() * 4)::int
from generate_series(1, 4000) i;

create table "Treatment" (
    "treatmentId" uuid primary key,
    "admissionRef" uuid not null,
    "leadDoctor" uuid not null,
    "signedOff" uuid,
    minutes int not null,
    summary text not null
);
insert into "Treatment"
select md5('treatment' || i)::uuid, md5('admission' || (1 + (random() * 3999)::int))::uuid, md5('doctor' || (1 + (random() * 499)::int))::uuid,
       case when i % 4 > 0 then md5('doctor' || (1 + (random() * 499)::int))::uuid end, (random() * 90)::int, 'Pain, fever, then better; day ' || i
from generate_series(1, 5000) i;

create table "LabResult" (
    "labResultId" bigint generated always as identity primary key,
    "sampleNo" text not null,
    "patientNo" text not null,
    "values" jsonb not null,
    "takenAt" timestamptz not null
);
insert into "LabResult" ("sampleNo", "patientNo", "values", "takenAt")
select 'P' || md5(i::text), (100000 + (1 + (random() * 2999)::int) * 3)::text,
       (select jsonb_agg(jsonb_build_object('analyte', (array['Na', 'K', 'Ca'])[n], 'value', round((random() * 9)::numeric, 2), 'unit', 'mmol/l')) from generate_series(1, 2 + i % 2) n),
       timestamptz '2023-01-01' + i * interval '1 hour'
from generate_series(1, 2500) i;

create table "Drug" ("drugCode" text primary key, label text not null, "atcCode" text not null);
insert into "Drug" select 'D' || i, 'Drug ' || i, 'N0' || i % 7 || 'A' from generate_series(1, 200) i;

create table "Prescription" (
    "admissionRef" uuid not null,
    "lineNo" int not null,
    "drugCode" text not null,
    "drugLabel" text not null,
    "morningDose" int not null,
    "noonDose" int not null,
    "eveningDose" int not null,
    primary key ("admissionRef", "lineNo")
);
insert into "Prescription"
select md5('admission' || i)::uuid, n, d."drugCode", d.label, (random() * 3)::int, (random() * 3)::int, (random() * 3)::int
from generate_series(1, 2000) i, generate_series(1, 2) n join "Drug" d on true
where d."drugCode" = 'D' || (1 + (i * 13 + n * 29 + i / 7) % 200);

create table "Invoice" (
    "invoiceNo" int primary key,
    "patientNo" int not null references "Patient",
    "amountDue" real not null,
    "dueDate" date not null
);
insert into "Invoice" select i, 100000 + (1 + (random() * 2999)::int) * 3, random() * 900, date '2024-01-01' + (random() * 300)::int from generate_series(1, 3000) i;

create table "Message" (
    "messageId" bigint generated always as identity primary key,
    "entityKind" text not null,
    "entityId" uuid not null,
    body text not null
);
insert into "Message" ("entityKind", "entityId", body)
select k, case k when 'Admission' then md5('admission' || (1 + (random() * 3999)::int))::uuid else md5('treatment' || (1 + (random() * 4999)::int))::uuid end, 'Please call, thank you ' || i
from (select i, (array['Admission', 'Treatment'])[1 + random()::int] as k from generate_series(1, 1500) i) g;

create table "Shift" (
    "doctorId" uuid not null references "Doctor",
    "startsAt" timestamptz not null,
    "endsAt" timestamptz not null,
    primary key ("doctorId", "startsAt")
);
insert into "Shift" select md5('doctor' || (1 + i % 500))::uuid, t, t + interval '8 hours' from generate_series(1, 4000) i, lateral (select timestamptz '2024-01-01' + i * interval '3 hours') s (t);

create table "Tariff" ("validFrom" date not null, "wardClass" int not null, rate numeric not null, primary key ("validFrom", "wardClass"));
insert into "Tariff" select date '2020-01-01' + i * 365, c, 50 + i * 3 + c from generate_series(0, 4) i, generate_series(1, 3) c;

create table "Area" ("areaId" int primary key, shape jsonb not null, "severityScale" int not null);
insert into "Area" select i, jsonb_build_object('type', 'Polygon', 'coordinates', jsonb_build_array(jsonb_build_array(i, 1), jsonb_build_array(2, i))), i from generate_series(1, 40) i;

analyze;
