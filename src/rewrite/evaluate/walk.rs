//! Row-major loops over strided memory: element `[i₀, …]` lies at `Σ iₐ·strideₐ`, and runs are as long as strides allow.

use smallvec::SmallVec;

/// Sizes or strides, one an axis.
pub(crate) type Axes = SmallVec<[usize; 4]>;

/// The strides of a shape whose elements lie one after another; 0 for an axis that has no second element.
pub(crate) fn row_major(shape: &[usize]) -> Axes {
    let mut strides: Axes = SmallVec::from_elem(0, shape.len());
    let mut stride = 1;
    for (axis, &size) in shape.iter().enumerate().rev() {
        strides[axis] = if size > 1 { stride } else { 0 };
        stride *= size;
    }
    strides
}

/// Calls `run(offsets, steps, len)` for each run of `N` arrays that are walked together: in row-major order of `shape`,
/// with axes merged wherever every array allows it.
pub(crate) fn walk<const N: usize>(
    shape: &[usize],
    strides: [&[usize]; N],
    mut run: impl FnMut([usize; N], [usize; N], usize),
) {
    if shape.contains(&0) {
        return;
    }
    // Innermost first.
    let mut axes: SmallVec<[(usize, [usize; N]); 4]> = SmallVec::new();
    for (axis, &size) in shape.iter().enumerate().rev().filter(|&(_, &size)| size > 1) {
        let steps = strides.map(|strides| strides[axis]);
        match axes.last_mut() {
            Some((inner, inner_steps)) if (0..N).all(|n| steps[n] == inner_steps[n] * *inner) => *inner *= size,
            _ => axes.push((size, steps)),
        }
    }
    let Some((&(len, steps), outer)) = axes.split_first() else { return run([0; N], [0; N], 1) };
    let mut offsets = [0; N];
    let mut index: Axes = SmallVec::from_elem(0, outer.len());
    loop {
        run(offsets, steps, len);
        let mut axis = 0;
        loop {
            let Some(&(size, steps)) = outer.get(axis) else { return };
            index[axis] += 1;
            (0..N).for_each(|n| offsets[n] += steps[n]);
            if index[axis] < size {
                break;
            }
            index[axis] = 0;
            (0..N).for_each(|n| offsets[n] -= steps[n] * size);
            axis += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_merged_and_in_row_major_order() {
        let runs = |shape: &[usize], strides: &[usize]| {
            let mut runs = Vec::new();
            walk(shape, [strides], |[at], [step], len| runs.push((at, step, len)));
            runs
        };
        assert_eq!(runs(&[2, 3, 4], &row_major(&[2, 3, 4])), [(0, 1, 24)]);
        assert_eq!(runs(&[2, 3], &[0, 1]), [(0, 1, 3), (0, 1, 3)]);
        assert_eq!(runs(&[2, 3], &[1, 0]), [(0, 0, 3), (1, 0, 3)]);
        assert_eq!(runs(&[2, 2, 2], &[1, 4, 2]), [(0, 2, 4), (1, 2, 4)]);
        assert_eq!(runs(&[], &[]), [(0, 0, 1)]);
        assert_eq!(runs(&[1, 5, 1], &[0, 1, 0]), [(0, 1, 5)]);
        assert_eq!(runs(&[2, 0], &[0, 0]), []);
    }
}
