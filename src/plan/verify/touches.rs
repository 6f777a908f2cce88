//! What a share of a step touches, element for element, as the kernels walk it.
//!
//! The scheduler reasons about splits (`access`); this is the slow form of the same question, derived from the kernels and
//! not from the splits, so that the two can be held against each other.

use crate::plan::step::{Gemm, GemmMap, MapCode, Matrix};
use crate::plan::{Blocks, BufferId, Pattern, Split, Step, StepKind, View};
use std::ops::Range;

/// Elements of one buffer that one share reads or writes.
#[derive(Clone, Debug)]
pub(super) struct Touch {
    pub buffer: BufferId,
    pub writes: bool,
    pub ranges: Vec<Range<usize>>,
}

/// Runs of elements: `count` times `len` of them, `stride` apart.
#[derive(Clone, Copy, Debug)]
struct Runs {
    first: usize,
    len: usize,
    stride: usize,
    count: usize,
}

impl Runs {
    fn ranges(self) -> Vec<Range<usize>> {
        let Runs { first, len, stride, count } = self;
        match () {
            () if len == 0 || count == 0 => Vec::new(),
            () if stride == len || count == 1 => one(first..first + len * count),
            () => (0..count).map(|i| first + i * stride..first + i * stride + len).collect(),
        }
    }
}

/// Everything that a share of a step touches.
pub(super) fn touches(step: &Step, share: usize, shares: usize) -> Vec<Touch> {
    let own = match step.split {
        Some(split) => split.range(share, shares),
        None if share == 0 => 0..1,
        None => return Vec::new(),
    };
    if own.is_empty() {
        return Vec::new();
    }
    let walk = Walk { split: step.split, own, found: Vec::new() };
    walk.step(&step.kind)
}

struct Walk {
    split: Option<Split>,
    own: Range<usize>,
    found: Vec<Touch>,
}

impl Walk {
    fn read(&mut self, buffer: BufferId, ranges: Vec<Range<usize>>) {
        self.found.push(Touch { buffer, writes: false, ranges });
    }

    fn write(&mut self, buffer: BufferId, ranges: Vec<Range<usize>>) {
        self.found.push(Touch { buffer, writes: true, ranges });
    }

    /// The share's part of an outermost axis.
    fn outer(&self, size: usize) -> Range<usize> {
        if self.split.is_some() { self.own.clone() } else { 0..size }
    }

    fn runs(&self, len: usize) -> Runs {
        match self.split {
            None => Runs { first: 0, len, stride: len, count: 1 },
            Some(Split { inner, extent }) => Runs {
                first: self.own.start * inner,
                len: self.own.len() * inner,
                stride: inner * extent,
                count: len / (inner * extent).max(1),
            },
        }
    }

