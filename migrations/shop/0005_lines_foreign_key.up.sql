-- Once the copy is done and the lines are written to their own table.
-- In two steps: the first takes its strong lock for a moment only, the second
-- reads both tables while writes go on. So each commits on its own:

-- no-transaction

alter table legacy.order_items
    add constraint order_items_order_id_fkey
    foreign key (order_id) references legacy.orders (id) on delete cascade
    not valid;

alter table legacy.order_items
    validate constraint order_items_order_id_fkey;
