//! The graph itself: its text form, its verifier, its drawing.

mod dot;
mod graphs;
#[path = "../common/skip.rs"]
mod skip;
mod text_form;
mod verifier;
