//! Rows of bytes as fractions: `y = byte / divisor`, rounded once.

use super::claim::fetch;
use super::{Level, Real};

/// Rows that are asked for ahead of their turn: they may be anywhere in memory.
const AHEAD: usize = 4;

/// Divides the bytes of the given rows, each of `each` bytes, and writes them one after another.
pub(crate) fn divide<T: Real>(level: Level, bytes: &[u8], rows: &[u32], each: usize, divisor: T, y: &mut [T]) {
    let row = |&row: &u32| &bytes[row as usize * each..][..each];
    let by_product = product_is_exact(level, divisor);
    rows.iter().take(AHEAD).map(row).for_each(|row| fetch(row.as_ptr(), each));
    for (at, (bytes, y)) in rows.iter().map(row).zip(y.chunks_exact_mut(each.max(1))).enumerate() {
        if let Some(later) = rows.get(at + AHEAD).map(row) {
            fetch(later.as_ptr(), each);
        }
        if by_product {
            multiply(level, bytes, divisor, y);
        } else {
            bytes.iter().zip(y).for_each(|(&byte, y)| *y = T::from_byte(byte) / divisor);
        }
    }
}

/// The quotient by a product with the reciprocal and one correction (Markstein 1990), many times as fast as a division.
fn multiply<T: Real>(level: Level, bytes: &[u8], divisor: T, y: &mut [T]) {
    let reciprocal = T::ONE / divisor;
    level.vectorise(
        #[inline(always)]
        || {
            for (y, &byte) in y.iter_mut().zip(bytes) {
                let byte = T::from_byte(byte);
                let quotient = byte * reciprocal;
                let left = T::fused(-quotient, divisor, byte);
                *y = T::fused(left, reciprocal, quotient);
            }
        },
    );
}

/// Whether the product gives the quotient of every byte, to the bit. Without an instruction for it, it would be slow.
fn product_is_exact<T: Real>(level: Level, divisor: T) -> bool {
    let bytes: [u8; 256] = std::array::from_fn(|byte| byte as u8);
    let mut products = [T::ZERO; 256];
    level.has_fused() && {
        multiply(level, &bytes, divisor, &mut products);
        bytes.iter().zip(products).all(|(&byte, product)| T::from_byte(byte) / divisor == product)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn quotients_are_rounded_once(divisor in prop_oneof![Just(255.0f32), 1e-30f32..1e30], rows in prop::collection::vec(0u32..5, 0..9)) {
            let each = 51;
            let bytes: Vec<u8> = (0..5 * each).map(|at| at as u8).collect();
            let expected: Vec<f32> =
                rows.iter().flat_map(|&row| &bytes[row as usize * each..][..each]).map(|&byte| f32::from(byte) / divisor).collect();
            for level in [Some(Level::widest()), Level::avx2(), Some(Level::baseline())].into_iter().flatten() {
                let mut y = vec![f32::NAN; rows.len() * each];
                divide(level, &bytes, &rows, each, divisor, &mut y);
                prop_assert_eq!(&y, &expected);
            }
        }
    }
}
