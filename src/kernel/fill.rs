//! Fills a buffer with one number; padding is that, and a copy into it.

use super::call::{
    BufferId, Call, Costs, Cut, Description, Effect, Lower, LowerCx, Memory, Region, Share, Split, Splits, Touch, View,
    Work, Workspace,
};
use super::copy::CopyCall;
use crate::ir::DType;
use crate::ops::Pad;

/// Fills a buffer with the element of another at `offset`.
#[derive(Debug)]
pub(crate) struct FillCall {
    value: BufferId,
    offset: usize,
    to: BufferId,
    dtype: DType,
    len: usize,
}

impl Lower for Pad {
    fn lower(&self, cx: &mut dyn LowerCx) {
        let (x, value) = (cx.operand(0), cx.operand(1));
        let shape = cx.shape(0).to_vec();
        let to = cx.result();
        let whole = View::packed(to, x.dtype, &shape);
        cx.call(FillCall { value: value.buffer, offset: value.offset, to, dtype: x.dtype, len: whole.len() }.into());
        let inside = whole.sliced(self.axis, self.low, self.interior + 1, x.shape[self.axis]);
        cx.call(CopyCall { from: x, to: inside }.into());
    }
}

impl Call for FillCall {
    fn touches(&self) -> Vec<Touch> {
        let whole = Touch::write(self.to, self.dtype, Region::run(0, self.len), Cut::Same);
        vec![
            Touch::read(self.value, self.dtype, Region::run(self.offset, 1), Cut::Whole),
            Touch { effect: Effect::Fill, ..whole },
        ]
    }

    fn splits(&self) -> Splits {
        Splits::none()
    }

    fn work(&self) -> Work {
        Work::of(0, (self.len + 1) * self.dtype.size(), self.dtype)
    }

    fn time(&self, _: &Costs, _: Option<Split>, _: usize) -> f64 {
        0.0
    }

    fn scratch(&self) -> usize {
        0
    }

    fn describe(&self) -> Description {
        Description { kernel: "fill", sizes: String::new(), detail: "fill".to_owned(), is_product: false }
    }

    /// # Safety
    /// As the trait says.
    unsafe fn run(&self, memory: &Memory<'_>, _: &Share<'_>, _: &mut Workspace) {
        // SAFETY: the caller's.
        unsafe {
            match self.dtype.size() {
                1 => self.of::<u8>(memory),
                4 => self.of::<u32>(memory),
                _ => self.of::<u64>(memory),
            }
        }
    }
}

impl FillCall {
    /// # Safety
    /// As [`Call::run`], for elements of this size.
    unsafe fn of<E: Copy>(&self, memory: &Memory<'_>) {
        // SAFETY: the caller's.
        unsafe {
            let value = *memory.at::<E>(self.value).add(self.offset);
            memory.part_mut::<E>(self.to, 0..self.len, 1).fill(value);
        }
    }
}
