//! Decides how the work is shared out: where held parameters lie (`blocks`), what is measured before state changes (`watch`),
//! and in which phases and shares the steps run (`schedule`).

mod blocks;
mod schedule;
mod watch;

pub(super) use blocks::choose_layouts;
pub(crate) use schedule::Phase;
pub(super) use schedule::schedule;
pub(crate) use watch::Watch;
pub(super) use watch::watch;
