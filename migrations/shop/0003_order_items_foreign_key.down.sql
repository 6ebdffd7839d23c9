alter table shop.order_items
    drop constraint order_items_order_id_fkey;
