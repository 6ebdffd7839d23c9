//! A batch: its release gate, the verdict on each of its changes, and what comes
//! of them.

use crossfade::apply::fence::{ChunkState, Verdict, decide};
use crossfade::pg::{Lsn, Snapshot};

use crate::applier::{Applier, Hand};
use crate::mutant::Mutant;
use crate::protocol::{Protocol, State, Who};
use crate::source::{Change, KEYS, Row, Txn};
use crate::target::Chunk;

/// What one target transaction of the applier writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Writes {
    /// `(small, large)` by key; a large value of `None` is left as it is.
    values: [Option<(u8, Option<u8>)>; KEYS],
    /// Changes that take effect, by key.
    effects: [u8; KEYS],
}

impl Writes {
    pub const fn set(&mut self, key: u8, row: Row) {
        self.values[key as usize] = Some((row.small, Some(row.large)));
    }

    pub fn land(&self, s: &mut State) {
        for k in 0..KEYS {
            if let Some((small, large)) = self.values[k] {
                let row = &mut s.target.rows[k];
                row.small = small;
                row.large = large.unwrap_or(row.large);
            }
            s.target.rows[k].version += self.effects[k];
        }
    }
}

impl Protocol {
    /// The release gate, and no lookup that finds nothing.
    pub fn may_decide(&self, state: &State, pos: u8, upto: u8) -> bool {
        let visible = |lsn| {
            let txn = state.source.at(lsn).map(|t| state.source.txns[t]);
            matches!(txn, Some(Txn::Done { .. }))
        };
        let last = match self.mutant {
            Some(Mutant::NoReleaseGate) => pos,
            Some(Mutant::GateOnFirstOnly) => pos / 2 * 2 + 2,
            _ => upto,
        };
        let gate = (pos / 2 + 1..=last / 2).all(|n| visible(n * 2));
        let mut found = true;
        self.each_change(state, pos, upto, |_, _, c| {
            found &= state.target.find(c.key).is_some();
        });
        gate && (found || self.is(Mutant::NoRowMeansDrop))
            && self.source_is_readable(state, pos, upto)
    }

    /// A re-read of the source waits for who has the table locked.
    pub fn source_is_readable(&self, state: &State, pos: u8, upto: u8) -> bool {
        let mut rereads = false;
        self.each_change(state, pos, upto, |_, _, c| rereads |= c.large.is_none());
        !rereads || !state.source.table_locked(&self.work)
    }

    /// The changes of the commits in `(pos, upto]`, numbered, with their commit.
    pub fn each_change(&self, s: &State, pos: u8, upto: u8, mut f: impl FnMut(u8, u8, Change)) {
        let mut number = 0;
        for n in pos / 2 + 1..=upto / 2 {
            s.source.stream(&self.work, n * 2, |change| {
                f(number, n * 2, change);
                number += 1;
            });
        }
    }

    /// What the real fence says about a change, for what the chunk table says.
    fn verdict(&self, s: &State, row: Option<Chunk>, unclaimed: bool, lsn: u8) -> Verdict {
        let state = match row {
            None => return Verdict::Drop,
            Some(Chunk::Absent | Chunk::Unplanned) => ChunkState::Unplanned,
            Some(Chunk::Pending) => ChunkState::Pending,
            Some(Chunk::Copied { snap, high }) => {
                let mut snapshot = Snapshot::from(snap);
                if self.is(Mutant::LsnInsteadOfVisibility) {
                    snapshot = Snapshot {
                        xmin: u64::MAX,
                        xmax: u64::MAX,
                        in_progress: vec![],
                    };
                }
                ChunkState::Copied {
                    snapshot,
                    high_lsn: Lsn(high.into()),
                }
            }
        };
        let xid = s.source.at(lsn).map_or(0, |t| s.source.txns[t].xid());
        decide(&state, unclaimed, xid.into(), Lsn(lsn.into()))
    }

    pub fn look_up(&self, s: &mut State, who: Who) {
        let Some(&Applier {
            pos,
            hand: Hand::Received { upto },
            ..
        }) = s.applier(who)
        else {
            return;
        };
        let (mut chunks, mut undecided, mut apply) = (0, 0, 0);
        self.each_change(s, pos, upto, |n, lsn, change| {
            let row = s.target.find(change.key);
            match self.verdict(s, row, self.is(Mutant::NoWait), lsn) {
                Verdict::Apply => apply |= 1 << n,
                Verdict::Drop => {}
                Verdict::Wait => {
                    undecided |= 1 << n;
                    chunks |= 1 << s.target.chunk_of[change.key as usize];
                }
            }
        });
        let hand = if chunks == 0 {
            Hand::Writing {
                upto,
                writes: self.writes(s, pos, upto, apply),
                half: false,
            }
        } else {
            Hand::Waiting {
                upto,
                chunks,
                undecided,
                apply,
            }
        };
        s.set_hand(who, hand);
    }

    pub fn look_again(&self, s: &mut State, who: Who) {
        let Some(&Applier { pos, hand, .. }) = s.applier(who) else {
            return;
        };
        let Hand::Waiting {
            upto,
            undecided,
            mut apply,
            ..
        } = hand
        else {
            return;
        };
        self.each_change(s, pos, upto, |n, lsn, change| {
            if undecided >> n & 1 == 1 {
                let stale = self.is(Mutant::StaleLookup);
                let row = if stale {
                    Some(Chunk::Pending)
                } else {
                    s.target.find(change.key)
                };
                match self.verdict(s, row, true, lsn) {
                    Verdict::Apply => apply |= 1 << n,
                    Verdict::Drop => {}
                    Verdict::Wait => unreachable!("nothing waits for a claim seen free"),
                }
            }
        });
        let writes = self.writes(s, pos, upto, apply);
        s.set_hand(
            who,
            Hand::Writing {
                upto,
                writes,
                half: false,
            },
        );
    }

    /// Coalesces what is to be applied to the last image of each key. A missing
    /// large value comes from an earlier image of the row in the batch (followed
    /// through key changes, dropped or not), or from the target where it can be
    /// left alone, or else with the whole row from the source, as it is now.
    fn writes(&self, s: &State, pos: u8, upto: u8, apply: u8) -> Writes {
        let mut writes = Writes::default();
        let mut images: [Option<u8>; KEYS] = [None; KEYS];
        let mut deleted = None;
        let now = s.source.read(&self.work, s.source.snapshot(), false);
        self.each_change(s, pos, upto, |n, _, c| {
            let (key, moved) = (c.key as usize, c.was != c.key);
            let earlier = if moved { deleted } else { images[key] };
            let large = c.large.or(earlier);
            let rebuilt = matches!(writes.values[key], Some((_, Some(_))))
                && !self.is(Mutant::CoalesceForgetsRebuild);
            let alone = self.leave_alone && !moved && !rebuilt;
            let value = match large {
                Some(large) => (c.small, Some(large)),
                None if alone => (c.small, None),
                None if self.is(Mutant::LeaveAloneAfterKeyChange) => (c.small, None),
                None => {
                    let by = if self.is(Mutant::RereadByOldKey) {
                        c.was
                    } else {
                        c.key
                    };
                    let row = now[by as usize];
                    (row.small, Some(row.large))
                }
            };
            deleted = images[key];
            images[key] = if c.small == 0 { None } else { large };
            if apply >> n & 1 == 1 {
                writes.values[key] = Some(value);
                writes.effects[key] += 1;
            }
        });
        writes
    }
}
