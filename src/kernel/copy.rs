//! Copies between strided windows of one shape.

/// Shape, and the strides of both sides in elements.
#[derive(Clone, Copy)]
pub(crate) struct Walk<'a> {
    pub shape: &'a [usize],
    pub from: &'a [usize],
    pub to: &'a [usize],
}

impl Walk<'_> {
    /// Elements from the first to the last of `count` positions of the outermost axis on both sides, both counted, if there
    /// are any.
    pub(crate) fn reach(&self, count: usize) -> Option<[usize; 2]> {
        let sizes = || [count].into_iter().chain(self.shape.iter().skip(1).copied()).take(self.shape.len());
        let of = |strides: &[usize]| 1 + sizes().zip(strides).map(|(size, stride)| (size - 1) * stride).sum::<usize>();
        (!sizes().any(|size| size == 0)).then(|| [of(self.from), of(self.to)])
    }
}

/// Copies `count` positions of the outermost axis, all of the others. The slices begin at the first element.
pub(crate) fn copy<T: Copy>(walk: Walk<'_>, count: usize, from: &[T], to: &mut [T]) {
    match walk.shape {
        [] => to[0] = from[0],
        [_] => run(count, walk.from[0], walk.to[0], from, to),
        [_, next, ..] => {
            let inner = Walk { shape: &walk.shape[1..], from: &walk.from[1..], to: &walk.to[1..] };
            // Recursion is as deep as the rank.
            for i in 0..count {
                copy(inner, *next, &from[i * walk.from[0]..], &mut to[i * walk.to[0]..]);
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
