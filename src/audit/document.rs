//! The shape of JSON documents, learnt from a sample: arrays of objects, the fields of
//! their elements, and types that hold every value that was seen.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};

use super::fix::JsonField;
use super::value::{Form, form, narrowest};
use super::word::{snake, words};

/// Keys deep in a document are looked at down to this depth.
const DEPTH: usize = 3;
/// A document with more distinct paths is a store of its own, not a table.
const MOST_PATHS: usize = 200;
/// An element with more fields is cut: no table begins with so many columns.
const MOST_FIELDS: usize = 60;

/// What was seen in the documents of one column.
#[derive(Debug, Clone, Default)]
pub struct DocumentShape {
    pub documents: usize,
    /// Documents that are arrays, objects, or scalars.
    pub arrays: usize,
    pub objects: usize,
    /// Arrays of objects by the keys on the way to them.
    pub lists: BTreeMap<Vec<String>, ListShape>,
}

/// The arrays found at one path.
#[derive(Debug, Clone, Default)]
pub struct ListShape {
    /// Documents that have an array there, and of these the ones that are not empty.
    pub documents: usize,
    pub filled: usize,
    pub elements: usize,
    /// Elements that are objects.
    pub objects: usize,
    pub longest: usize,
    fields: BTreeMap<String, FieldShape>,
}

#[derive(Debug, Clone, Default)]
struct FieldShape {
    present: usize,
    /// By their form; JSON's own numbers and strings alike.
    forms: BTreeMap<Form, usize>,
    strings: usize,
    /// Objects and arrays.
    nested: usize,
}

impl DocumentShape {
    /// Adds one document. What is not JSON is left out.
    pub fn add(&mut self, text: &str) {
        let Ok(value) = serde_json::from_str::<Value>(text) else {
            return;
        };
        self.documents += 1;
        match &value {
            Value::Array(_) => self.arrays += 1,
            Value::Object(_) => self.objects += 1,
            _ => {}
        }
        self.walk(&value, &mut Vec::new());
    }

    fn walk(&mut self, value: &Value, path: &mut Vec<String>) {
        match value {
            Value::Array(elements) => {
                if self.lists.len() >= MOST_PATHS && !self.lists.contains_key(path) {
                    return;
                }
                self.lists.entry(path.clone()).or_default().add(elements);
            }
            Value::Object(map) if path.len() < DEPTH => {
                for (key, inner) in map {
                    path.push(key.clone());
                    self.walk(inner, path);
                    path.pop();
                }
            }
            _ => {}
        }
    }
}

impl ListShape {
    fn add(&mut self, elements: &[Value]) {
        self.documents += 1;
        self.filled += usize::from(!elements.is_empty());
        self.elements += elements.len();
        self.longest = self.longest.max(elements.len());
        for element in elements {
            if let Value::Object(map) = element {
                self.objects += 1;
                self.add_object(map);
            }
        }
    }

    fn add_object(&mut self, map: &Map<String, Value>) {
        for (key, value) in map {
            if self.fields.len() >= MOST_PATHS && !self.fields.contains_key(key) {
                continue;
            }
            let field = self.fields.entry(key.clone()).or_default();
            match value {
                Value::Null => continue,
                Value::Bool(_) => *field.forms.entry(Form::Boolean).or_default() += 1,
                Value::Number(n) => {
                    let seen = match form(&n.to_string()) {
                        Form::Integer => Form::Integer,
                        Form::BigInteger => Form::BigInteger,
                        _ => Form::Decimal,
                    };
                    *field.forms.entry(seen).or_default() += 1;
                }
                Value::String(s) => {
                    field.strings += 1;
                    *field.forms.entry(form(s)).or_default() += 1;
                }
                Value::Array(_) | Value::Object(_) => field.nested += 1,
            }
            field.present += 1;
        }
    }

    /// How alike the elements are: the mean share of elements that have a field, over
    /// the fields that are not rare. 1 where all have the same.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a share of at most thousands")]
    pub fn regularity(&self) -> f64 {
        let shares: Vec<f64> = self
            .fields
            .values()
            .map(|f| f.present as f64 / self.objects.max(1) as f64)
            .collect();
        let whole: f64 = shares.iter().sum();
        // Weighted by itself: one field in a hundred elements says little.
        if whole == 0.0 {
            return 0.0;
        }
        shares.iter().map(|s| s * s).sum::<f64>() / whole
    }

