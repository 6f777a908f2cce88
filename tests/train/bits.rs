//! The bits of training: three epochs of each network of the zoo leave the weights that `tests/train/bits.txt` says, on every
//! machine, with any number of threads, whatever was changed inside.
//!
//! Instruction sets that multiply and add with one rounding agree to the bit; those that round twice have a column of their
//! own. `FOLDGRAD_BLESS=1 cargo test --test train bits` writes the table anew, which is a decision: say in the commit why other
//! bits are right.

use crate::common::Random;
use crate::common::running::{SETS, options};
use foldgrad::exec::InstructionSet;
use foldgrad::nn::Model;
use foldgrad::train::{Adam, Examples, Fit, Loss, Optimizer, Samples, Sgd, Trainer};
use foldgrad::zoo::{self, BatchNorm};
use foldgrad::{DType, Tensor};
use std::fmt::Write;
use std::path::Path;

const INPUTS: usize = 150;

/// Two full batches of 40 and one of 23.
const EXAMPLES: usize = 103;

const HEADER: &str =
    "# network, batch size, optimiser and type; weights with one rounding a multiply-add, and with two\n";

/// Examples in which some features follow the label.
fn examples(shape: &[usize]) -> Examples {
    let mut random = Random(7);
    let labels: Vec<i32> = (0..EXAMPLES).map(|_| random.below(10) as i32).collect();
    let features: usize = shape.iter().product();
    let value = |label: i32, feature: usize| f64::from((label * 3 + feature as i32) % 10) / 5.0 - 1.0;
    let mut x = Vec::with_capacity(EXAMPLES * features);
    for &label in &labels {
        x.extend((0..features).map(|feature| value(label, feature) + random.range(-1.0, 1.0)));
    }
    let whole: Vec<usize> = [EXAMPLES].iter().chain(shape).copied().collect();
    let x = Tensor::from_f64(DType::F64, whole, x).unwrap();
    Examples::new(Samples::new(x).unwrap(), Samples::new(Tensor::vector(labels)).unwrap()).unwrap()
}

struct Training {
    name: &'static str,
    model: fn() -> Model,
    optimizer: fn() -> Optimizer,
    float: DType,
    batch: usize,
}

fn nesterov() -> Optimizer {
    Sgd::new(0.01).momentum(0.9).nesterov().decay(1e-3).into()
}

fn adam() -> Optimizer {
    Adam::new(0.002).into()
}

fn trainings() -> Vec<Training> {
    let (f32, f64) = (DType::F32, DType::F64);
    let row = |name, model, optimizer, float, batch| Training { name, model, optimizer, float, batch };
    let before = || zoo::tutorial(BatchNorm::Before).unwrap();
    let after = || zoo::tutorial(BatchNorm::After).unwrap();
    vec![
        row("tutorial, before, 32, nesterov, f32", before, nesterov, f32, 32),
        row("tutorial, before, 37, adam, f64", before, adam, f64, 37),
        row("tutorial, after, 40, nesterov, f32", after, nesterov, f32, 40),
        row("tutorial, after, 103, adam, f32", after, adam, f32, 103),
        row(
            "with biases, 32, nesterov, f32",
            || zoo::tutorial_with_biases(BatchNorm::Before).unwrap(),
            nesterov,
            f32,
            32,
        ),
        row("deep, 40, nesterov, f32", || zoo::deep(INPUTS, 3, 131).unwrap(), nesterov, f32, 40),
        row("deep, 103, adam, f64", || zoo::deep(INPUTS, 2, 80).unwrap(), adam, f64, 103),
        row("residual, 40, adam, f32", || zoo::residual(INPUTS, 2, 128).unwrap(), adam, f32, 40),
        row("residual, 32, nesterov, f64", || zoo::residual(INPUTS, 2, 67).unwrap(), nesterov, f64, 32),
        row("SELU, 40, nesterov, f32", || zoo::self_normalising(INPUTS, 4, 100).unwrap(), nesterov, f32, 40),
        row("SELU, 1, adam, f32", || zoo::self_normalising(INPUTS, 2, 50).unwrap(), adam, f32, 1),
        row("plain, 103, nesterov, f32", || zoo::plain(INPUTS, 2, 520).unwrap(), nesterov, f32, 103),
    ]
}

impl Training {
    /// A hash (FNV-1a) of every weight, statistic and slot, by name, and of what is predicted.
    fn digest(&self, instructions: InstructionSet, threads: usize) -> u64 {
        let model = (self.model)();
        let input = model.input_types(self.float).into_values().next().expect("a model has an input");
        let shape: Vec<usize> = input.shape.iter().skip(1).filter_map(|dim| dim.known()).collect();
        let examples = examples(&shape);
        let mut trainer = Trainer::new(model, (self.optimizer)(), Loss::SparseCategoricalCrossentropy)
            .float(self.float)
            .seed(3)
            .options(options(instructions, threads, false))
            .compile()
            .unwrap();
        trainer.fit(&examples, &Fit::new().epochs(3).batch_size(self.batch).silent()).unwrap();
        let predicted = trainer.predict(examples.inputs()).unwrap();
        let mut values: Vec<(&str, &Tensor)> = trainer.values().collect();
        values.sort_by_key(|(name, _)| *name);
        let mut hash = 0xCBF2_9CE4_8422_2325u64;
        let mut add = |bytes: &[u8]| {
            bytes.iter().for_each(|&byte| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3));
        };
        for (name, value) in values.into_iter().chain(predicted.iter().map(|value| ("predicted", value))) {
            add(name.as_bytes());
            value.to_f64().into_iter().for_each(|element| add(&element.to_bits().to_le_bytes()));
        }
        hash
    }
}

/// Whether multiplying and adding is rounded once here.
fn is_fused(instructions: InstructionSet) -> bool {
    #[cfg(target_arch = "x86_64")]
    return instructions != InstructionSet::Baseline
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    return cfg!(target_arch = "aarch64");
}

#[test]
fn weights_after_training_have_the_same_bits_as_ever() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/train/bits.txt");
    let trainings = trainings();
    if std::env::var_os("FOLDGRAD_BLESS").is_some() {
        let mut text = HEADER.to_owned();
        for training in &trainings {
            let [fused, twice] =
                [InstructionSet::Widest, InstructionSet::Baseline].map(|instructions| training.digest(instructions, 1));
            assert!(is_fused(InstructionSet::Widest), "this machine has only one of the columns");
            writeln!(text, "{}: {fused:016x} {twice:016x}", training.name).unwrap();
        }
        std::fs::write(&path, text).unwrap();
    }
    let table = std::fs::read_to_string(&path).unwrap();
    let rows: Vec<&str> = table.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(rows.len(), trainings.len(), "a row for each training; FOLDGRAD_BLESS=1 writes them");
    let mut wrong = Vec::new();
    for (training, row) in trainings.iter().zip(rows) {
        let expected = row.strip_prefix(training.name).and_then(|row| row.strip_prefix(": ")).expect(training.name);
        let (fused, twice) = expected.split_once(' ').expect("two columns");
        for (instructions, threads) in SETS.into_iter().flat_map(|set| [(set, 1), (set, 2)]) {
            let found = format!("{:016x}", training.digest(instructions, threads));
            let expected = if is_fused(instructions) { fused } else { twice };
            if found != expected {
                wrong.push(format!("{}, {instructions:?}, {threads} threads: {found}, not {expected}", training.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
