drop table legacy.order_items;
