//! Rows of the identity; all zero for an index out of range.

use super::Real;
use super::call::{
    BufferId, Call, Costs, Cut, Description, Lower, LowerCx, Memory, Region, Share, Split, Splits, Touch, Work,
    Workspace, by_type, largest_share, sizes,
};
use crate::ir::DType;
use crate::ops::OneHot;

/// `y[row, c] = 1` where `c` is the row's index, else 0.
#[derive(Debug)]
pub(crate) struct OneHotCall {
    index: BufferId,
    y: BufferId,
    dtype: DType,
    rows: usize,
    depth: usize,
}

impl Lower for OneHot {
    fn lower(&self, cx: &mut dyn LowerCx) {
        let index = cx.packed(0);
        let (depth, dtype) = (cx.shape(0).last().copied().unwrap_or(0), cx.dtype(0));
        let y = cx.result();
        cx.call(OneHotCall { index: index.buffer, y, dtype, rows: index.len(), depth }.into());
    }
}

impl Call for OneHotCall {
    fn touches(&self) -> Vec<Touch> {
        let call = Split { inner: self.depth, extent: self.rows };
        let of_index = Cut::When { call, buffer: Split { inner: 1, ..call } };
        vec![
            Touch::read(self.index, DType::I32, Region::run(0, self.rows), of_index),
            Touch::write(self.y, self.dtype, Region::run(0, self.rows * self.depth), Cut::Same),
        ]
    }

    fn splits(&self) -> Splits {
        Splits::of([Split { inner: self.depth, extent: self.rows }])
    }

    fn work(&self) -> Work {
        Work::of(0, self.rows * (DType::I32.size() + self.depth * self.dtype.size()), self.dtype)
    }

    fn time(&self, costs: &Costs, split: Option<Split>, threads: usize) -> f64 {
        costs.swept(largest_share(self.depth * self.rows, split, threads), 1)
    }

    fn scratch(&self) -> usize {
        0
    }

    fn describe(&self) -> Description {
        let (sizes, detail) = (sizes(&[self.rows, self.depth]), format!("one_hot {}", self.depth));
        Description { kernel: "one_hot", sizes, detail, is_product: false }
    }

    /// # Safety
    /// As the trait says.
    unsafe fn run(&self, memory: &Memory<'_>, share: &Share<'_>, _: &mut Workspace) {
        // SAFETY: the caller's.
        unsafe { by_type(self.dtype, || self.of::<f32>(memory, share), || self.of::<f64>(memory, share)) }
    }
}

impl OneHotCall {
    /// # Safety
    /// As [`Call::run`].
    unsafe fn of<T: Real>(&self, memory: &Memory<'_>, share: &Share<'_>) {
        let range = share.outer(self.rows);
        // SAFETY: the caller's.
        let (index, y) = unsafe {
            (memory.part::<i32>(self.index, range.clone(), 1), memory.part_mut::<T>(self.y, range, self.depth))
        };
        y.fill(T::ZERO);
        for (row, &class) in index.iter().enumerate() {
            if let Some(class) = usize::try_from(class).ok().filter(|&class| class < self.depth) {
                y[row * self.depth + class] = T::ONE;
            }
        }
    }
}
