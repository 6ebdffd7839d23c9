//! The type `money`: its currency is a setting of the server.

use super::Rule;
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Effort, Object, Severity, plain};
use crate::audit::fix::Fix;
use crate::audit::question::Claim;
use crate::audit::schema::TypeClass;
use crate::pg::ident::literal;
use crate::pg::quote;

pub const RULE: Rule = Rule {
    id: "money-type",
    category: Category::Type,
    finds: "columns of the type money",
    check,
};

fn check(facts: &Facts) -> Vec<Claim> {
    facts
        .columns()
        .filter(|(_, c)| c.data_type.class == TypeClass::Money)
        .map(|(table, column)| {
            let name = &table.name;
            RULE.finding(Severity::Medium, format!("{name}.{} is money", plain(&column.name)))
                .on(Object::column(name, &column.name))
                .because("its currency and its number of decimals are those of lc_monetary: a dump read under another locale has other amounts")
                .proof(format!(
                    "select format_type(atttypid, atttypmod), current_setting('lc_monetary') from pg_attribute where attrelid = {}::regclass and attname = {}",
                    literal(&name.sql()),
                    literal(&column.name)
                ))
                .remedy("convert to numeric with a fixed number of decimals, and say the currency in a column")
                .cost(Effort::Migration, table.estimated_rows(), table.bytes, "ALTER TYPE rewrites the table under ACCESS EXCLUSIVE; a backfilled column does not")
                .fix(Fix::ConvertColumn {
                    table: name.clone(),
                    column: column.name.clone(),
                    from_type: column.data_type.sql.clone(),
                    to_type: "numeric".to_owned(),
                    using: format!("{}::numeric", quote(&column.name)),
                })
                .harm(table.weight())
        })
        .map(Claim::settled)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, table, titles};
    use super::*;

    #[test]
    fn money_is_reported() {
        let facts = facts(vec![table("a", &["id int8", "price money", "fee numeric"])]);
        assert_eq!(titles(&RULE, &facts), ["public.a.price is money"]);
    }
}
