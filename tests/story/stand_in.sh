#!/bin/bash
# Stands in for crossfade in tests of the demo: it speaks its commands and its
# JSON, and its switch really moves the data, all of it under one lock. Its name
# decides how it behaves: different, refusing, dying, losing, or well. A file `busy`
# beside it says that an application writes: the copy then takes until that has placed
# some orders, however slow it is.
set -euo pipefail
verb=${!#}
dir=$PWD
url=$(sed -n 's/^url = "\(.*\)"$/\1/p' "$dir/crossfade.toml")
psql() { command "${PSQL:-psql}" --no-psqlrc --quiet --set ON_ERROR_STOP=1 "$url" "$@"; }
behaviour=$(basename "$0")

few_orders() {
    [ -e "$(dirname "$0")/busy" ] &&
        [ "$(psql -At -c 'select count(*) < 40 from legacy.orders where id > 400')" = t ]
}

phase() {
    if [ -e switched ]; then echo switched
    elif [ "$behaviour" = dying ] || [ ! -e polls ] || [ "$(wc -c <polls)" -lt 3 ]; then echo copying
    elif few_orders; then echo copying
    else echo streaming; fi
}

case $verb in
run)
    if [ "$behaviour" = dying ]; then echo "no slot is free" >&2; exit 2; fi
    trap 'exit 0' TERM
    while true; do sleep 0.05; done
    ;;
status)
    printf . >>polls
    echo '{"name":"split_orders","phase":"'"$(phase)"'","daemon":true,"rows_copied":7,"rows_estimated":7,
           "rows_applied":3,"lag_seconds":0.25,"lag_bytes":4096,"copy_seconds":1.5,"waiting":null}'
    ;;
verify)
    result=identical
    [ "$behaviour" != different ] || result=different
    echo '{"result":"'$result'","seconds":0.1,"sources":[{"source":"legacy.orders","ranges":1,"rows":7}],
           "targets":[{"table":"shop.orders","rows":7,"differences":0}],"differences":[]}'
    [ $result = identical ] || exit 1
    ;;
switch)
    if [ "$behaviour" = refusing ] || [ ! -e asked ]; then
        touch asked
        echo '{"outcome":"not_switched","write_stall_ms":null,"steps":[]}'
        echo "the lock was not to be had" >&2
        exit 1
    fi
    module=transforms/split_orders
    lose=
    [ "$behaviour" != losing ] || lose="delete from shop.order_items where line_no = 1 and order_id % 3 = 0;"
    psql >/dev/null <<SQL
begin;
lock table legacy.orders in access exclusive mode;
insert into shop.orders (id, customer_id, status, placed_at, shipped_at, currency, total_cents, note)
with source as (table legacy.orders) select * from ($(cat $module/orders.sql)) q;
insert into shop.order_items (order_id, line_no, sku, qty, unit_cents, note)
with source as (table legacy.orders) select * from ($(cat $module/order_items.sql)) q;
$lose
select setval('shop.orders_id_seq', (select last_value from legacy.orders_id_seq));
alter table legacy.orders rename to orders_old;
commit;
SQL
    touch switched
    echo '{"outcome":"switched","write_stall_ms":12.5,"steps":[{"step":"drain","ms":3}]}'
    ;;
finish) ;;
*) echo "unknown command $verb" >&2; exit 2 ;;
esac
