//! The races that the design closes, on real servers and made certain by
//! failpoints: no test here depends on who is faster.
//!
//! Where a guard closes the race, the same scenario runs twice: with the guard the
//! targets end equal to plain SQL over the source, with the guard taken out they
//! must end different. So each of these tests has the power to fail.
#![cfg(feature = "failpoints")]

#[path = "races/back.rs"]
mod back;
#[path = "races/ddl.rs"]
mod ddl;
#[path = "races/fence.rs"]
mod fence;
#[path = "races/gap.rs"]
mod gap;
#[path = "races/huge.rs"]
mod huge;
#[path = "races/loss.rs"]
mod loss;
#[path = "races/origin.rs"]
mod origin;
#[path = "races/quarantine.rs"]
mod quarantine;
#[path = "races/stage.rs"]
mod stage;
mod support;
#[path = "races/swap.rs"]
mod swap;
#[path = "races/toast.rs"]
mod toast;
