//! Fused element-wise programs: chunk by chunk, each instruction runs over a chunk that stays in the first-level cache.

mod call;
mod memory;
mod native;
mod program;

pub(crate) use call::{CHUNK_BYTES, MapCall, MapInput, MapInstruction, MapOp, MapOutput, Slot, Then};
pub(super) use memory::{InputAt, MapMemory};
pub(crate) use program::{Native, Program};

use super::call::Pattern;
use super::claim::{claim, fetch};
use super::simd::{Level, OverMemory};
use super::{Real, Stretches, math};
use crate::ir::DType;
use crate::ops::{Binary, Compare, Unary};
use call::CHUNK;
use pulp::Simd;

/// Runs the map over a stretch of its elements.
///
/// # Safety
/// Input pointers are readable for what their pattern reaches in these elements, output pointers are writable for them,
/// scratch for `(inputs + scratch)` chunks, each of its element type's alignment. Outputs overlap nothing but an input of
/// pattern `Full` at the same element, in which case the output is copied from scratch. No one else touches these
/// elements of the outputs.
pub(crate) unsafe fn run(level: Level, map: &MapCall, memory: &MapMemory<'_>, stretches: Stretches) {
    // SAFETY: the caller's.
    unsafe { level.dispatch_over_memory(OverStretches { level, map, memory, stretches }) };
}

struct OverStretches<'a> {
    level: Level,
    map: &'a MapCall,
    memory: &'a MapMemory<'a>,
    stretches: Stretches,
}

impl OverMemory for OverStretches<'_> {
    type Output = ();

    /// # Safety
    /// As [`run`].
    #[inline(always)]
    unsafe fn run<S: Simd>(self, simd: S) {
        let OverStretches { level, map, memory, stretches } = self;
        let inputs = map.inputs.iter().enumerate();
        for (index, _) in inputs.filter(|(_, input)| input.pattern == Pattern::Scalar && map.native.is_none()) {
            // SAFETY: a scalar input has one element, and its scratch chunk holds CHUNK of them.
            unsafe { repeat_scalar(map, memory, index) };
        }
        for stretch in 0..stretches.count {
            let first = stretches.first + stretch * stretches.stride;
            if let Some(native) = &map.native {
                // SAFETY: the caller vouches for the pointers over the stretches.
                unsafe {
                    match native.dtype {
                        DType::F32 => native::run::<S, f32>(simd, native, memory, first, stretches.len),
                        _ => native::run::<S, f64>(simd, native, memory, first, stretches.len),
                    }
                }
                continue;
            }
            for start in (first..first + stretches.len).step_by(CHUNK) {
                for (output, to) in map.outputs.iter().zip(memory.outputs) {
                    let next = start + if stretches.count > 1 { AHEAD * stretches.stride } else { CHUNK };
                    let size = output.dtype.size();
                    claim(to.wrapping_add(next * size), CHUNK.min(stretches.len) * size);
                }
                if stretches.count > 1 {
                    let full = map.inputs.iter().zip(memory.inputs).filter(|(input, _)| input.pattern == Pattern::Full);
                    for (input, from) in full {
                        let (next, size) = (start + AHEAD * stretches.stride, input.dtype.size());
                        fetch(from.start.wrapping_add((next - from.first) * size), CHUNK.min(stretches.len) * size);
                    }
                }
                let chunk = Chunk { level, map, memory, start, len: CHUNK.min(first + stretches.len - start) };
                // SAFETY: the caller vouches for the pointers over the stretches.
                unsafe { chunk.run(simd) };
            }
        }
    }
}

/// Stretches between what is computed and what is asked for.
const AHEAD: usize = 4;

/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn repeat_scalar(map: &MapCall, memory: &MapMemory<'_>, index: usize) {
    // SAFETY: the caller's; one chunk of scratch belongs to each input.
    unsafe {
        let (from, to) = (memory.inputs[index].start, memory.scratch.add(index * CHUNK_BYTES));
        match map.inputs[index].dtype {
            DType::F32 | DType::I32 => fill(from.cast::<u32>(), to.cast::<u32>(), CHUNK),
            DType::F64 => fill(from.cast::<u64>(), to.cast::<u64>(), CHUNK),
            DType::Bool => fill(from, to, CHUNK),
        }
    }
}

