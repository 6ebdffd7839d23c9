//! Lists written into one text: `red,green`, `12;17;20`. Prose, addresses and names have
//! commas too, so the parts must be short words out of a vocabulary that repeats.

use std::collections::HashMap;

use super::value::{Form, form, narrowest};

const SEPARATORS: [char; 4] = [',', ';', '|', ' '];
/// Fewer lists than this prove nothing.
const FEWEST: usize = 20;
/// Longer parts are prose.
const LONGEST_PART: usize = 32;

/// A column whose texts are lists.
#[derive(Debug, Clone, PartialEq)]
pub struct Enumeration {
    pub separator: char,
    /// Values with more than one part.
    pub lists: usize,
    pub values: usize,
    pub parts: usize,
    /// Different parts.
    pub vocabulary: usize,
    pub most_parts: usize,
    /// The type that every part can be cast to.
    pub element_type: &'static str,
}

/// Looks at the non-empty values of a column.
#[must_use]
pub fn recognise<'a>(values: impl Iterator<Item = &'a str> + Clone) -> Option<Enumeration> {
    SEPARATORS
        .into_iter()
        .filter_map(|s| with_separator(values.clone(), s))
        .max_by_key(|e| e.lists)
}

fn with_separator<'a>(
    values: impl Iterator<Item = &'a str>,
    separator: char,
) -> Option<Enumeration> {
    let mut vocabulary: HashMap<&str, usize> = HashMap::new();
    let mut lengths: HashMap<usize, usize> = HashMap::new();
    let mut forms: HashMap<Form, usize> = HashMap::new();
    let (mut seen, mut lists, mut parts_seen, mut most) = (0, 0, 0, 0);
    for value in values {
        seen += 1;
        let parts: Vec<&str> = match separator {
            ' ' => value.split_whitespace().collect(),
            _ => value.split(separator).map(str::trim).collect(),
        };
        // An empty or a long part, or one of several words, is no element of a list.
        let fits = parts
            .iter()
            .all(|p| !p.is_empty() && p.len() <= LONGEST_PART && p.split_whitespace().count() <= 2);
        // Words with blanks between are prose, unless none of them is a word.
        if !fits || separator == ' ' && !parts.iter().all(|p| is_token(p)) {
            return None;
        }
        lists += usize::from(parts.len() > 1);
        most = most.max(parts.len());
        *lengths.entry(parts.len()).or_default() += 1;
        parts_seen += parts.len();
        for part in parts {
            *vocabulary.entry(part).or_default() += 1;
            *forms.entry(form(part)).or_default() += 1;
        }
    }
    if lists < FEWEST || lists * 3 < seen {
        return None;
    }
    // Two numbers are a point, three are a colour or a version, last and first are a
    // name: the same count in every value is a tuple, not a list.
    if lengths.len() < 2 {
        return None;
    }
    // The words of a list come again and again.
    if vocabulary.len() * 3 > parts_seen {
        return None;
    }
    let forms: Vec<_> = forms.into_iter().collect();
    // Numbers with a comma between are amounts where every part could be digits of one.
    if separator == ',' && forms.iter().all(|(f, _)| matches!(f, Form::Decimal)) {
        return None;
    }
    Some(Enumeration {
        separator,
        lists,
        values: seen,
        parts: parts_seen,
        vocabulary: vocabulary.len(),
        most_parts: most,
        element_type: narrowest(&forms),
    })
}

/// `invoices:read`, `user.email`: what no sentence has.
fn is_token(part: &str) -> bool {
    let inside = part
        .strip_prefix(char::is_alphabetic)
        .and_then(|p| p.strip_suffix(char::is_alphanumeric));
    inside.is_some_and(|p| p.contains([':', '.', '_', '/']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(make: impl Fn(usize) -> String) -> Option<Enumeration> {
        let values: Vec<String> = (0..100).map(make).collect();
        recognise(values.iter().map(String::as_str))
    }

    #[test]
    fn tags_and_ids_are_lists() {
        let tags = of(|i| ["red", "red,green", "blue, red,green"][i % 3].to_owned()).unwrap();
        assert_eq!(
            (tags.separator, tags.vocabulary, tags.most_parts),
            (',', 3, 3)
        );
        assert_eq!(tags.element_type, "text");
        let ids = of(|i| format!("{};{}{}", i % 9, i % 7, [";3", ""][i % 2])).unwrap();
        assert_eq!(ids.element_type, "integer");
        let scopes = of(|i| ["a:read", "a:read b:write", "b:write c.x"][i % 3].to_owned()).unwrap();
        assert_eq!((scopes.separator, scopes.vocabulary), (' ', 3));
    }

    #[test]
    fn what_only_has_commas_is_none() {
        for (what, found) in [
            (
                "prose",
                of(|i| format!("It rained, and we went home after {i} hours, all wet.")),
            ),
            ("names", of(|i| format!("Doe{i}, Jane"))),
            ("points", of(|i| format!("{}.5,{}.25", i % 9, i % 7))),
            ("addresses", of(|i| format!("{i} Main St, Springfield, IL"))),
            ("colours", of(|i| format!("{},{},{}", i % 3, i % 2, i % 5))),
            ("plain words", of(|i| ["red", "green"][i % 2].to_owned())),
            (
                "states",
                of(|i| ["in transit", "done", "on hold"][i % 3].to_owned()),
            ),
            (
                "two kinds of prose",
                of(|i| ["see a.b for more", "a:b"][i % 2].to_owned()),
            ),
            (
                "unique parts",
                of(|i| format!("a{i},b{i}{}", if i % 2 == 0 { ",c" } else { "" })),
            ),
        ] {
            assert_eq!(found, None, "{what}");
        }
    }
}
