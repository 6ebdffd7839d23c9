//! What must hold.

use stateright::Property;

use crate::applier::Hand;
use crate::protocol::{Action, Protocol, State};
use crate::source::{KEYS, Row};
use crate::target::{Chunk, Session};

/// Which properties a run is checked for. The checker ends with the first state
/// that settles all of them, so one alone gives the shortest way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    Everything,
    Only(Damage),
}

/// How a mutant may show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// In the end the target's rows differ from the source's.
    Values,
    /// The rows agree, but a change has taken effect twice or not at all.
    Effects,
    /// For a while a target row is not what the checkpoint says.
    Ahead,
}

impl Damage {
    pub const fn property(self) -> &'static str {
        match self {
            Self::Values => "copied and drained, the target equals the source",
            Self::Effects => "copied and drained, each change has taken effect once",
            Self::Ahead => "a copied row is the one of its snapshot or of the checkpoint",
        }
    }
}

const EXACT: &str =
    "at every instant a copied key has had each change its snapshot or the checkpoint covers";
const UNSTUCK: &str = "who can go no further has arrived";
const ARRIVES: &str = "a run with every transaction copies and drains";

impl State {
    /// Copied, drained, and no transaction under way anywhere.
    fn quiescent(&self) -> bool {
        self.target.all_copied()
            && self.splitting.is_none()
            && self.live.hand == Hand::Empty
            && self.live.pos / 2 == self.source.commits
            && self.zombie.is_none()
            && self.beside.is_none()
            && self.late_top.is_none()
            && self.sessions().all(|s| *s == Session::Idle)
            && !self.source.txns.iter().any(|t| t.is_open())
    }
}

impl Protocol {
    pub fn watched(&self) -> Vec<Property<Self>> {
        let damage = |damage| match damage {
            Damage::Values => Property::always(Damage::Values.property(), |m: &Self, s: &State| {
                !s.quiescent() || m.values_agree(s)
            }),
            Damage::Effects => {
                Property::always(Damage::Effects.property(), |m: &Self, s: &State| {
                    !s.quiescent() || m.effects_agree(s)
                })
            }
            Damage::Ahead => Property::always(Damage::Ahead.property(), |m: &Self, s: &State| {
                !m.is_ahead(s)
            }),
        };
        match self.watch {
            Watch::Only(one) => vec![damage(one)],
            Watch::Everything => vec![
                damage(Damage::Values),
                damage(Damage::Effects),
                Property::always(EXACT, |m: &Self, s: &State| m.is_exact(s)),
                Property::always(UNSTUCK, |m: &Self, s: &State| {
                    s.quiescent() || m.can_go_on(s)
                }),
                Property::sometimes(ARRIVES, |m: &Self, s: &State| {
                    s.quiescent() && usize::from(s.source.commits) == m.work.script.len()
                }),
            ],
        }
    }

    /// Whether somebody can step, dying aside.
    fn can_go_on(&self, s: &State) -> bool {
        let mut actions = Vec::new();
        stateright::Model::actions(self, s, &mut actions);
        actions
            .iter()
            .any(|a| !matches!(a, Action::Crash | Action::Cut(_)))
    }

    /// The row that a copied key should have: its snapshot's or the checkpoint's.
    fn due(&self, s: &State, key: usize) -> Option<Row> {
        let Some(Chunk::Copied { snap, .. }) = s.target.find(key as u8) else {
            return None;
        };
        let seen = s.source.read(&self.work, snap, false)[key];
        let covered = s.source.rows_upto(&self.work, s.target.checkpoint)[key];
        Some(if seen.version > covered.version {
            seen
        } else {
            covered
        })
    }

    fn is_ahead(&self, s: &State) -> bool {
        (0..KEYS).any(|k| {
            self.due(s, k)
                .is_some_and(|row| !row.same_values(s.target.rows[k]))
        })
    }

    /// What a copied key must hold whenever nobody is in the middle of a commit:
    /// what its snapshot saw and what the checkpoint covers, each once. An image
    /// still to be written must not lack what the checkpoint has passed.
    fn is_exact(&self, s: &State) -> bool {
        let covered = s.source.rows_upto(&self.work, s.target.checkpoint);
        let copied = (0..KEYS).all(|k| match self.due(s, k) {
            Some(row) => s.target.rows[k].version == row.version,
            None => s.target.rows[k] == Row::default(),
        });
        let images = s.sessions().all(|session| match *session {
            Session::Read { chunk, image, .. } => {
                let read = s.source.read(&self.work, image.snap, false);
                (0..KEYS)
                    .filter(|&k| s.target.chunk_of[k] == chunk)
                    .all(|k| read[k].version >= covered[k].version)
            }
            _ => true,
        });
        copied && images
    }

    fn values_agree(&self, s: &State) -> bool {
        let rows = s.source.rows(&self.work);
        (0..KEYS).all(|k| rows[k].same_values(s.target.rows[k]))
    }

    fn effects_agree(&self, s: &State) -> bool {
        let rows = s.source.rows(&self.work);
        (0..KEYS).all(|k| rows[k].version == s.target.rows[k].version)
    }
}
