//! One number out of names, inclusion, cardinality and types.

use super::super::question::{Answer, count};
use super::candidate::{Candidate, LEAST_NAME};

/// Rows that refer to nothing are what a missing foreign key leads to; more of them than
/// this share, and it is not a reference.
const LEAST_INCLUSION: f64 = 0.9;
/// What the signs must come to.
const LEAST_SCORE: f64 = 0.6;

/// How many values are keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inclusion {
    pub values: u64,
    pub orphans: u64,
    /// Every row was looked at, not only a sample's different values.
    pub whole: bool,
}

impl Inclusion {
    /// Of the answer to [`Candidate::sampled_sql`].
    #[must_use]
    pub fn sampled(answer: &Answer) -> Self {
        let (values, found) = (count(answer, 0), count(answer, 1));
        Self {
            values,
            orphans: values.saturating_sub(found),
            whole: false,
        }
    }

    /// Of the answer to [`Candidate::whole_sql`].
    #[must_use]
    pub fn whole(answer: &Answer) -> Self {
        Self {
            values: count(answer, 0),
            orphans: count(answer, 1),
            whole: true,
        }
    }

    /// 0 to 1.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a share")]
    pub fn share(&self) -> f64 {
        1.0 - self.orphans as f64 / self.values.max(1) as f64
    }
}

/// Whether so many of the numbers in the values' range are keys that any number would be one, by the
/// answer to [`Candidate::sampled_sql`].
#[must_use]
pub fn is_chance(answer: &Answer) -> bool {
    count(answer, 2).saturating_mul(2) > count(answer, 3)
}

/// Why a reference is believed.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// 0 to 1.
    pub score: f64,
    pub name: f64,
    pub inclusion: Inclusion,
    /// Different values of the column in the sample, and keys by estimate.
    pub distinct: usize,
    pub keys: u64,
    pub type_fit: f64,
    pub convert_to: Option<String>,
    /// SQL that counts the rows that refer to nothing.
    pub proof: String,
}

/// Weighs the signs; `None` where they are not enough.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "a score")]
pub fn judge(candidate: &Candidate, inclusion: Inclusion) -> Option<Evidence> {
    let share = inclusion.share();
    if inclusion.values == 0 || share < LEAST_INCLUSION {
        return None;
    }
    let included = (share - LEAST_INCLUSION) / (1.0 - LEAST_INCLUSION);
    let surprise = (candidate.surprise / 6.0).clamp(0.0, 1.0);
    // A column that uses few of many keys: so does any column of small numbers.
    let keys = candidate.referenced_rows.clamp(1, 20) as f64;
    let cardinality = (candidate.distinct as f64 / keys).min(1.0);
    let signs = 0.45 * candidate.name + 0.30 * included + 0.15 * surprise + 0.10 * cardinality;
    let score = signs * (0.5 + candidate.type_fit / 2.0);
    // Without a name the values have to be beyond doubt.
    let beyond_doubt = share >= 0.99 && surprise >= 1.0 && candidate.distinct >= 20;
    let enough = if candidate.name >= LEAST_NAME {
        score >= LEAST_SCORE
    } else {
        beyond_doubt
    };
    enough.then(|| Evidence {
        score: if candidate.name >= LEAST_NAME {
            score
        } else {
            score.max(0.7)
        },
        name: candidate.name,
        inclusion,
        distinct: candidate.distinct,
        keys: candidate.referenced_rows,
        type_fit: candidate.type_fit,
        convert_to: candidate.convert_to.clone(),
        proof: candidate.proof(),
    })
}
