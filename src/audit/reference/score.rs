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

/// Digits of the odds that so many of the sampled values are keys by chance, of the answer to
/// [`Candidate::sampled_sql`]: by the share of the numbers near them that are keys, whether the
/// keys are dense everywhere or only where these values are.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "odds")]
pub fn surprise(answer: &Answer) -> f64 {
    let near = (2..answer.len()).map(|at| count(answer, at)).max();
    let (values, near) = (count(answer, 0) as f64, near.unwrap_or(0) as f64);
    let by_chance = (near + 1.0) / (values + 2.0);
    let share = Inclusion::sampled(answer).share();
    if share <= by_chance {
        return 0.0;
    }
    let digits = |p: f64, q: f64| if p > 0.0 { p * (p / q).log10() } else { 0.0 };
    values * (digits(share, by_chance) + digits(1.0 - share, 1.0 - by_chance))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(values: i64, found: i64, near: &[i64]) -> f64 {
        let all = [values, found].into_iter().chain(near.iter().copied());
        surprise(&all.map(Some).collect())
    }

    #[test]
    fn values_whose_neighbours_are_keys_as_well_surprise_nobody() {
        // Grams from 1 to 8,000 among parcels without a gap there.
        assert!(digits(1000, 1000, &[999, 998, 990, 900]) < 1.0);
        // A few of the keys are missing, and as many of the values.
        assert!(digits(1000, 990, &[989, 985, 700, 0]) < 1.0);
        // Round numbers among keys in steps of a hundred.
        assert!(digits(80, 80, &[0, 0, 0, 79]) < 1.0);
        // Numbers that nobody would hit: one in two thousand is a key.
        assert!(digits(200, 200, &[0, 0, 1, 0]) > 100.0);
        assert!(digits(200, 199, &[0, 0, 1, 0]) > 100.0);
        // Every other number is one, and never one of the others was met.
        assert!(digits(40, 40, &[20, 20, 20, 20]) > 6.0);
    }
}
