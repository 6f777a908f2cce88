//! A product of matrices as a call, and which method computes it.

use super::{Blocks, PACKING};
use super::{FinishAt, MatrixAt, ProductAt, product, product_of_blocks, product_of_transposed_blocks};
use crate::ir::DType;
use crate::kernel::Real;
use crate::kernel::call::{
    BufferId, Call, Costs, Cut, Description, Footprint, Lower, LowerCx, Memory, Region, Share, Split, Splits, Suited,
    Touch, View, Work, Workspace, by_type, sizes,
};
use crate::ops::Dot;
use std::ops::Range;

/// `c[b] = a[b]·b[b]` for each batch.
#[derive(Debug)]
pub(crate) struct GemmCall {
    pub dtype: DType,
    pub a: Matrix,
    pub b: Matrix,
    pub c: BufferId,
    pub batch: usize,
    pub m: usize,
    pub k: usize,
    pub n: usize,
    pub method: Method,
    /// The layout of `b`'s buffer, if it is stored in blocks.
    pub blocks: Option<Blocks>,
    pub finish: Finish,
}

/// A strided matrix in a buffer, one for each batch; strides in elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix {
    pub buffer: BufferId,
    pub offset: usize,
    pub batch_stride: usize,
    pub row_stride: usize,
    pub column_stride: usize,
}

/// What happens to a product before it is stored; each rounded as the instruction of a map would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Finish {
    /// One element a column, added first.
    pub bias: Option<BufferId>,
    /// Whether negative elements become 0.
    pub relu: bool,
}

/// How a product is computed.
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

impl Method {
    /// The fastest for a right operand that lies so.
    fn of(b: &Matrix, m: usize, k: usize, n: usize, dtype: DType) -> Method {
        // Rows from which a packed panel of the right operand is used often enough to pay.
        const MANY_ROWS: usize = 64;
        // Bytes between the rows of the right operand from which reading it in place misses the caches.
        const FAR: usize = 2048;
        let is_contiguous = b.column_stride == 1 || n == 1;
        match () {
            () if is_contiguous && m == 1 => Method::Row,
            () if is_contiguous && (m < MANY_ROWS || k < 2 || b.row_stride * dtype.size() < FAR) => Method::Tile,
            () if m >= MANY_ROWS => Method::Packed,
            () => Method::Faer,
        }
    }
}

impl Lower for Dot {
    fn lower(&self, cx: &mut dyn LowerCx) {
        let (x, y) = (cx.operand(0), cx.operand(1));
        let free = (self.lhs_free(x.shape.len()), self.rhs_free(y.shape.len()));
        let batch = self.lhs_batch.iter().map(|&axis| x.shape[axis]).product();
        let dtype = x.dtype;
        let (a, m, k) = matrix(cx, x, &self.lhs_batch, &free.0, &self.lhs_contract);
        let (b, n, _) = matrix(cx, y, &self.rhs_batch, &free.1, &self.rhs_contract);
        // `matrix` gives (free, contracted); the right side is wanted as (contracted, free).
        let b = Matrix { row_stride: b.column_stride, column_stride: b.row_stride, ..b };
        let (c, method) = (cx.result(), Method::of(&b, m, k, n, dtype));
        cx.call(GemmCall { dtype, a, b, c, batch, m, k, n, method, blocks: None, finish: Finish::default() }.into());
    }
}

/// An operand of a product as matrices of `(free, contracted)`; packed in that order if its strides do not allow it.
fn matrix(
    cx: &mut dyn LowerCx,
    view: View,
    batch: &[usize],
    free: &[usize],
    contract: &[usize],
) -> (Matrix, usize, usize) {
    let merged = (view.merged(batch), view.merged(free), view.merged(contract));
    if let (Some((_, batch_stride)), Some((m, row_stride)), Some((k, column_stride))) = merged {
        let matrix = Matrix { buffer: view.buffer, offset: view.offset, batch_stride, row_stride, column_stride };
        return (matrix, m, k);
    }
    let size = |axes: &[usize]| -> usize { axes.iter().map(|&axis| view.shape[axis]).product() };
    let (m, k) = (size(free), size(contract));
    let order: Vec<usize> = batch.iter().chain(free).chain(contract).copied().collect();
    let buffer = cx.copied(view.transposed(&order)).buffer;
    (Matrix { buffer, offset: 0, batch_stride: m * k, row_stride: k, column_stride: 1 }, m, k)
}

