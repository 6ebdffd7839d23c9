//! Copiers: claim, look again, snapshot, write and commit, release. A session
//! that is cut off keeps its claim, and may still commit, until the server has
//! noticed.

use crate::mutant::Mutant;
use crate::protocol::{Action, Protocol, State};
use crate::target::{Chunk, Image, Session};

impl Protocol {
    pub fn is_claimed(state: &State, chunk: u8) -> bool {
        state.sessions().any(|s| s.claims(chunk))
    }

    pub fn copier_actions(&self, state: &State, out: &mut Vec<Action>) {
        for (c, row) in state.target.chunks.iter().enumerate() {
            let chunk = c as u8;
            let stale = self.stale_picks && matches!(row, Chunk::Copied { .. });
            if (*row == Chunk::Pending || stale) && state.idle_copier(self.copiers).is_some() {
                if self.is(Mutant::SnapshotBeforeClaim) {
                    out.push(Action::SnapshotFirst(chunk));
                } else if !Self::is_claimed(state, chunk) {
                    out.push(Action::Claim(chunk));
                }
            }
        }
        for (i, session) in state.copiers.iter().enumerate() {
            let i = i as u8;
            match *session {
                Session::Idle => {}
                Session::Snapped { chunk, .. } if Self::is_claimed(state, chunk) => {}
                Session::Snapped { .. } => out.push(Action::ClaimLate(i)),
                Session::Claimed { .. } | Session::Unlocked { .. } => {
                    let lock_later = self.is(Mutant::TableLockAfterSnapshot)
                        && matches!(session, Session::Claimed { .. });
                    if lock_later || !state.source.table_locked(&self.work) {
                        out.push(Action::Read(i));
                    }
                }
                Session::Read { held, .. } => {
                    if held && self.is(Mutant::ReleaseBeforeCommit) {
                        out.push(Action::ReleaseEarly(i));
                    } else {
                        out.push(Action::CopyCommit(i));
                    }
                }
                Session::Committed { .. } => out.push(Action::Release(i)),
            }
            if *session != Session::Idle && state.cuts > 0 && state.free_ghost().is_some() {
                out.push(Action::Cut(i));
            }
        }
        for (i, ghost) in state.ghosts.iter().enumerate() {
            if let Session::Read { .. } = ghost {
                out.push(Action::GhostCommit(i as u8));
            }
            if *ghost != Session::Idle {
                out.push(Action::GhostEnds(i as u8));
            }
        }
    }

    /// Every position from here on will do for `high`; the lowest is the hardest.
    fn image(state: &State) -> Image {
        let high = state.source.insert_lsn();
        Image {
            snap: state.source.snapshot(),
            high,
            late: false,
        }
    }

    pub fn copier_step(&self, s: &mut State, action: Action) {
        match action {
            Action::Claim(chunk) => {
                if let Some(i) = s.idle_copier(self.copiers) {
                    // What only HighLsnBeforeSnapshot keeps is left out elsewhere.
                    let early = self.is(Mutant::HighLsnBeforeSnapshot);
                    let high = if early { s.source.insert_lsn() } else { 0 };
                    s.copiers[i] = Session::Claimed { chunk, high };
                }
            }
            Action::SnapshotFirst(chunk) => {
                if let Some(i) = s.idle_copier(self.copiers) {
                    s.copiers[i] = Session::Snapped {
                        chunk,
                        image: Self::image(s),
                    };
                }
            }
            Action::ClaimLate(i) => {
                if let Session::Snapped { chunk, image } = s.copiers[i as usize] {
                    let pending = s.target.chunks[chunk as usize] == Chunk::Pending;
                    let read = Session::Read {
                        chunk,
                        image,
                        held: true,
                    };
                    s.copiers[i as usize] = if pending { read } else { Session::Idle };
                }
            }
            Action::Read(i) => s.copiers[i as usize] = self.read(s, s.copiers[i as usize]),
            Action::CopyCommit(i) => {
                s.copiers[i as usize] = self.copy_commit(s, s.copiers[i as usize]);
            }
            Action::ReleaseEarly(i) => {
                if let Session::Read { held, .. } = &mut s.copiers[i as usize] {
                    *held = false;
                }
            }
            Action::Release(i) => s.copiers[i as usize] = Session::Idle,
            Action::Cut(i) => {
                s.cuts -= 1;
                self.cut(s, i as usize);
            }
            Action::GhostCommit(i) => {
                s.ghosts[i as usize] = self.copy_commit(s, s.ghosts[i as usize]);
            }
            Action::GhostEnds(i) => s.ghosts[i as usize] = Session::Idle,
            _ => {}
        }
        s.copiers.sort_unstable();
        s.ghosts.sort_unstable();
    }

    /// The chunk's state is looked at again under the claim, then the table is
    /// locked, then the snapshot taken and everything read by it.
    fn read(&self, s: &State, session: Session) -> Session {
        match session {
            Session::Claimed { chunk, high } => {
                let pending = s.target.chunks[chunk as usize] == Chunk::Pending;
                if !pending && !self.is(Mutant::NoLookAfterClaim) {
                    return Session::Idle;
                }
                let mut image = Self::image(s);
                if self.is(Mutant::HighLsnBeforeSnapshot) {
                    image.high = high;
                }
                if self.is(Mutant::TableLockAfterSnapshot) {
                    return Session::Unlocked { chunk, image };
                }
                Session::Read {
                    chunk,
                    image,
                    held: true,
                }
            }
            Session::Unlocked { chunk, mut image } => {
                let full = s.source.read(&self.work, image.snap, false);
                image.late = s.source.read(&self.work, image.snap, true) != full;
                Session::Read {
                    chunk,
                    image,
                    held: true,
                }
            }
            other => other,
        }
    }

    fn copy_commit(&self, s: &mut State, session: Session) -> Session {
        let Session::Read { chunk, image, held } = session else {
            return session;
        };
        let rows = s.source.read(&self.work, image.snap, image.late);
        s.target.write_chunk(chunk, image, &rows);
        if held {
            Session::Committed { chunk }
        } else {
            Session::Idle
        }
    }

    /// The copier goes on with a new session; the old one lingers.
    pub fn cut(&self, s: &mut State, copier: usize) {
        let mut session = std::mem::replace(&mut s.copiers[copier], Session::Idle);
        if self.is(Mutant::ClaimOnOtherSession) {
            match &mut session {
                Session::Read { held, .. } => *held = false,
                _ => return,
            }
        }
        if matches!(session, Session::Idle | Session::Snapped { .. }) {
            return;
        }
        if let Some(free) = s.free_ghost() {
            s.ghosts[free] = session;
        }
    }
}
