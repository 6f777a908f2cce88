//! A small deterministic generator: every value of a trial follows from its seed.

use super::Feeds;
use foldgrad::op::Domain;
use foldgrad::reference::{Array, NdArray};
use foldgrad::{DType, Graph};

/// Values for every input of a graph: floats in ±1, integers from 0 to 2.
pub fn random_feeds(graph: &Graph, seed: u64) -> Feeds {
    let mut random = Random(seed);
    let mut feeds = Feeds::new();
    for (name, id) in graph.inputs() {
        let ty = &graph.node(id).types()[0];
        let domain = match ty.dtype {
            DType::I32 => Domain::Integers(0, 3),
            DType::Bool => Domain::Mask,
            DType::F32 | DType::F64 => Domain::Range(-1.0, 1.0),
        };
        feeds.insert(name.to_owned(), random.array(ty.dtype, &ty.shape.known().unwrap_or_default(), domain));
    }
    feeds
}

/// splitmix64.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.bits() % limit as u64) as usize
    }

    pub fn coin(&mut self) -> bool {
        self.bits() & 1 == 1
    }

    /// `len` values of a float domain.
    fn reals(&mut self, domain: Domain, len: usize) -> Vec<f64> {
        match domain {
            Domain::Range(low, high) => (0..len).map(|_| self.range(low, high)).collect(),
            Domain::AwayFromZero(low, high) => {
                (0..len).map(|_| self.range(low, high) * if self.coin() { 1.0 } else { -1.0 }).collect()
            }
            Domain::Distinct(step) => {
                let mut values: Vec<f64> = (0..len).map(|i| step * (i as f64 - len as f64 / 2.0)).collect();
                for i in (1..len).rev() {
                    values.swap(i, self.below(i + 1));
                }
                values
            }
            Domain::Integers(..) | Domain::Mask => unreachable!("{domain:?} is no domain of floats"),
        }
    }

    /// An operand of that element type; floats are rounded to it.
    pub fn array(&mut self, dtype: DType, shape: &[usize], domain: Domain) -> Array<f64> {
        let (len, shape) = (shape.iter().product(), shape.to_vec());
        match domain {
            Domain::Integers(low, high) => {
                let width = (high - low).max(1) as usize;
                Array::Int(NdArray { shape, data: (0..len).map(|_| low + self.below(width) as i32).collect() })
            }
            Domain::Mask => Array::Bool(NdArray { shape, data: (0..len).map(|_| self.coin()).collect() }),
            _ => {
                let round = |v: f64| if dtype == DType::F32 { f64::from(v as f32) } else { v };
                Array::Real(NdArray { shape, data: self.reals(domain, len).into_iter().map(round).collect() })
            }
        }
    }
}
