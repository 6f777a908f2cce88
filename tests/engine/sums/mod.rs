//! Sums keep their digits: in every layout, of every kind of data, by every instruction set; and have the same bits for any
//! number of threads.

mod norms;
mod products;
mod reductions;
mod statistics;

/// A sum with what rounding took from it (Neumaier 1974).
#[derive(Clone, Copy, Default)]
struct Exact {
    sum: f64,
    rest: f64,
}

impl Exact {
    fn add(&mut self, term: f64) {
        let sum = self.sum + term;
        let larger = self.sum.abs() >= term.abs();
        self.rest += if larger { (self.sum - sum) + term } else { (term - sum) + self.sum };
        self.sum = sum;
    }

    fn of(terms: impl IntoIterator<Item = f64>) -> f64 {
        let mut sum = Exact::default();
        terms.into_iter().for_each(|term| sum.add(term));
        sum.sum + sum.rest
    }
}

/// Half the distance from 1 to the next number of the type.
fn unit(dtype: foldgrad::DType) -> f64 {
    if dtype == foldgrad::DType::F32 { f64::from(f32::EPSILON) / 2.0 } else { f64::EPSILON / 2.0 }
}
