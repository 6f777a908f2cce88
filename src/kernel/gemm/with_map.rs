//! A product and the map over its result as one call: the product is computed window by window into scratch, and never
//! stored.

use super::{Blocks, GemmCall, MatrixAt, Method, PACKING, copy_panel, product};
use crate::kernel::Real;
use crate::kernel::call::{
    Call, Costs, Description, Memory, Pattern, Share, Split, Splits, Touch, Work, Workspace, by_type, largest_share,
};
use crate::kernel::map::{self, InputAt, MapCall, MapMemory};
use crate::kernel::measure::measure;
use crate::kernel::{LINE, Stretches};
use std::ops::Range;

/// A product whose result only a map reads.
#[derive(Debug)]
pub(crate) struct GemmMapCall {
    pub gemm: GemmCall,
    pub map: MapCall,
    /// Which input of the map is the product.
    pub input: usize,
    /// Rows and columns of the window that is computed at a time.
    pub window: [usize; 2],
    /// The layout of what the map reads and writes element for element, if it is stored in blocks.
    pub blocks: Option<Blocks>,
}

impl GemmMapCall {
    /// Joins a product with the map that reads it, as that input and in no other way, if that is worth it.
    pub(crate) fn is_worthwhile(gemm: &GemmCall) -> bool {
        // Rows from which a product is worth splitting by rows, which a joined one is.
        const FEWEST_ROWS: usize = 64;
        // Elements below which storing the product costs nothing that counts.
        const FEWEST_ELEMENTS: usize = 1 << 14;
        gemm.batch == 1 && gemm.m >= FEWEST_ROWS && gemm.m * gemm.n >= FEWEST_ELEMENTS && gemm.method != Method::Faer
    }

    /// The window of a product over row-major memory.
    pub(crate) fn window(gemm: &GemmCall) -> [usize; 2] {
        // Bytes of a right operand that may be read again for each window of rows.
        const SMALL_OPERAND: usize = 256 << 10;
        // Bytes of a window of whole rows: it stays in the first-level cache.
        const WINDOW_BYTES: usize = 32 << 10;
        // Rows and bytes of a row of a window over few columns: it stays in the second-level cache.
        const TALL_WINDOW: (usize, usize) = (512, 192);
        let size = gemm.dtype.size();
        if gemm.method == Method::Tile && gemm.k * gemm.n * size <= SMALL_OPERAND {
            let rows = WINDOW_BYTES / (gemm.n * size).max(1) / 8 * 8;
            return [rows.max(8), gemm.n];
        }
        let (rows, bytes) = TALL_WINDOW;
        [rows, bytes / size]
    }

    /// Lays what the map reads and writes element for element out in blocks.
    pub(crate) fn lay_out(&mut self, blocks: Blocks) {
        // A few tiles, so that the update of one runs while the next is multiplied.
        const WINDOW_ROWS: usize = 24;
        self.window = [WINDOW_ROWS, blocks.widest()];
        self.blocks = Some(blocks);
    }

    fn split(&self) -> Split {
        match self.blocks {
            Some(_) => Split::columns(self.gemm.n),
            None => Split::rows(self.gemm.m, self.gemm.n),
        }
    }

    /// Bytes of scratch from the map's to the window, and from there to the packed panel.
    fn scratch_bytes(&self) -> [usize; 2] {
        let aligned = |bytes: usize| bytes.next_multiple_of(LINE);
        [aligned(self.map.scratch()), aligned(self.window[0] * self.window[1] * self.gemm.dtype.size())]
    }
}

impl Call for GemmMapCall {
    fn touches(&self) -> Vec<Touch> {
        let of_map = self.map.touches_without(Some(self.input)).into_iter().map(|touch| {
            let input = self.map.inputs.iter().find(|input| input.buffer == touch.buffer);
            let is_full = touch.writes() || input.is_some_and(|input| input.pattern == Pattern::Full);
            Touch { layout: self.blocks.filter(|_| is_full), ..touch }
        });
        self.gemm.reads().chain(of_map).collect()
    }

    fn splits(&self) -> Splits {
        Splits::of([self.split()])
    }

    fn work(&self) -> Work {
        let mut work = self.gemm.product_work(0);
        work += self.map.work_without(Some(self.input));
        work
    }

    fn time(&self, costs: &Costs, split: Option<Split>, threads: usize) -> f64 {
        let of_map = costs.swept(largest_share(self.map.len, split, threads), 3 * self.map.code.len());
        self.gemm.product_time(costs, split, threads) + of_map
    }

    fn scratch(&self) -> usize {
        self.scratch_bytes().iter().sum::<usize>() + PACKING * self.gemm.dtype.size()
    }

