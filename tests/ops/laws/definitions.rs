//! Law L3: a composite computes what its formula says, written here as plain loops, with no other op involved. A new
//! composite is defined by its expansion alone until a formula is added here.

use super::types::graph_of;
use crate::common::{assert_close, cases, evaluate, expands};
use foldgrad::ir::TensorType;
use foldgrad::op::Op;
use foldgrad::ops::{GeluForm, SELU_ALPHA, SELU_SCALE};
use foldgrad::reference::Array;
use std::collections::BTreeSet;

/// An array seen as `outer × size × inner` around one axis.
struct Around {
    outer: usize,
    size: usize,
    inner: usize,
}

impl Around {
    fn new(shape: &[usize], axis: usize) -> Around {
        let product = |dims: &[usize]| dims.iter().product();
        Around { outer: product(&shape[..axis]), size: shape[axis], inner: product(&shape[axis + 1..]) }
    }

    /// Offsets of the elements along the axis, one list for each position of the others.
    fn lines(&self) -> Vec<Vec<usize>> {
        let starts = (0..self.outer).flat_map(|o| (0..self.inner).map(move |i| o * self.size * self.inner + i));
        starts.map(|start| (0..self.size).map(|k| start + k * self.inner).collect()).collect()
    }

    /// Offsets of the elements of each channel, over every other axis.
    fn channels(&self) -> Vec<Vec<usize>> {
        let lines = self.lines();
        (0..self.size).map(|c| lines.iter().map(|line| line[c]).collect()).collect()
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

fn log_softmax(x: &[f64], around: &Around) -> Vec<f64> {
    let mut y = vec![0.0; x.len()];
    for line in around.lines() {
        let largest = line.iter().map(|&at| x[at]).fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = line.iter().map(|&at| (x[at] - largest).exp()).sum();
        line.iter().for_each(|&at| y[at] = x[at] - largest - total.ln());
    }
    y
}

/// The element of splitmix64's stream that site and key choose, at that index: its top 24 bits.
fn uniform(key: &[i32], site: u64, index: u64) -> f64 {
    const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;
    fn mix(z: u64) -> u64 {
        let z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }
    let seed = u64::from(key[0] as u32) << 32 | u64::from(key[1] as u32);
    let stream = mix(seed ^ mix(GAMMA.wrapping_mul(site + 1)));
    (mix(stream.wrapping_add(GAMMA.wrapping_mul(index + 1))) >> 40) as f64 / 16_777_216.0
}

/// The composites whose formulas stand below.
const FORMULAS: &[&str] = &[
    "clamp",
    "mean",
    "dense",
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "silu",
    "softplus",
    "softmax",
    "log_softmax",
    "softmax_cross_entropy",
    "dropout",
    "batch_norm_train",
    "batch_norm_grad",
    "batch_norm_infer",
];

/// The results of a composite by its formula.
fn direct(op: &Op, operands: &[&Array<f64>]) -> Option<Vec<Vec<f64>>> {
    let real = |slot: usize| operands[slot].real().data.as_slice();
    let x = real(0);
    let shape = operands[0].shape();
    let each = |f: &dyn Fn(f64) -> f64| Some(vec![x.iter().map(|&x| f(x)).collect::<Vec<f64>>()]);
    match op {
        Op::LeakyRelu(op) => each(&|x| if x > 0.0 { x } else { op.alpha.0 * x }),
        Op::Elu(op) => each(&|x| if x > 0.0 { x } else { op.alpha.0 * (x.exp() - 1.0) }),
        Op::Selu(_) => each(&|x| SELU_SCALE * if x > 0.0 { x } else { SELU_ALPHA * (x.exp() - 1.0) }),
        Op::Silu(_) => each(&|x| x / (1.0 + (-x).exp())),
        Op::Softplus(_) => each(&|x| (1.0 + x.exp()).ln()),
        Op::Gelu(op) if op.form == GeluForm::Exact => {
            each(&|x| x * 0.5 * (1.0 + libm::erf(x / std::f64::consts::SQRT_2)))
        }
        Op::Gelu(_) => {
            each(&|x| x / 2.0 * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh()))
        }
        Op::Clamp(_) => Some(vec![(0..x.len()).map(|i| x[i].max(real(1)[i]).min(real(2)[i])).collect()]),
        Op::Dropout(op) => {
            let (key, rate) = (&operands[1].int().data, op.rate.0);
            let kept = |i: usize| uniform(key, 1, i as u64) >= rate;
            Some(vec![(0..x.len()).map(|i| if kept(i) { x[i] / (1.0 - rate) } else { 0.0 }).collect()])
        }
        Op::Mean(op) => {
            let kept = |at: &[usize]| -> Vec<usize> {
                (0..at.len()).filter(|axis| !op.axes().contains(axis)).map(|axis| at[axis]).collect()
            };
            let sizes = kept(shape);
            let offset = |at: &[usize]| sizes.iter().zip(kept(at)).fold(0, |offset, (&size, i)| offset * size + i);
            let mut sums = vec![0.0; sizes.iter().product()];
            foldgrad::reference::NdArray::from_fn(shape, |at| sums[offset(at)] += operands[0].real().at(at));
            let count: usize = op.axes().iter().map(|&axis| shape[axis]).product();
            Some(vec![sums.iter().map(|sum| sum / count as f64).collect()])
        }
        Op::Dense(_) => {
            let (kernel, bias) = (real(1), real(2));
            let (inputs, units) = (operands[1].shape()[0], operands[1].shape()[1]);
            let unit =
                |row: &[f64], j: usize| bias[j] + (0..inputs).map(|k| row[k] * kernel[k * units + j]).sum::<f64>();
            Some(vec![x.chunks(inputs).flat_map(|row| (0..units).map(move |j| unit(row, j))).collect()])
        }
        Op::Softmax(op) => Some(vec![log_softmax(x, &Around::new(shape, op.axis)).into_iter().map(f64::exp).collect()]),
        Op::LogSoftmax(op) => Some(vec![log_softmax(x, &Around::new(shape, op.axis))]),
        Op::SoftmaxCrossEntropy(_) => {
            let around = Around::new(shape, shape.len() - 1);
            let y = log_softmax(x, &around);
            let labels = operands[1].int().data.iter();
            Some(vec![around.lines().iter().zip(labels).map(|(line, &label)| -y[line[label as usize]]).collect()])
        }
        Op::BatchNormInfer(op) => {
            let mut y = vec![0.0; x.len()];
            for (c, channel) in Around::new(shape, op.axis).channels().into_iter().enumerate() {
                let [gamma, beta, mean, var] = [1, 2, 3, 4].map(|slot| real(slot)[c]);
                channel.iter().for_each(|&at| y[at] = gamma * (x[at] - mean) / (var + op.eps.0).sqrt() + beta);
            }
            Some(vec![y])
        }
        Op::BatchNormTrain(op) => {
            let (mut y, mut means, mut vars) = (vec![0.0; x.len()], Vec::new(), Vec::new());
            for (c, channel) in Around::new(shape, op.axis).channels().into_iter().enumerate() {
                let m = mean(channel.iter().map(|&at| x[at]));
                let v = mean(channel.iter().map(|&at| (x[at] - m).powi(2)));
                channel.iter().for_each(|&at| y[at] = real(1)[c] * (x[at] - m) / (v + op.eps.0).sqrt() + real(2)[c]);
                means.push(m);
                vars.push(v);
            }
            Some(vec![y, means, vars])
        }
        Op::BatchNormGrad(op) => {
            let (dy, mut dx, mut dgamma, mut dbeta) = (real(4), vec![0.0; x.len()], Vec::new(), Vec::new());
            for (c, channel) in Around::new(shape, op.axis).channels().into_iter().enumerate() {
                let [gamma, mean, var, dmean, dvar] = [1, 2, 3, 5, 6].map(|slot| real(slot)[c]);
                let (n, sigma) = (channel.len() as f64, (var + op.eps.0).sqrt());
                let hat = |at: usize| (x[at] - mean) / sigma;
                dbeta.push(channel.iter().map(|&at| dy[at]).sum::<f64>());
                dgamma.push(channel.iter().map(|&at| dy[at] * hat(at)).sum::<f64>());
                for &at in &channel {
                    let through_y = gamma / sigma * (dy[at] - dbeta[c] / n - hat(at) * dgamma[c] / n);
                    dx[at] = through_y + dmean / n + 2.0 * dvar * (x[at] - mean) / n;
                }
            }
            Some(vec![dx, dgamma, dbeta])
        }
        _ => None,
    }
}

#[test]
fn composites_compute_their_formulas() {
    let mut seen = BTreeSet::new();
    let mut worst = 0.0f64;
    for (number, case) in cases().into_iter().enumerate() {
        if !FORMULAS.contains(&case.op.name()) {
            continue;
        }
        assert!(expands(&case.op), "{} is no composite", case.op.name());
        let types: Vec<TensorType> = case.operands.iter().map(|sample| sample.ty.clone()).collect();
        for seed in 0..5 {
            let what = format!("{} (case {number})", case.op.name());
            let (graph, feeds) = graph_of(&case, &types, seed).unwrap_or_else(|error| panic!("{what}: {error}"));
            let found = evaluate(&graph, &feeds).unwrap_or_else(|error| panic!("{what}: {error}"));
            let Some(expected) = direct(&case.op, &feeds.values().collect::<Vec<_>>()) else {
                panic!("{what}: no formula to compare with")
            };
            for (found, expected) in found.values().zip(&expected) {
                worst = worst.max(assert_close(&what, &found.real().data, expected, 1e-13));
            }
        }
        seen.insert(case.op.name());
    }
    assert_eq!(seen, FORMULAS.iter().copied().collect());
    println!("composites: {worst:.1e}");
}

/// The documented generator, so that a draw can be reproduced anywhere.
#[test]
fn random_numbers_are_a_function_of_key_site_and_index() {
    for case in cases().iter().filter(|case| case.op.name() == "random_uniform") {
        let types: Vec<TensorType> = case.operands.iter().map(|sample| sample.ty.clone()).collect();
        let (graph, feeds) = graph_of(case, &types, 1).unwrap_or_else(|error| panic!("{error}"));
        let found = &evaluate(&graph, &feeds).unwrap_or_else(|error| panic!("{error}"))["y0"];
        let expected: Vec<f64> =
            (0..found.real().data.len()).map(|i| uniform(&feeds["x0"].int().data, 3, i as u64)).collect();
        assert_eq!(found.real().data, expected);
    }
}
