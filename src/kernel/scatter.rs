//! Adds elements along the middle of `(outer, size, inner)` into zeros; an index out of range adds nothing.

use super::Real;
use super::call::{
    BufferId, Call, Costs, Cut, Description, Lower, LowerCx, Memory, Region, Share, Split, Splits, Touch, Work,
    Workspace, around, by_type, largest_share, sizes_around,
};
use crate::ir::DType;
use crate::ops::ScatterAlongAxis;

/// `y[o, index[o, t, i], i] += updates[o, t, i]`, in the order of `t`.
#[derive(Debug)]
pub(crate) struct ScatterCall {
    updates: BufferId,
    index: BufferId,
    y: BufferId,
    dtype: DType,
    extent: [usize; 3],
    taken: usize,
}

impl Lower for ScatterAlongAxis {
    fn lower(&self, cx: &mut dyn LowerCx) {
        let (updates, index) = (cx.packed(0), cx.packed(1));
        let (extent, taken) = (around(cx.shape(0), self.axis), index.shape[self.axis]);
        let (dtype, y) = (updates.dtype, cx.result());
        cx.call(ScatterCall { updates: updates.buffer, index: index.buffer, y, dtype, extent, taken }.into());
    }
}

impl Call for ScatterCall {
    fn touches(&self) -> Vec<Touch> {
        let [outer, size, inner] = self.extent;
        let moved = Region::run(0, outer * self.taken * inner);
        vec![
            Touch::read(self.updates, self.dtype, moved.clone(), Cut::Whole),
            Touch::read(self.index, DType::I32, moved, Cut::Whole),
            Touch::write(self.y, self.dtype, Region::run(0, outer * size * inner), Cut::Same),
        ]
    }

    fn splits(&self) -> Splits {
        Splits::none()
    }

    fn work(&self) -> Work {
        let ([outer, size, inner], element) = (self.extent, self.dtype.size());
        let moved = outer * self.taken * inner;
        Work::of(moved, moved * (DType::I32.size() + element) + outer * size * inner * element, self.dtype)
    }

    fn time(&self, _: &Costs, split: Option<Split>, threads: usize) -> f64 {
        largest_share(self.extent.iter().product(), split, threads) * 2.0
    }

    fn scratch(&self) -> usize {
        0
    }

    fn describe(&self) -> Description {
        let detail = format!("scatter {:?}", self.extent);
        Description { kernel: "scatter", sizes: sizes_around(self.extent), detail, is_product: false }
    }

    /// # Safety
    /// As the trait says.
    unsafe fn run(&self, memory: &Memory<'_>, _: &Share<'_>, _: &mut Workspace) {
        // SAFETY: the caller's.
        unsafe { by_type(self.dtype, || self.of::<f32>(memory), || self.of::<f64>(memory)) }
    }
}

impl ScatterCall {
    /// # Safety
    /// As [`Call::run`], for all of it.
    unsafe fn of<T: Real>(&self, memory: &Memory<'_>) {
        let [outer, size, inner] = self.extent;
        // SAFETY: the caller's.
        let (updates, index, y) = unsafe {
            (
                memory.part::<T>(self.updates, 0..outer, self.taken * inner),
                memory.part::<i32>(self.index, 0..outer, self.taken * inner),
                memory.part_mut::<T>(self.y, 0..outer, size * inner),
            )
        };
        y.fill(T::ZERO);
        for o in 0..outer {
            for t in 0..self.taken {
                for i in 0..inner {
                    let from = (o * self.taken + t) * inner + i;
                    if let Some(s) = usize::try_from(index[from]).ok().filter(|&s| s < size) {
                        y[(o * size + s) * inner + i] += updates[from];
                    }
                }
            }
        }
    }
}
