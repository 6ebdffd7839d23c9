//! The daemon's own steps: slot, start gate, first chunk table, planning; and its
//! death.

use crate::applier::{Applier, Hand};
use crate::mutant::Mutant;
use crate::protocol::{Action, Protocol, Setup, State};
use crate::source::KEYS;
use crate::target::{Chunk, NO_CHUNK, Top};

impl Protocol {
    pub fn setup_actions(&self, s: &State, out: &mut Vec<Action>) {
        let early = self.is(Mutant::HighestKeyBeforeSlot);
        let readable = !s.source.table_locked(&self.work);
        match s.setup {
            Setup::NoSlot if early && s.early_top.is_none() => out.push(Action::ReadTop),
            // A real slot waits for the transactions that were open when its
            // creation began; who is open at its consistent point began later.
            // Here that is only a matter of who steps when.
            Setup::NoSlot => out.push(Action::CreateSlot),
            Setup::Slot => out.push(Action::TakeGate),
            Setup::GateTaken { xid } => {
                if s.source.snapshot().xmin >= xid || self.is(Mutant::NoStartGate) {
                    out.push(Action::PassGate);
                }
            }
            Setup::GatePassed if readable || early => out.push(Action::ReadTop),
            Setup::GatePassed => {}
            Setup::TopRead(_) => out.push(Action::StoreTop),
            Setup::Stored if s.splitting.is_some() => out.push(Action::FinishSplit),
            Setup::Stored => {
                if s.target.unplanned().is_some() {
                    out.push(Action::Split);
                }
            }
        }
    }

    pub fn setup_step(&self, s: &mut State, action: Action) {
        match action {
            Action::CreateSlot => {
                s.slot = Some(s.source.insert_lsn());
                s.target.checkpoint = s.source.insert_lsn();
                s.live = Applier::starting_at(s.target.checkpoint, 0);
                s.setup = Setup::Slot;
            }
            Action::TakeGate => {
                s.setup = Setup::GateTaken {
                    xid: s.source.next_xid,
                }
            }
            Action::PassGate => s.setup = Setup::GatePassed,
            Action::ReadTop => {
                let snap = s.source.snapshot();
                let rows = s.source.read(&self.work, snap, false);
                let highest = rows.iter().rposition(|row| row.small != 0);
                let first_new = highest.map_or(0, |k| k as u8 + 1);
                let top = Top {
                    first_new,
                    snap,
                    high: s.source.insert_lsn(),
                };
                if s.setup == Setup::NoSlot {
                    s.early_top = Some(top);
                } else {
                    s.setup = Setup::TopRead(s.early_top.unwrap_or(top));
                }
            }
            Action::StoreTop => {
                if let Setup::TopRead(top) = s.setup {
                    self.store_top(s, top);
                }
            }
            Action::ZombieStoresTop => {
                if let Some(top) = s.late_top.take() {
                    self.store_top(s, top);
                }
            }
            Action::ZombieForgetsTop => s.late_top = None,
            Action::Split => {
                if let Some(lo) = s.target.unplanned() {
                    let at_once = !self.is(Mutant::SplitInTwoSteps);
                    s.target.split(lo, self.width, at_once);
                    s.splitting = (!at_once).then_some(lo);
                }
            }
            Action::FinishSplit => {
                if let Some(lo) = s.splitting.take() {
                    for k in lo as usize..KEYS {
                        if s.target.chunk_of[k] == NO_CHUNK {
                            s.target.chunk_of[k] = lo;
                        }
                    }
                    s.target.chunks[lo as usize] = Chunk::Pending;
                }
            }
            _ => {}
        }
    }

    /// Only the first chunk table is stored: a second one, from a daemon that
    /// read the highest key before it was taken for dead, or from its successor,
    /// must find it and leave it.
    fn store_top(&self, s: &mut State, top: Top) {
        let stored = s.target.chunks.iter().any(|c| *c != Chunk::Absent);
        if !stored || self.is(Mutant::FirstTableOverwritten) {
            let read = s.source.read(&self.work, top.snap, false);
            s.target.store_top(top, &read);
        }
        s.setup = Setup::Stored;
    }

    /// The daemon dies and its successor starts. What was under way may be over
    /// or not: the old applier goes on with the batch in hand for as long as it
    /// likes, the old copiers' sessions linger.
    pub fn crash(&self, s: &mut State) {
        s.crashes -= 1;
        for i in 0..s.copiers.len() {
            self.cut(s, i);
        }
        s.copiers.sort_unstable();
        s.ghosts.sort_unstable();
        if s.live.hand != Hand::Empty {
            s.zombie = Some(s.live);
        }
        s.live = Applier::starting_at(s.target.checkpoint, s.confirmed);
        s.splitting = None;
        if let Setup::TopRead(top) = s.setup {
            s.late_top = Some(top);
        }
        s.setup = match s.setup {
            Setup::GateTaken { .. } => Setup::Slot,
            Setup::TopRead(_) => Setup::GatePassed,
            other => other,
        };
    }
}
