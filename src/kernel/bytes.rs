//! Bytes as fractions: `y = byte / divisor`, rounded once.

use super::{Level, Real};

/// Divides each byte.
pub(crate) fn divide<T: Real>(level: Level, bytes: &[u8], divisor: T, y: &mut [T]) {
    level.vectorise(
        #[inline(always)]
        || {
            for (y, &byte) in y.iter_mut().zip(bytes) {
                *y = T::from_byte(byte) / divisor;
            }
        },
    );
}
