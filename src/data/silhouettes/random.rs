//! `splitmix64` (Steele, Lea, Flood 2014): the n-th number is a hash of `seed + n * GAMMA`. There is no state
//! to hand on, so each image draws from its own stream and does not depend on the images before it.

use crate::random::{GAMMA, mix};

/// A stream of random numbers.
pub(super) struct Random {
    counter: u64,
}

impl Random {
    /// Stream number `index` of the family `family` under `seed`.
    pub(super) fn new(seed: u64, family: u64, index: u64) -> Self {
        let key = mix(seed.wrapping_add(GAMMA)) ^ mix(family.wrapping_mul(GAMMA).wrapping_add(1));
        Self { counter: mix(key.wrapping_add(index.wrapping_mul(GAMMA))) }
    }

    /// 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(GAMMA);
        mix(self.counter)
    }

    /// Uniform in [0, 1), a multiple of 2^-24: exact in f32.
    pub(super) fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 24) as f32
    }

    /// Uniform between `low` and `high`.
    pub(super) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Bell-shaped around 0, within [-`reach`, `reach`]: the mean of three uniform numbers.
    pub(super) fn bell(&mut self, reach: f32) -> f32 {
        reach * ((self.unit() + self.unit() + self.unit()) * (2.0 / 3.0) - 1.0)
    }

    /// `true` with probability `probability`.
    pub(super) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// Uniform in 0..`count`, a small number: its bias is below `count` / 2^32.
    pub(super) fn below(&mut self, count: u64) -> usize {
        (((self.bits() >> 32) * count) >> 32) as usize
    }
}
