//! Writes what Foldgrad computes in float64, so that other systems can compute it again: `cross_check DIRECTORY`.
//!
//! ```text
//! cases.safetensors    CASE/in/NAME, CASE/cotangent/NAME → CASE/out/NAME, CASE/grad/NAME    gradients of functions
//! runs.safetensors     RUN/before/NAME, data/MODEL/… → RUN/losses, RUN/after/NAME, RUN/predictions    training
//! initial.safetensors  draws of the initialisers, by their names in Keras
//! cross_check.json     the cases in order, and each run's model and settings
//! ```
//!
//! `.ci/cross_check.py` recomputes the first two in JAX, and everything that Keras has a name for in Keras.

mod cases;
mod runs;

use foldgrad::interchange::safetensors::{self, Metadata};
use foldgrad::ir::Weights;
use foldgrad::nn::{
    Activation, Concatenate, Dense, Dropout, Flatten, Initializer, Merge, Model, ModelBuilder, Reshape, Sequential,
};
use foldgrad::{DType, Tensor};
use serde_json::{Value, json};
use std::error::Error;
use std::path::PathBuf;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Points: uniform draws of a counter, the same on every machine.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn within(&mut self, shape: &[usize], low: f64, high: f64) -> Tensor {
        filled(shape, || low + (high - low) * self.next())
    }

    /// Around 0, of size 1.
    fn any(&mut self, shape: &[usize]) -> Tensor {
        self.within(shape, -2.0, 2.0)
    }

    /// Integers from 0 to below `end`.
    fn below(&mut self, shape: &[usize], end: usize) -> Tensor {
        self.within(shape, 0.0, end as f64).cast(DType::I32)
    }

    /// A few values, each many times, so that there are ties.
    fn tied(&mut self, shape: &[usize]) -> Tensor {
        self.below(shape, 3).cast(DType::F64)
    }
}

fn filled(shape: &[usize], mut entry: impl FnMut() -> f64) -> Tensor {
    let count = shape.iter().product();
    Tensor::from_f64(DType::F64, shape, (0..count).map(|_| entry())).expect("as many entries as the shape has")
}

fn initial_values() -> Outcome<Weights> {
    let initializers = [
        ("glorot_uniform", Initializer::GlorotUniform),
        ("glorot_normal", Initializer::GlorotNormal),
        ("he_uniform", Initializer::HeUniform),
        ("he_normal", Initializer::HeNormal),
        ("lecun_uniform", Initializer::LecunUniform),
        ("lecun_normal", Initializer::LecunNormal),
    ];
    let mut drawn = Weights::new();
    for (name, initializer) in initializers {
        let dense = Dense::new(300).kernel_initializer(initializer);
        let values = Sequential::new([784]).add(dense).build()?.initial_values_as(0, DType::F64);
        drawn.insert(name.to_owned(), values["dense/kernel"].clone());
    }
    Ok(drawn)
}

/// Branches, a shared layer, a frozen one, and two inputs and outputs.
fn functional() -> Outcome<Model> {
    let m = ModelBuilder::new();
    let image = m.input("image", [3, 4]);
    let pixels = m.add(Flatten::new(), image);
    let extra = m.input("extra", [12]);
    let shared = m.layer(Dense::new(12).activation(Activation::Relu).named("shared"));
    let (left, right) = (m.call(shared, pixels), m.call(shared, extra));
    let total = m.add(Dropout::new(0.5), m.add(Merge::Add, [left, right, extra]));
    let both = m.add(Concatenate::new(), [total, m.add(Merge::Multiply, [left, right])]);
    let both = m.add(Reshape::new([6, 4]), both);
    let yes = m.add(Dense::new(1).activation(Activation::Sigmoid).named("yes"), total);
    let frozen = m.add(Dense::new(2).named("frozen").frozen(), both);
    Ok(m.build([image, extra], [yes, frozen])?)
}

fn main() -> Outcome<()> {
    let directory = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: cross_check DIRECTORY")?);
    std::fs::create_dir_all(&directory)?;
    let cases = cases::all();
    let mut gradients = Weights::new();
    cases.iter().try_for_each(|case| cases::differentiate(case, &mut gradients))?;
    let mut training = Weights::new();
    let runs = runs::all().into_iter().map(|run| runs::train(run, &mut training)).collect::<Outcome<Vec<Value>>>()?;
    for (name, tensors) in [("cases", &gradients), ("runs", &training), ("initial", &initial_values()?)] {
        safetensors::save(directory.join(format!("{name}.safetensors")), tensors, &Metadata::new())?;
    }
    std::fs::write(directory.join("summary-functional.txt"), functional()?.summary() + "\n")?;
    let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    let description = json!({ "cases": names, "runs": &runs, "keras_activations": cases::KERAS_ACTIVATIONS });
    std::fs::write(directory.join("cross_check.json"), serde_json::to_string_pretty(&description)?)?;
    println!("{} functions and {} training runs written to {}", names.len(), runs.len(), directory.display());
    Ok(())
}