    fn step(mut self, kind: &StepKind) -> Vec<Touch> {
        match kind {
            StepKind::Map(map) => {
                let runs = self.runs(map.len);
                self.map(map, None, &[runs]);
            }
            StepKind::Measure { x, len, .. } => self.read(*x, self.runs(*len).ranges()),
            StepKind::Gemm(gemm) => {
                let [rows, columns] = self.window(gemm);
                self.operands(gemm, &rows, &columns);
                let batches = if gemm.batch > 1 && self.split.is_some() { self.own.clone() } else { 0..gemm.batch };
                let of_batch = |batch: usize| {
                    let first = batch * gemm.m * gemm.n + rows.start * gemm.n + columns.start;
                    Runs { first, len: columns.len(), stride: gemm.n, count: rows.len() }.ranges()
                };
                self.write(gemm.c, batches.flat_map(of_batch).collect());
            }
            StepKind::GemmMap(fused) => self.gemm_map(fused),
            &StepKind::Reduce { x, y, outer, reduced, inner, .. } => {
                if outer > 1 || self.split.is_none() {
                    let own = self.outer(outer);
                    self.read(x, one(own.start * reduced * inner..own.end * reduced * inner));
                    self.write(y, one(own.start * inner..own.end * inner));
                } else {
                    let own = self.own.clone();
                    let runs = Runs { first: own.start, len: own.len(), stride: inner, count: reduced };
                    self.read(x, runs.ranges());
                    self.write(y, vec![own]);
                }
            }
            StepKind::Copy { from, to } => {
                let rows = self.outer(from.shape.first().copied().unwrap_or(1));
                self.read(from.buffer, of_view(from, &rows));
                self.write(to.buffer, of_view(to, &rows));
            }
            &StepKind::Fill { value, offset, to, .. } => {
                self.read(value, one(offset..offset + 1));
                // The plan knows how long the buffer is.
                self.write(to, one(0..usize::MAX));
            }
            &StepKind::BatchNormTrain { operands: [x, gamma, beta], results, extent, .. } => {
                let (large, vector) = self.channels(extent);
                self.read(x, large.clone());
                self.read(gamma, vector.clone());
                self.read(beta, vector.clone());
                self.norm_results(results, large, vector);
            }
            &StepKind::BatchNormGrad { operands, gate, results, extent, .. } => {
                let (large, vector) = self.channels(extent);
                for (index, buffer) in operands.into_iter().enumerate() {
                    self.read(buffer, if matches!(index, 0 | 4) { large.clone() } else { vector.clone() });
                }
                gate.into_iter().for_each(|gate| self.read(gate, large.clone()));
                self.norm_results(results, large, vector);
            }
            &StepKind::ArgMax { x, y, extent: [outer, size, inner], .. } => {
                let own = self.outer(outer);
                self.read(x, one(own.start * size * inner..own.end * size * inner));
                self.write(y, one(own.start * inner..own.end * inner));
            }
            &StepKind::OneHot { index, y, depth, rows, .. } => {
                let own = self.outer(rows);
                self.read(index, vec![own.clone()]);
                self.write(y, one(own.start * depth..own.end * depth));
            }
            &StepKind::Take { x, index, y, extent: [outer, size, inner], taken, .. } => {
                let own = self.outer(outer);
                self.read(x, one(own.start * size * inner..own.end * size * inner));
                self.read(index, one(own.start * taken * inner..own.end * taken * inner));
                self.write(y, one(own.start * taken * inner..own.end * taken * inner));
            }
            &StepKind::Scatter { updates, index, y, extent: [outer, size, inner], taken, .. } => {
                self.read(updates, one(0..outer * taken * inner));
                self.read(index, one(0..outer * taken * inner));
                self.write(y, one(0..outer * size * inner));
            }
            &StepKind::Random { key, y, len, .. } => {
                self.read(key, one(0..2));
                let own = self.outer(len);
                self.write(y, vec![own]);
            }
        }
        self.found
    }

    /// The share's channels of `(outer, channels, inner)`, and of a vector of channels.
    fn channels(&self, [outer, channels, inner]: [usize; 3]) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
        let own = self.outer(channels);
        let runs = Runs { first: own.start * inner, len: own.len() * inner, stride: channels * inner, count: outer };
        (runs.ranges(), vec![own])
    }

    fn norm_results(&mut self, [y, a, b]: [BufferId; 3], large: Vec<Range<usize>>, vector: Vec<Range<usize>>) {
        self.write(y, large);
        self.write(a, vector.clone());
        self.write(b, vector);
    }

    fn map(&mut self, map: &MapCode, without: Option<usize>, runs: &[Runs]) {
        for (_, input) in map.inputs.iter().enumerate().filter(|&(index, _)| Some(index) != without) {
            let at = |range: Range<usize>| range.start + input.offset..range.end + input.offset;
            let ranges: Vec<_> = runs.iter().flat_map(|runs| of_pattern(input.pattern, runs.ranges())).collect();
            self.read(input.buffer, ranges.into_iter().map(at).collect());
        }
        for output in &map.outputs {
            self.write(output.buffer, runs.iter().flat_map(|runs| runs.ranges()).collect());
        }
    }

    fn window(&self, gemm: &Gemm) -> [Range<usize>; 2] {
        let (rows, columns) = (0..gemm.m, 0..gemm.n);
        match self.split.filter(|_| gemm.batch == 1) {
            Some(split) if split == Split::columns(gemm.n) => [rows, self.own.clone()],
            Some(_) => [self.own.clone(), columns],
            None => [rows, columns],
        }
    }

    fn operands(&mut self, gemm: &Gemm, rows: &Range<usize>, columns: &Range<usize>) {
        let batches = if gemm.batch > 1 && self.split.is_some() { self.own.clone() } else { 0..gemm.batch };
        let a = batches.clone().flat_map(|batch| of_matrix(&gemm.a, batch, rows, &(0..gemm.k)));
        self.read(gemm.a.buffer, a.collect());
        let b = match gemm.blocks {
            Some(blocks) if gemm.b.column_stride == 1 => of_blocks(blocks, 0..gemm.k, columns.clone()),
            Some(blocks) => of_blocks(blocks, columns.clone(), 0..gemm.k),
            None => batches.flat_map(|batch| of_matrix(&gemm.b, batch, &(0..gemm.k), columns)).collect(),
        };
        self.read(gemm.b.buffer, b);
        if let Some(bias) = gemm.finish.bias {
            self.read(bias, vec![columns.clone()]);
        }
    }

    fn gemm_map(&mut self, fused: &GemmMap) {
        let GemmMap { gemm, map, input, blocks, .. } = fused;
        let [rows, columns] = self.window(gemm);
        self.operands(gemm, &rows, &columns);
        let runs: Vec<Runs> = match blocks {
            Some(blocks) => of_blocks(*blocks, rows, columns)
                .into_iter()
                .map(|range| Runs { first: range.start, len: range.len(), stride: range.len(), count: 1 })
                .collect(),
            None => {
                let first = rows.start * gemm.n + columns.start;
                vec![Runs { first, len: columns.len(), stride: gemm.n, count: rows.len() }]
            }
        };
        self.map(map, Some(*input), &runs);
    }
}

