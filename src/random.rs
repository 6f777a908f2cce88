//! splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014): the one source of
//! pseudorandom bits, the same on every machine.

use std::f64::consts::PI;

/// The increment of the generator: 2⁶⁴ divided by the golden ratio.
pub(crate) const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// The finaliser: a bijection of 64 bits without visible structure.
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A stream of pseudorandom numbers, a pure function of a seed and a name.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    state: u64,
    // Box–Muller makes two normal numbers at a time.
    spare: Option<f64>,
}

impl Stream {
    /// The stream of that name. Names that differ in one letter have unrelated streams.
    pub(crate) fn new(seed: u64, name: &str) -> Stream {
        // FNV-1a of the name, then mixed.
        let hash = name
            .bytes()
            .fold(0xCBF2_9CE4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3));
        Stream { state: mix(seed ^ mix(hash)), spare: None }
    }

    /// 64 random bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GAMMA);
        mix(self.state)
    }

    /// Uniform in `0..bound`, without bias (Lemire, "Fast random integer generation in an interval", 2019).
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let threshold = bound.wrapping_neg() % bound.max(1);
        loop {
            let product = u128::from(self.next()) * u128::from(bound);
            if product as u64 >= threshold {
                return (product >> 64) as u64;
            }
        }
    }

    /// Uniform in [0, 1), multiples of 2⁻⁵³.
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal (Box and Muller, 1958), with `libm`'s functions, which do not depend on the platform.
    pub(crate) fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        // 1 − u is in (0, 1], where the logarithm is finite.
        let radius = (-2.0 * libm::log(1.0 - self.uniform())).sqrt();
        let angle = 2.0 * PI * self.uniform();
        self.spare = Some(radius * libm::sin(angle));
        radius * libm::cos(angle)
    }

    /// Standard normal, redrawn until it is within two standard deviations.
    pub(crate) fn truncated_normal(&mut self) -> f64 {
        loop {
            let draw = self.normal();
            if draw.abs() <= 2.0 {
                return draw;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_outputs_are_those_of_the_reference_implementation() {
        // splitmix64 seeded with 1234567, as published with the xoshiro generators.
        let mut stream = Stream { state: 1_234_567, spare: None };
        assert_eq!(stream.next(), 6_457_827_717_110_365_317);
        assert_eq!(stream.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn bounded_draws_are_spread_evenly() {
        let mut stream = Stream::new(1, "bounded");
        let mut counts = [0; 7];
        for _ in 0..70_000 {
            counts[stream.below(7) as usize] += 1;
        }
        assert!(counts.iter().all(|&count: &i32| (count - 10_000).abs() < 500), "{counts:?}");
    }
}