impl GemmCall {
    /// What the call reads.
    pub(super) fn reads(&self) -> impl Iterator<Item = Touch> {
        let Self { dtype, ref a, ref b, batch, m, k, n, blocks, finish, .. } = *self;
        let (rows, columns) = (Split::rows(m, n), Split::columns(n));
        // A share of several products touches whole ones.
        let when = |call: Split, own: Option<Split>| match own.filter(|_| batch == 1) {
            Some(buffer) => Cut::When { call, buffer },
            None => Cut::Whole,
        };
        // Blocks of a transposed operand are cut across.
        let is_whole = blocks.is_none() || b.column_stride == 1;
        let of_a = when(rows, own_lines(a, (a.row_stride, m), (a.column_stride, k)));
        let of_b = when(columns, own_lines(b, (b.column_stride, n), (b.row_stride, k)).filter(|_| is_whole));
        let region = |of: &Matrix, rows: usize, columns: usize| {
            Region::strided(of.offset, [(batch, of.batch_stride), (rows, of.row_stride), (columns, of.column_stride)])
        };
        let left = Touch::read(a.buffer, dtype, region(a, m, k), of_a);
        let right = Touch { layout: blocks, ..Touch::read(b.buffer, dtype, region(b, k, n), of_b) };
        let by_column = when(columns, Some(columns));
        let bias = finish.bias.map(|bias| Touch::read(bias, dtype, Region::run(0, n), by_column));
        [left, right].into_iter().chain(bias)
    }

    /// Nanoseconds until the last share is done.
    pub(super) fn product_time(&self, costs: &Costs, split: Option<Split>, threads: usize) -> f64 {
        // Elements that a row of a tile is made of.
        const LANES: usize = 16;
        let Self { m, k, n, batch, dtype, .. } = *self;
        let (mut rows, mut columns, mut products) = (m, n, batch);
        match split {
            Some(split) if batch > 1 => products = split.largest(threads),
            Some(split) if split == Split::columns(n) => columns = split.largest(threads),
            Some(split) => rows = split.largest(threads),
            None => {}
        }
        let width = dtype.size() as f64 / 4.0;
        let computed = (rows * k * columns.next_multiple_of(LANES)) as f64 / costs.multiply_adds;
        // Blocks of a state are in the caches of those who update them: a split by rows fetches the others'.
        let is_foreign = threads > 1 && self.blocks.is_some() && split.is_some_and(|split| split.inner > 1);
        let read = (k * columns * 4) as f64 / costs.operand_bytes;
        let foreign = if is_foreign { read } else { 0.0 };
        products as f64 * width * (computed.max(read) + 0.1 * read + foreign)
    }

    /// What the product has to do, with so many elements stored for each batch.
    pub(super) fn product_work(&self, stored: usize) -> Work {
        let Self { m, k, n, batch, dtype, finish, .. } = *self;
        let multiply_adds = (batch * m * k * n) as u64;
        let bias = if finish.bias.is_some() { n } else { 0 };
        let bytes = (batch * (m * k + k * n + stored) + bias) * dtype.size();
        let finished = usize::from(finish.bias.is_some()) + usize::from(finish.relu);
        let operations = 2 * multiply_adds + (finished * m * n) as u64;
        Work { multiply_adds, operations, ..Work::of(0, bytes, dtype) }
    }

    /// Sizes in short.
    pub(super) fn sizes(&self) -> String {
        let extent = [self.batch, self.m, self.k, self.n];
        sizes(if self.batch == 1 { &extent[1..] } else { &extent })
    }

    /// The text form.
    pub(super) fn detail(&self) -> String {
        let Self { batch, m, k, n, method, finish, .. } = self;
        let finish = match (finish.bias.is_some(), finish.relu) {
            (false, false) => "",
            (true, false) => " + bias",
            (false, true) => " relu",
            (true, true) => " + bias relu",
        };
        format!("gemm {method:?} {batch}x[{m},{k}]x[{k},{n}]{finish}")
    }

    /// Whether even the last, smallest window of a split is one of faer's ordinary ones: faer takes other kernels for very
    /// small windows and for single lines, which round in another way.
    fn has_ordinary_windows(&self) -> bool {
        const LARGEST_SPECIAL: usize = 4096;
        let last = |extent: usize| if extent.is_multiple_of(8) { 8 } else { extent % 8 };
        let (rows, columns) = (last(self.m), last(self.n));
        let least = (rows * self.n).min(self.m * columns) * self.k;
        self.batch == 1 && rows > 1 && columns > 1 && least > LARGEST_SPECIAL
    }

    /// The share as ranges of rows and columns.
    pub(super) fn window_of(&self, share: &Share<'_>) -> [Range<usize>; 2] {
        let (rows, columns) = (0..self.m, 0..self.n);
        match share.split.filter(|_| self.batch == 1) {
            Some(split) if split == Split::columns(self.n) => [rows, share.positions.clone()],
            Some(_) => [share.positions.clone(), columns],
            None => [rows, columns],
        }
    }

