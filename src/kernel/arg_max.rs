//! The index of the largest element along the middle of `(outer, size, inner)`.

use super::Real;
use super::call::{
    BufferId, Call, Costs, Cut, Description, Lower, LowerCx, Memory, Region, Share, Split, Splits, Touch, Work,
    Workspace, around, by_type, largest_share, sizes_around,
};
use crate::ir::DType;
use crate::ops::ArgMax;

/// The first of the largest where several tie; a NaN counts as the largest, and nothing has the index −1.
#[derive(Debug)]
pub(crate) struct ArgMaxCall {
    x: BufferId,
    y: BufferId,
    dtype: DType,
    extent: [usize; 3],
}

impl Lower for ArgMax {
    fn lower(&self, cx: &mut dyn LowerCx) {
        let x = cx.packed(0);
        let y = cx.result();
        cx.call(ArgMaxCall { x: x.buffer, y, dtype: x.dtype, extent: around(&x.shape, self.axis) }.into());
    }
}

impl ArgMaxCall {
    fn split(&self) -> Split {
        Split { inner: self.extent[2], extent: self.extent[0] }
    }
}

impl Call for ArgMaxCall {
    fn touches(&self) -> Vec<Touch> {
        let [outer, size, inner] = self.extent;
        let call = self.split();
        let of_x = Cut::When { call, buffer: Split { inner: size * inner, ..call } };
        vec![
            Touch::read(self.x, self.dtype, Region::run(0, outer * size * inner), of_x),
            Touch::write(self.y, DType::I32, Region::run(0, outer * inner), Cut::Same),
        ]
    }

    fn splits(&self) -> Splits {
        Splits::of([self.split()])
    }

    fn work(&self) -> Work {
        let [outer, size, inner] = self.extent;
        let bytes = outer * inner * (size * self.dtype.size() + DType::I32.size());
        Work::of(outer * size * inner, bytes, self.dtype)
    }

    fn time(&self, _: &Costs, split: Option<Split>, threads: usize) -> f64 {
        largest_share(self.extent.iter().product(), split, threads) * 2.0
    }

    fn scratch(&self) -> usize {
        0
    }

    fn describe(&self) -> Description {
        let detail = format!("arg_max {:?}", self.extent);
        Description { kernel: "arg_max", sizes: sizes_around(self.extent), detail, is_product: false }
    }

    /// # Safety
    /// As the trait says.
    unsafe fn run(&self, memory: &Memory<'_>, share: &Share<'_>, _: &mut Workspace) {
        // SAFETY: the caller's.
        unsafe { by_type(self.dtype, || self.of::<f32>(memory, share), || self.of::<f64>(memory, share)) }
    }
}

impl ArgMaxCall {
    /// # Safety
    /// As [`Call::run`].
    unsafe fn of<T: Real>(&self, memory: &Memory<'_>, share: &Share<'_>) {
        let [outer, size, inner] = self.extent;
        let range = share.outer(outer);
        // SAFETY: the caller's.
        unsafe {
            let x = memory.part::<T>(self.x, range.clone(), size * inner);
            arg_max(x, memory.part_mut(self.y, range.clone(), inner), [range.len(), size, inner]);
        }
    }
}

fn arg_max<T: Real>(x: &[T], y: &mut [i32], [outer, size, inner]: [usize; 3]) {
    for o in 0..outer {
        for i in 0..inner {
            let at = |s: usize| x[(o * size + s) * inner + i];
            let mut best = 0;
            for s in 1..size {
                let (candidate, so_far) = (at(s), at(best));
                if !is_nan(so_far) && (so_far < candidate || is_nan(candidate)) {
                    best = s;
                }
            }
            y[o * inner + i] = if size == 0 { -1 } else { best as i32 };
        }
    }
}

fn is_nan<T: Real>(value: T) -> bool {
    value.to_f64().is_nan()
}