struct Chunk<'a> {
    level: Level,
    map: &'a MapCall,
    memory: &'a MapMemory<'a>,
    start: usize,
    len: usize,
}

impl Chunk<'_> {
    /// # Safety
    /// As [`run`], with `start + len` at most the map's length.
    #[inline(always)]
    unsafe fn run<S: Simd>(&self, simd: S) {
        // SAFETY: the caller's, for every pointer that the slots resolve to.
        unsafe {
            for (index, input) in self.map.inputs.iter().enumerate() {
                if let Pattern::Middle { period, repeat } = input.pattern {
                    let (from, to) = (self.memory.inputs[index].start, self.memory.scratch.add(index * CHUNK_BYTES));
                    match input.dtype {
                        DType::F32 | DType::I32 => self.gather::<u32>(from.cast(), to.cast(), period, repeat),
                        DType::F64 => self.gather::<u64>(from.cast(), to.cast(), period, repeat),
                        DType::Bool => self.gather::<u8>(from, to, period, repeat),
                    }
                }
            }
            for instruction in &self.map.code {
                match instruction.dtype {
                    DType::F32 => self.real::<S, f32>(simd, instruction),
                    DType::F64 => self.real::<S, f64>(simd, instruction),
                    DType::I32 => self.int(instruction),
                    DType::Bool => self.mask(instruction),
                }
            }
            for (index, output) in self.map.outputs.iter().enumerate() {
                if output.from != Slot::Output(index) {
                    let size = output.dtype.size();
                    let to = self.memory.outputs[index].add(self.start * size);
                    std::ptr::copy_nonoverlapping(self.pointer::<u8>(output.from, size), to, self.len * size);
                }
            }
        }
    }

    /// Elements `(i / repeat) % period` for this chunk.
    ///
    /// # Safety
    /// `from` is readable for `period` elements, `to` writable for a chunk.
    #[inline(always)]
    unsafe fn gather<T: Copy>(&self, from: *const T, to: *mut T, period: usize, repeat: usize) {
        // Elements that are written in one go.
        const WIDE: usize = 16;
        let mut done = 0;
        // SAFETY: each run stays inside the period on one side and inside the chunk on the other.
        unsafe {
            if repeat == 1 {
                let mut at = self.start % period;
                while done < self.len {
                    let run = (period - at).min(self.len - done);
                    std::ptr::copy_nonoverlapping(from.add(at), to.add(done), run);
                    (done, at) = (done + run, 0);
                }
            } else {
                let (mut at, mut left) = (self.start / repeat % period, repeat - self.start % repeat);
                while done < self.len {
                    let run = left.min(self.len - done);
                    let value = from.add(at).read();
                    if run <= WIDE && done + WIDE <= CHUNK {
                        // What is written too far is overwritten by the next run, or not looked at.
                        to.add(done).cast::<[T; WIDE]>().write_unaligned([value; WIDE]);
                    } else {
                        fill(from.add(at), to.add(done), run);
                    }
                    (done, left) = (done + run, repeat);
                    at = if at + 1 == period { 0 } else { at + 1 };
                }
            }
        }
    }

    /// Where this chunk of a slot starts; `size` is that of its element.
    ///
    /// # Safety
    /// As [`run`].
    #[inline(always)]
    unsafe fn pointer<T>(&self, slot: Slot, size: usize) -> *mut T {
        let inputs = self.map.inputs.len();
        // SAFETY: the caller's; scratch holds a chunk for each input and each scratch slot.
        unsafe {
            match slot {
                Slot::Input(index) => match self.map.inputs[index].pattern {
                    Pattern::Full => self.memory.inputs[index].element(self.start, size).cast_mut().cast(),
                    _ => self.memory.scratch.add(index * CHUNK_BYTES).cast(),
                },
                Slot::Scratch(index) => self.memory.scratch.add((inputs + index) * CHUNK_BYTES).cast(),
                Slot::Output(index) => self.memory.outputs[index].add(self.start * size).cast(),
                Slot::Unused => self.memory.scratch.cast(),
            }
        }
    }

    /// # Safety
    /// As [`run`], for an instruction over float operands.
    #[inline(always)]
    unsafe fn real<S: Simd, T: Real>(&self, simd: S, instruction: &MapInstruction) {
        let MapInstruction { op, operands, result, .. } = *instruction;
        let size = size_of::<T>();
        // SAFETY: the caller's; slots hold elements of the instruction's types.
        unsafe {
            let (a, b) = (self.pointer::<T>(operands[0], size), self.pointer::<T>(operands[1], size));
            let c = self.pointer::<T>(operands[2], size);
            let n = self.len;
            match op {
                MapOp::Multiply(then) => multiply(simd, then, [a, b, c], self.pointer::<T>(result, size), n),
                MapOp::SelectBy(compare) => {
                    let on_false = self.pointer::<T>(operands[3], size);
                    select_by(compare, [a, b, c, on_false], self.pointer::<T>(result, size), n);
                }
                MapOp::Unary(op) => unary(self.level, op, a, self.pointer::<T>(result, size), n),
                MapOp::Binary(op) => binary(simd, op, a, b, self.pointer::<T>(result, size), n),
                MapOp::Compare(op) => compare(op, a, b, self.pointer::<bool>(result, 1), n),
                MapOp::Select => {
                    let mask = self.pointer::<bool>(operands[0], 1);
                    let on_false = self.pointer::<T>(operands[2], size);
                    select(mask, b, on_false, self.pointer::<T>(result, size), n);
                }
                MapOp::Cast(to) => match to {
                    DType::F32 => each(a, self.pointer::<f32>(result, 4), n, |v: T| v.to_f64() as f32),
                    DType::F64 => each(a, self.pointer::<f64>(result, 8), n, |v: T| v.to_f64()),
                    DType::I32 => each(a, self.pointer::<i32>(result, 4), n, |v: T| v.to_f64() as i32),
                    DType::Bool => each(a, self.pointer::<bool>(result, 1), n, |v: T| v != T::ZERO),
                },
            }
        }
    }

    /// # Safety
    /// As [`run`], for an instruction over `i32` operands.
    #[inline(always)]
    unsafe fn int(&self, instruction: &MapInstruction) {
        let MapInstruction { op, operands, result, .. } = *instruction;
        // SAFETY: the caller's; slots hold elements of the instruction's types.
        unsafe {
            let (a, b) = (self.pointer::<i32>(operands[0], 4), self.pointer::<i32>(operands[1], 4));
            let n = self.len;
            match op {
                MapOp::Binary(op) => zip(a, b, self.pointer::<i32>(result, 4), n, |a, b| op.apply_int(a, b)),
                MapOp::Compare(op) => zip(a, b, self.pointer::<bool>(result, 1), n, |a, b| op.apply_int(a, b)),
                MapOp::Select => {
                    let mask = self.pointer::<bool>(operands[0], 1);
                    let on_false = self.pointer::<i32>(operands[2], 4);
                    select(mask, b, on_false, self.pointer::<i32>(result, 4), n);
                }
                MapOp::Cast(to) => match to {
                    DType::F32 => each(a, self.pointer::<f32>(result, 4), n, |v: i32| v as f32),
                    DType::F64 => each(a, self.pointer::<f64>(result, 8), n, |v: i32| f64::from(v)),
                    DType::I32 => each(a, self.pointer::<i32>(result, 4), n, |v: i32| v),
                    DType::Bool => each(a, self.pointer::<bool>(result, 1), n, |v: i32| v != 0),
                },
                MapOp::Unary(_) | MapOp::Multiply(_) | MapOp::SelectBy(_) => unreachable!("{op:?} takes floats"),
            }
        }
    }

    /// # Safety
    /// As [`run`], for an instruction over masks.
    #[inline(always)]
    unsafe fn mask(&self, instruction: &MapInstruction) {
        let MapInstruction { op, operands, result, .. } = *instruction;
        // SAFETY: the caller's; slots hold elements of the instruction's types.
        unsafe {
            let (a, b) = (self.pointer::<bool>(operands[0], 1), self.pointer::<bool>(operands[1], 1));
            let n = self.len;
            match op {
                MapOp::Compare(op) => {
                    zip(a, b, self.pointer::<bool>(result, 1), n, |a, b| op.apply_int(i32::from(a), i32::from(b)));
                }
                MapOp::Select => {
                    let on_false = self.pointer::<bool>(operands[2], 1);
                    select(a, b, on_false, self.pointer::<bool>(result, 1), n);
                }
                MapOp::Cast(to) => match to {
                    DType::F32 => each(a, self.pointer::<f32>(result, 4), n, |v: bool| f32::from(u8::from(v))),
                    DType::F64 => each(a, self.pointer::<f64>(result, 8), n, |v: bool| f64::from(u8::from(v))),
                    DType::I32 => each(a, self.pointer::<i32>(result, 4), n, |v: bool| i32::from(v)),
                    DType::Bool => each(a, self.pointer::<bool>(result, 1), n, |v: bool| v),
                },
                MapOp::Unary(_) | MapOp::Multiply(_) | MapOp::SelectBy(_) => unreachable!("{op:?} takes floats"),
                MapOp::Binary(op) => unreachable!("{op:?} takes numbers"),
            }
        }
    }
}

