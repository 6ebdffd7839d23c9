//! Which way a switch goes.

use crate::phase::Phase;
use crate::state::checkpoint::Leg;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// The new schema takes over.
    #[default]
    Forward,
    /// The old one does again; needs a reverse in every module.
    Back,
}

impl Direction {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Back => "back",
        }
    }

    /// The stream that it drains, and that ends with it.
    #[must_use]
    pub fn leg(self) -> Leg {
        match self {
            Self::Forward => Leg::Forward,
            Self::Back => Leg::Reverse,
        }
    }

    /// The phase in which it can begin.
    #[must_use]
    pub fn from(self) -> Phase {
        match self {
            Self::Forward => Phase::Streaming,
            Self::Back => Phase::Switched,
        }
    }

    /// The phase that it leads to.
    #[must_use]
    pub fn to(self) -> Phase {
        match self {
            Self::Forward => Phase::Switched,
            Self::Back => Phase::Streaming,
        }
    }
}
