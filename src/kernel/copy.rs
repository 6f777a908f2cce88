//! Copies between strided windows of one shape.

/// Shape, and the strides of both sides in elements.
#[derive(Clone, Copy)]
pub(crate) struct Walk<'a> {
    pub shape: &'a [usize],
    pub from: &'a [usize],
    pub to: &'a [usize],
}

/// Copies every element of the walk. Offsets are those of the first element.
pub(crate) fn copy<T: Copy>(walk: Walk<'_>, from: &[T], to: &mut [T]) {
    match walk.shape {
        [] => to[0] = from[0],
        [size] => run(*size, walk.from[0], walk.to[0], from, to),
        [size, ..] => {
            let inner = Walk { shape: &walk.shape[1..], from: &walk.from[1..], to: &walk.to[1..] };
            if inner.shape.contains(&0) {
                return;
            }
            // Recursion is as deep as the rank.
            for i in 0..*size {
                copy(inner, &from[i * walk.from[0]..], &mut to[i * walk.to[0]..]);
            }
        }
    }
}

fn run<T: Copy>(size: usize, from_stride: usize, to_stride: usize, from: &[T], to: &mut [T]) {
    match (from_stride, to_stride) {
        _ if size == 0 => {}
        (1, 1) => to[..size].copy_from_slice(&from[..size]),
        (0, 1) => to[..size].fill(from[0]),
        _ => {
            for i in 0..size {
                to[i * to_stride] = from[i * from_stride];
            }
        }
    }
}
