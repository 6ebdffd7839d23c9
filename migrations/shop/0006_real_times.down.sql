-- The same way back: every value that was there before comes out as it was. A moment
-- that was written since loses what is less than a second, which the old columns had no
-- room for.

-- no-transaction

alter table legacy.customers add column created_seconds bigint;
alter table legacy.payments add column paid_text varchar(19);
alter table legacy.shipments add column shipped_text varchar(19);

create function legacy.fill_created_seconds() returns trigger language plpgsql as $$
begin
    new.created_seconds := floor(extract(epoch from new.created_at));
    return new;
end
$$;
create function legacy.fill_paid_text() returns trigger language plpgsql as $$
begin
    new.paid_text := to_char(new.paid_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS');
    return new;
end
$$;
create function legacy.fill_shipped_text() returns trigger language plpgsql as $$
begin
    new.shipped_text := to_char(new.shipped_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS');
    return new;
end
$$;

create trigger fill_created_seconds before insert or update on legacy.customers
    for each row execute function legacy.fill_created_seconds();
create trigger fill_paid_text before insert or update on legacy.payments
    for each row execute function legacy.fill_paid_text();
create trigger fill_shipped_text before insert or update on legacy.shipments
    for each row execute function legacy.fill_shipped_text();

-- batch: legacy.customers by id, 5000 rows
update legacy.customers set created_seconds = floor(extract(epoch from created_at))
where id between $1 and $2 and created_seconds is null;

-- batch: legacy.payments by id, 5000 rows
update legacy.payments set paid_text = to_char(paid_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS')
where id between $1 and $2 and paid_at is not null and paid_text is null;

-- batch: legacy.shipments by id, 5000 rows
update legacy.shipments set shipped_text = to_char(shipped_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS')
where id between $1 and $2 and shipped_text is null;

alter table legacy.customers add constraint created_seconds_is_there
    check (created_seconds is not null) not valid;
alter table legacy.shipments add constraint shipped_text_is_there
    check (shipped_text is not null) not valid;
alter table legacy.customers validate constraint created_seconds_is_there;
alter table legacy.shipments validate constraint shipped_text_is_there;

begin;
alter table legacy.customers alter column created_seconds set not null;
alter table legacy.customers drop constraint created_seconds_is_there;
drop trigger fill_created_seconds on legacy.customers;
drop function legacy.fill_created_seconds();
alter table legacy.customers drop column created_at;
alter table legacy.customers rename column created_seconds to created_at;
commit;

begin;
drop trigger fill_paid_text on legacy.payments;
drop function legacy.fill_paid_text();
alter table legacy.payments drop column paid_at;
alter table legacy.payments rename column paid_text to paid_at;
commit;

begin;
alter table legacy.shipments alter column shipped_text set not null;
alter table legacy.shipments drop constraint shipped_text_is_there;
drop trigger fill_shipped_text on legacy.shipments;
drop function legacy.fill_shipped_text();
alter table legacy.shipments drop column shipped_at;
alter table legacy.shipments rename column shipped_text to shipped_at;
commit;
