//! A process of its own, since its threads are counted and none of it may be `unsafe`: programs that try to read or write
//! memory that is not theirs, to look at a value that was never written, to hang a run, or to lose weights; each claim with
//! the outcome that is right.
//!
//! What the type system refuses is shown by the `compile_fail` examples of `ir::TensorDataMut` and `ir::Element`; kernels that
//! panic, which nothing public can bring about, by the unit tests named `panics`.
#![forbid(unsafe_code)]

mod calls;
mod files;
mod held;
mod observers;
mod outputs;
mod shared;
mod sizes;
#[path = "../common/skip.rs"]
mod skip;
mod tensors;
mod threads;

use foldgrad::exec::{Executable, Options};
use foldgrad::ir::{Bindings, Symbol};
use foldgrad::{Builder, DType, Expr, Graph};

/// `y = f(x)` over `x: dtype[n]`.
fn mapped(dtype: DType, f: impl for<'b> Fn(Expr<'b>) -> Expr<'b>) -> Graph {
    let g = Builder::new();
    g.output("y", f(g.input("x", dtype, ["n"])));
    g.finish().unwrap()
}

/// `y = 2·max(x, 0)`.
fn scale() -> Graph {
    mapped(DType::F32, |x| x.relu() * 2.0)
}

fn sized(n: usize) -> Bindings {
    Bindings::from([(Symbol::new("n"), n)])
}

fn compiled(graph: Graph, n: usize) -> Executable {
    Executable::new(graph, &sized(n)).unwrap()
}

fn with_threads(threads: usize) -> Options {
    Options::default().threads(threads)
}

fn holding(threads: usize) -> Options {
    with_threads(threads).holds_state(true)
}