fn one(range: Range<usize>) -> Vec<Range<usize>> {
    vec![range]
}

/// The elements of an input that belong to these elements of a map.
fn of_pattern(pattern: Pattern, of: Vec<Range<usize>>) -> Vec<Range<usize>> {
    match pattern {
        Pattern::Full => of,
        Pattern::Scalar if of.is_empty() => Vec::new(),
        Pattern::Scalar => one(0..1),
        Pattern::Middle { period, repeat } => {
            let of_range = |range: Range<usize>| {
                let (from, to) = (range.start / repeat, (range.end - 1) / repeat + 1);
                let (first, len) = (from % period, to - from);
                if len >= period {
                    one(0..period)
                } else if first + len <= period {
                    one(first..first + len)
                } else {
                    vec![0..first + len - period, first..period]
                }
            };
            let mut found: Vec<Range<usize>> = of.into_iter().flat_map(of_range).collect();
            found.sort_unstable_by_key(|range| (range.start, range.end));
            found.dedup();
            found
        }
    }
}

fn of_matrix(matrix: &Matrix, batch: usize, rows: &Range<usize>, columns: &Range<usize>) -> Vec<Range<usize>> {
    let Matrix { offset, batch_stride, row_stride, column_stride, .. } = *matrix;
    let first = offset + batch * batch_stride + rows.start * row_stride + columns.start * column_stride;
    let (m, n) = (rows.len(), columns.len());
    if m == 0 || n == 0 {
        return Vec::new();
    }
    match (row_stride, column_stride) {
        (_, 1) => Runs { first, len: n, stride: row_stride, count: m }.ranges(),
        (1, _) => Runs { first, len: m, stride: column_stride, count: n }.ranges(),
        _ => (0..m)
            .flat_map(|row| Runs { first: first + row * row_stride, len: 1, stride: column_stride, count: n }.ranges())
            .collect(),
    }
}

fn of_blocks(blocks: Blocks, rows: Range<usize>, columns: Range<usize>) -> Vec<Range<usize>> {
    let of_part = |part: Range<usize>| {
        let (first, stride) = (blocks.at(rows.start, part.start), blocks.around(part.start).len());
        Runs { first, len: part.len(), stride, count: rows.len() }.ranges()
    };
    if rows.is_empty() { Vec::new() } else { blocks.within(columns).flat_map(of_part).collect() }
}

/// The elements of a view, at these positions of its outermost axis.
fn of_view(view: &View, rows: &Range<usize>) -> Vec<Range<usize>> {
    let mut starts = vec![view.offset];
    let Some((&last, outer)) = view.strides.split_last() else { return one(view.offset..view.offset + 1) };
    for (axis, &stride) in outer.iter().enumerate() {
        let own = if axis == 0 { rows.clone() } else { 0..view.shape[axis] };
        starts = starts.into_iter().flat_map(|start| own.clone().map(move |i| start + i * stride)).collect();
    }
    let own = if outer.is_empty() { rows.clone() } else { 0..view.shape[view.shape.len() - 1] };
    let of_line = |start: usize| match last {
        _ if own.is_empty() => Vec::new(),
        0 => one(start..start + 1),
        _ => Runs { first: start + own.start * last, len: 1, stride: last, count: own.len() }.ranges(),
    };
    starts.into_iter().flat_map(of_line).collect()
}
