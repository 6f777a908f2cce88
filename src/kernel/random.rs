//! Counter-based uniform numbers; see [`RandomUniform`].

use super::Real;
use super::call::{
    BufferId, Call, Costs, Cut, Description, Lower, LowerCx, Memory, Region, Share, Split, Splits, Touch, Work,
    Workspace, by_type, largest_share, sizes,
};
use crate::ir::DType;
use crate::op::OpDef;
use crate::ops::{RandomUniform, uniform};

/// A function of the key, the site and each element's index.
#[derive(Debug)]
pub(crate) struct RandomCall {
    key: BufferId,
    y: BufferId,
    dtype: DType,
    site: u32,
    len: usize,
}

impl Lower for RandomUniform {
    fn lower(&self, cx: &mut dyn LowerCx) {
        let key = cx.packed(0).buffer;
        let (dtype, len, site) = (cx.dtype(0), cx.shape(0).iter().product(), self.site().unwrap_or(0));
        let y = cx.result();
        cx.call(RandomCall { key, y, dtype, site, len }.into());
    }
}

impl Call for RandomCall {
    fn touches(&self) -> Vec<Touch> {
        vec![
            Touch::read(self.key, DType::I32, Region::run(0, 2), Cut::Whole),
            Touch::write(self.y, self.dtype, Region::run(0, self.len), Cut::Same),
        ]
    }

    fn splits(&self) -> Splits {
        Splits::of([Split::columns(self.len)])
    }

    fn work(&self) -> Work {
        Work::of(0, self.len * self.dtype.size(), self.dtype)
    }

    fn time(&self, _: &Costs, split: Option<Split>, threads: usize) -> f64 {
        largest_share(self.len, split, threads) * 3.0
    }

    fn scratch(&self) -> usize {
        0
    }

    fn describe(&self) -> Description {
        let detail = format!("random site {}", self.site);
        Description { kernel: "random", sizes: sizes(&[self.len]), detail, is_product: false }
    }

    /// # Safety
    /// As the trait says.
    unsafe fn run(&self, memory: &Memory<'_>, share: &Share<'_>, _: &mut Workspace) {
        // SAFETY: the caller's.
        unsafe { by_type(self.dtype, || self.of::<f32>(memory, share), || self.of::<f64>(memory, share)) }
    }
}

impl RandomCall {
    /// # Safety
    /// As [`Call::run`].
    unsafe fn of<T: Real>(&self, memory: &Memory<'_>, share: &Share<'_>) {
        let range = share.outer(self.len);
        // SAFETY: the caller's.
        let (key, y) =
            unsafe { (memory.part::<i32>(self.key, 0..2, 1), memory.part_mut::<T>(self.y, range.clone(), 1)) };
        for (index, y) in range.zip(y) {
            *y = T::from_f64(uniform([key[0], key[1]], self.site, index as u64));
        }
    }
}
