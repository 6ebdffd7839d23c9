//! The whole as a state machine for the checker: who may step, and what must hold.

use stateright::{Model, Property};

use crate::applier::{Applier, Hand};
use crate::batch::Writes;
use crate::mutant::Mutant;
use crate::properties::Watch;
use crate::source::{Source, TXNS, Txn, Workload};
use crate::target::{Session, Target, Top};

/// What a run is made of. The numbers bound it: every run ends.
#[derive(Debug, Clone, Copy)]
pub struct Protocol {
    pub work: Workload,
    /// Keys in a chunk.
    pub width: u8,
    /// Source transactions in a batch, at most.
    pub batch: u8,
    pub copiers: usize,
    /// Times that the daemon dies and starts again.
    pub crashes: u8,
    /// Times that one copier loses its session while the daemon lives.
    pub cuts: u8,
    /// Times that a row is rebuilt from the source on request (quarantine).
    pub repairs: u8,
    pub keepalives: bool,
    /// Copiers may go for a chunk that is copied by the time they claim it.
    pub stale_picks: bool,
    /// A target that does not depend on a changed column is left alone.
    pub leave_alone: bool,
    pub mutant: Option<Mutant>,
    pub watch: Watch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    Live,
    /// The applier of a daemon that is taken for dead.
    Zombie,
}

/// From the slot to the first chunk table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Setup {
    NoSlot,
    Slot,
    GateTaken {
        xid: u8,
    },
    /// Recorded: holds across a crash.
    GatePassed,
    /// The highest key has been read and is about to be stored.
    TopRead(Top),
    Stored,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    pub source: Source,
    pub slot: Option<u8>,
    pub setup: Setup,
    /// Only where a mutant reads it too early.
    pub early_top: Option<Top>,
    /// The first chunk table, on its way from a daemon that is taken for dead.
    pub late_top: Option<Top>,
    pub splitting: Option<u8>,
    pub target: Target,
    pub copiers: [Session; 2],
    /// Sessions that were cut off; the server does not know yet.
    pub ghosts: [Session; 3],
    pub live: Applier,
    pub zombie: Option<Applier>,
    pub beside: Option<Writes>,
    /// Told to the slot beyond the checkpoint: only where a mutant does.
    pub confirmed: u8,
    pub crashes: u8,
    pub cuts: u8,
    pub repairs: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Begin(u8),
    /// Writes the commit record: on the stream from now on.
    CommitRecord(u8),
    /// Leaves the proc array: visible from now on.
    BecomeVisible(u8),
    CreateSlot,
    TakeGate,
    PassGate,
    ReadTop,
    StoreTop,
    ZombieStoresTop,
    ZombieForgetsTop,
    Split,
    FinishSplit,
    Claim(u8),
    SnapshotFirst(u8),
    ClaimLate(u8),
    Read(u8),
    CopyCommit(u8),
    ReleaseEarly(u8),
    Release(u8),
    Cut(u8),
    GhostCommit(u8),
    GhostEnds(u8),
    Receive(u8),
    Keepalive,
    Overtake(Who),
    Lookup(Who),
    SeenFree(Who, u8),
    LookAgain(Who),
    Commit(Who),
    ZombieDies,
    Repair(u8),
    RepairWrites,
    Crash,
}

impl State {
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.copiers.iter().chain(&self.ghosts)
    }

    pub fn idle_copier(&self, copiers: usize) -> Option<usize> {
        let busy = self.copiers.iter().filter(|s| **s != Session::Idle).count();
        let free = self.copiers.iter().position(|s| *s == Session::Idle);
        free.filter(|_| busy < copiers)
    }

    pub fn free_ghost(&self) -> Option<usize> {
        self.ghosts.iter().position(|s| *s == Session::Idle)
    }

    pub const fn applier(&self, who: Who) -> Option<&Applier> {
        match who {
            Who::Live if self.slot.is_some() => Some(&self.live),
            Who::Live => None,
            Who::Zombie => self.zombie.as_ref(),
        }
    }

    pub const fn applier_mut(&mut self, who: Who) -> Option<&mut Applier> {
        match who {
            Who::Live => Some(&mut self.live),
            Who::Zombie => self.zombie.as_mut(),
        }
    }

    pub const fn set_hand(&mut self, who: Who, hand: Hand) {
        if let Some(applier) = self.applier_mut(who) {
            applier.hand = hand;
        }
    }

    /// The position that a keepalive reports: WAL beyond the last commit.
    pub const fn keepalive(&self) -> u8 {
        self.source.insert_lsn() + 1
    }
}

impl Protocol {
    pub fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn writer_actions(&self, s: &State, out: &mut Vec<Action>) {
        for t in 0..self.work.script.len() {
            let i = t as u8;
            match s.source.txns[t] {
                Txn::Unborn => {
                    let read = self.work.locks_table(t) && s.sessions().any(|c| c.reads_table());
                    if !read && s.source.may_begin(&self.work, t) {
                        out.push(Action::Begin(i));
                    }
                }
                Txn::Running { .. } => out.push(Action::CommitRecord(i)),
                Txn::Gap { .. } => out.push(Action::BecomeVisible(i)),
                Txn::Done { .. } => {}
            }
        }
    }

    fn writer_step(s: &mut State, action: Action) {
        let txns = &mut s.source.txns;
        match action {
            Action::Begin(t) => {
                txns[t as usize] = Txn::Running {
                    xid: s.source.next_xid,
                };
                s.source.next_xid += 1;
            }
            Action::CommitRecord(t) => {
                s.source.commits += 1;
                let lsn = s.source.commits * 2;
                txns[t as usize] = Txn::Gap {
                    xid: txns[t as usize].xid(),
                    lsn,
                };
            }
            Action::BecomeVisible(t) => {
                if let Txn::Gap { xid, lsn } = txns[t as usize] {
                    txns[t as usize] = Txn::Done { xid, lsn };
                }
            }
            _ => {}
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        assert!(self.work.script.len() <= TXNS);
        vec![State {
            source: Source::new(),
            slot: None,
            setup: Setup::NoSlot,
            early_top: None,
            late_top: None,
            splitting: None,
            target: Target::new(),
            copiers: [Session::Idle; 2],
            ghosts: [Session::Idle; 3],
            live: Applier::starting_at(0, 0),
            zombie: None,
            beside: None,
            confirmed: 0,
            crashes: self.crashes,
            cuts: self.cuts,
            repairs: self.repairs,
        }]
    }

    fn actions(&self, s: &State, out: &mut Vec<Action>) {
        self.writer_actions(s, out);
        self.setup_actions(s, out);
        self.copier_actions(s, out);
        self.applier_actions(s, Who::Live, out);
        self.applier_actions(s, Who::Zombie, out);
        if s.late_top.is_some() {
            out.push(Action::ZombieStoresTop);
            out.push(Action::ZombieForgetsTop);
        }
        if s.beside.is_some() {
            out.push(Action::RepairWrites);
        } else if s.repairs > 0 && self.is(Mutant::RepairBesideApplier) {
            self.repair_actions(s, out);
        }
        let room = s.ghosts.iter().filter(|g| **g == Session::Idle).count();
        if s.crashes > 0 && s.slot.is_some() && room >= self.copiers {
            out.push(Action::Crash);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut s = *last;
        Self::writer_step(&mut s, action);
        self.setup_step(&mut s, action);
        self.copier_step(&mut s, action);
        self.applier_step(&mut s, action);
        if action == Action::Crash {
            self.crash(&mut s);
        }
        Some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        self.watched()
    }
}
