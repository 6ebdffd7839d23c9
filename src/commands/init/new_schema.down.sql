-- Takes back what 0001_new_schema.up.sql did.

drop table shop.order_items;
drop table shop.orders;
drop schema shop;
