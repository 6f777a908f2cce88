//! Copies between strided windows of one shape.

use super::call::{
    Call, Costs, Cut, Description, Lower, LowerCx, Memory, Region, Share, Split, Splits, Touch, View, Work, Workspace,
    largest_share, sizes,
};
use crate::ops::Concat;
use std::ops::Range;

/// `to = from`, element by element of one shape.
#[derive(Debug)]
pub(crate) struct CopyCall {
    pub from: View,
    pub to: View,
}

impl Lower for Concat {
    fn lower(&self, cx: &mut dyn LowerCx) {
        let (shape, dtype) = (cx.shape(0).to_vec(), cx.dtype(0));
        let whole = View::packed(cx.result(), dtype, &shape);
        let mut start = 0;
        for slot in 0..cx.operands() {
            let from = cx.operand(slot);
            let len = from.shape[self.axis];
            cx.call(CopyCall { from, to: whole.sliced(self.axis, start, 1, len) }.into());
            start += len;
        }
    }
}

impl Call for CopyCall {
    fn touches(&self) -> Vec<Touch> {
        vec![
            Touch::read(self.from.buffer, self.from.dtype, Region::of_view(&self.from), Cut::Whole),
            Touch::write(self.to.buffer, self.from.dtype, Region::of_view(&self.to), Cut::Same),
        ]
    }

    fn splits(&self) -> Splits {
        match self.to.shape.first() {
            Some(&rows) if self.to.is_packed() && self.to.offset == 0 && self.to.len() > 0 => {
                Splits::of([Split { inner: self.to.len() / rows, extent: rows }])
            }
            _ => Splits::none(),
        }
    }

    fn work(&self) -> Work {
        Work::of(0, 2 * self.to.len() * self.to.dtype.size(), self.to.dtype)
    }

    fn time(&self, _: &Costs, split: Option<Split>, threads: usize) -> f64 {
        largest_share(self.to.len(), split, threads)
    }

    fn scratch(&self) -> usize {
        0
    }

    fn describe(&self) -> Description {
        let detail = format!("copy {:?} by {:?}", self.from.shape, self.from.strides);
        Description { kernel: "copy", sizes: sizes(&self.to.shape), detail, is_product: false }
    }

    /// # Safety
    /// As the trait says.
    unsafe fn run(&self, memory: &Memory<'_>, share: &Share<'_>, _: &mut Workspace) {
        let rows = share.outer(self.from.shape.first().copied().unwrap_or(1));
        // SAFETY: the caller's.
        unsafe {
            match self.from.dtype.size() {
                1 => self.of::<u8>(memory, rows),
                4 => self.of::<u32>(memory, rows),
                _ => self.of::<u64>(memory, rows),
            }
        }
    }
}

impl CopyCall {
    /// # Safety
    /// As [`Call::run`], for elements of this size.
    unsafe fn of<E: Copy>(&self, memory: &Memory<'_>, rows: Range<usize>) {
        let walk = Walk { shape: &self.from.shape, from: &self.from.strides, to: &self.to.strides };
        let Some([read, written]) = walk.reach(rows.len()) else { return };
        let at = |view: &View| view.offset + view.strides.first().map_or(0, |stride| rows.start * stride);
        // SAFETY: the caller's; the walk reaches no further than this.
        unsafe {
            let source = memory.at::<E>(self.from.buffer).add(at(&self.from));
            let target = memory.at::<E>(self.to.buffer).add(at(&self.to));
            let source = std::slice::from_raw_parts(source, read);
            copy(walk, rows.len(), source, std::slice::from_raw_parts_mut(target, written));
        }
    }
}

/// Shape, and the strides of both sides in elements.
#[derive(Clone, Copy)]
struct Walk<'a> {
    shape: &'a [usize],
    from: &'a [usize],
    to: &'a [usize],
}

impl Walk<'_> {
    /// Elements from the first to the last of `count` positions of the outermost axis on both sides, both counted, if there
    /// are any.
    fn reach(&self, count: usize) -> Option<[usize; 2]> {
        let sizes = || [count].into_iter().chain(self.shape.iter().skip(1).copied()).take(self.shape.len());
        let of = |strides: &[usize]| 1 + sizes().zip(strides).map(|(size, stride)| (size - 1) * stride).sum::<usize>();
        (!sizes().any(|size| size == 0)).then(|| [of(self.from), of(self.to)])
    }
}

/// Copies `count` positions of the outermost axis, all of the others. The slices begin at the first element.
fn copy<T: Copy>(walk: Walk<'_>, count: usize, from: &[T], to: &mut [T]) {
    match walk.shape {
        [] => to[0] = from[0],
        [_] => run(count, walk.from[0], walk.to[0], from, to),
        [_, next, ..] => {
            let inner = Walk { shape: &walk.shape[1..], from: &walk.from[1..], to: &walk.to[1..] };
            // Recursion is as deep as the rank.
            for i in 0..count {
                copy(inner, *next, &from[i * walk.from[0]..], &mut to[i * walk.to[0]..]);
            }
        }
    }
}

fn run<T: Copy>(size: usize, from_stride: usize, to_stride: usize, from: &[T], to: &mut [T]) {
    match (from_stride, to_stride) {
        _ if size == 0 => {}
        (1, 1) => to[..size].copy_from_slice(&from[..size]),
        (0, 1) => to[..size].fill(from[0]),
        _ => {
            for i in 0..size {
                to[i * to_stride] = from[i * from_stride];
            }
        }
    }
}
