//! The applier: receive, pass the release gate, look chunks up, wait for claims,
//! look again, write rows and checkpoint in one transaction.

use crate::batch::Writes;
use crate::mutant::Mutant;
use crate::protocol::{Action, Protocol, State, Who};
use crate::source::KEYS;
use crate::target::Chunk;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hand {
    Empty,
    Received {
        upto: u8,
    },
    /// Bits of `undecided` and `apply` count the batch's changes in order.
    Waiting {
        upto: u8,
        chunks: u8,
        undecided: u8,
        apply: u8,
    },
    /// The target transaction is on its way; `half` where a mutant needs two.
    Writing {
        upto: u8,
        writes: Writes,
        half: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Applier {
    /// The checkpoint that its next compare-and-swap expects.
    pub base: u8,
    /// Where it is on the stream.
    pub pos: u8,
    pub hand: Hand,
}

impl Applier {
    pub const fn starting_at(checkpoint: u8, confirmed: u8) -> Self {
        let pos = if confirmed > checkpoint {
            confirmed
        } else {
            checkpoint
        };
        Self {
            base: checkpoint,
            pos,
            hand: Hand::Empty,
        }
    }
}

impl Protocol {
    pub fn applier_actions(&self, state: &State, who: Who, out: &mut Vec<Action>) {
        let Some(applier) = state.applier(who) else {
            return;
        };
        match applier.hand {
            Hand::Empty => self.idle_actions(state, applier, out),
            Hand::Received { upto } => {
                if self.may_decide(state, applier.pos, upto) {
                    out.push(Action::Lookup(who));
                }
                if self.is(Mutant::KeepaliveOvertakes) && applier.base < state.keepalive() {
                    out.push(Action::Overtake(who));
                }
            }
            Hand::Waiting {
                upto, chunks: 0, ..
            } => {
                if self.source_is_readable(state, applier.pos, upto) {
                    out.push(Action::LookAgain(who));
                }
            }
            Hand::Waiting { chunks, .. } => {
                for c in (0..KEYS as u8).filter(|c| chunks >> c & 1 == 1) {
                    if !Self::is_claimed(state, c) {
                        out.push(Action::SeenFree(who, c));
                    }
                }
            }
            Hand::Writing { .. } => out.push(Action::Commit(who)),
        }
        if who == Who::Zombie {
            out.push(Action::ZombieDies);
        }
    }

    fn idle_actions(&self, state: &State, applier: &Applier, out: &mut Vec<Action>) {
        let received = applier.pos / 2;
        for n in 1..=self.batch {
            if received + n <= state.source.commits {
                out.push(Action::Receive(n));
            }
        }
        let drained = received == state.source.commits;
        if self.keepalives && drained && applier.pos < state.keepalive() {
            out.push(Action::Keepalive);
        }
        if state.repairs > 0 && !self.is(Mutant::RepairBesideApplier) {
            self.repair_actions(state, out);
        }
    }

    pub fn repair_actions(&self, state: &State, out: &mut Vec<Action>) {
        for key in 0..KEYS as u8 {
            let copied = matches!(state.target.find(key), Some(Chunk::Copied { .. }));
            if copied && !state.source.table_locked(&self.work) {
                out.push(Action::Repair(key));
            }
        }
    }

    pub fn applier_step(&self, s: &mut State, action: Action) {
        match action {
            Action::Receive(n) => {
                let upto = (s.live.pos / 2 + n) * 2;
                s.live.hand = Hand::Received { upto };
                if self.is(Mutant::ConfirmReceived) {
                    s.confirmed = upto;
                }
            }
            Action::Keepalive => {
                let (upto, writes) = (s.keepalive(), Writes::default());
                s.live.hand = Hand::Writing {
                    upto,
                    writes,
                    half: false,
                };
            }
            Action::Overtake(who) => {
                let (position, checkpoint) = (s.keepalive(), s.target.checkpoint);
                if let Some(a) = s.applier_mut(who)
                    && a.base == checkpoint
                {
                    a.base = position;
                    s.target.checkpoint = position;
                }
            }
            Action::Repair(key) => {
                s.repairs -= 1;
                let row = s.source.read(&self.work, s.source.snapshot(), false)[key as usize];
                let mut writes = Writes::default();
                writes.set(key, row);
                if self.is(Mutant::RepairBesideApplier) {
                    s.beside = Some(writes);
                } else {
                    s.live.hand = Hand::Writing {
                        upto: s.live.pos,
                        writes,
                        half: false,
                    };
                }
            }
            Action::RepairWrites => {
                if let Some(writes) = s.beside.take() {
                    writes.land(s);
                }
            }
            Action::Lookup(who) => self.look_up(s, who),
            Action::SeenFree(who, chunk) => {
                if let Some(Applier {
                    hand: Hand::Waiting { chunks, .. },
                    ..
                }) = s.applier_mut(who)
                {
                    *chunks &= !(1 << chunk);
                }
            }
            Action::LookAgain(who) => self.look_again(s, who),
            Action::Commit(who) => self.commit(s, who),
            Action::ZombieDies => s.zombie = None,
            _ => {}
        }
    }

    fn commit(&self, s: &mut State, who: Who) {
        let Some(&Applier { base, hand, .. }) = s.applier(who) else {
            return;
        };
        let Hand::Writing { upto, writes, half } = hand else {
            return;
        };
        let (rows, checkpoint) = match self.mutant {
            Some(Mutant::CheckpointBeforeRows) => (half, !half),
            Some(Mutant::RowsBeforeCheckpoint) => (!half, half),
            _ => (true, true),
        };
        let swap_fails = s.target.checkpoint != base && !self.is(Mutant::NoCompareAndSwap);
        if checkpoint && swap_fails {
            // Rolled back: somebody else has moved on. Start again from there.
            match who {
                Who::Live => s.live = Applier::starting_at(s.target.checkpoint, s.confirmed),
                Who::Zombie => s.zombie = None,
            }
            return;
        }
        if rows {
            writes.land(s);
        }
        if checkpoint {
            s.target.checkpoint = upto;
        }
        if rows && checkpoint || half {
            match who {
                Who::Live => {
                    s.live = Applier {
                        base: upto,
                        pos: upto,
                        hand: Hand::Empty,
                    }
                }
                Who::Zombie => s.zombie = None,
            }
        } else {
            s.set_hand(
                who,
                Hand::Writing {
                    upto,
                    writes,
                    half: true,
                },
            );
        }
    }
}
