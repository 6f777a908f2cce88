//! Kernels that compute or follow indices. Extents are `(outer, size, inner)` around the axis.

use super::Real;

/// The index of the largest element along the axis, the first where several tie; a NaN counts as the largest.
pub(crate) fn arg_max<T: Real>(x: &[T], y: &mut [i32], [outer, size, inner]: [usize; 3]) {
    for o in 0..outer {
        for i in 0..inner {
            let at = |s: usize| x[(o * size + s) * inner + i];
            let mut best = 0;
            for s in 1..size {
                let (candidate, so_far) = (at(s), at(best));
                if !is_nan(so_far) && (so_far < candidate || is_nan(candidate)) {
                    best = s;
                }
            }
            y[o * inner + i] = if size == 0 { -1 } else { best as i32 };
        }
    }
}

fn is_nan<T: Real>(value: T) -> bool {
    value.to_f64().is_nan()
}

/// Rows of the identity; all zero for an index out of range.
pub(crate) fn one_hot<T: Real>(index: &[i32], y: &mut [T], depth: usize) {
    y.fill(T::ZERO);
    for (row, &class) in index.iter().enumerate() {
        if let Some(class) = usize::try_from(class).ok().filter(|&class| class < depth) {
            y[row * depth + class] = T::ONE;
        }
    }
}

/// Picks `taken` elements along the axis; an index out of range picks NaN.
pub(crate) fn take<T: Real>(x: &[T], index: &[i32], y: &mut [T], [outer, size, inner]: [usize; 3], taken: usize) {
    for o in 0..outer {
        for t in 0..taken {
            for i in 0..inner {
                let to = (o * taken + t) * inner + i;
                let from = usize::try_from(index[to]).ok().filter(|&s| s < size);
                y[to] = from.map_or(T::from_f64(f64::NAN), |s| x[(o * size + s) * inner + i]);
            }
        }
    }
}

/// Adds `taken` elements along the axis into zeros; an index out of range adds nothing.
pub(crate) fn scatter<T: Real>(
    updates: &[T],
    index: &[i32],
    y: &mut [T],
    [outer, size, inner]: [usize; 3],
    taken: usize,
) {
    y.fill(T::ZERO);
    for o in 0..outer {
        for t in 0..taken {
            for i in 0..inner {
                let from = (o * taken + t) * inner + i;
                if let Some(s) = usize::try_from(index[from]).ok().filter(|&s| s < size) {
                    y[(o * size + s) * inner + i] += updates[from];
                }
            }
        }
    }
}

/// Counter-based uniform numbers; see [`RandomUniform`](crate::ops::RandomUniform).
/// `first` is the index of the first element.
pub(crate) fn random<T: Real>(key: [i32; 2], site: u32, first: usize, y: &mut [T]) {
    for (i, y) in y.iter_mut().enumerate() {
        *y = T::from_f64(crate::ops::uniform(key, site, (first + i) as u64));
    }
}
