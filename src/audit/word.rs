//! Names taken apart: `OrderItems`, `order_items` and `ORDER_ITEMS` are the words order
//! and items.

/// How the words of a name are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Case {
    /// `order`: one lower-case word fits every lower-case convention.
    Single,
    Snake,
    Camel,
    Pascal,
    Upper,
    Other,
}

impl Case {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "one word",
            Self::Snake => "snake_case",
            Self::Camel => "camelCase",
            Self::Pascal => "PascalCase",
            Self::Upper => "UPPER_CASE",
            Self::Other => "other",
        }
    }
}

/// The words of a name in lower case; digits are words of their own.
#[must_use]
pub fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let chars: Vec<char> = name.chars().collect();
    for (i, &c) in chars.iter().enumerate() {
        if !c.is_alphanumeric() {
            push(&mut words, &mut word);
            continue;
        }
        let before = i.checked_sub(1).map(|i| chars[i]);
        let after = chars.get(i + 1);
        let begins = before.is_some_and(|b| {
            // camelCase, HTTPServer, phone1, 2nd.
            (b.is_lowercase() && c.is_uppercase())
                || (b.is_uppercase() && c.is_uppercase() && after.is_some_and(|a| a.is_lowercase()))
                || (b.is_ascii_digit() != c.is_ascii_digit() && b.is_alphanumeric())
        });
        if begins {
            push(&mut words, &mut word);
        }
        word.extend(c.to_lowercase());
    }
    push(&mut words, &mut word);
    words
}

fn push(words: &mut Vec<String>, word: &mut String) {
    if !word.is_empty() {
        words.push(std::mem::take(word));
    }
}

#[must_use]
pub fn case(name: &str) -> Case {
    let all = |test: fn(char) -> bool| name.chars().all(test);
    let Some(first) = name.chars().next() else {
        return Case::Other;
    };
    if !all(|c| c.is_alphanumeric() || c == '_') {
        return Case::Other;
    }
    let (lower, upper) = (
        name.chars().any(char::is_lowercase),
        name.chars().any(char::is_uppercase),
    );
    match (lower, upper) {
        (true, false) if !name.trim_matches('_').contains('_') => Case::Single,
        (true, false) => Case::Snake,
        (false, true) => Case::Upper,
        (true, true) if name.contains('_') => Case::Other,
        (true, true) if first.is_uppercase() => Case::Pascal,
        (true, true) => Case::Camel,
        (false, false) => Case::Other,
    }
}

/// English singular of a lower-case word, as far as table names need it.
#[must_use]
pub fn singular(word: &str) -> String {
    const IRREGULAR: &[(&str, &str)] = &[
        ("people", "person"),
        ("children", "child"),
        ("men", "man"),
        ("women", "woman"),
        ("indices", "index"),
        ("statuses", "status"),
        ("addresses", "address"),
        ("movies", "movie"),
    ];
    if let Some((_, one)) = IRREGULAR.iter().find(|(many, _)| *many == word) {
        return (*one).to_owned();
    }
    let ends = |end: &str| word.ends_with(end) && word.len() > end.len() + 1;
    if ends("ies") {
        return format!("{}y", &word[..word.len() - 3]);
    }
    for end in ["sses", "shes", "ches", "xes", "zes"] {
        if ends(end) {
            return word[..word.len() - 2].to_owned();
        }
    }
    if ends("s") && !["ss", "us", "is", "news"].iter().any(|e| word.ends_with(e)) {
        return word[..word.len() - 1].to_owned();
    }
    word.to_owned()
}

/// Whether a word has a plural ending that [`singular`] takes off.
#[must_use]
pub fn is_plural(word: &str) -> bool {
    singular(word) != word
}

/// The words in the singular, joined: what is compared between two names.
#[must_use]
pub fn stem(name: &str) -> String {
    let words: Vec<_> = words(name).iter().map(|w| singular(w)).collect();
    words.join("_")
}

/// A name as snake case, for new tables and columns.
#[must_use]
pub fn snake(name: &str) -> String {
    let mut text = words(name)
        .into_iter()
        .map(|w| {
            w.chars()
                .filter(char::is_ascii_alphanumeric)
                .collect::<String>()
        })
        .filter(|w| !w.is_empty())
        .collect::<Vec<_>>()
        .join("_");
    // Digits belong to the word in front of them: `line1`, not `line_1`.
    while let Some(at) = text
        .char_indices()
        .zip(text.chars().skip(1))
        .position(|((_, a), b)| a == '_' && b.is_ascii_digit())
    {
        text.remove(at);
    }
    if text.is_empty() || text.starts_with(|c: char| c.is_ascii_digit()) {
        text.insert_str(0, "column");
    }
    text.truncate(60);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_style_have_the_same_words() {
        for name in [
            "order_items",
            "orderItems",
            "OrderItems",
            "ORDER_ITEMS",
            "Order Items",
        ] {
            assert_eq!(words(name), ["order", "items"], "{name}");
        }
        assert_eq!(words("phone1"), ["phone", "1"]);
        assert_eq!(words("HTTPServer2Ä"), ["http", "server", "2", "ä"]);
        assert!(words("\"").is_empty());
    }

    #[test]
    fn cases_are_told_apart() {
        for (name, expected) in [
            ("orders", Case::Single),
            ("order_items", Case::Snake),
            ("orderItems", Case::Camel),
            ("OrderItems", Case::Pascal),
            ("Orders", Case::Pascal),
            ("ORDER_ITEMS", Case::Upper),
            ("Order_Items", Case::Other),
            ("order items", Case::Other),
            ("", Case::Other),
        ] {
            assert_eq!(case(name), expected, "{name}");
        }
    }

    #[test]
    fn singulars_of_table_names() {
        for (many, one) in [
            ("orders", "order"),
            ("categories", "category"),
            ("addresses", "address"),
            ("boxes", "box"),
            ("status", "status"),
            ("people", "person"),
            ("news", "news"),
            ("branches", "branch"),
            ("warehouses", "warehouse"),
            ("series", "sery"),
        ] {
            assert_eq!(singular(many), one);
        }
        assert_eq!(stem("CustomerAddresses"), "customer_address");
        assert_eq!(snake("unitPrice"), "unit_price");
        assert_eq!(snake("Line 1"), "line1");
        assert_eq!(snake("€"), "column");
    }
}
