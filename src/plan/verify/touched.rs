//! What a share of a step touches, element for element.

use crate::kernel::{Call, Touch};
use crate::plan::Step;
use std::ops::Range;

/// Everything that a share of a step touches, as runs of elements.
pub(super) fn touched_by(step: &Step, share: usize, shares: usize) -> Vec<(Touch, Vec<Range<usize>>)> {
    let positions = match step.split {
        Some(split) => split.range(share, shares),
        None => 0..usize::from(share == 0),
    };
    if positions.is_empty() {
        return Vec::new();
    }
    let touches = step.call.touches().into_iter();
    touches.map(|touch| (touch.ranges(step.split, &positions), touch)).map(|(ranges, touch)| (touch, ranges)).collect()
}
