//! The kernel calls of a plan, as data.

use super::{Blocks, BufferId, Finish, Native, Split, View};
use crate::ir::{DType, NodeId};
use crate::ops::{Binary, Compare, Reduction, Unary};

/// One kernel call, and the graph node it computes.
#[derive(Debug)]
pub(crate) struct Step {
    pub node: NodeId,
    /// A node of the step that it has been joined with.
    pub joined: Option<NodeId>,
    pub kind: StepKind,
    /// How its work is shared out; `None` where one share does it all.
    pub split: Option<Split>,
}

#[derive(Debug)]
pub(crate) enum StepKind {
    /// A fused element-wise expression.
    Map(MapCode),
    /// `c[b] = a[b]·b[b]` for each batch; strides in elements.
    Gemm(Gemm),
    /// A product whose result only a map reads: computed window by window into scratch, and never stored.
    GemmMap(GemmMap),
    /// `(outer, reduced, inner) → (outer, inner)`.
    Reduce { reduction: Reduction, x: BufferId, y: BufferId, dtype: DType, outer: usize, reduced: usize, inner: usize },
    /// Copies between two views of one shape.
    Copy { from: View, to: View },
    /// Fills a buffer with the scalar at the start of another.
    Fill { value: BufferId, offset: usize, to: BufferId, dtype: DType },
    /// Training batch norm over `(outer, channels, inner)`, and perhaps the ReLU behind it.
    BatchNormTrain {
        operands: [BufferId; 3],
        results: [BufferId; 3],
        dtype: DType,
        extent: [usize; 3],
        eps: f64,
        relu: bool,
        notes: NoteSlots,
    },
    /// Its closed-form backward; where the gate is not above 0, the cotangent counts as 0.
    BatchNormGrad {
        operands: [BufferId; 7],
        gate: Option<BufferId>,
        results: [BufferId; 3],
        dtype: DType,
        extent: [usize; 3],
        eps: f64,
        notes: NoteSlots,
    },
    /// Index of the largest element over the middle of `(outer, size, inner)`.
    ArgMax { x: BufferId, y: BufferId, dtype: DType, extent: [usize; 3] },
    /// Rows of the identity.
    OneHot { index: BufferId, y: BufferId, dtype: DType, depth: usize, rows: usize },
    /// Picks along the middle of `(outer, size, inner)`, `taken` of them.
    Take { x: BufferId, index: BufferId, y: BufferId, dtype: DType, extent: [usize; 3], taken: usize },
    /// Adds along the middle of `(outer, size, inner)`, `taken` of them.
    Scatter { updates: BufferId, index: BufferId, y: BufferId, dtype: DType, extent: [usize; 3], taken: usize },
    /// The largest magnitude of a buffer, for the line that a run must not pass with a NaN; it writes no buffer, but what
    /// each worker notes for itself.
    Measure { x: BufferId, dtype: DType, len: usize, slot: usize },
    /// Counter-based random numbers.
    Random { key: BufferId, y: BufferId, dtype: DType, site: u32, len: usize },
}

/// For each result of a kernel that bounds its magnitudes as it goes, where it notes the bound, if that is wanted.
pub(crate) type NoteSlots = [Option<usize>; 3];

#[derive(Debug)]
pub(crate) struct Gemm {
    pub dtype: DType,
    pub a: Matrix,
    pub b: Matrix,
    pub c: BufferId,
    pub batch: usize,
    pub m: usize,
    pub k: usize,
    pub n: usize,
    pub method: Method,
    /// The layout of the right operand, if it is stored in blocks; its strides still say which way round it is.
    pub blocks: Option<Blocks>,
    pub finish: Finish,
}

/// How a product is computed. The choice depends on shapes and strides alone, since it decides the rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// One row.
    Row,
    /// Register tiles that read both operands in place.
    Tile,
    /// Register tiles over packed panels of the right operand.
    Packed,
    /// faer.
    Faer,
}

/// A product and the map over its result.
#[derive(Debug)]
pub(crate) struct GemmMap {
    pub gemm: Gemm,
    pub map: MapCode,
    /// Which input of the map is the product.
    pub input: usize,
    /// Rows and columns of the window that is computed at a time.
    pub window: [usize; 2],
    /// The layout of what the map reads and writes element for element, if it is stored in blocks.
    pub blocks: Option<Blocks>,
}

/// A strided matrix in a buffer, one for each batch.
#[derive(Debug)]
pub(crate) struct Matrix {
    pub buffer: BufferId,
    pub offset: usize,
    pub batch_stride: usize,
    pub row_stride: usize,
    pub column_stride: usize,
}

/// A straight-line element-wise program over `len` elements.
#[derive(Debug)]
pub(crate) struct MapCode {
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

/// Which element of an input belongs to the `i`-th of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Element `i`.
    Full,
    /// Element 0.
    Scalar,
    /// Element `(i / repeat) % period`.
    Middle { period: usize, repeat: usize },
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

impl StepKind {
    /// The buffers that the step reads.
    pub(crate) fn reads(&self) -> Vec<BufferId> {
        match self {
            StepKind::Map(map) => map.inputs.iter().map(|input| input.buffer).collect(),
            StepKind::Gemm(gemm) => [gemm.a.buffer, gemm.b.buffer].into_iter().chain(gemm.finish.bias).collect(),
            StepKind::GemmMap(fused) => {
                let others = fused.map.inputs.iter().enumerate().filter(|&(index, _)| index != fused.input);
                [fused.gemm.a.buffer, fused.gemm.b.buffer].into_iter().chain(others.map(|(_, i)| i.buffer)).collect()
            }
            StepKind::Reduce { x, .. } | StepKind::ArgMax { x, .. } | StepKind::Measure { x, .. } => vec![*x],
            StepKind::Copy { from, .. } => vec![from.buffer],
            StepKind::Fill { value, .. } => vec![*value],
            StepKind::BatchNormTrain { operands, .. } => operands.to_vec(),
            StepKind::BatchNormGrad { operands, gate, .. } => operands.iter().copied().chain(*gate).collect(),
            StepKind::OneHot { index, .. } => vec![*index],
            StepKind::Take { x, index, .. } => vec![*x, *index],
            StepKind::Scatter { updates, index, .. } => vec![*updates, *index],
            StepKind::Random { key, .. } => vec![*key],
        }
    }

    /// The buffers that the step writes.
    pub(crate) fn writes(&self) -> Vec<BufferId> {
        match self {
            StepKind::Map(map) => map.outputs.iter().map(|output| output.buffer).collect(),
            StepKind::Gemm(gemm) => vec![gemm.c],
            StepKind::Measure { .. } => Vec::new(),
            StepKind::GemmMap(fused) => fused.map.outputs.iter().map(|output| output.buffer).collect(),
            StepKind::Copy { to, .. } => vec![to.buffer],
            StepKind::Fill { to, .. } => vec![*to],
            StepKind::BatchNormTrain { results, .. } | StepKind::BatchNormGrad { results, .. } => results.to_vec(),
            StepKind::Reduce { y, .. }
            | StepKind::ArgMax { y, .. }
            | StepKind::OneHot { y, .. }
            | StepKind::Take { y, .. }
            | StepKind::Scatter { y, .. }
            | StepKind::Random { y, .. } => vec![*y],
        }
    }
}
