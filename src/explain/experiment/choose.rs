//! From trials to a choice: round by round the best change is kept, as long as it is
//! worth its price.

use serde::Serialize;

use super::{Change, Experiment, Outcome, Sample, Trial};
use crate::error::Result;
use crate::explain::candidate::Candidate;
use crate::explain::laboratory::Place;

/// An index that saves less than this part is not worth what it costs every write.
const WORTH: f64 = 0.2;
/// Nor one that saves less than this, in milliseconds a run.
const WORTH_MS: f64 = 0.05;
/// Scores this close are one: the smaller index wins.
const TIE: f64 = 0.12;
const TIE_MS: f64 = 0.001;
/// And these, where one has an eighth of the other's bytes or less.
const TIE_SMALL: f64 = 0.18;
const SMALLER: f64 = 8.0;
/// Nor does one that is so much smaller lose by what may be chance, if it has most of the gain:
/// each insert pays for the other's size.
const FAR_SMALLER: f64 = 20.0;
const MOST_OF_IT: f64 = 0.9;
/// Slower by no more than this may be chance.
const MAY_BE_CHANCE: f64 = 1.6;
const WORTH_A_LOOK: f64 = 2.5;
const MOST_AGAIN: usize = 3;
const LOOKS: usize = 2;
/// What leaves more than this part of the time is believed only when the time without it was
/// looked at again.
const BEYOND_DOUBT: f64 = 0.25;
/// A second index of a table must leave no more than this part.
const SECOND: f64 = 0.5;
const MOST_ROUNDS: usize = 6;
/// Candidates built in the first round, and in those after it.
const FIRST_ROUND: usize = 26;
const LATER_ROUND: usize = 12;

/// One round: what was kept and how the query did then.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    pub trial: Trial,
    pub before: f64,
    pub after: f64,
    /// Much smaller than what was kept, and not much slower.
    pub leaner: Option<Trial>,
}

/// All that was tried.
#[derive(Debug, Clone, Serialize)]
pub struct Search {
    /// As things are.
    pub baseline: Sample,
    /// What is worth keeping, in the order of its gain.
    pub steps: Vec<Step>,
    /// Everything that was built, best first within its round.
    pub trials: Vec<Trial>,
    /// Candidates that were enumerated.
    pub enumerated: usize,
}

impl Search {
    /// How many changes could not be made, and why the first of them could not.
    #[must_use]
    pub fn failed(&self) -> (usize, Option<&str>) {
        let mut reasons = self.trials.iter().filter_map(|t| match &t.outcome {
            Outcome::Failed { reason } => Some(reason.as_str()),
            _ => None,
        });
        let first = reasons.next();
        (usize::from(first.is_some()) + reasons.count(), first)
    }
}

