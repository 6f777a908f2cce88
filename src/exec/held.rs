//! State that an executable holds itself, in the layout that its plan chose, aligned to cache lines.

use super::arena::Arena;
use crate::ir::{Tensor, TensorData, TensorDataMut};
use crate::kernel::{Blocks, LINE};
use crate::plan::{Plan, PlanError};

/// Memory for every state of a plan.
#[derive(Debug)]
pub(super) struct HeldStates {
    arena: Arena,
    offsets: Vec<usize>,
}

impl HeldStates {
    /// # Errors
    /// A system that has no such memory.
    pub fn new(plan: &Plan) -> Result<HeldStates, PlanError> {
        let mut end = 0usize;
        let mut offsets = Vec::with_capacity(plan.states().len());
        for port in plan.states() {
            offsets.push(end);
            let bytes = port.shape.iter().product::<usize>() * port.dtype.size();
            end += bytes.next_multiple_of(LINE);
        }
        let arena = Arena::new(end).ok_or(PlanError::OutOfMemory { bytes: end })?;
        Ok(HeldStates { arena, offsets })
    }

    /// Where a state lies.
    pub fn pointer(&mut self, state: usize) -> *mut u8 {
        // Offsets lie inside the arena.
        self.arena.start().wrapping_add(self.offsets[state])
    }

    /// Copies row-major tensors in.
    ///
    /// # Safety
    /// The plan is that of [`HeldStates::new`], and the tensors have the types of its states.
    pub unsafe fn load(&mut self, plan: &Plan, states: &[Tensor]) {
        for (index, tensor) in states.iter().enumerate() {
            let from = data_pointer(tensor.data());
            // SAFETY: the caller's: both sides hold the elements of the planned shape; and they are apart.
            unsafe {
                transfer(from, self.pointer(index), tensor.len(), tensor.dtype().size(), plan.layouts[index], true)
            };
        }
    }

    /// Copies the states out into row-major tensors.
    ///
    /// # Safety
    /// As [`HeldStates::load`].
    pub unsafe fn store(&mut self, plan: &Plan, states: &mut [Tensor]) {
        for (index, tensor) in states.iter_mut().enumerate() {
            let (len, size) = (tensor.len(), tensor.dtype().size());
            let to = data_pointer_mut(tensor.data_mut());
            // SAFETY: as in `load`.
            unsafe { transfer(self.pointer(index), to, len, size, plan.layouts[index], false) };
        }
    }
}

/// Copies `len` elements of `size` bytes between a row-major array and one in blocks.
///
/// # Safety
/// `from` is readable and `to` writable for these elements, and they are apart.
unsafe fn transfer(from: *const u8, to: *mut u8, len: usize, size: usize, layout: Option<Blocks>, into_blocks: bool) {
    // SAFETY: the caller's; a layout has as many elements as the array.
    unsafe {
        let Some(blocks) = layout else {
            return std::ptr::copy_nonoverlapping(from, to, len * size);
        };
        for block in blocks.within(0..blocks.columns) {
            for row in 0..blocks.rows {
                let plain = (row * blocks.columns + block.start) * size;
                let blocked = blocks.at(row, block.start) * size;
                let (source, target) = if into_blocks { (plain, blocked) } else { (blocked, plain) };
                std::ptr::copy_nonoverlapping(from.add(source), to.add(target), block.len() * size);
            }
        }
    }
}

pub(super) fn data_pointer(data: &TensorData) -> *const u8 {
    match data {
        TensorData::F32(data) => data.as_ptr().cast(),
        TensorData::F64(data) => data.as_ptr().cast(),
        TensorData::I32(data) => data.as_ptr().cast(),
        TensorData::Bool(data) => data.as_ptr().cast(),
    }
}

pub(super) fn data_pointer_mut(data: TensorDataMut<'_>) -> *mut u8 {
    match data {
        TensorDataMut::F32(data) => data.as_mut_ptr().cast(),
        TensorDataMut::F64(data) => data.as_mut_ptr().cast(),
        TensorDataMut::I32(data) => data.as_mut_ptr().cast(),
        TensorDataMut::Bool(data) => data.as_mut_ptr().cast(),
    }
}
