//! What a sample says about each column of a table. Of the values themselves only what
//! rules need is kept.

use std::collections::HashMap;

use super::dependency::{self, Dependency};
use super::derivation::{self, Derivation};
use super::document::DocumentShape;
use super::enumeration::{self, Enumeration};
use super::probe::Sample;
use super::schema::Table;
use super::value::{Form, form, is_compact_day};

/// Frequent values are kept of columns that have no more different ones than this.
const FEW_VALUES: usize = 60;

/// A table as its sample shows it.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    pub rows: usize,
    /// The sample is the whole table.
    pub whole: bool,
    pub columns: Vec<ColumnProfile>,
    /// Holding on the sample, each with a determinant that repeats.
    pub dependencies: Vec<Dependency>,
    pub derivations: Vec<Derivation>,
    /// Of rows, the mean share of columns that are NULL.
    pub null_share: f64,
}

#[derive(Debug, Clone, Default)]
pub struct ColumnProfile {
    pub name: String,
    /// False where the type's values were not fetched.
    pub values: bool,
    pub nulls: usize,
    /// Values that were looked at.
    pub present: usize,
    pub distinct: usize,
    /// Of integers.
    pub range: Option<(i64, i64)>,
    pub forms: Vec<(Form, usize)>,
    /// Values that read as a day written in eight digits.
    pub compact_days: usize,
    pub mean_length: f64,
    pub longest: usize,
    pub shortest: usize,
    /// Values with a blank inside.
    pub with_blanks: usize,
    /// Value and count, most frequent first, where there are few different ones.
    pub frequent: Vec<(String, usize)>,
    pub document: Option<DocumentShape>,
    pub enumeration: Option<Enumeration>,
}

impl Profile {
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&ColumnProfile> {
        self.columns.iter().find(|c| c.name == name)
    }
}

impl ColumnProfile {
    /// 0 to 1.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a share of at most thousands")]
    pub fn null_share(&self, rows: usize) -> f64 {
        self.nulls as f64 / rows.max(1) as f64
    }

    /// No value was seen twice.
    #[must_use]
    pub fn is_unique(&self) -> bool {
        self.present > 0 && self.distinct == self.present
    }

    fn count(&mut self, values: &[&str]) {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        let mut forms: HashMap<Form, usize> = HashMap::new();
        let mut characters = 0;
        self.shortest = usize::MAX;
        for value in values {
            *counts.entry(value).or_default() += 1;
            *forms.entry(form(value)).or_default() += 1;
            let length = value.chars().count();
            characters += length;
            self.longest = self.longest.max(length);
            self.shortest = self.shortest.min(length);
            self.compact_days += usize::from(is_compact_day(value));
            self.with_blanks += usize::from(value.trim().contains(char::is_whitespace));
            if let Ok(number) = value.parse::<i64>() {
                let (low, high) = self.range.unwrap_or((number, number));
                self.range = Some((low.min(number), high.max(number)));
            }
        }
        self.present = values.len();
        self.distinct = counts.len();
        #[allow(clippy::cast_precision_loss, reason = "a mean length")]
        if !values.is_empty() {
            self.mean_length = characters as f64 / values.len() as f64;
        } else {
            self.shortest = 0;
        }
        if counts.len() <= FEW_VALUES {
            self.frequent = counts.into_iter().map(|(v, n)| (v.to_owned(), n)).collect();
            self.frequent
                .sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        }
        self.forms = forms.into_iter().collect();
        self.forms.sort_unstable();
    }
}

/// Digests a sample; it is not needed any more afterwards.
#[must_use]
pub fn profile(table: &Table, sample: &Sample) -> Profile {
    let mut columns = Vec::with_capacity(sample.columns.len());
    for (place, sampled) in sample.columns.iter().enumerate() {
        let cells = || sample.rows.iter().map(move |r| r[place].as_deref());
        let mut column = ColumnProfile {
            name: sampled.name.clone(),
            values: sampled.values,
            nulls: cells().filter(Option::is_none).count(),
            ..ColumnProfile::default()
        };
        let class = table.column(&sampled.name).map(|c| c.data_type.class);
        // An empty text stands for one that was too long to fetch, too.
        let values: Vec<&str> = cells().flatten().filter(|v| !v.is_empty()).collect();
        match class {
            Some(class) if class.is_json() => {
                let mut document = DocumentShape::default();
                values.iter().for_each(|v| document.add(v));
                column.present = values.len();
                column.document = Some(document);
            }
            Some(class) if sampled.values => {
                column.count(&values);
                if class.is_text() {
                    column.enumeration = enumeration::recognise(values.iter().copied());
                }
            }
            _ => {}
        }
        columns.push(column);
    }
    let coded = dependency::Coded::new(table, sample);
    #[allow(clippy::cast_precision_loss, reason = "a share")]
    let null_share = columns
        .iter()
        .map(|c| c.null_share(sample.rows.len()))
        .sum::<f64>()
        / columns.len().max(1) as f64;
    Profile {
        rows: sample.rows.len(),
        whole: sample.whole,
        dependencies: dependency::find(&coded, &columns),
        derivations: derivation::find(table, sample),
        columns,
        null_share,
    }
}
