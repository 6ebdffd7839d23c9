//! The strategies `columns` and `view` under an application that never stops: switched
//! back and forth by hand, with one transaction that stands for the streams, so that
//! only names, guards and views are on trial.

mod columns;
mod shop;
mod view;
mod view_gates;
mod view_writes;