    /// A window of the product, to be written at `c`.
    pub(super) fn window<T: Real>(
        &self,
        memory: &Memory<'_>,
        batch: usize,
        [rows, columns]: [Range<usize>; 2],
        c: *mut T,
        c_stride: usize,
    ) -> ProductAt<T> {
        let matrix = |of: &Matrix, at: usize| {
            let start: *const T = memory.at(of.buffer);
            let (row_stride, column_stride) = (of.row_stride, of.column_stride);
            MatrixAt { start: start.wrapping_add(of.offset + batch * of.batch_stride + at), row_stride, column_stride }
        };
        let a = matrix(&self.a, rows.start * self.a.row_stride);
        let b = matrix(&self.b, columns.start * self.b.column_stride);
        let bias = self.finish.bias.map(|bias| memory.at::<T>(bias).wrapping_add(columns.start).cast_const());
        let finish = FinishAt { bias: bias.unwrap_or(std::ptr::null()), relu: self.finish.relu };
        ProductAt { m: rows.len(), k: self.k, n: columns.len(), a, b, c, c_stride, finish }
    }
}

/// The split of a matrix's buffer in which each line along the free axis has a position of its own.
fn own_lines(matrix: &Matrix, free: (usize, usize), contracted: (usize, usize)) -> Option<Split> {
    let ((stride, size), (step, count)) = (free, contracted);
    let is_apart = stride > 0 && (step * count.saturating_sub(1) < stride || step.is_multiple_of(stride * size));
    (matrix.offset == 0 && is_apart).then_some(Split { inner: stride, extent: size })
}

impl Call for GemmCall {
    fn touches(&self) -> Vec<Touch> {
        let c = Touch::write(self.c, self.dtype, Region::run(0, self.batch * self.m * self.n), Cut::Same);
        self.reads().chain([c]).collect()
    }

    fn splits(&self) -> Splits {
        let Self { m, k, n, batch, dtype, .. } = *self;
        match () {
            () if self.method == Method::Faer && self.blocks.is_none() && !self.has_ordinary_windows() => {
                Splits::none()
            }
            () if batch == 1 => {
                let by_columns = Footprint { bytes: m * dtype.size(), least: 48 };
                let by_rows = Footprint { bytes: k.max(n) * dtype.size(), least: 64 };
                let suited = |split, footprint| Suited { split, footprint: Some(footprint) };
                let own = [suited(Split::columns(n), by_columns), suited(Split::rows(m, n), by_rows)];
                Splits { own: own.into_iter().collect(), any_of: None }
            }
            () => Splits::of([Split { inner: m * n, extent: batch }]),
        }
    }

    fn work(&self) -> Work {
        self.product_work(self.m * self.n)
    }

    fn time(&self, costs: &Costs, split: Option<Split>, threads: usize) -> f64 {
        self.product_time(costs, split, threads)
    }

    fn scratch(&self) -> usize {
        let packs = self.method == Method::Packed || self.blocks.is_some();
        if packs { PACKING * self.dtype.size() } else { 0 }
    }

    fn describe(&self) -> Description {
        Description { kernel: "gemm", sizes: self.sizes(), detail: self.detail(), is_product: true }
    }

    /// # Safety
    /// As the trait says.
    unsafe fn run(&self, memory: &Memory<'_>, share: &Share<'_>, own: &mut Workspace) {
        let own = &*own;
        // SAFETY: the caller's.
        unsafe { by_type(self.dtype, || self.of::<f32>(memory, share, own), || self.of::<f64>(memory, share, own)) }
    }
}

impl GemmCall {
    /// # Safety
    /// As [`Call::run`].
    unsafe fn of<T: Real>(&self, memory: &Memory<'_>, share: &Share<'_>, own: &Workspace) {
        let (level, scratch) = (memory.level, own.scratch.cast::<T>());
        let batches = if share.split.is_some() && self.batch > 1 { share.positions.clone() } else { 0..self.batch };
        for batch in batches {
            let [rows, columns] = self.window_of(share);
            let start = batch * self.m * self.n + rows.start * self.n + columns.start;
            // SAFETY: the caller's; a split by columns keeps to whole blocks.
            unsafe {
                let c = memory.at::<T>(self.c).add(start);
                let mut window = self.window(memory, batch, [rows, columns.clone()], c, self.n);
                let Some(blocks) = self.blocks else {
                    product(level, self.method, window, scratch);
                    continue;
                };
                window.b.start = memory.at::<T>(self.b.buffer);
                if self.b.column_stride == 1 {
                    product_of_blocks(level, window, blocks, columns);
                } else {
                    product_of_transposed_blocks(level, window, blocks, columns, scratch);
                }
            }
        }
    }
}
