//! Running sums along the middle of `(outer, size, inner)`, kept in twice the digits and rounded once for each element.

use super::Real;
use super::call::{
    BufferId, Call, Costs, Cut, Description, Lower, LowerCx, Memory, Region, Share, Split, Splits, Touch, Work,
    Workspace, around, by_type, largest_share, sizes_around,
};
use super::total::Total;
use crate::ir::DType;
use crate::ops::CumulativeSum;

/// `y[o, s, i] = Σ x[o, t, i]` over all `t` up to `s`; reversed, from `s` on.
#[derive(Debug)]
pub(crate) struct CumulativeSumCall {
    x: BufferId,
    y: BufferId,
    dtype: DType,
    extent: [usize; 3],
    reversed: bool,
}

impl Lower for CumulativeSum {
    fn lower(&self, cx: &mut dyn LowerCx) {
        let x = cx.packed(0);
        let (extent, y) = (around(&x.shape, self.axis), cx.result());
        cx.call(CumulativeSumCall { x: x.buffer, y, dtype: x.dtype, extent, reversed: self.reversed }.into());
    }
}

impl CumulativeSumCall {
    /// By lines: whole blocks where there are several, otherwise columns.
    fn split(&self) -> Split {
        let [outer, size, inner] = self.extent;
        if outer > 1 { Split { inner: size * inner, extent: outer } } else { Split::columns(inner) }
    }
}

impl Call for CumulativeSumCall {
    fn touches(&self) -> Vec<Touch> {
        let whole = Region::run(0, self.extent.iter().product());
        vec![
            Touch::read(self.x, self.dtype, whole.clone(), Cut::Same),
            Touch::write(self.y, self.dtype, whole, Cut::Same),
        ]
    }

    fn splits(&self) -> Splits {
        Splits::of([self.split()])
    }

    fn work(&self) -> Work {
        let len: usize = self.extent.iter().product();
        Work::of(len, 2 * len * self.dtype.size(), self.dtype)
    }

    fn time(&self, costs: &Costs, split: Option<Split>, threads: usize) -> f64 {
        // Each addition waits for the one before it.
        costs.swept(largest_share(self.extent.iter().product(), split, threads), 16)
    }

    fn scratch(&self) -> usize {
        0
    }

    fn describe(&self) -> Description {
        let detail = format!("cumulative_sum {:?}{}", self.extent, if self.reversed { " from the end" } else { "" });
        Description { kernel: "cumulative_sum", sizes: sizes_around(self.extent), detail, is_product: false }
    }

    /// # Safety
    /// As the trait says.
    unsafe fn run(&self, memory: &Memory<'_>, share: &Share<'_>, _: &mut Workspace) {
        // SAFETY: the caller's.
        unsafe { by_type(self.dtype, || self.of::<f32>(memory, share), || self.of::<f64>(memory, share)) }
    }
}

impl CumulativeSumCall {
    /// # Safety
    /// As [`Call::run`].
    unsafe fn of<T: Real>(&self, memory: &Memory<'_>, share: &Share<'_>) {
        let [outer, size, inner] = self.extent;
        let (blocks, columns) = match share.split {
            Some(_) if outer == 1 => (0..1, share.positions.clone()),
            _ => (share.outer(outer), 0..inner),
        };
        let (x, y) = (memory.at::<T>(self.x), memory.at::<T>(self.y));
        for block in blocks {
            for column in columns.clone() {
                let mut total = T::Total::of(T::ZERO);
                for step in 0..size {
                    let row = if self.reversed { size - 1 - step } else { step };
                    let at = (block * size + row) * inner + column;
                    // SAFETY: the caller's: the element is one of this share's.
                    unsafe {
                        total = total.plus(x.add(at).read());
                        y.add(at).write(total.rounded());
                    }
                }
            }
        }
    }
}
