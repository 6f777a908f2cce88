//! The order of examples in an epoch: a pure function of seed and epoch.

use crate::random::Stream;

/// A random permutation of `0..count` (Fisher and Yates; Durstenfeld's Algorithm 235, 1964).
pub(super) fn permutation(seed: u64, epoch: usize, count: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count as u32).collect();
    let mut stream = Stream::new(seed, &format!("epoch {epoch}"));
    for last in (1..count).rev() {
        order.swap(last, stream.below(last as u64 + 1) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::permutation;

    #[test]
    fn every_example_comes_once_and_epochs_differ() {
        let (first, second) = (permutation(7, 0, 1000), permutation(7, 1, 1000));
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().copied().eq(0..1000));
        assert_ne!(first, second);
        assert_eq!(first, permutation(7, 0, 1000));
        assert!(permutation(7, 0, 0).is_empty());
    }
}
