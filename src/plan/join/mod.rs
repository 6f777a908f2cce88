//! Joins steps with those around them, so that a value is worked on while it is near.
//!
//! Next values are written straight over present ones (`in_place`); products take up the bias and ReLU behind them
//! (`finish`), batch norm the ReLU behind or before it (`rectify`), and a map the product that it alone reads (`epilogue`).

mod epilogue;
mod finish;
mod in_place;
mod rectify;

pub(super) use epilogue::join_epilogues;
pub(super) use finish::finish_products;
pub(super) use in_place::commit_state;
pub(super) use rectify::rectify_norms;