    fn describe(&self) -> Description {
        let sizes = format!("{} + map", self.gemm.sizes());
        let detail = format!("{} by {:?} into {}", self.gemm.detail(), self.window, self.map.detail());
        Description { kernel: "gemm", sizes, detail, is_product: true }
    }

    /// # Safety
    /// As the trait says.
    unsafe fn run(&self, memory: &Memory<'_>, share: &Share<'_>, own: &mut Workspace) {
        let scratch = own.scratch;
        // SAFETY: the caller's.
        let is_finite = unsafe {
            by_type(
                self.gemm.dtype,
                || self.of::<f32>(memory, share, scratch),
                || self.of::<f64>(memory, share, scratch),
            )
        };
        own.overflowed |= !is_finite;
    }
}

impl GemmMapCall {
    /// Computes the product window by window into scratch, and runs the map over each. False if a product was seen that is
    /// not finite.
    ///
    /// # Safety
    /// As [`Call::run`].
    unsafe fn of<T: Real>(&self, memory: &Memory<'_>, share: &Share<'_>, scratch: *mut u8) -> bool {
        let Self { gemm, map, window: [height, width], blocks, .. } = self;
        let [rows, columns] = gemm.window_of(share);
        let [to_panel, to_packing] = self.scratch_bytes();
        let mut is_finite = true;
        // SAFETY: the caller's; scratch holds the map's, a window, and a packed panel, in this order.
        unsafe {
            let panel: *mut T = scratch.add(to_panel).cast();
            let packing: *mut T = scratch.add(to_panel + to_packing).cast();
            let (inputs, outputs) = map.lists(memory, scratch);
            let mut column = columns.start;
            while column < columns.end {
                let end = blocks.map_or(column + width, |blocks| blocks.around(column).end);
                let columns = column..columns.end.min(end);
                // Many rows of the right operand are packed once for all windows over these columns.
                let packed = self.packed_columns::<T>(memory, &columns, packing);
                for row in rows.clone().step_by(*height) {
                    let rows = row..rows.end.min(row + height);
                    let mut window = gemm.window(memory, 0, [rows.clone(), columns.clone()], panel, columns.len());
                    window.b = packed.unwrap_or(window.b);
                    let method = if packed.is_some() { Method::Tile } else { gemm.method };
                    product(memory.level, method, window, packing);
                    // Where it was not proved beforehand.
                    let whole = Stretches::whole(rows.len() * columns.len());
                    is_finite &= !memory.watches_products
                        || measure(memory.level, panel.cast_const(), whole).to_f64().is_finite();
                    self.map_over(memory, [rows, columns.clone()], panel, (inputs, outputs, scratch));
                }
                column = columns.end;
            }
        }
        is_finite
    }

    /// Runs the map over a window of the product.
    ///
    /// # Safety
    /// As [`Call::run`], with the window in `panel`.
    unsafe fn map_over<T: Real>(
        &self,
        memory: &Memory<'_>,
        [rows, columns]: [Range<usize>; 2],
        panel: *mut T,
        (inputs, outputs, scratch): (&mut [InputAt], &[*mut u8], *mut u8),
    ) {
        let (len, stride) = (columns.len(), self.gemm.n);
        // Whole rows are one stretch; otherwise the window's rows are as far apart as the map's are not.
        let (is_whole, first) = match self.blocks {
            Some(blocks) => (true, blocks.at(rows.start, columns.start)),
            None => (len == stride, rows.start * stride + columns.start),
        };
        let stride = if self.blocks.is_some() { len } else { stride };
        let (count, len) = if is_whole { (1, rows.len() * stride) } else { (rows.len(), len) };
        for i in 0..count {
            let first = first + i * stride;
            // SAFETY: the caller's.
            unsafe {
                inputs[self.input] = InputAt { start: panel.add(i * len).cast_const().cast(), first };
                let ends = MapMemory { inputs, outputs, scratch };
                map::run(memory.level, &self.map, &ends, Stretches { first, len, stride: 0, count: 1 });
            }
        }
    }

    /// Columns of the right operand, one row after another, if that pays and they fit.
    ///
    /// # Safety
    /// As [`Call::run`]; `packing` has room for [`PACKING`] elements.
    unsafe fn packed_columns<T: Real>(
        &self,
        memory: &Memory<'_>,
        columns: &Range<usize>,
        packing: *mut T,
    ) -> Option<MatrixAt<T>> {
        const FEWEST_ROWS: usize = 64;
        let k = self.gemm.k;
        if k < FEWEST_ROWS || k * columns.len() > PACKING {
            return None;
        }
        let b = self.gemm.window::<T>(memory, 0, [0..0, columns.clone()], packing, 0).b;
        // SAFETY: the caller's; the panel fits.
        unsafe { copy_panel(memory.level, b, k, columns.len(), packing) };
        Some(MatrixAt { start: packing.cast_const(), row_stride: columns.len(), column_stride: 1 })
    }
}