impl Experiment<'_> {
    /// Looks for the changes that serve the query best. `statistics` are tried before
    /// any index: they cost writes nothing.
    ///
    /// # Errors
    /// What the server says; 57014 when the query itself takes longer than allowed.
    pub async fn search(
        &mut self,
        candidates: &[Candidate],
        statistics: Vec<Change>,
    ) -> Result<Search> {
        (self.progress)("measuring the query as it is".to_owned());
        let baseline = self.baseline().await?;
        let mut search = Search {
            baseline,
            steps: Vec::new(),
            trials: Vec::new(),
            enumerated: candidates.len(),
        };
        let mut now = baseline.score;
        for change in statistics {
            let trial = self.attempt(&change, now).await?;
            if let Some(after) = trial.score()
                && self.is_worth(&mut now, after).await?
            {
                self.keep(change).await?;
                search.steps.push(Step {
                    trial: trial.clone(),
                    before: now,
                    after,
                    leaner: None,
                });
                now = after;
            }
            search.trials.push(trial);
        }
        for round in 0..MOST_ROUNDS {
            let pool: Vec<Candidate> = candidates
                .iter()
                .filter(|c| !self.is_settled(c))
                .cloned()
                .collect();
            let most = if round == 0 { FIRST_ROUND } else { LATER_ROUND };
            let mut trials = Vec::new();
            for change in self.shortlist(&pool, most, &search.trials).await? {
                trials.push(self.attempt(&change, now).await?);
            }
            trials.sort_by(|a, b| score(a).total_cmp(&score(b)));
            self.again(&mut trials, now).await?;
            let best = choose(&trials, now).cloned();
            let leaner = best.as_ref().and_then(|best| leaner(best, &trials, now));
            if round == 0 || best.is_some() {
                search.trials.extend(trials);
            }
            let Some(best) = best else { break };
            let after = score(&best);
            if !self.is_worth(&mut now, after).await?
                || self.is_served(best.change.table()) && after > now * SECOND
            {
                break;
            }
            self.keep(best.change.clone()).await?;
            search.steps.push(Step {
                trial: best,
                before: now,
                after,
                leaner,
            });
            now = after;
        }
        self.prune(&mut search, now).await?;
        Ok(search)
    }

    /// Whether a score is worth its price beside `now`, the score without it. That was taken
    /// before: what the machine had to do then may be all of the gain, so where there is room
    /// for a doubt it is taken again, and the better one counts.
    async fn is_worth(&mut self, now: &mut f64, after: f64) -> Result<bool> {
        let measured = self.statement.can_run();
        if worth(measured, *now, after) && measured && after > *now * BEYOND_DOUBT {
            match self.baseline().await {
                Ok(again) => *now = now.min(again.score),
                Err(e) if e.is_sqlstate("57014") => {}
                Err(e) => return Err(e),
            }
        }
        Ok(worth(measured, *now, after))
    }

    /// What is far smaller than the best and seems a little slower is measured once more:
    /// on a busy machine that may be chance, and small ones are built in no time.
    async fn again(&mut self, trials: &mut [Trial], now: f64) -> Result<()> {
        let Some(best) = trials.first().filter(|t| t.score().is_some()).cloned() else {
            return Ok(());
        };
        let near = |t: &&mut Trial| {
            t.bytes * SMALLER <= best.bytes && score(t) <= score(&best) * WORTH_A_LOOK
        };
        for trial in trials.iter_mut().skip(1).filter(near).take(MOST_AGAIN) {
            for _ in 0..LOOKS {
                if score(trial) <= score(&best) * (1.0 + TIE) {
                    break;
                }
                let next = self.attempt(&trial.change, now).await?;
                if score(&next) < score(trial) {
                    *trial = next;
                }
            }
        }
        trials.sort_by(|a, b| score(a).total_cmp(&score(b)));
        Ok(())
    }

    /// Takes back what a later index of the same table made superfluous, and on a throwaway
    /// server whatever the query does as well without.
    ///
    /// # Errors
    /// What the server says.
    pub async fn prune(&mut self, search: &mut Search, now: f64) -> Result<()> {
        let mut place = 0;
        while place < self.kept.len() {
            let table = self.kept[place].1.table();
            let later = &self.kept[place + 1..];
            let rival = later.iter().any(|(_, change)| change.table() == table);
            let gone = rival && self.try_without(place, search, now).await?;
            place += usize::from(!gone);
        }
        if self.laboratory.place != Place::Throwaway || self.kept.is_empty() {
            return Ok(());
        }
        let now = now.min(self.baseline().await?.score);
        for place in (0..self.kept.len()).rev() {
            self.try_without(place, search, now).await?;
        }
        Ok(())
    }

    /// Whether an index was given up because it is not worth its price.
    async fn try_without(&mut self, place: usize, search: &mut Search, now: f64) -> Result<bool> {
        if !matches!(self.kept[place].1, Change::Index(_)) {
            return Ok(false);
        }
        (self.progress)(format!("trying without {}", self.kept[place].1.label()));
        let without = self.without(place, now).await?;
        if without.is_none_or(|ms| worth(self.statement.can_run(), ms, now)) {
            return Ok(false);
        }
        self.give_up(place).await?;
        let gone = search.steps.remove(place);
        if let Some(next) = search.steps.get_mut(place) {
            next.before = gone.before;
        }
        Ok(true)
    }

    /// A table that was given an index whose first key is the same needs no other.
    fn is_settled(&self, candidate: &Candidate) -> bool {
        self.kept.iter().any(|(_, change)| match change {
            Change::Index(kept) => {
                kept.table == candidate.table && kept.keys.first() == candidate.keys.first()
            }
            Change::Statistics { .. } => false,
        })
    }
}

fn score(trial: &Trial) -> f64 {
    trial.score().unwrap_or(f64::MAX)
}

/// Milliseconds have a floor below which nothing is worth an index; costs have none.
fn worth(measured: bool, before: f64, after: f64) -> bool {
    after <= before * (1.0 - WORTH) && (!measured || before - after >= WORTH_MS)
}

/// The best trial, or the smallest of those that are as good as the best. `now` is the score
/// without any of them.
fn choose(trials: &[Trial], now: f64) -> Option<&Trial> {
    let best = trials.iter().min_by(|a, b| score(a).total_cmp(&score(b)))?;
    let gain = |t: &Trial| now - score(t);
    let close = |t: &Trial| {
        let most = match t.bytes / best.bytes.max(1.0) {
            part if part * FAR_SMALLER <= 1.0 && gain(t) >= gain(best) * MOST_OF_IT => {
                MAY_BE_CHANCE
            }
            part if part * SMALLER <= 1.0 => 1.0 + TIE_SMALL,
            _ => 1.0 + TIE,
        };
        score(t) <= score(best) * most + TIE_MS
    };
    let chosen = trials
        .iter()
        .filter(|t| {
            matches!(
                t.outcome,
                Outcome::Measured { .. } | Outcome::Weighed { .. }
            )
        })
        .filter(|t| close(t))
        .min_by(|a, b| {
            a.change
                .weight()
                .cmp(&b.change.weight())
                .then(a.bytes.total_cmp(&b.bytes))
                .then(score(a).total_cmp(&score(b)))
        })?;
    let more_keys =
        |t: &&Trial| score(t) <= score(chosen) * MAY_BE_CHANCE + TIE_MS && has_as_keys(t, chosen);
    Some(trials.iter().find(more_keys).unwrap_or(chosen))
}

