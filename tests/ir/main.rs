//! The graph itself: its text form, its verifier, its drawing.

mod dot;
mod graphs;
mod text_form;
mod verifier;
