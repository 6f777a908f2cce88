//! A fused element-wise program as a call.

use super::memory::{InputAt, MapMemory};
use super::program::Native;
use super::run;
use crate::ir::DType;
use crate::kernel::call::{
    BufferId, Call, Costs, Cut, Description, Memory, Pattern, Region, Share, Split, Splits, Touch, Work, Workspace,
    largest_share,
};
use crate::op::Function;
use crate::ops::{Binary, Compare, Unary};

/// Elements that a map works on at a time: the operands of a chunk fit the first-level cache many times.
pub(super) const CHUNK: usize = 512;

/// Bytes from one chunk of scratch to the next: room for the widest element type, and some more, since a core takes a load
/// for one that depends on a store whose address ends in the same 12 bits.
pub(crate) const CHUNK_BYTES: usize = CHUNK * 8 + 3 * 64;

/// A straight-line element-wise program over `len` elements.
#[derive(Debug)]
pub(crate) struct MapCall {
    pub len: usize,
    pub inputs: Vec<MapInput>,
    pub code: Vec<MapInstruction>,
    pub outputs: Vec<MapOutput>,
    /// Number of chunk-sized scratch slots that the code uses, besides one for each input that is not `Full`.
    pub scratch: usize,
    /// The compiled program that does the same.
    pub native: Option<Native>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MapInput {
    pub buffer: BufferId,
    pub offset: usize,
    pub dtype: DType,
    pub pattern: Pattern,
}

#[derive(Clone, Debug)]
pub(crate) struct MapInstruction {
    pub op: MapOp,
    /// Element type of the operands (for `Select`, of the choices).
    pub dtype: DType,
    pub operands: [Slot; 4],
    pub result: Slot,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum MapOp {
    Unary(Unary),
    Binary(Binary),
    Compare(Compare),
    Select,
    Cast(DType),
    /// `a·b + c`, `a·b − c` or `c − a·b`, each rounded twice as the instructions it stands for are.
    Multiply(Then),
    /// The third operand where the comparison of the first two holds, the fourth elsewhere.
    SelectBy(Compare),
}

/// What follows a multiplication in one pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Add,
    Subtract,
    SubtractFrom,
}

impl From<Function> for MapOp {
    fn from(function: Function) -> MapOp {
        match function {
            Function::Unary(op) => MapOp::Unary(op),
            Function::Binary(op) => MapOp::Binary(op),
            Function::Compare(op) => MapOp::Compare(op),
            Function::Select => MapOp::Select,
            Function::Cast(dtype) => MapOp::Cast(dtype),
        }
    }
}

impl MapOp {
    /// Whether its result may be written over one of its operands.
    pub(crate) fn works_in_place(self) -> bool {
        matches!(self, MapOp::Multiply(_) | MapOp::Binary(Binary::Add | Binary::Sub | Binary::Mul))
    }

    /// Whether it takes tens of instructions an element.
    pub(crate) fn is_elementary(self) -> bool {
        match self {
            MapOp::Unary(op) => !matches!(op, Unary::Neg | Unary::Abs | Unary::Sign | Unary::Relu | Unary::Sqrt),
            MapOp::Binary(op) => op == Binary::Pow,
            MapOp::Compare(_) | MapOp::Select | MapOp::Cast(_) | MapOp::Multiply(_) | MapOp::SelectBy(_) => false,
        }
    }
}

/// Where a chunk of a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Input(usize),
    Scratch(usize),
    /// Straight in the memory of an output.
    Output(usize),
    Unused,
}

#[derive(Clone, Debug)]
pub(crate) struct MapOutput {
    pub buffer: BufferId,
    pub dtype: DType,
    /// The slot that holds the value; `Output` itself, or a scratch slot copied out at the end of each chunk, when the
    /// output overwrites a buffer that the map still reads.
    pub from: Slot,
}

impl MapCall {
    /// What the map touches but for one input, which is in no buffer of the plan.
    pub(crate) fn touches_without(&self, without: Option<usize>) -> Vec<Touch> {
        let inputs = self.inputs.iter().enumerate().filter(|&(index, _)| Some(index) != without);
        let inputs = inputs.map(|(_, input)| {
            let (cut, len) = match input.pattern {
                Pattern::Full => (Cut::Same, self.len),
                Pattern::Scalar => (Cut::Whole, self.len.min(1)),
                Pattern::Middle { period, repeat } => {
                    (Cut::Periodic { period, repeat }, self.len.div_ceil(repeat.max(1)).min(period))
                }
            };
            let cut = if input.offset == 0 { cut } else { Cut::Whole };
            let read = Touch::read(input.buffer, input.dtype, Region::run(input.offset, len), cut);
            Touch { is_in_place: true, ..read }
        });
        let write = |output: &MapOutput| Touch::write(output.buffer, output.dtype, Region::run(0, self.len), Cut::Same);
        inputs.chain(self.outputs.iter().map(write)).collect()
    }

