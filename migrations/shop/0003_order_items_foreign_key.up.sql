-- Once the copy is done and the new tables are the ones that are written to.
-- In two steps: the first takes its strong lock for a moment only, the second
-- reads both tables while writes go on. So each commits on its own:

-- no-transaction

alter table shop.order_items
    add constraint order_items_order_id_fkey
    foreign key (order_id) references shop.orders (id) on delete cascade
    not valid;

alter table shop.order_items
    validate constraint order_items_order_id_fkey;
