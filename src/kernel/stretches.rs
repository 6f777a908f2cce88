//! Elements of an array as runs at equal distances.

/// `count` runs of `len` elements, `stride` apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretches {
    pub first: usize,
    pub len: usize,
    pub stride: usize,
    pub count: usize,
}

impl Stretches {
    /// One run.
    pub(crate) fn whole(len: usize) -> Stretches {
        Stretches { first: 0, len, stride: 0, count: 1 }
    }
}