/// Whether an index has the same columns as another one, those that it includes as further
/// keys, and was read as little. It finds whatever the other one does and is in order besides,
/// so that a slower run of it says nothing.
fn has_as_keys(trial: &Trial, other: &Trial) -> bool {
    let (Change::Index(index), Change::Index(carrier)) = (&trial.change, &other.change) else {
        return false;
    };
    let (Outcome::Measured { pages, .. }, Outcome::Measured { pages: its, .. }) =
        (&trial.outcome, &other.outcome)
    else {
        return false;
    };
    let further = index.keys.get(carrier.keys.len()..).unwrap_or_default();
    let mut names: Vec<_> = further.iter().flat_map(|k| &k.columns).collect();
    let mut carried: Vec<_> = carrier.include.iter().collect();
    names.sort();
    carried.sort();
    !carried.is_empty()
        && index.include.is_empty()
        && index.table == carrier.table
        && index.method == carrier.method
        && index.predicate == carrier.predicate
        && index.keys.starts_with(&carrier.keys)
        && names == carried
        && *pages <= *its * (1.0 + TIE)
}

/// The smallest index of the same table that has most of the gain for half of the size.
fn leaner(best: &Trial, trials: &[Trial], before: f64) -> Option<Trial> {
    let gain = before - score(best);
    trials
        .iter()
        .filter(|t| t.change.table() == best.change.table() && t.bytes > 0.0)
        .filter(|t| t.bytes <= best.bytes / 2.0 && before - score(t) >= gain * 0.8)
        .min_by(|a, b| a.bytes.total_cmp(&b.bytes))
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::candidate::{Key, Method};
    use crate::pg::QualifiedName;

    fn trial(columns: &[&str], ms: f64) -> Trial {
        let keys = columns
            .iter()
            .map(|&c| Key {
                sql: c.to_owned(),
                columns: vec![c.to_owned()],
                descending: false,
                nulls_first: None,
                opclass: None,
            })
            .collect();
        Trial {
            change: Change::Index(Candidate {
                table: QualifiedName::new("s", "t"),
                method: Method::Btree,
                keys,
                include: Vec::new(),
                predicate: None,
                promise: 0,
                widest: 0,
            }),
            outcome: Outcome::Measured { ms, pages: 1.0 },
            bytes: 8192.0,
            build_ms: 1.0,
        }
    }

    #[test]
    fn of_two_that_serve_alike_the_smaller_is_chosen() {
        let trials = [
            trial(&["a", "b"], 10.0),
            trial(&["a"], 10.5),
            trial(&["c"], 12.0),
        ];
        assert_eq!(choose(&trials, 100.0).unwrap().change, trials[1].change);
    }

    #[test]
    fn a_far_smaller_one_may_be_a_little_slower() {
        let mut trials = [trial(&["a", "b"], 10.0), trial(&["a", "c"], 11.5)];
        trials[0].bytes *= 9.0;
        assert_eq!(choose(&trials, 100.0).unwrap().change, trials[1].change);
        trials[1].bytes *= 2.0;
        assert_eq!(choose(&trials, 100.0).unwrap().change, trials[0].change);
        // A gigabyte is not built for what a megabyte does nearly as well.
        trials[0].bytes *= 100.0;
        trials[1] = trial(&["a", "c"], 14.0);
        assert_eq!(choose(&trials, 100.0).unwrap().change, trials[1].change);
        trials[1] = trial(&["a", "c"], 17.0);
        assert_eq!(choose(&trials, 100.0).unwrap().change, trials[0].change);
    }

    #[test]
    fn a_column_is_a_further_key_rather_than_carried_along_unless_that_reads_more() {
        let mut trials = [trial(&["a"], 0.171), trial(&["a", "b"], 0.201)];
        if let Change::Index(index) = &mut trials[0].change {
            index.include = vec!["b".to_owned()];
        }
        assert_eq!(choose(&trials, 100.0).unwrap().change, trials[1].change);
        trials[1].outcome = Outcome::Measured {
            ms: 0.201,
            pages: 2.0,
        };
        assert_eq!(choose(&trials, 100.0).unwrap().change, trials[0].change);
        trials[1] = trial(&["a", "b", "c"], 0.201);
        assert_eq!(choose(&trials, 100.0).unwrap().change, trials[0].change);
        trials[1] = trial(&["a", "b"], 0.3);
        assert_eq!(choose(&trials, 100.0).unwrap().change, trials[0].change);
    }

    #[test]
    fn a_little_faster_is_not_worth_an_index() {
        assert!(!worth(true, 100.0, 85.0));
        assert!(worth(true, 100.0, 80.0));
        assert!(!worth(true, 0.05, 0.01));
        assert!(worth(false, 0.05, 0.01));
    }

    #[test]
    fn what_was_not_used_is_never_chosen() {
        let mut unused = trial(&["a"], 0.0);
        unused.outcome = Outcome::NotUsed;
        assert!(choose(&[unused], 100.0).is_none());
    }
}
