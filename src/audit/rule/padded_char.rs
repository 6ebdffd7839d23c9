//! `char(n)` with shorter values: they are filled with blanks that count sometimes.

use super::{Rule, float};
use crate::audit::facts::Facts;
use crate::audit::finding::{Category, Confidence, Effort, Object, Severity, plain};
use crate::audit::fix::Fix;
use crate::audit::question::Claim;
use crate::audit::schema::TypeClass;
use crate::pg::quote;

pub const RULE: Rule = Rule {
    id: "padded-char",
    category: Category::Type,
    finds: "char(n) columns whose values are shorter than n",
    check,
};

fn check(facts: &Facts) -> Vec<Claim> {
    let mut claims = Vec::new();
    for (table, column) in facts.columns() {
        if column.data_type.class != TypeClass::PaddedChar {
            continue;
        }
        let length = column.data_type.length.unwrap_or(1);
        let Some(seen) = facts
            .column_profile(table, &column.name)
            .filter(|p| p.present > 0)
        else {
            continue;
        };
        // The server cuts the blanks in the cast to text. Codes of one length, such as
        // those of countries and currencies, need none.
        if seen.shortest >= length as usize {
            continue;
        }
        let name = &table.name;
        let quoted = quote(&column.name);
        let finding = RULE
            .finding(Severity::Low, format!("{name}.{} is {}, and its values are shorter", plain(&column.name), column.data_type.sql))
            .on(Object::column(name, &column.name))
            .confidence(Confidence::share(0.95))
            .measured(
                format!("values have {} to {} characters in the sample, {:.1} on average", seen.shortest, seen.longest, seen.mean_length),
                &[("mean_length", seen.mean_length), ("length", float(u64::from(length)))],
            )
            .because("blanks fill them up: they take room, do not count in comparisons, and do in LIKE and in drivers")
            .proof(format!("select length({quoted}) as length, count(*) from {} group by 1 order by 1", table.from_sql()))
            .remedy("convert to text, with a CHECK where the length matters")
            .cost(Effort::Migration, table.estimated_rows(), table.bytes, "ALTER TYPE rewrites the table under ACCESS EXCLUSIVE; a backfilled column does not")
            .fix(Fix::ConvertColumn {
                table: name.clone(),
                column: column.name.clone(),
                from_type: column.data_type.sql.clone(),
                to_type: "text".to_owned(),
                using: format!("{quoted}::text"),
            })
            .harm(table.weight() - 1.0);
        claims.push(Claim::settled(finding));
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, fill, table, titles};
    use super::*;

    #[test]
    fn codes_of_one_length_are_no_harm() {
        let mut facts = facts(vec![table(
            "a",
            &["id int8", "currency char(3)", "label char(40)"],
        )]);
        fill(&mut facts, "a", 30, |i, c| match c {
            "currency" => "EUR".to_owned(),
            _ => i.to_string(),
        });
        assert_eq!(
            titles(&RULE, &facts),
            ["public.a.label is char(40), and its values are shorter"]
        );
    }
}
