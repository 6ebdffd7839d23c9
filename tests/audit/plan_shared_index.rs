//! Indexes over columns that change their type: each moves once, to all of the new columns,
//! and comes back once.

use crossfade::audit::fix::{Fix, TimestampFormat};
use crossfade::pg::QualifiedName;

use crate::plan::{name, shop, strings, there_and_back};
use crate::program::Shop;

const TABLE: &str = "
create table s.t (id int primary key, created bigint not null default 1700000000, paid varchar(30),
    price double precision not null default 0.5, note text);
comment on column s.t.created is 'When it ''came'' in';
insert into s.t (id, created, paid, price, note)
select g, 1700000000 + g * 3601,
    case g % 4 when 0 then null when 1 then '2024-05-01T10:00:00Z' when 2 then '2024-05-01 10:00:00+02' else 'soon' end,
    g / 4.0, 'n' || g % 7
from generate_series(1, 300) g;
";

fn moment(column: &str, from_type: &str, format: TimestampFormat, unparsable: u64) -> Fix {
    Fix::ConvertTimestamp {
        table: name("s.t"),
        column: column.to_owned(),
        from_type: from_type.to_owned(),
        format,
        to_type: "timestamptz".to_owned(),
        unparsable,
    }
}

fn created() -> Fix {
    moment("created", "bigint", TimestampFormat::EpochSeconds, 0)
}

fn paid() -> Fix {
    moment(
        "paid",
        "character varying(30)",
        TimestampFormat::Iso8601,
        75,
    )
}

fn price() -> Fix {
    Fix::ConvertColumn {
        table: name("s.t"),
        column: "price".to_owned(),
        from_type: "double precision".to_owned(),
        to_type: "numeric(12,2)".to_owned(),
        using: "\"price\"::numeric(12,2)".to_owned(),
    }
}

fn loaded(indexes: &str) -> Shop {
    let shop = shop(TABLE);
    shop.sql(indexes);
    shop
}

/// What every index of the table but its key is on, in a fixed order.
const INDEXES: &str = "(select string_agg(substring(indexdef from 'USING .*'), ' + ' order by substring(indexdef from 'USING .*'))
    from pg_indexes where schemaname = 's' and tablename = 't' and indexname <> 't_pkey')";

#[test]
fn an_index_that_converted_columns_share_moves_to_all_of_them_and_comes_back() {
    for fixes in [
        vec![created(), paid(), price()],
        vec![price(), paid(), created()],
    ] {
        let shop = loaded(
            "create index shared on s.t (created desc, paid);
             create unique index three on s.t (paid varchar_pattern_ops, price desc, id) where note <> '';
             create index carried on s.t (note) include (created, price);
             create index alone on s.t (paid) where id > 3",
        );
        there_and_back(
            &shop,
            "s.t",
            fixes,
            &format!(
                "{INDEXES} = 'USING btree (created_tz DESC, paid_tz) + USING btree (note) INCLUDE (created_tz, price) + USING btree (paid_tz) WHERE (id > 3) + USING btree (paid_tz, price DESC, id) WHERE (note <> ''''::text)'
                 and (select bool_and(indisunique = (indnkeyatts = 3)) from pg_index where indrelid = 's.t'::regclass and not indisprimary)"
            ),
        );
    }
}

/// What goes anyway is neither built on the new column nor made again twice on the way back.
#[test]
fn an_index_that_the_plan_drops_is_not_moved() {
    let shop = loaded("create index gone on s.t (created, paid); create index too on s.t (paid)");
    let drop = |index: &str| Fix::DropIndex {
        table: name("s.t"),
        index: QualifiedName::new("s", index),
        definition: shop.value(&format!("select pg_get_indexdef('s.{index}'::regclass)")),
    };
    let fixes = vec![created(), drop("gone"), paid(), drop("too")];
    there_and_back(&shop, "s.t", fixes, &format!("{INDEXES} is null"));
}

#[test]
fn an_index_that_the_plan_adds_is_on_the_new_columns() {
    let shop = loaded("");
    let add = |columns: &[&str]| Fix::AddIndex {
        table: name("s.t"),
        columns: strings(columns),
        predicate: None,
        unique: false,
    };
    let fixes = vec![
        add(&["note", "created"]),
        created(),
        price(),
        add(&["price"]),
    ];
    there_and_back(
        &shop,
        "s.t",
        fixes,
        &format!("{INDEXES} = 'USING btree (note, created_tz) + USING btree (price)'"),
    );
}
