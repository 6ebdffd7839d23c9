//! The same split done by triggers: each change of an order writes the new tables in
//! the application's own transaction.

use crossfade::demo::shop;
use crossfade::error::{Context, Result};
use tokio_postgres::Client;

pub async fn create(client: &Client) -> Result<()> {
    let mut inserts = String::new();
    for (table, select) in shop::TARGETS {
        let query =
            format!("with source as (select * from legacy.orders) select * from ({select}) q");
        let statement = client.prepare(&query).await?;
        let columns: Vec<_> = statement
            .columns()
            .iter()
            .map(|c| c.name().to_owned())
            .collect();
        inserts.push_str(&format!(
            "insert into {table} ({}) overriding system value\n with source as (select new.*) select * from ({select}) q;\n",
            columns.join(", ")
        ));
    }
    let sql = format!(
        "create function legacy.split() returns trigger language plpgsql as $$
         begin
             if tg_op <> 'INSERT' then
                 delete from shop.order_items where order_id = old.id;
                 delete from shop.orders where id = old.id;
             end if;
             if tg_op = 'DELETE' then return null; end if;
             {inserts}
             return null;
         end $$;
         create trigger split after insert or update or delete on legacy.orders
             for each row execute function legacy.split()"
    );
    client
        .batch_execute(&sql)
        .await
        .context("making the triggers")
}

pub async fn remove(client: &Client) -> Result<()> {
    client
        .batch_execute("drop function legacy.split cascade; truncate shop.orders, shop.order_items")
        .await
        .context("removing the triggers")
}