/// # Safety
/// `from` is readable for one element, `to` writable for `n`.
#[inline(always)]
unsafe fn fill<T: Copy>(from: *const T, to: *mut T, n: usize) {
    // SAFETY: the caller's.
    unsafe {
        let value = from.read_unaligned();
        for i in 0..n {
            to.add(i).write_unaligned(value);
        }
    }
}

/// # Safety
/// `a` is readable and `y` writable for `n` elements; they are apart or equal.
#[inline(always)]
unsafe fn each<A: Copy, Y>(a: *const A, y: *mut Y, n: usize, f: impl Fn(A) -> Y) {
    for i in 0..n {
        // SAFETY: the caller's.
        unsafe { y.add(i).write(f(a.add(i).read())) };
    }
}

/// # Safety
/// `a`, `b` are readable and `y` writable for `n` elements; `y` is apart from both or equal to one.
#[inline(always)]
unsafe fn zip<A: Copy, Y>(a: *const A, b: *const A, y: *mut Y, n: usize, f: impl Fn(A, A) -> Y) {
    for i in 0..n {
        // SAFETY: the caller's.
        unsafe { y.add(i).write(f(a.add(i).read(), b.add(i).read())) };
    }
}

/// # Safety
/// As [`zip`], with a readable mask.
#[inline(always)]
unsafe fn select<T: Copy>(mask: *const bool, a: *const T, b: *const T, y: *mut T, n: usize) {
    for i in 0..n {
        // SAFETY: the caller's. Both sides are read, so that the loop needs no branch.
        unsafe {
            let (on_true, on_false) = (a.add(i).read(), b.add(i).read());
            y.add(i).write(if mask.add(i).read() { on_true } else { on_false });
        }
    }
}

