//! Traps for the folding of batch norm: small graphs on which a compiler that is a little careless is silently wrong.
//!
//! Each is folded as a user's graph is. Whatever was folded or refused, the outputs are those of the graph as it was
//! declared; on top of that each trap says what must be left of it, or why it must be left alone.

mod around;
mod axes;
mod between;
mod broadcasting;
mod check;
mod net;
mod numbers;
mod operands;
mod orientation;
mod products;
mod sharing;
mod signs;
mod training;
