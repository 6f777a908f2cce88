//! Picks elements along the middle of `(outer, size, inner)`; an index out of range picks NaN.

use super::Real;
use super::call::{
    BufferId, Call, Costs, Cut, Description, Lower, LowerCx, Memory, Region, Share, Split, Splits, Touch, Work,
    Workspace, around, by_type, largest_share, sizes_around,
};
use crate::ir::DType;
use crate::ops::TakeAlongAxis;
use std::ops::Range;

/// `y[o, t, i] = x[o, index[o, t, i], i]`.
#[derive(Debug)]
pub(crate) struct TakeCall {
    pub x: BufferId,
    pub index: BufferId,
    y: BufferId,
    dtype: DType,
    extent: [usize; 3],
    taken: usize,
}

impl Lower for TakeAlongAxis {
    fn lower(&self, cx: &mut dyn LowerCx) {
        let (x, index) = (cx.packed(0), cx.packed(1));
        let (extent, taken) = (around(&x.shape, self.axis), index.shape[self.axis]);
        let y = cx.result();
        cx.call(TakeCall { x: x.buffer, index: index.buffer, y, dtype: x.dtype, extent, taken }.into());
    }
}

impl TakeCall {
    fn split(&self) -> Split {
        Split { inner: self.taken * self.extent[2], extent: self.extent[0] }
    }
}

impl Call for TakeCall {
    fn touches(&self) -> Vec<Touch> {
        let [outer, size, inner] = self.extent;
        let call = self.split();
        let of_x = Cut::When { call, buffer: Split { inner: size * inner, ..call } };
        let picked = Region::run(0, outer * self.taken * inner);
        vec![
            Touch::read(self.x, self.dtype, Region::run(0, outer * size * inner), of_x),
            Touch::read(self.index, DType::I32, picked.clone(), Cut::Same),
            Touch::write(self.y, self.dtype, picked, Cut::Same),
        ]
    }

    fn splits(&self) -> Splits {
        Splits::of([self.split()])
    }

    fn work(&self) -> Work {
        let [outer, _, inner] = self.extent;
        Work::of(0, outer * self.taken * inner * (DType::I32.size() + 2 * self.dtype.size()), self.dtype)
    }

    fn time(&self, _: &Costs, split: Option<Split>, threads: usize) -> f64 {
        largest_share(self.extent.iter().product(), split, threads) * 2.0
    }

    fn scratch(&self) -> usize {
        0
    }

    fn describe(&self) -> Description {
        let detail = format!("take {:?}", self.extent);
        Description { kernel: "take", sizes: sizes_around(self.extent), detail, is_product: false }
    }

    /// # Safety
    /// As the trait says.
    unsafe fn run(&self, memory: &Memory<'_>, share: &Share<'_>, _: &mut Workspace) {
        // SAFETY: the caller's.
        unsafe { by_type(self.dtype, || self.of::<f32>(memory, share), || self.of::<f64>(memory, share)) }
    }
}

impl TakeCall {
    /// # Safety
    /// As [`Call::run`].
    unsafe fn of<T: Real>(&self, memory: &Memory<'_>, share: &Share<'_>) {
        let [outer, size, inner] = self.extent;
        let range: Range<usize> = share.outer(outer);
        // SAFETY: the caller's.
        let (x, index, y) = unsafe {
            (
                memory.part::<T>(self.x, range.clone(), size * inner),
                memory.part::<i32>(self.index, range.clone(), self.taken * inner),
                memory.part_mut::<T>(self.y, range.clone(), self.taken * inner),
            )
        };
        for o in 0..range.len() {
            for t in 0..self.taken {
                for i in 0..inner {
                    let to = (o * self.taken + t) * inner + i;
                    let from = usize::try_from(index[to]).ok().filter(|&s| s < size);
                    y[to] = from.map_or(T::from_f64(f64::NAN), |s| x[(o * size + s) * inner + i]);
                }
            }
        }
    }
}
