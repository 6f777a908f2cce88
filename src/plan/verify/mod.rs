//! What holds of every plan, and the check that it does, as [`ir::verify`](crate::ir::verify) does it for graphs.
//!
//! Kernels read and write through pointers, and trust the plan for where these lead. The verifier follows a plan step by
//! step and share by share, with what each call says that it touches ([`Call::touches`](crate::kernel::Call::touches)), and
//! keeps for every byte whose value it holds. It runs on every plan in debug builds, on request ([`Plan::verify`]), and in any build under
//! `FOLDGRAD_VERIFY=1`.

mod memory;
mod shape;
#[cfg(test)]
mod tests;
mod touched;

use super::Plan;
use std::fmt;

/// One invariant of a plan.
#[derive(Clone, Copy, Debug)]
pub struct PlanCheck {
    /// The stable name, as in `P4`.
    pub label: &'static str,
    /// What holds.
    pub about: &'static str,
}

macro_rules! checks {
    ($($name:ident $label:literal $about:literal;)*) => {
        $(const $name: PlanCheck = PlanCheck { label: $label, about: $about };)*

        /// Every invariant that [`Plan::verify`] checks.
        pub const PLAN_CHECKS: &[PlanCheck] = &[$($name),*];
    };
}

checks! {
    STORAGE "P1" "a buffer lies inside the memory that it is stored in, aligned, and has its type";
    INSIDE "P2" "what a step touches of a buffer lies inside it";
    APART "P3" "what one share of a phase writes, no other share of it touches";
    VALUES "P4" "what a step reads holds the value of the buffer that it reads, all of it";
    ONCE "P5" "a value is complete before it is read, and no part of it is written twice, but over a fill";
    LINE "P6" "no state is written, and every output is complete, before the line; behind it are maps and copies only";
    STATES "P7" "at the end each updated state holds its next value, every other state its present one";
    PHASES "P8" "phases hold every step once, in order, and the line lies between two of them";
    SHARES "P9" "the shares of a step are apart, and together all of it";
    SCRATCH "P10" "scratch suffices for the kernel that asks for it";
    LAYOUTS "P11" "a state that is stored in blocks is only touched by steps that know its blocks";
    IN_PLACE "P12" "only a map overwrites what it reads, element for element, after its last use";
    WATCHED "P13" "what a commit reads of what was computed before is measured before the line";
}

/// An invariant that does not hold of a plan: a fault of the planner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanFault {
    /// The label of the check, `P4`.
    pub label: &'static str,
    /// Which step or buffer, and how.
    pub what: String,
}

/// Everything that does not hold of a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct PlanFaults(pub Vec<PlanFault>);

impl fmt::Display for PlanFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the planner has made a faulty plan; please report this:")?;
        for PlanFault { label, what } in &self.0 {
            let about = PLAN_CHECKS.iter().find(|check| check.label == *label).map_or("", |check| check.about);
            write!(f, "\n  {label}: {what} ({about})")?;
        }
        Ok(())
    }
}

impl Plan {
    /// Checks every invariant of [`PLAN_CHECKS`], in about the time of a run or two.
    ///
    /// ```
    /// use foldgrad::{Builder, DType, ir::Bindings, plan::Plan};
    /// let g = Builder::new();
    /// let (x, w) = (g.input("x", DType::F32, [8, 16]), g.parameter("w", DType::F32, [16, 4]));
    /// g.output("y", x.dot(w).relu());
    /// assert_eq!(Plan::new(&g.finish()?, &Bindings::default())?.verify(), Ok(()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What does not hold: a fault of the planner, never of the graph.
    pub fn verify(&self) -> Result<(), PlanFaults> {
        let mut report = Report { plan: self, found: Vec::new() };
        shape::check(&mut report);
        // Memory is followed only where steps and buffers are what they should be.
        if report.found.is_empty() {
            memory::check(&mut report);
        }
        if report.found.is_empty() { Ok(()) } else { Err(PlanFaults(report.found)) }
    }
}

/// Faults that are listed at the most: one mistake breaks many things.
const MOST: usize = 20;

struct Report<'p> {
    plan: &'p Plan,
    found: Vec<PlanFault>,
}

impl Report<'_> {
    fn fault(&mut self, check: PlanCheck, what: impl Into<String>) {
        let fault = PlanFault { label: check.label, what: what.into() };
        if self.found.len() < MOST && !self.found.contains(&fault) {
            self.found.push(fault);
        }
    }

    /// A step as a person would name it.
    fn step(&self, at: usize) -> String {
        self.plan.steps.get(at).map_or_else(|| format!("step {at}"), |step| format!("step {at} ({})", step.node))
    }
}

/// Whether every plan is verified in this process.
pub(super) fn is_on() -> bool {
    static ON: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    cfg!(debug_assertions) || *ON.get_or_init(|| std::env::var_os("FOLDGRAD_VERIFY").is_some_and(|on| on != "0"))
}