    /// The fields as columns, the most frequent first.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a share of at most thousands")]
    pub fn fields(&self) -> Vec<JsonField> {
        let mut taken = HashSet::new();
        let mut seen: Vec<_> = self.fields.iter().filter(|(_, f)| f.present > 0).collect();
        seen.sort_by(|a, b| b.1.present.cmp(&a.1.present).then(a.0.cmp(b.0)));
        seen.into_iter()
            .take(MOST_FIELDS)
            .map(|(name, field)| JsonField {
                name: name.clone(),
                column: free(&snake(name), &mut taken),
                type_sql: field.type_sql(name).to_owned(),
                present: field.present as f64 / self.objects.max(1) as f64,
                always: field.present == self.objects,
            })
            .collect()
    }
}

impl FieldShape {
    fn type_sql(&self, name: &str) -> &'static str {
        let forms: Vec<_> = self.forms.iter().map(|(f, n)| (*f, *n)).collect();
        let scalar = narrowest(&forms);
        if self.nested > 0 {
            return "jsonb";
        }
        let number = matches!(scalar, "integer" | "bigint" | "numeric");
        // A number written as a string may be an article's number: the next one can
        // have a letter in it. Where the name says that it counts or costs, it is one.
        if number && self.strings > 0 && !counts(name) {
            return "text";
        }
        if matches!(scalar, "integer" | "bigint") && costs(name) {
            return "numeric";
        }
        scalar
    }
}

fn costs(name: &str) -> bool {
    const WORDS: &[&str] = &[
        "price", "amount", "total", "cost", "discount", "tax", "fee", "weight",
    ];
    words(name).iter().any(|w| WORDS.contains(&w.as_str()))
}

fn counts(name: &str) -> bool {
    const WORDS: &[&str] = &["qty", "quantity", "count", "position", "line"];
    costs(name) || words(name).iter().any(|w| WORDS.contains(&w.as_str()))
}

fn free(wanted: &str, taken: &mut HashSet<String>) -> String {
    let mut name = wanted.to_owned();
    let mut number = 2;
    while !taken.insert(name.clone()) {
        name = format!("{wanted}_{number}");
        number += 1;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(documents: &[&str]) -> DocumentShape {
        let mut shape = DocumentShape::default();
        for document in documents {
            shape.add(document);
        }
        shape
    }

    #[test]
    fn fields_get_types_that_hold_every_value() {
        let shape = shape(&[
            r#"[{"sku": "007", "qty": "2", "price": 5, "at": "2024-01-02", "on": true}]"#,
            r#"[{"sku": "12", "qty": 3, "price": 5.5, "at": "2024-01-02T10:00:00Z", "more": {"a": 1}}]"#,
            "[]",
        ]);
        let list = &shape.lists[&Vec::<String>::new()];
        assert_eq!((list.documents, list.filled, list.objects), (3, 2, 2));
        let fields: BTreeMap<_, _> = list
            .fields()
            .into_iter()
            .map(|f| (f.name.clone(), f))
            .collect();
        assert_eq!(fields["sku"].type_sql, "text");
        assert_eq!(fields["qty"].type_sql, "integer");
        assert_eq!(fields["price"].type_sql, "numeric");
        assert_eq!(fields["at"].type_sql, "timestamp with time zone");
        assert_eq!(fields["on"].type_sql, "boolean");
        assert_eq!(fields["more"].type_sql, "jsonb");
        assert!(fields["sku"].always && !fields["on"].always);
    }

    #[test]
    fn arrays_inside_of_documents_are_found_by_their_path() {
        let shape = shape(&[
            r#"{"cart": {"lines": [{"a": 1}, {"a": 2}]}, "n": 1}"#,
            "{}",
            "broken",
        ]);
        let path = vec!["cart".to_owned(), "lines".to_owned()];
        assert_eq!(shape.lists[&path].objects, 2);
        assert_eq!((shape.documents, shape.objects), (2, 2));
    }

    #[test]
    fn elements_that_differ_are_irregular() {
        let regular = shape(&[r#"[{"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}]"#]);
        let mixed = shape(&[r#"[{"a": 1}, {"b": 2}, {"c": 3}, {"d": 1}]"#]);
        let of = |s: &DocumentShape| s.lists[&Vec::<String>::new()].regularity();
        assert!(of(&regular) > 0.8, "{}", of(&regular));
        assert!(of(&mixed) < 0.5, "{}", of(&mixed));
    }

    #[test]
    fn columns_have_names_of_their_own() {
        let shape = shape(&[r#"[{"unitPrice": 1, "unit_price": 2, "€": 3}]"#]);
        let mut names: Vec<_> = shape.lists[&Vec::<String>::new()]
            .fields()
            .into_iter()
            .map(|f| f.column)
            .collect();
        names.sort();
        assert_eq!(names, ["column", "unit_price", "unit_price_2"]);
    }
}
