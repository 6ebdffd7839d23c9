//! Verification beside the real daemon on real servers.

mod certificate;
mod changed;
mod continuous;
mod differences;
mod interrupted;
mod load;
mod reverse;
#[path = "../support/mod.rs"]
mod support;
mod values;
mod world;
