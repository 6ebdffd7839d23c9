drop table shop.order_items;
drop table shop.orders;
drop schema shop;
