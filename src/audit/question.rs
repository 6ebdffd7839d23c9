//! What a rule wants to know of the whole table before it speaks.

use super::finding::Finding;

/// The numbers of one row; `None` is NULL.
pub type Answer = Vec<Option<i64>>;

/// What a rule comes to.
pub enum Claim {
    /// The catalog, the statistics or the sample are enough.
    Settled(Box<Finding>),
    /// The sample speaks for it; the whole table decides.
    Open(Question),
}

impl Claim {
    #[must_use]
    pub fn settled(finding: Finding) -> Self {
        Self::Settled(Box::new(finding))
    }
}

/// One statement whose only row decides.
pub struct Question {
    /// What is asked, for progress and for what could not be answered.
    pub about: String,
    /// Read-only; one row of `bigint` columns; takes no lock above ACCESS SHARE.
    pub sql: String,
    /// The finding, if the answer says so. It is asked with `None` where the server did
    /// not answer within the time: what is left is what the sample says.
    pub decide: Decide,
}

pub type Decide = Box<dyn FnOnce(Option<&Answer>) -> Option<Finding> + Send>;

/// The number at this place, 0 for NULL.
#[must_use]
pub fn number(answer: &Answer, place: usize) -> i64 {
    answer.get(place).copied().flatten().unwrap_or(0)
}

/// The count at this place, 0 for NULL.
#[must_use]
pub fn count(answer: &Answer, place: usize) -> u64 {
    u64::try_from(number(answer, place)).unwrap_or(0)
}
