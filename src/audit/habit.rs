//! What a new table is called, in a schema that has habits of its own.

use super::schema::Database;
use super::word::{is_plural, singular, words};
use crate::pg::QualifiedName;

/// With fewer tables there is no habit.
const FEWEST: usize = 6;

/// A free name like `wanted`, whose last word is a plural: in the singular, where the tables
/// of the schema are.
#[must_use]
pub fn table_name(database: &Database, schema: &str, wanted: &str) -> QualifiedName {
    let wanted = if is_singular(database) {
        in_singular(wanted)
    } else {
        wanted.to_owned()
    };
    let mut name = QualifiedName::new(schema, wanted.clone());
    let mut number = 2;
    while database.table(&name).is_some() {
        name = QualifiedName::new(schema, format!("{wanted}_{number}"));
        number += 1;
    }
    name
}

/// Four of five tables are called after one row.
fn is_singular(database: &Database) -> bool {
    let last: Vec<String> = database
        .designed()
        .filter_map(|t| words(&t.name.name).pop())
        .filter(|w| w.chars().all(char::is_alphabetic))
        .collect();
    let one = last.iter().filter(|w| !is_plural(w)).count();
    last.len() >= FEWEST && one * 5 >= last.len() * 4
}

fn in_singular(name: &str) -> String {
    match name.rsplit_once('_') {
        Some((front, last)) => format!("{front}_{}", singular(last)),
        None => singular(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::rule::testing::{database, table};

    fn name(tables: &[&str], wanted: &str) -> String {
        let tables = tables.iter().map(|t| table(t, &["id int8"])).collect();
        table_name(&database(tables), "public", wanted).name
    }

    #[test]
    fn a_new_table_is_called_as_the_others_are() {
        let many = ["orders", "users", "tags", "carts", "order_notes", "staff"];
        assert_eq!(name(&many, "order_items"), "order_items");
        let one = ["order", "app_user", "tag", "cart", "order_note", "news"];
        assert_eq!(name(&one, "order_items"), "order_item");
        assert_eq!(name(&one, "companies"), "company");
        assert_eq!(name(&one, "tags"), "tag_2");
        assert_eq!(
            name(&one[..3], "order_items"),
            "order_items",
            "too few to tell"
        );
    }
}
