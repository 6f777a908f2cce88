//! A builder of trap graphs that gives every weight a value as it declares it: a function of its name alone.

use crate::common::Random;
use foldgrad::ir::{Role, Shape, Weights};
use foldgrad::op::Domain;
use foldgrad::reference::Array;
use foldgrad::{Builder, DType, Expr, Graph, Tensor};
use std::cell::RefCell;

/// Floats of weights that say nothing else.
const ANY: Domain = Domain::Range(-1.5, 1.5);
/// Variances, and whatever else must be positive.
pub const POSITIVE: Domain = Domain::Range(0.5, 2.0);
pub const EPSILON: f64 = 1e-3;

pub struct Net {
    pub b: Builder,
    pub dtype: DType,
    weights: RefCell<Weights>,
}

impl Net {
    pub fn new(dtype: DType) -> Net {
        Net { b: Builder::new(), dtype, weights: RefCell::default() }
    }

    pub fn finish(self) -> (Graph, Weights) {
        (self.b.finish().expect("a trap is a graph"), self.weights.into_inner())
    }

    /// `x`, with a symbolic batch before these sizes.
    pub fn x(&self, shape: &[usize]) -> Expr<'_> {
        self.data("x", shape)
    }

    /// Data with a symbolic batch before these sizes.
    pub fn data(&self, name: &str, shape: &[usize]) -> Expr<'_> {
        self.b.input(name, self.dtype, rows(shape))
    }

    /// Data of known sizes.
    pub fn known(&self, name: &str, shape: &[usize]) -> Expr<'_> {
        self.b.input(name, self.dtype, shape)
    }

    pub fn weight(&self, name: &str, shape: &[usize]) -> Expr<'_> {
        self.drawn(name, shape, ANY)
    }

    pub fn positive(&self, name: &str, shape: &[usize]) -> Expr<'_> {
        self.drawn(name, shape, POSITIVE)
    }

    fn drawn(&self, name: &str, shape: &[usize], domain: Domain) -> Expr<'_> {
        let seed = name.bytes().fold(0xCBF2_9CE4_8422_2325, |seed: u64, byte| {
            (seed ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
        });
        let array: Array<f64> = Random(seed).array(self.dtype, shape, domain);
        self.declared(name, Role::Parameter, array.to_tensor(self.dtype).expect("a weight is a tensor"))
    }

    /// A weight with these elements.
    pub fn given(&self, name: &str, shape: &[usize], elements: &[f64]) -> Expr<'_> {
        let tensor = Tensor::from_f64(self.dtype, shape, elements.iter().copied()).expect("as many as the shape says");
        self.declared(name, Role::Parameter, tensor)
    }

    fn declared(&self, name: &str, role: Role, tensor: Tensor) -> Expr<'_> {
        let weight = self.b.declare(name, role, tensor.ty());
        self.weights.borrow_mut().insert(name.to_owned(), tensor);
        weight
    }

    /// `γ, β, μ, σ²` of a batch norm layer.
    pub fn moments(&self, name: &str, channels: usize) -> [Expr<'_>; 4] {
        let weight = |what: &str| self.weight(&format!("{name}/{what}"), &[channels]);
        let var = self.positive(&format!("{name}/var"), &[channels]);
        [weight("gamma"), weight("beta"), weight("mean"), var]
    }

    /// A Dense layer with a bias.
    pub fn dense<'b>(&'b self, name: &str, x: Expr<'b>, units: usize) -> Expr<'b> {
        let features = size(x, x.rank() - 1);
        let kernel = self.weight(&format!("{name}/kernel"), &[features, units]);
        let bias = self.weight(&format!("{name}/bias"), &[units]);
        self.b.scoped(name, || x.dense(kernel, Some(bias)))
    }

    /// A batch norm layer over that axis.
    pub fn norm<'b>(&'b self, name: &str, x: Expr<'b>, axis: usize) -> Expr<'b> {
        let moments = self.moments(name, size(x, axis));
        self.b.scoped(name, || x.batch_norm_infer(moments, axis, EPSILON))
    }

    /// A batch norm layer over the last axis with a positive scale.
    pub fn positive_norm<'b>(&'b self, name: &str, x: Expr<'b>) -> Expr<'b> {
        let axis = x.rank() - 1;
        let [_, beta, mean, var] = self.moments(name, size(x, axis));
        let gamma = self.positive(&format!("{name}/positive gamma"), &[size(x, axis)]);
        self.b.scoped(name, || x.batch_norm_infer([gamma, beta, mean, var], axis, EPSILON))
    }

    pub fn output(&self, name: &str, value: Expr<'_>) {
        self.b.output(name, value);
    }
}

/// The shape of a batch of rows of that shape.
pub fn rows(shape: &[usize]) -> Shape {
    std::iter::once("batch".into()).chain(shape.iter().map(|&size| size.into())).collect()
}

/// A known size of a value.
pub fn size(x: Expr<'_>, axis: usize) -> usize {
    x.shape()[axis].known().expect("channels have a known size")
}
