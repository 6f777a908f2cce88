//! Which part of each buffer a share of a step touches, and how a step can be split at all.

use super::step::{Gemm, MapCode, Matrix, Method};
use super::{BufferId, Pattern, Split, StepKind};
use smallvec::{SmallVec, smallvec};

/// What one share of a step touches of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Its own positions.
    Own(Split),
    /// Anything.
    All,
    /// Anything, but only the first share runs.
    First,
}

impl Part {
    /// Whether a share that touches the one part needs nothing that another share does to the other.
    pub fn is_apart(self, other: Part) -> bool {
        self == other && self != Part::All
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub buffer: BufferId,
    pub part: Part,
    pub writes: bool,
}

pub(super) type Accesses = SmallVec<[Access; 8]>;

/// The splits that a step could have, other than those that a map takes over from its operands.
pub(super) fn splits(kind: &StepKind) -> SmallVec<[Split; 2]> {
    match kind {
        StepKind::Map(map) => smallvec![Split::columns(map.len)],
        // faer takes other kernels for very small windows and for single lines, which round in another way.
        StepKind::Gemm(gemm) if gemm.method == Method::Faer && gemm.blocks.is_none() && !has_large_windows(gemm) => {
            smallvec![]
        }
        StepKind::Gemm(gemm) if gemm.batch == 1 => {
            smallvec![Split::columns(gemm.n), Split::rows(gemm.m, gemm.n)]
        }
        StepKind::Gemm(gemm) => smallvec![Split { inner: gemm.m * gemm.n, extent: gemm.batch }],
        StepKind::GemmMap(fused) if fused.blocks.is_some() => smallvec![Split::columns(fused.gemm.n)],
        StepKind::GemmMap(fused) => smallvec![Split::rows(fused.gemm.m, fused.gemm.n)],
        StepKind::Reduce { outer, inner, .. } if *outer > 1 => smallvec![Split { inner: *inner, extent: *outer }],
        StepKind::Reduce { inner, .. } => smallvec![Split::columns(*inner)],
        StepKind::Copy { to, .. } if to.is_packed() && to.offset == 0 && !to.shape.is_empty() && to.len() > 0 => {
            smallvec![Split { inner: to.len() / to.shape[0], extent: to.shape[0] }]
        }
        StepKind::Copy { .. } | StepKind::Fill { .. } | StepKind::Scatter { .. } => smallvec![],
        StepKind::BatchNormTrain { extent, .. } | StepKind::BatchNormGrad { extent, .. } => {
            smallvec![Split { inner: extent[2], extent: extent[1] }]
        }
        StepKind::ArgMax { extent, .. } => smallvec![Split { inner: extent[2], extent: extent[0] }],
        StepKind::Take { extent, taken, .. } => smallvec![Split { inner: taken * extent[2], extent: extent[0] }],
        StepKind::OneHot { depth, rows, .. } => smallvec![Split { inner: *depth, extent: *rows }],
        StepKind::Random { len, .. } | StepKind::Measure { len, .. } => smallvec![Split::columns(*len)],
    }
}

/// Whether even the last, smallest window of a split is one of faer's ordinary ones.
fn has_large_windows(gemm: &Gemm) -> bool {
    const LARGEST_SPECIAL: usize = 4096;
    let last = |extent: usize| if extent.is_multiple_of(8) { 8 } else { extent % 8 };
    let (rows, columns) = (last(gemm.m), last(gemm.n));
    let least = (rows * gemm.n).min(gemm.m * columns) * gemm.k;
    gemm.batch == 1 && rows > 1 && columns > 1 && least > LARGEST_SPECIAL
}

/// The splits that a map can take over from an operand that is split already.
pub(super) fn inherited(map: &MapCode, of: BufferId, split: Split) -> Option<Split> {
    let input = map.inputs.iter().find(|input| input.buffer == of)?;
    let inherited = match input.pattern {
        Pattern::Full if input.offset == 0 => split,
        Pattern::Middle { repeat, .. } if input.offset == 0 => Split { inner: split.inner * repeat, ..split },
        _ => return None,
    };
    (map.len > 0 && map.len.is_multiple_of(inherited.inner * inherited.extent)).then_some(inherited)
}

/// Everything that a step touches when it is split so.
pub(super) fn accesses(kind: &StepKind, split: Option<Split>) -> Accesses {
    let Some(split) = split else {
        let reads = kind.reads().into_iter().map(|buffer| Access { buffer, part: Part::First, writes: false });
        return reads
            .chain(kind.writes().into_iter().map(|buffer| Access { buffer, part: Part::First, writes: true }))
            .collect();
    };
    let own = Part::Own(split);
    let read = |buffer, part| Access { buffer, part, writes: false };
    let mut found: Accesses = match kind {
        StepKind::Map(map) => map.inputs.iter().map(|input| read(input.buffer, of_input(input, split))).collect(),
        StepKind::Gemm(gemm) => {
            let by_column = split == Split::columns(gemm.n);
            let bias = gemm.finish.bias.map(|bias| read(bias, if by_column { own } else { Part::All }));
            of_product(gemm, split).into_iter().chain(bias).collect()
        }
        StepKind::GemmMap(fused) => {
            let others = fused.map.inputs.iter().enumerate().filter(|&(index, _)| index != fused.input);
            let others = others.map(|(_, input)| read(input.buffer, of_input(input, split)));
            of_product(&fused.gemm, split).into_iter().chain(others).collect()
        }
        StepKind::Reduce { x, outer, reduced, inner, .. } => {
            let inner = if *outer > 1 { reduced * inner } else { 1 };
            smallvec![read(*x, Part::Own(Split { inner, ..split }))]
        }
        StepKind::BatchNormTrain { operands, .. } => by_channel(operands, &[0], split),
        StepKind::BatchNormGrad { operands, gate, .. } => {
            let gate = gate.map(|gate| read(gate, own));
            by_channel(operands, &[0, 4], split).into_iter().chain(gate).collect()
        }
        StepKind::ArgMax { x, extent, .. } => {
            smallvec![read(*x, Part::Own(Split { inner: extent[1] * extent[2], ..split }))]
        }
        StepKind::Take { x, index, extent, .. } => {
            smallvec![read(*x, Part::Own(Split { inner: extent[1] * extent[2], ..split })), read(*index, own)]
        }
        StepKind::OneHot { index, .. } => smallvec![read(*index, Part::Own(Split { inner: 1, ..split }))],
        StepKind::Measure { x, .. } => smallvec![read(*x, own)],
        StepKind::Copy { .. } | StepKind::Fill { .. } | StepKind::Scatter { .. } | StepKind::Random { .. } => {
            kind.reads().into_iter().map(|buffer| read(buffer, Part::All)).collect()
        }
    };
    let vector = Part::Own(Split { inner: 1, ..split });
    for (index, buffer) in kind.writes().into_iter().enumerate() {
        let is_norm = matches!(kind, StepKind::BatchNormTrain { .. } | StepKind::BatchNormGrad { .. });
        let part = if is_norm && index > 0 { vector } else { own };
        found.push(Access { buffer, part, writes: true });
    }
    found
}

/// Batch norm reads the whole of its channels of `x` and `dy`, and vectors of channels.
fn by_channel(operands: &[BufferId], whole: &[usize], split: Split) -> Accesses {
    let part = |index| Part::Own(if whole.contains(&index) { split } else { Split { inner: 1, ..split } });
    operands.iter().enumerate().map(|(index, &buffer)| Access { buffer, part: part(index), writes: false }).collect()
}

fn of_input(input: &super::step::MapInput, split: Split) -> Part {
    match input.pattern {
        _ if input.offset != 0 => Part::All,
        Pattern::Full => Part::Own(split),
        Pattern::Middle { period, repeat }
            if split.inner.is_multiple_of(repeat) && period.is_multiple_of(split.inner / repeat * split.extent) =>
        {
            Part::Own(Split { inner: split.inner / repeat, ..split })
        }
        Pattern::Middle { .. } | Pattern::Scalar => Part::All,
    }
}

fn of_product(gemm: &Gemm, split: Split) -> [Access; 2] {
    let (rows, columns) = (Split::rows(gemm.m, gemm.n), Split::columns(gemm.n));
    let is_single = gemm.batch == 1;
    let a = own_lines(&gemm.a, (gemm.a.row_stride, gemm.m), (gemm.a.column_stride, gemm.k));
    let b = own_lines(&gemm.b, (gemm.b.column_stride, gemm.n), (gemm.b.row_stride, gemm.k));
    let a = a.filter(|_| is_single && split == rows).map_or(Part::All, Part::Own);
    // Blocks of a transposed operand are cut across.
    let is_whole = gemm.blocks.is_none() || gemm.b.column_stride == 1;
    let b = b.filter(|_| is_single && is_whole && split == columns).map_or(Part::All, Part::Own);
    [Access { buffer: gemm.a.buffer, part: a, writes: false }, Access { buffer: gemm.b.buffer, part: b, writes: false }]
}

/// The split of a matrix's buffer in which each line along the free axis has a position of its own.
fn own_lines(matrix: &Matrix, free: (usize, usize), contracted: (usize, usize)) -> Option<Split> {
    let ((stride, size), (step, count)) = (free, contracted);
    let is_apart = stride > 0 && (step * count.saturating_sub(1) < stride || step.is_multiple_of(stride * size));
    (matrix.offset == 0 && is_apart).then_some(Split { inner: stride, extent: size })
}
