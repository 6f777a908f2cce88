//! A reduction as a call.

use super::{Extent, reduce};
use crate::ir::DType;
use crate::kernel::Real;
use crate::kernel::call::{
    BufferId, Call, Costs, Cut, Description, Lower, LowerCx, Memory, Region, Share, Split, Splits, Touch, Work,
    Workspace, by_type, largest_share, sizes,
};
use crate::ops::{Reduce, Reduction};

/// `(outer, reduced, inner) → (outer, inner)`.
#[derive(Debug)]
pub(crate) struct ReduceCall {
    reduction: Reduction,
    x: BufferId,
    y: BufferId,
    dtype: DType,
    outer: usize,
    reduced: usize,
    inner: usize,
}

impl Lower for Reduce {
    fn lower(&self, cx: &mut dyn LowerCx) {
        let axes = self.axes();
        let (Some(&first), Some(&last)) = (axes.first(), axes.last()) else {
            let x = cx.operand(0);
            return cx.result_is(x);
        };
        let is_adjacent = last - first + 1 == axes.len();
        let (x, [outer, reduced, inner]) = if is_adjacent {
            let x = cx.packed(0);
            let size = |axes: &[usize]| axes.iter().product();
            let extent = [size(&x.shape[..first]), size(&x.shape[first..=last]), size(&x.shape[last + 1..])];
            (x, extent)
        } else {
            // Scattered axes are moved to the end by one strided copy.
            let x = cx.operand(0);
            let kept: Vec<usize> = (0..x.shape.len()).filter(|axis| !axes.contains(axis)).collect();
            let order: Vec<usize> = kept.iter().chain(axes).copied().collect();
            let moved = cx.copied(x.transposed(&order));
            let outer = moved.shape[..kept.len()].iter().product();
            let reduced = moved.shape[kept.len()..].iter().product();
            (moved, [outer, reduced, 1])
        };
        let (dtype, y) = (x.dtype, cx.result());
        cx.call(ReduceCall { reduction: self.reduction, x: x.buffer, y, dtype, outer, reduced, inner }.into());
    }
}

impl ReduceCall {
    fn split(&self) -> Split {
        let Self { outer, inner, .. } = *self;
        if outer > 1 { Split { inner, extent: outer } } else { Split::columns(inner) }
    }
}

impl Call for ReduceCall {
    fn touches(&self) -> Vec<Touch> {
        let Self { x, y, dtype, outer, reduced, inner, .. } = *self;
        let call = self.split();
        let of_x = Split { inner: if outer > 1 { reduced * inner } else { 1 }, ..call };
        let read = Touch::read(x, dtype, Region::run(0, outer * reduced * inner), Cut::When { call, buffer: of_x });
        vec![
            // Sums of rows follow a product that is split by rows at no cost.
            Touch { is_wished: inner == 1, ..read },
            Touch::write(y, dtype, Region::run(0, outer * inner), Cut::Same),
        ]
    }

    fn splits(&self) -> Splits {
        Splits::of([self.split()])
    }

    fn work(&self) -> Work {
        let Self { outer, reduced, inner, dtype, .. } = *self;
        Work::of(outer * reduced * inner, outer * (reduced + 1) * inner * dtype.size(), dtype)
    }

    fn time(&self, costs: &Costs, split: Option<Split>, threads: usize) -> f64 {
        costs.swept(largest_share(self.outer * self.reduced * self.inner, split, threads), 2)
    }

    fn scratch(&self) -> usize {
        0
    }

    fn describe(&self) -> Description {
        let Self { reduction, outer, reduced, inner, .. } = *self;
        let detail = format!("reduce {reduction:?} [{outer},{reduced},{inner}]");
        Description { kernel: "reduce", sizes: sizes(&[outer, reduced, inner]), detail, is_product: false }
    }

    /// # Safety
    /// As the trait says.
    unsafe fn run(&self, memory: &Memory<'_>, share: &Share<'_>, _: &mut Workspace) {
        // SAFETY: the caller's.
        unsafe { by_type(self.dtype, || self.of::<f32>(memory, share), || self.of::<f64>(memory, share)) }
    }
}

impl ReduceCall {
    /// # Safety
    /// As [`Call::run`].
    unsafe fn of<T: Real>(&self, memory: &Memory<'_>, share: &Share<'_>) {
        let Self { reduction, x, y, outer, reduced, inner, .. } = *self;
        let x: *const T = memory.at(x);
        let whole = Extent { outer, reduced, inner, stride: inner };
        // SAFETY: the caller's.
        unsafe {
            if outer > 1 || share.split.is_none() {
                let range = share.outer(outer);
                let (x, y) = (x.add(range.start * reduced * inner), memory.part_mut(y, range.clone(), inner));
                reduce(memory.level, reduction, x, y, Extent { outer: range.len(), ..whole });
            } else {
                let range = share.positions.clone();
                let (x, y) = (x.add(range.start), memory.part_mut(y, range.clone(), 1));
                reduce(memory.level, reduction, x, y, Extent { inner: range.len(), ..whole });
            }
        }
    }
}