    /// What the map has to do, one of whose inputs may be in no memory. An instruction that stands for two counts as two.
    pub(crate) fn work_without(&self, without: Option<usize>) -> Work {
        let read = |pattern: Pattern| match pattern {
            Pattern::Full => self.len,
            Pattern::Scalar => 1,
            Pattern::Middle { period, .. } => period.min(self.len),
        };
        let inputs = self.inputs.iter().enumerate().filter(|&(index, _)| Some(index) != without);
        let read: usize = inputs.map(|(_, input)| read(input.pattern) * input.dtype.size()).sum();
        let written: usize = self.outputs.iter().map(|output| self.len * output.dtype.size()).sum();
        let joined = |op: MapOp| matches!(op, MapOp::Multiply(_) | MapOp::SelectBy(_));
        let instructions: usize = self.code.iter().map(|instruction| 1 + usize::from(joined(instruction.op))).sum();
        let double = self.code.iter().any(|instruction| instruction.dtype == DType::F64);
        Work { double, ..Work::of(self.len * instructions, read + written, DType::F32) }
    }

    /// Bytes of the chunks that the map works in.
    fn chunk_bytes(&self) -> usize {
        (self.inputs.len() + self.scratch) * CHUNK_BYTES
    }

    /// Bytes of the lists that lead to its inputs and outputs, which stand behind the chunks.
    fn list_bytes(&self) -> usize {
        self.inputs.len() * size_of::<InputAt>() + self.outputs.len() * size_of::<*mut u8>()
    }

    /// Writes the lists that lead to its inputs and outputs behind the chunks in `scratch`.
    ///
    /// # Safety
    /// `scratch` is aligned to cache lines and has what [`Call::scratch`] asks for; no one else uses it while the borrow
    /// lasts.
    pub(in crate::kernel) unsafe fn lists<'s>(
        &self,
        memory: &Memory<'_>,
        scratch: *mut u8,
    ) -> (&'s mut [InputAt], &'s mut [*mut u8]) {
        // SAFETY: the caller's; the second list begins where the first ends, which is aligned for pointers.
        unsafe {
            let origins: *mut InputAt = scratch.add(self.chunk_bytes()).cast();
            for (at, input) in self.inputs.iter().enumerate() {
                let start: *const u8 = memory.at(input.buffer);
                let start = start.wrapping_add(input.offset * input.dtype.size());
                origins.add(at).write(InputAt { start, first: 0 });
            }
            let outputs: *mut *mut u8 = origins.add(self.inputs.len()).cast();
            for (at, output) in self.outputs.iter().enumerate() {
                outputs.add(at).write(memory.at(output.buffer));
            }
            let inputs = std::slice::from_raw_parts_mut(origins, self.inputs.len());
            (inputs, std::slice::from_raw_parts_mut(outputs, self.outputs.len()))
        }
    }

    /// The text form.
    pub(crate) fn detail(&self) -> String {
        let ops: Vec<String> = self.code.iter().map(|instruction| format!("{:?}", instruction.op)).collect();
        let repeated = self.inputs.iter().filter(|input| input.pattern != Pattern::Full).count();
        format!("map x{} ({repeated} repeated) {{{}}}", self.len, ops.join("; "))
    }
}

impl Call for MapCall {
    fn touches(&self) -> Vec<Touch> {
        self.touches_without(None)
    }

    fn splits(&self) -> Splits {
        Splits { any_of: Some(self.len), ..Splits::of([Split::columns(self.len)]) }
    }

    fn work(&self) -> Work {
        self.work_without(None)
    }

    fn time(&self, costs: &Costs, split: Option<Split>, threads: usize) -> f64 {
        let elementary = self.code.iter().filter(|instruction| instruction.op.is_elementary()).count();
        let len = largest_share(self.len, split, threads);
        costs.swept(len, 3 * self.code.len()) + len * elementary as f64 * costs.elementary
    }

    fn scratch(&self) -> usize {
        self.chunk_bytes() + self.list_bytes()
    }

    fn describe(&self) -> Description {
        let sizes = format!("{}·{}", self.len, self.code.len());
        Description { kernel: "map", sizes, detail: self.detail(), is_product: false }
    }

    /// # Safety
    /// As the trait says.
    unsafe fn run(&self, memory: &Memory<'_>, share: &Share<'_>, own: &mut Workspace) {
        let scratch = own.scratch;
        // SAFETY: the caller's; offsets lie within their buffers, and the lists behind the chunks.
        unsafe {
            let (inputs, outputs) = self.lists(memory, scratch);
            run(memory.level, self, &MapMemory { inputs, outputs, scratch }, share.stretches(self.len));
        }
    }
}
