//! Which findings a user wants: rules by id, objects by name.

use super::finding::Finding;
use super::rule;
use crate::error::{Error, Kind, Result};

/// `--rule` and `--ignore`.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only these rules; empty means all.
    pub rules: Vec<String>,
    pub ignored: Vec<Ignored>,
}

/// `rule`, `object`, or `rule:object`; an object is a name as findings show it, and what
/// lies in it is meant, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignored {
    rule: Option<String>,
    object: Option<String>,
}

impl Selection {
    /// # Errors
    /// [`Kind::Config`] for a rule that does not exist.
    pub fn new(rules: &[String], ignored: &[String]) -> Result<Self> {
        for id in rules {
            known(id)?;
        }
        Ok(Self {
            rules: rules.to_vec(),
            ignored: ignored
                .iter()
                .map(|text| Ignored::parse(text))
                .collect::<Result<_>>()?,
        })
    }

    #[must_use]
    pub fn wants_rule(&self, id: &str) -> bool {
        let ignored = |i: &Ignored| i.object.is_none() && i.rule.as_deref() == Some(id);
        (self.rules.is_empty() || self.rules.iter().any(|r| r == id))
            && !self.ignored.iter().any(ignored)
    }

    /// A finding of several objects is wanted as long as one of them is.
    #[must_use]
    pub fn wants(&self, finding: &Finding) -> bool {
        let ignored = |name: &str| {
            self.ignored.iter().any(|i| {
                i.rule.as_deref().is_none_or(|r| r == finding.rule)
                    && i.object.as_deref().is_none_or(|o| is_in(name, o))
            })
        };
        let names: Vec<_> = finding.objects.iter().map(ToString::to_string).collect();
        self.wants_rule(finding.rule)
            && if finding.each {
                !names.iter().all(|n| ignored(n))
            } else {
                !names.first().is_some_and(|n| ignored(n))
            }
    }
}

impl Ignored {
    fn parse(text: &str) -> Result<Self> {
        if let Some((rule, object)) = text.split_once(':') {
            known(rule)?;
            return Ok(Self {
                rule: Some(rule.to_owned()),
                object: Some(object.to_owned()),
            });
        }
        // Rules have no dot in their name; tables have a schema in front.
        if text.contains('.') {
            return Ok(Self {
                rule: None,
                object: Some(text.to_owned()),
            });
        }
        known(text)?;
        Ok(Self {
            rule: Some(text.to_owned()),
            object: None,
        })
    }
}

/// `shop.orders` holds `shop.orders.id`; `shop.*` holds everything of the schema.
fn is_in(name: &str, object: &str) -> bool {
    let object = object.strip_suffix(".*").unwrap_or(object);
    name.strip_prefix(object)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn known(id: &str) -> Result<()> {
    if rule::find(id).is_some() {
        return Ok(());
    }
    let ids: Vec<_> = rule::RULES.iter().map(|r| r.id).collect();
    Err(Error::new(Kind::Config, format!("there is no rule `{id}`"))
        .remedy(format!("the rules are {}", ids.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::finding::{Category, Object, Severity};
    use crate::pg::QualifiedName;

    fn finding(rule: &'static str, column: &str) -> Finding {
        Finding::new(rule, Category::Structure, Severity::Low, String::new()).on(Object::column(
            &QualifiedName::new("shop", "orders"),
            column,
        ))
    }

    #[test]
    fn rules_and_objects_are_left_out_by_name() {
        let of = |rules: &[&str], ignored: &[&str]| {
            let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
            Selection::new(&owned(rules), &owned(ignored)).unwrap()
        };
        let items = finding("json-array", "items");
        assert!(of(&[], &[]).wants(&items));
        assert!(of(&["json-array"], &[]).wants(&items));
        assert!(!of(&["bloat"], &[]).wants(&items));
        for ignored in [
            "json-array",
            "shop.orders",
            "shop.orders.items",
            "json-array:shop.orders",
            "shop.*",
        ] {
            assert!(!of(&[], &[ignored]).wants(&items), "{ignored}");
        }
        for ignored in [
            "bloat",
            "shop.order",
            "shop.orders.item",
            "bloat:shop.orders",
        ] {
            assert!(of(&[], &[ignored]).wants(&items), "{ignored}");
        }
    }

    #[test]
    fn a_rule_that_does_not_exist_is_refused_with_the_list() {
        for (rules, ignored) in [
            (vec!["json".to_owned()], vec![]),
            (vec![], vec!["json:a.b".to_owned()]),
        ] {
            let error = Selection::new(&rules, &ignored).unwrap_err();
            assert_eq!(error.kind, Kind::Config);
            assert!(error.what_to_do().contains("json-array"));
        }
    }
}
