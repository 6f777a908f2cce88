//! Graphs on which the planted rules fire. All of their axes have one size, so that an axis can be confused.

use foldgrad::ir::{Dim, Shape};
use foldgrad::{Builder, DType, Expr, Graph};

/// The graphs, by what is to be rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Example {
    /// `bn(x·W + b)`.
    NormBehindDense,
    /// `bn(x)·W + b`.
    NormBeforeDense,
    /// `c − (x·W + b)`.
    SubtractedFrom,
    /// `c / (x·W + b)`, and `(x·W + b) / c`.
    DividedBy,
    Divided,
    /// `bn(z)` and `tanh(z)`, where `z = x·W + b`.
    SecondUser,
    /// `bn(x·W + b)` and `tanh(x)·W`.
    SharedKernel,
    /// `relu(x·W + b)·s` with an `s` of both signs, or a positive one.
    NegativeScale,
    PositiveScale,
    /// `bn_train(x·W + b)` with running statistics.
    Training,
    /// The sum of the gradient of training batch norm, where the batch mean has a gradient too.
    BatchMean,
    /// `pad(x + t)·W`, and `pad(s⊙x)·W`.
    ShiftBeforeBorder,
    ScaleBeforeBorder,
    /// `(x·W₁ + b₁)·W₂ + b₂`.
    Products,
    /// `bn(x)` over axis 1 or 2, with the two exchanged before a Dense.
    Transposed,
    TransposedAway,
    /// `bn(x)` over axis 1, flattened before a Dense.
    Flattened,
    /// `Σ(s⊙x)·W + b`, and `Σ(x + t)·W + b`.
    Summed,
    SummedShift,
    /// `max(s⊙x)·W + b` with a positive `s`, or one of both signs.
    Largest,
    LargestNegative,
    /// `(x + t₁)·s + t₂`.
    Chain,
    /// `(x − 0) / 1`, transposed twice, each time in another way.
    Identities,
    /// `0 − x`.
    ZeroMinus,
}

pub use Example::*;

const SIZE: usize = 4;

impl Example {
    pub fn all() -> impl Iterator<Item = Example> {
        let behind =
            [NormBehindDense, NormBeforeDense, SubtractedFrom, SharedKernel, PositiveScale, Training, BatchMean];
        let others = [Divided, ScaleBeforeBorder, Products, Transposed, Flattened, Summed, Largest, Chain, Identities];
        behind.into_iter().chain(others)
    }

