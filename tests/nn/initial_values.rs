//! Initial values: reproducible bit for bit, and with the moments of their formulas.

use foldgrad::DType;
use foldgrad::nn::{BatchNormalization, Dense, Initializer, Sequential};

fn net() -> Sequential {
    Sequential::new([4]).add(Dense::new(3)).add(BatchNormalization::new())
}

#[test]
fn initial_values_are_a_function_of_seed_and_name() {
    let model = net().build().unwrap();
    let (a, b) = (model.initial_values(1), model.initial_values(2));
    assert_eq!(a, model.initial_values(1));
    assert_ne!(a["dense/kernel"], b["dense/kernel"]);
    // The f32 values are the f64 ones, rounded.
    let wide = model.initial_values_as(1, DType::F64);
    assert_eq!(a["dense/kernel"], wide["dense/kernel"].cast(DType::F32));
    // Another model with a variable of that name and shape starts the same; a variable of another name does not.
    let other = Sequential::new([4]).add(Dense::new(3)).add(Dense::new(3).named("twin")).build().unwrap();
    assert_eq!(other.initial_values(1)["dense/kernel"], a["dense/kernel"]);
    assert_eq!(a["batch_normalization/moving_variance"].to_f64(), [1.0; 3]);
    // These bits are the same on every machine, and from version to version.
    let bits: Vec<u64> = wide["dense/kernel"].to_f64()[..3].iter().map(|v| v.to_bits()).collect();
    assert_eq!(bits, PINNED_UNIFORM);
    let normal = Sequential::new([4]).add(Dense::new(3).kernel_initializer(Initializer::HeNormal)).build().unwrap();
    let kernel = normal.initial_values_as(1, DType::F64)["dense/kernel"].to_f64();
    assert_eq!(kernel[..3].iter().map(|v| v.to_bits()).collect::<Vec<u64>>(), PINNED_NORMAL);
}

const PINNED_UNIFORM: [u64; 3] = [4603944992187577223, 13815400640844695120, 13826458278372719085];
const PINNED_NORMAL: [u64; 3] = [13832636248820273261, 4602935094141099523, 4602690692534001971];

/// Mean, variance, and largest magnitude of a 200×300 kernel.
fn moments(initializer: Initializer) -> (f64, f64, f64) {
    let net = Sequential::new([200]).add(Dense::new(300).kernel_initializer(initializer));
    let values = net.build().unwrap().initial_values_as(11, DType::F64)["dense/kernel"].to_f64();
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
    (mean, variance, values.iter().fold(0.0, |most, v| v.abs().max(most)))
}

#[test]
fn initialisers_have_the_moments_of_their_formulas() {
    let truncation = 2.0 / 0.879_625_661_034_239_8;
    let cases = [
        (Initializer::GlorotUniform, 0.0, 2.0 / 500.0, 3f64.sqrt()),
        (Initializer::GlorotNormal, 0.0, 2.0 / 500.0, truncation),
        (Initializer::HeUniform, 0.0, 2.0 / 200.0, 3f64.sqrt()),
        (Initializer::HeNormal, 0.0, 2.0 / 200.0, truncation),
        (Initializer::LecunUniform, 0.0, 1.0 / 200.0, 3f64.sqrt()),
        (Initializer::LecunNormal, 0.0, 1.0 / 200.0, truncation),
        (Initializer::RandomNormal { mean: 1.0, stddev: 0.5 }, 1.0, 0.25, 100.0),
        (Initializer::RandomUniform { low: -1.0, high: 3.0 }, 1.0, 16.0 / 12.0, 100.0),
        (Initializer::Constant(3.0), 3.0, 0.0, 100.0),
    ];
    for (initializer, mean, variance, reach) in cases {
        let (found_mean, found_variance, most) = moments(initializer.clone());
        // 60,000 draws: five standard errors.
        let error = 5.0 * (variance / 60_000.0f64).sqrt();
        assert!((found_mean - mean).abs() <= error, "{initializer:?}: mean {found_mean}");
        assert!((found_variance - variance).abs() <= 0.03 * variance, "{initializer:?}: variance {found_variance}");
        assert!(most <= reach * variance.sqrt() + mean.abs(), "{initializer:?}: up to {most}");
    }
}

#[test]
fn an_orthogonal_kernel_has_orthonormal_rows_or_columns() {
    for (rows, columns) in [(7, 4), (4, 7), (5, 5)] {
        let net =
            Sequential::new([rows]).add(Dense::new(columns).kernel_initializer(Initializer::Orthogonal { gain: 2.0 }));
        let kernel = net.build().unwrap().initial_values_as(5, DType::F64)["dense/kernel"].to_f64();
        let at = |row: usize, column: usize| kernel[row * columns + column];
        let few = rows.min(columns);
        for (i, j) in (0..few).flat_map(|i| (0..few).map(move |j| (i, j))) {
            let product: f64 = match rows >= columns {
                true => (0..rows).map(|k| at(k, i) * at(k, j)).sum(),
                false => (0..columns).map(|k| at(i, k) * at(j, k)).sum(),
            };
            assert!((product - if i == j { 4.0 } else { 0.0 }).abs() < 1e-14, "{i} {j}: {product}");
        }
    }
}
