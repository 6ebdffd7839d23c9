//! Diagrams of a schema: SVG of its own, DOT and Mermaid.

pub mod cluster;
pub mod graph;
mod layer;
pub mod layout;
pub mod dot;
pub mod mermaid;
mod order;
mod pack;
mod place;
pub mod proposal;
mod route;
pub mod shape;
mod sheet;
pub mod svg;

pub use graph::{Column, Graph, Mark, Reference, Table};
pub use layout::Drawing;