/// `y = f(a, b, c)`, where `y` may be one of them: each vector is read before it is written.
///
/// # Safety
/// As [`zip`], with three operands.
#[inline(always)]
unsafe fn vectors<S: Simd, T: Real>(
    simd: S,
    [a, b, c]: [*mut T; 3],
    y: *mut T,
    n: usize,
    f: impl Fn(T::Vector<S>, T::Vector<S>, T::Vector<S>) -> T::Vector<S>,
) {
    let lanes = T::lanes::<S>();
    // SAFETY: the caller's; the last vector is masked.
    unsafe {
        let mut i = 0;
        while i + lanes <= n {
            T::store::<S>(y.add(i), f(T::load::<S>(a.add(i)), T::load::<S>(b.add(i)), T::load::<S>(c.add(i))));
            i += lanes;
        }
        if i < n {
            let mask = T::first(simd, n - i);
            let [a, b, c] = [a, b, c].map(|from| T::load_masked(simd, mask, from.add(i)));
            T::store_masked(simd, mask, y.add(i), f(a, b, c));
        }
    }
}

/// # Safety
/// As [`vectors`].
#[inline(always)]
unsafe fn multiply<S: Simd, T: Real>(simd: S, then: Then, operands: [*mut T; 3], y: *mut T, n: usize) {
    macro_rules! rows {
        ($($variant:ident $f:expr),*) => {
            // SAFETY: the caller's.
            match then { $(Then::$variant => unsafe { vectors::<S, T>(simd, operands, y, n, #[inline(always)] $f) }),* }
        };
    }
    rows!(
        Add | a,
        b,
        c | T::vector_add(simd, T::vector_mul(simd, a, b), c),
        Subtract | a,
        b,
        c | T::vector_sub(simd, T::vector_mul(simd, a, b), c),
        SubtractFrom | a,
        b,
        c | T::vector_sub(simd, c, T::vector_mul(simd, a, b))
    );
}

/// # Safety
/// As [`zip`], with four operands.
#[inline(always)]
unsafe fn select_by<T: Real>(compare: Compare, [a, b, c, d]: [*mut T; 4], y: *mut T, n: usize) {
    macro_rules! rows {
        ($($variant:ident $operator:tt),*) => {
            // SAFETY: the caller's. Both sides are read, so that the loop needs no branch.
            match compare { $(Compare::$variant => unsafe {
                for i in 0..n {
                    let (on_true, on_false) = (c.add(i).read(), d.add(i).read());
                    y.add(i).write(if a.add(i).read() $operator b.add(i).read() { on_true } else { on_false });
                }
            }),* }
        };
    }
    rows!(Equal ==, NotEqual !=, Less <, LessEqual <=, Greater >, GreaterEqual >=);
}

/// # Safety
/// As [`each`].
#[inline(always)]
unsafe fn unary<T: Real>(level: Level, op: Unary, a: *const T, y: *mut T, n: usize) {
    macro_rules! rows {
        (arithmetic $($plain:ident),*; elementary $($function:ident),*) => {
            // One loop a function, so that each is compiled on its own. SAFETY: the caller's.
            match op {
                $(Unary::$plain => unsafe { each(a, y, n, #[inline(always)] |v| Unary::$plain.apply(v)) },)*
                $(Unary::$function => unsafe { math::each::<math::$function, T>(level, a, y, n) }),*
            }
        };
    }
    rows!(arithmetic Neg, Sqrt, Rsqrt, Abs, Sign, Relu; elementary Exp, Expm1, Log, Log1p, Tanh, Sigmoid, Erf, Sin, Cos);
}

/// # Safety
/// As [`zip`]; sums, differences and products may be written over an operand.
#[inline(always)]
unsafe fn binary<S: Simd, T: Real>(simd: S, op: Binary, a: *mut T, b: *mut T, y: *mut T, n: usize) {
    macro_rules! rows {
        ($($vector:ident $f:ident),*; $($variant:ident),*) => {
            // SAFETY: the caller's.
            match op {
                $(Binary::$vector => unsafe {
                    vectors::<S, T>(simd, [a, b, b], y, n, #[inline(always)] |a, b, _| T::$f(simd, a, b))
                })*
                // SAFETY: the caller's.
                $(Binary::$variant => unsafe {
                    zip(a, b, y, n, #[inline(always)] |a, b| Binary::$variant.apply(a, b))
                })*
            }
        };
    }
    rows!(Add vector_add, Sub vector_sub, Mul vector_mul; Div, Max, Min, Pow);
}

/// # Safety
/// As [`zip`].
#[inline(always)]
unsafe fn compare<T: Real>(op: Compare, a: *const T, b: *const T, y: *mut bool, n: usize) {
    macro_rules! rows {
        ($($variant:ident $operator:tt),*) => {
            // SAFETY: the caller's.
            match op { $(Compare::$variant => unsafe {
                zip(a, b, y, n, #[inline(always)] |a: T, b: T| a $operator b)
            }),* }
        };
    }
    rows!(Equal ==, NotEqual !=, Less <, LessEqual <=, Greater >, GreaterEqual >=);
}
