drop table legacy.shipments;
drop table legacy.payments;
drop table legacy.orders;
drop table legacy.products;
drop table legacy.addresses;
drop table legacy.customers;
drop schema legacy;
