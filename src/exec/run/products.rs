//! The products of a run: windows of them, in blocks or not, and those that a map takes up window by window.

use super::{Part, Run, Share, Worker};
use crate::kernel::Real;
use crate::kernel::gemm::{
    Finish, MatrixRef, Product, copy_panel, product, product_of_blocks, product_of_transposed_blocks,
};
use crate::kernel::map::{self, MapMemory, Origin, Stretches};
use crate::kernel::measure::measure;
use crate::plan::{ALIGNMENT, CHUNK_BYTES, GEMM_SCRATCH, Gemm, GemmMap, Matrix, Method};
use std::ops::Range;

impl Run<'_> {
    /// # Safety
    /// As [`Run::kernel`]; `scratch` is what the plan asked for.
    pub(super) unsafe fn gemm<T: Real>(&self, gemm: &Gemm, part: &Share, scratch: *mut u8) {
        let batches = if part.split.is_some() && gemm.batch > 1 { part.range.clone() } else { 0..gemm.batch };
        for batch in batches {
            let [rows, columns] = part.window(gemm);
            let start = batch * gemm.m * gemm.n + rows.start * gemm.n + columns.start;
            if let Some(blocks) = gemm.blocks {
                // SAFETY: the caller's; a split by columns keeps to whole blocks.
                unsafe {
                    let c = self.pointers[gemm.c].cast::<T>().add(start);
                    let mut window = self.window(gemm, 0, rows, columns.clone(), c, gemm.n);
                    window.b.start = self.pointers[gemm.b.buffer].cast::<T>();
                    if gemm.b.column_stride == 1 {
                        product_of_blocks(self.level, window, blocks, columns);
                    } else {
                        product_of_transposed_blocks(self.level, window, blocks, columns, scratch.cast());
                    }
                }
                return;
            }
            // SAFETY: the caller's.
            unsafe {
                let c = self.pointers[gemm.c].cast::<T>().add(start);
                product(self.level, gemm.method, self.window(gemm, batch, rows, columns, c, gemm.n), scratch.cast());
            }
        }
    }

    /// A window of a product, to be written at `c`.
    ///
    /// # Safety
    /// As [`Run::kernel`].
    unsafe fn window<T: Real>(
        &self,
        gemm: &Gemm,
        batch: usize,
        rows: Range<usize>,
        columns: Range<usize>,
        c: *mut T,
        c_stride: usize,
    ) -> Product<T> {
        let matrix = |of: &Matrix, at: usize| {
            let start: *const T = self.pointers[of.buffer].cast();
            let (row_stride, column_stride) = (of.row_stride, of.column_stride);
            MatrixRef { start: start.wrapping_add(of.offset + batch * of.batch_stride + at), row_stride, column_stride }
        };
        let a = matrix(&gemm.a, rows.start * gemm.a.row_stride);
        let b = matrix(&gemm.b, columns.start * gemm.b.column_stride);
        let bias = gemm.finish.bias.map(|bias| self.pointers[bias].cast::<T>().wrapping_add(columns.start));
        let finish = Finish { bias: bias.map_or(std::ptr::null(), |bias| bias.cast_const()), relu: gemm.finish.relu };
        Product { m: rows.len(), k: gemm.k, n: columns.len(), a, b, c, c_stride, finish }
    }

    /// Columns of the right operand, one row after another, if that pays and they fit.
    ///
    /// # Safety
    /// As [`Run::kernel`]; `scratch` is what the plan asked for.
    unsafe fn packed_columns<T: Real>(
        &self,
        gemm: &Gemm,
        columns: &Range<usize>,
        scratch: *mut T,
    ) -> Option<MatrixRef<T>> {
        const FEWEST_ROWS: usize = 64;
        if gemm.k < FEWEST_ROWS || gemm.k * columns.len() > GEMM_SCRATCH {
            return None;
        }
        // SAFETY: the caller's; the panel fits.
        unsafe {
            let b = self.window::<T>(gemm, 0, 0..0, columns.clone(), scratch, 0).b;
            copy_panel(self.level, b, gemm.k, columns.len(), scratch);
        }
        Some(MatrixRef { start: scratch.cast_const(), row_stride: columns.len(), column_stride: 1 })
    }

    /// Computes the product window by window into scratch, and runs the map over each. False if a product was seen that is
    /// not finite.
    ///
    /// # Safety
    /// As [`Run::kernel`].
    pub(super) unsafe fn gemm_map<T: Real>(&self, fused: &GemmMap, part: &Share, own: &mut Worker) -> bool {
        let mut is_finite = true;
        let GemmMap { gemm, map: code, input, window: [height, width], blocks } = fused;
        let scratch = own.scratch();
        let aligned = |bytes: usize| bytes.next_multiple_of(ALIGNMENT);
        let [rows, columns] = part.window(gemm);
        // SAFETY: the caller's; the plan has asked for chunks, a window, and a packed panel, in this order.
        unsafe {
            let panel = scratch.add(aligned((code.inputs.len() + code.scratch) * CHUNK_BYTES));
            let packing = panel.add(aligned(height * width * size_of::<T>()));
            let (inputs, outputs) = self.ends(code, own);
            let mut column = columns.start;
            while column < columns.end {
                let end = blocks.map_or(column + width, |blocks| blocks.around(column).end);
                let columns = column..columns.end.min(end);
                // Many rows of the right operand are packed once for all windows over these columns.
                let packed = self.packed_columns::<T>(gemm, &columns, packing.cast());
                for row in rows.clone().step_by(*height) {
                    let rows = row..rows.end.min(row + height);
                    let (len, stride) = (columns.len(), gemm.n);
                    let mut window = self.window(gemm, 0, rows.clone(), columns.clone(), panel.cast::<T>(), len);
                    window.b = packed.unwrap_or(window.b);
                    let method = if packed.is_some() { Method::Tile } else { gemm.method };
                    product(self.level, method, window, packing.cast());
                    let whole = Stretches { first: 0, len: rows.len() * columns.len(), stride: 0, count: 1 };
                    // Where it was not proved beforehand.
                    is_finite &=
                        self.part == Part::Whole || measure(self.level, panel.cast::<T>(), whole).to_f64().is_finite();
                    // Whole rows are one stretch; otherwise the window's rows are as far apart as the map's are not.
                    let (whole, first) = match blocks {
                        Some(blocks) => (true, blocks.at(row, column)),
                        None => (len == stride, row * stride + column),
                    };
                    let stride = if blocks.is_some() { len } else { stride };
                    let (count, len) = if whole { (1, rows.len() * stride) } else { (rows.len(), len) };
                    for i in 0..count {
                        let first = first + i * stride;
                        inputs[*input] = Origin { start: panel.add(i * len * size_of::<T>()).cast_const(), first };
                        let memory = MapMemory { inputs, outputs, scratch };
                        map::run(self.level, code, &memory, Stretches { first, len, stride: 0, count: 1 });
                    }
                }
                column = columns.end;
            }
        }
        is_finite
    }
}
