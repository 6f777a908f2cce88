//! Reverse rules without the hand-derived ones: every composite through its definition.

use super::cases;
use super::trial::operands_in;
use foldgrad::autodiff::ReverseRules;
use foldgrad::op::{Cotangent, NoVjp, Op, VjpCx};
use foldgrad::{Builder, DType};
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// The composites: ops that are defined by their expansion into smaller ones.
static COMPOSITES: LazyLock<BTreeSet<&str>> = LazyLock::new(|| {
    let expands = |case: &foldgrad::op::Case| {
        let b = Builder::new();
        case.op.expand(&operands_in(&b, case, DType::F64)).is_some()
    };
    cases().iter().filter(|case| expands(case)).map(|case| case.op.name()).collect()
});

/// Whether the op is defined by its expansion.
pub fn expands(op: &Op) -> bool {
    COMPOSITES.contains(op.name())
}

/// Differentiates the definition of every composite, whatever rule it has of its own.
pub struct ExpansionRules;

impl ReverseRules for ExpansionRules {
    fn vjp<'b>(&self, op: &Op, cx: &VjpCx<'_, 'b>) -> Result<Vec<Cotangent<'b>>, NoVjp> {
        if expands(op) { Err(NoVjp::DifferentiateExpansion) } else { op.vjp(cx) }
    }
}
