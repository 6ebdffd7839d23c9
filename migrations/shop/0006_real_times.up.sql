-- Moments as what they are: seconds since 1970 (customers), text that may be missing
-- (payments) and text (shipments) become timestamptz under their old names.
--
-- Each step commits on its own, so that no lock is held while rows are rewritten. A new
-- column is filled in batches, a trigger fills it for rows that are written meanwhile,
-- and at the end the old column gives way in one short transaction.

-- no-transaction

alter table legacy.customers add column created_time timestamptz;
alter table legacy.payments add column paid_time timestamptz;
alter table legacy.shipments add column shipped_time timestamptz;

create function legacy.fill_created_time() returns trigger language plpgsql as $$
begin
    new.created_time := to_timestamp(new.created_at);
    return new;
end
$$;
create function legacy.fill_paid_time() returns trigger language plpgsql as $$
begin
    new.paid_time := (new.paid_at || '+00')::timestamptz;
    return new;
end
$$;
create function legacy.fill_shipped_time() returns trigger language plpgsql as $$
begin
    new.shipped_time := (new.shipped_at || '+00')::timestamptz;
    return new;
end
$$;

create trigger fill_created_time before insert or update on legacy.customers
    for each row execute function legacy.fill_created_time();
create trigger fill_paid_time before insert or update on legacy.payments
    for each row execute function legacy.fill_paid_time();
create trigger fill_shipped_time before insert or update on legacy.shipments
    for each row execute function legacy.fill_shipped_time();

-- batch: legacy.customers by id, 5000 rows
update legacy.customers set created_time = to_timestamp(created_at)
where id between $1 and $2 and created_time is null;

-- batch: legacy.payments by id, 5000 rows
update legacy.payments set paid_time = (paid_at || '+00')::timestamptz
where id between $1 and $2 and paid_at is not null and paid_time is null;

-- batch: legacy.shipments by id, 5000 rows
update legacy.shipments set shipped_time = (shipped_at || '+00')::timestamptz
where id between $1 and $2 and shipped_time is null;

-- The proof first, without a lock that anybody feels: SET NOT NULL need not read the
-- rows then.
alter table legacy.customers add constraint created_time_is_there
    check (created_time is not null) not valid;
alter table legacy.shipments add constraint shipped_time_is_there
    check (shipped_time is not null) not valid;
alter table legacy.customers validate constraint created_time_is_there;
alter table legacy.shipments validate constraint shipped_time_is_there;

begin;
alter table legacy.customers alter column created_time set not null;
alter table legacy.customers drop constraint created_time_is_there;
drop trigger fill_created_time on legacy.customers;
drop function legacy.fill_created_time();
alter table legacy.customers drop column created_at;
alter table legacy.customers rename column created_time to created_at;
commit;

begin;
drop trigger fill_paid_time on legacy.payments;
drop function legacy.fill_paid_time();
alter table legacy.payments drop column paid_at;
alter table legacy.payments rename column paid_time to paid_at;
commit;

begin;
alter table legacy.shipments alter column shipped_time set not null;
alter table legacy.shipments drop constraint shipped_time_is_there;
drop trigger fill_shipped_time on legacy.shipments;
drop function legacy.fill_shipped_time();
alter table legacy.shipments drop column shipped_at;
alter table legacy.shipments rename column shipped_time to shipped_at;
commit;