    pub fn graph(self) -> Graph {
        let b = Builder::new();
        match self {
            NormBehindDense => b.output("y", norm(&b, dense(&b, x(&b)), 1)),
            NormBeforeDense => b.output("y", dense(&b, norm(&b, x(&b), 1))),
            SubtractedFrom => b.output("y", weight(&b, "c", &[SIZE]) - dense(&b, x(&b))),
            DividedBy => b.output("y", weight(&b, "c", &[SIZE]) / dense(&b, x(&b))),
            Divided => b.output("y", dense(&b, x(&b)) / weight(&b, "c", &[SIZE])),
            SecondUser => {
                let z = dense(&b, x(&b));
                b.output("other", z.tanh());
                b.output("y", norm(&b, z, 1));
            }
            SharedKernel => {
                let x = x(&b);
                b.output("y", norm(&b, dense(&b, x), 1));
                b.output("other", x.tanh().dot(find(&b, "w")));
            }
            NegativeScale => b.output("y", dense(&b, x(&b)).relu() * weight(&b, "s", &[SIZE])),
            PositiveScale => b.output("y", dense(&b, x(&b)).relu() * weight(&b, "positive s", &[SIZE])),
            Training => training(&b),
            BatchMean => batch_mean(&b),
            ShiftBeforeBorder => {
                let moved = (image(&b) + weight(&b, "t", &[SIZE])).pad(1, 1, 1, 0, b.scalar(DType::F64, 0.0));
                b.output("y", moved.dot(weight(&b, "w", &[SIZE, 2])));
            }
            ScaleBeforeBorder => {
                let scaled = (image(&b) * weight(&b, "s", &[SIZE])).pad(1, 1, 1, 0, b.scalar(DType::F64, 0.0));
                b.output("y", scaled.dot(weight(&b, "w", &[SIZE, 2])));
            }
            Products => {
                let z = dense(&b, x(&b));
                b.output("y", z.dense(weight(&b, "w2", &[SIZE, SIZE]), Some(weight(&b, "b2", &[SIZE]))));
            }
            Transposed => b.output("y", dense(&b, norm(&b, image(&b), 1).transpose(&[0, 2, 1]))),
            TransposedAway => b.output("y", dense(&b, norm(&b, image(&b), 2).transpose(&[0, 2, 1]))),
            Flattened => {
                let flat: Shape = ["batch".into(), Dim::Known(SIZE * SIZE)].into();
                let z = norm(&b, image(&b), 1).reshape(flat);
                b.output("y", z.dense(weight(&b, "w", &[SIZE * SIZE, SIZE]), Some(weight(&b, "b", &[SIZE]))));
            }
            Summed => {
                let moved = image(&b) * weight(&b, "s", &[SIZE]);
                b.output("y", dense(&b, moved.sum(&[1])));
            }
            SummedShift => b.output("y", dense(&b, (image(&b) + weight(&b, "t", &[SIZE])).sum(&[1]))),
            LargestNegative => {
                let scaled = image(&b) * weight(&b, "s", &[SIZE]);
                b.output("y", dense(&b, scaled.reduce_max(&[1])));
            }
            Largest => {
                let scaled = image(&b) * weight(&b, "positive s", &[SIZE]);
                b.output("y", dense(&b, scaled.reduce_max(&[1])));
            }
            Chain => {
                let [t1, s, t2] = ["t1", "s", "t2"].map(|name| weight(&b, name, &[SIZE]));
                b.output("y", (x(&b) + t1) * s + t2);
            }
            Identities => {
                let x = b.input("x", DType::F64, [SIZE; 3]);
                b.output("y", ((x - 0.0) / 1.0).transpose(&[1, 0, 2]).transpose(&[0, 2, 1]).tanh());
            }
            ZeroMinus => b.output("y", (0.0 - x(&b)).tanh()),
        }
        b.finish().expect("an example is a graph")
    }
}

fn x(b: &Builder) -> Expr<'_> {
    b.input("x", DType::F64, ["batch".into(), Dim::Known(SIZE)])
}

fn image(b: &Builder) -> Expr<'_> {
    b.input("x", DType::F64, ["batch".into(), Dim::Known(SIZE), Dim::Known(SIZE)])
}

fn weight<'b>(b: &'b Builder, name: &str, shape: &[usize]) -> Expr<'b> {
    b.parameter(name, DType::F64, shape)
}

pub fn find<'b>(b: &'b Builder, name: &str) -> Expr<'b> {
    let node = b.graph().input(name).expect("a weight that was declared");
    b.expr(foldgrad::ir::Value { node, output: 0 })
}

fn dense<'b>(b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
    x.dense(weight(b, "w", &[SIZE, SIZE]), Some(weight(b, "b", &[SIZE])))
}

/// The weights come before the value, as a kernel that a rule replaces must be able to read them.
fn norm<'b>(b: &'b Builder, x: Expr<'b>, axis: usize) -> Expr<'b> {
    let moments = ["gamma", "beta", "mean", "var"].map(|name| weight(b, name, &[SIZE]));
    x.batch_norm_infer(moments, axis, 0.1)
}

fn training(b: &Builder) {
    let (gamma, beta) = (weight(b, "gamma", &[SIZE]), weight(b, "beta", &[SIZE]));
    let (mean, var) = (b.state("mean", DType::F64, [SIZE]), b.state("var", DType::F64, [SIZE]));
    let normed = dense(b, x(b)).batch_norm_train(gamma, beta, 1, 0.1);
    b.update(mean, mean * 0.9 + normed.mean * 0.1);
    b.update(var, var * 0.9 + normed.var * 0.1);
    b.output("y", normed.y);
}

fn batch_mean(b: &Builder) {
    let (z, gamma, beta) = (x(b) * 1.5, weight(b, "gamma", &[SIZE]), weight(b, "beta", &[SIZE]));
    let bias = weight(b, "b", &[SIZE]);
    let normed = (z + bias).batch_norm_train(gamma, beta, 1, 0.1);
    let loss = (normed.y * normed.y * normed.y).mean_all() + (normed.mean * normed.mean).sum_all();
    let gradient = foldgrad::autodiff::gradients(&[loss], &[bias]).expect("a gradient");
    b.output("loss", loss);
    b.output("gradient", gradient[0]);
}
