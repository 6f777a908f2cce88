//! The prover passes what is equal, and names what is not.

use super::*;
use crate::ir::{Builder, DType, Expr, Shape, Tensor};
use std::time::Instant;

/// Dense without bias, batch norm, ReLU, three times, and a dense layer with softmax.
const UNITS: [usize; 4] = [784, 300, 200, 100];
const EPSILON: f64 = 1e-3;

/// The hidden layers' batch norms, folded into the products or not.
fn network(units: [usize; 4], layer: for<'b> fn(Expr<'b>, Expr<'b>, [Expr<'b>; 4]) -> Expr<'b>) -> (Graph, Vec<Value>) {
    let g = Builder::new();
    let mut x = g.input("x", DType::F32, ["batch", &units[0].to_string()]);
    let mut hidden = Vec::new();
    for (index, pair) in units.windows(2).enumerate() {
        let w = g.parameter(&format!("w{index}"), DType::F32, [pair[0], pair[1]]);
        let vector = |name: &str| g.parameter(&format!("{name}{index}"), DType::F32, [pair[1]]);
        let statistic = |name: &str| g.state(&format!("{name}{index}"), DType::F32, [pair[1]]);
        let y = layer(x, w, [vector("gamma"), vector("beta"), statistic("mean"), statistic("var")]);
        hidden.push(y.value());
        x = y.relu();
    }
    let (w, bias) = (g.parameter("w", DType::F32, [units[3], 10]), g.parameter("bias", DType::F32, [10]));
    g.output("probabilities", x.dense(w, Some(bias)).softmax(1));
    g.output("class", x.dense(w, Some(bias)).arg_max(1));
    (g.finish().unwrap(), hidden)
}

fn plain<'b>(x: Expr<'b>, w: Expr<'b>, moments: [Expr<'b>; 4]) -> Expr<'b> {
    x.dense(w, None).batch_norm_infer(moments, 1, EPSILON)
}

fn folded<'b>(x: Expr<'b>, w: Expr<'b>, [gamma, beta, mean, var]: [Expr<'b>; 4]) -> Expr<'b> {
    let scale = gamma * (var + EPSILON).rsqrt();
    x.dense(w * scale.along(1, w), Some(beta - mean * scale))
}

fn claims(before: &[Value], after: &[Value]) -> Vec<Claim> {
    before.iter().zip(after).map(|(&before, &after)| Claim { before, after }).collect()
}

#[test]
fn the_tutorial_networks_fold_is_proven_fast() {
    let ((before, values), (after, folds)) = (network(UNITS, plain), network(UNITS, folded));
    let claims = claims(&values, &folds);
    let start = Instant::now();
    let mut prover = Prover::new(&before).unwrap();
    prover.check(&before, &after, &claims, Equality::Algebraic).unwrap();
    let first = start.elapsed();
    let start = Instant::now();
    prover.check(&before, &after, &claims, Equality::Algebraic).unwrap();
    let again = start.elapsed();
    let start = Instant::now();
    prover.check(&before, &after, &claims, Equality::Sampled).unwrap();
    println!("in the field {first:?}, once more {again:?}, sampled {:?}", start.elapsed());
    assert!(first.as_millis() < 500, "{first:?}");
}

/// Each mistake a fold could make, on square matrices, where a wrong axis is well typed.
#[test]
fn mistakes_in_a_fold_are_caught_and_named() {
    type Layer = for<'b> fn(Expr<'b>, Expr<'b>, [Expr<'b>; 4]) -> Expr<'b>;
    const SQUARE: [usize; 4] = [4, 4, 4, 4];
    let mistakes: [(&str, Layer); 14] = [
        ("the bias is not scaled", |x, w, [gamma, beta, mean, var]| {
            let scale = gamma * (var + EPSILON).rsqrt();
            x.dense(w * scale.along(1, w), Some(beta - mean))
        }),
        ("epsilon is forgotten", |x, w, [gamma, beta, mean, var]| {
            let scale = gamma * var.rsqrt();
            x.dense(w * scale.along(1, w), Some(beta - mean * scale))
        }),
        ("epsilon is another", |x, w, [gamma, beta, mean, var]| {
            let scale = gamma * (var + 1e-5).rsqrt();
            x.dense(w * scale.along(1, w), Some(beta - mean * scale))
        }),
        ("epsilon is added outside of the root", |x, w, [gamma, beta, mean, var]| {
            let scale = gamma / (var.sqrt() + EPSILON);
            x.dense(w * scale.along(1, w), Some(beta - mean * scale))
        }),
        ("the operands of the difference are swapped", |x, w, [gamma, beta, mean, var]| {
            let scale = gamma * (var + EPSILON).rsqrt();
            x.dense(w * scale.along(1, w), Some(mean * scale - beta))
        }),
        ("the deviation stands for the variance", |x, w, [gamma, beta, mean, var]| {
            let scale = gamma * (var * var + EPSILON).rsqrt();
            x.dense(w * scale.along(1, w), Some(beta - mean * scale))
        }),
        ("the variance stands for the deviation", |x, w, [gamma, beta, mean, var]| {
            let scale = gamma / (var + EPSILON);
            x.dense(w * scale.along(1, w), Some(beta - mean * scale))
        }),
        ("rows are scaled", |x, w, [gamma, beta, mean, var]| {
            let scale = gamma * (var + EPSILON).rsqrt();
            x.dense(w * scale.along(0, w), Some(beta - mean * scale))
        }),
        ("the kernel is transposed", |x, w, [gamma, beta, mean, var]| {
            let scale = gamma * (var + EPSILON).rsqrt();
            x.dense((w * scale.along(1, w)).transpose(&[1, 0]), Some(beta - mean * scale))
        }),
        ("beta is dropped", |x, w, [gamma, _, mean, var]| {
            let scale = gamma * (var + EPSILON).rsqrt();
            x.dense(w * scale.along(1, w), Some(-(mean * scale)))
        }),
        ("gamma is dropped", |x, w, [_, beta, mean, var]| {
            let scale = (var + EPSILON).rsqrt();
            x.dense(w * scale.along(1, w), Some(beta - mean * scale))
        }),
        ("the mean is added", |x, w, [gamma, beta, mean, var]| {
            let scale = gamma * (var + EPSILON).rsqrt();
            x.dense(w * scale.along(1, w), Some(beta + mean * scale))
        }),
        ("mean and variance are swapped", |x, w, [gamma, beta, mean, var]| {
            let scale = gamma * (mean + EPSILON).rsqrt();
            x.dense(w * scale.along(1, w), Some(beta - var * scale))
        }),
        ("the scale is applied twice", |x, w, [gamma, beta, mean, var]| {
            let scale = gamma * (var + EPSILON).rsqrt();
            x.dense(w * (scale * scale).along(1, w), Some(beta - mean * scale))
        }),
    ];
    let (before, values) = network(SQUARE, plain);
    let mut prover = Prover::new(&before).unwrap();
    let (right, folds) = network(SQUARE, folded);
    for equality in [Equality::Algebraic, Equality::Sampled] {
        prover.check(&before, &right, &claims(&values, &folds), equality).unwrap();
        for (what, layer) in mistakes {
            let (after, folds) = network(SQUARE, layer);
            let wrong = prover.check(&before, &after, &claims(&values, &folds), equality).expect_err(what);
            assert_eq!(wrong.which, Which::Claim(0), "{what}: {wrong}");
            assert!(matches!(wrong.difference, Difference::Element { .. }), "{what}: {wrong}");
            let wrong = prover.check(&before, &after, &[], equality).expect_err(what);
            assert_eq!(wrong.which, Which::Output("probabilities".to_owned()), "{what}: {wrong}");
        }
        // The first claim that is wrong is named, not those that follow from it.
        let (after, folds) = network(SQUARE, mistakes[0].1);
        let late = [Claim {
            before: before.input("x").map(Value::first).unwrap(),
            after: after.input("x").map(Value::first).unwrap(),
        }];
        let late: Vec<Claim> = late.into_iter().chain(claims(&values, &folds)).collect();
        assert_eq!(prover.check(&before, &after, &late, equality).unwrap_err().which, Which::Claim(1));
    }
}

/// The graph with inputs `x`, `y` and state `s`, all `f64[batch,2]`.
fn small(f: impl for<'b> FnOnce(&'b Builder, [Expr<'b>; 3])) -> Graph {
    let g = Builder::new();
    let shape = || Shape::new(["batch", "2"]);
    let (x, y) = (g.input("x", DType::F64, shape()), g.parameter("y", DType::F64, shape()));
    let s = g.state("s", DType::F64, shape());
    f(&g, [x, y, s]);
    g.finish().unwrap()
}

fn verdict(before: &Graph, after: &Graph, equality: Equality) -> Result<(), Box<Unequal>> {
    Prover::new(before).unwrap().check(before, after, &[], equality)
}

#[test]
fn rules_of_algebra_hold_and_others_do_not() {
    type Side = for<'b> fn([Expr<'b>; 3]) -> Expr<'b>;
    let equal: [(Side, Side); 8] = [
        (|[x, y, _]| (x + y) * (x - y), |[x, y, _]| x * x - y * y),
        (|[x, y, s]| x * y + x * s, |[x, y, s]| (s + y) * x),
        (|[x, y, _]| x / y, |[x, y, _]| x * (y.full_like(1.0) / y)),
        (|[x, ..]| x.sum(&[0]).sum(&[0]), |[x, ..]| x.transpose(&[1, 0]).reshape(["2", "batch"]).sum_all()),
        (|[x, ..]| x.mean(&[0]), |[x, ..]| x.sum(&[0]) / x.count(&[0])),
        (|[x, y, _]| (x + y).exp().relu(), |[x, y, _]| (y + x).exp().relu()),
        (|[x, y, _]| x.dot(y.transpose(&[1, 0])), |[x, y, _]| y.dot(x.transpose(&[1, 0])).transpose(&[1, 0])),
        (|[x, ..]| x.softmax(1).cast(DType::F32), |[x, ..]| x.cast(DType::F32).softmax(1)),
    ];
    let different: [(Side, Side); 8] = [
        (|[x, y, _]| x - y, |[x, y, _]| y - x),
        (|[x, ..]| x * x, |[x, ..]| x),
        (|[x, ..]| x.sum(&[0]).sum(&[0]), |[x, ..]| x.slice(1, 0..1).sum_all()),
        (|[x, ..]| x.relu(), |[x, ..]| x.abs()),
        (|[x, ..]| x * 2.0, |[x, ..]| x * 2.0000001),
        (|[x, y, _]| x.max(y), |[x, y, _]| x.min(y)),
        (|[x, ..]| x, |[_, y, _]| y),
        (|[x, ..]| x.tanh(), |[x, ..]| x.sigmoid()),
    ];
    let graph = |side: Side| small(|g, inputs| g.output("z", side(inputs)));
    for equality in [Equality::Algebraic, Equality::Sampled] {
        for (index, (left, right)) in equal.into_iter().enumerate() {
            verdict(&graph(left), &graph(right), equality).unwrap_or_else(|wrong| panic!("{index}: {wrong}"));
        }
        for (index, (left, right)) in different.into_iter().enumerate() {
            let wrong = verdict(&graph(left), &graph(right), equality).expect_err(&index.to_string());
            assert_eq!(wrong.which, Which::Output("z".to_owned()));
        }
    }
}

#[test]
fn what_is_not_algebra_is_decided_by_sampling() {
    let outside = |c: f64| small(move |g, [x, ..]| g.output("z", x.relu() * c));
    let inside = |c: f64| small(move |g, [x, ..]| g.output("z", (x * c).relu()));
    assert!(verdict(&outside(0.3), &inside(0.3), Equality::Algebraic).is_err());
    verdict(&outside(0.3), &inside(0.3), Equality::Sampled).unwrap();
    let wrong = verdict(&outside(-0.3), &inside(-0.3), Equality::Sampled).unwrap_err();
    assert_eq!(wrong.which, Which::Output("z".to_owned()));
    assert!(wrong.to_string().contains("before the rewrite"), "{wrong}");
}

#[test]
fn the_sign_of_a_weight_decides_when_it_is_given() {
    let outside = small(|g, [x, y, _]| g.output("z", x.relu() * y));
    let inside = small(|g, [x, y, _]| g.output("z", (x * y).relu()));
    let check = |weight: Option<f64>| {
        let weights = weight.map(|value| ("y".to_owned(), Tensor::full(DType::F64, [3, 2], value)));
        let mut prover = Prover::with_weights(&outside, &weights.into_iter().collect()).unwrap();
        prover.check(&outside, &inside, &[], Equality::Sampled)
    };
    check(Some(0.7)).unwrap();
    assert!(check(Some(-0.7)).is_err());
    assert!(check(None).is_err());
    // A variance is state, and positive.
    let outside = small(|g, [x, _, s]| g.output("z", x.relu() * s.sqrt()));
    let inside = small(|g, [x, _, s]| g.output("z", (x * s.sqrt()).relu()));
    verdict(&outside, &inside, Equality::Sampled).unwrap();
    let misfit = Weights::from([("y".to_owned(), Tensor::full(DType::F32, [3, 2], 1.0))]);
    let error = Prover::with_weights(&outside, &misfit).unwrap_err();
    assert!(matches!(&error, ProverError::Weight { name, .. } if name == "y"), "{error}");
}

#[test]
fn integers_masks_and_nan_are_compared() {
    let graph = |flip: bool, shift: f64| {
        small(move |g, [x, y, _]| {
            let less = if flip { y.greater(x) } else { x.less(y) };
            g.output("mask", less);
            g.output("index", (x + shift).arg_max(1));
            g.output("nan", (x - 10.0).log());
            g.output("infinite", x / x.zeros_like());
        })
    };
    for equality in [Equality::Algebraic, Equality::Sampled] {
        verdict(&graph(false, 0.0), &graph(true, 0.0), equality).unwrap();
        let other = small(|g, [x, y, _]| {
            g.output("mask", x.greater(y));
            g.output("index", x.arg_max(1));
            g.output("nan", (x - 10.0).log());
            g.output("infinite", x / x.zeros_like());
        });
        assert_eq!(verdict(&graph(false, 0.0), &other, equality).unwrap_err().which, Which::Output("mask".to_owned()));
        let other = small(|g, [x, y, _]| {
            g.output("mask", x.less(y));
            g.output("index", (-x).arg_max(1));
            g.output("nan", (x - 10.0).log());
            g.output("infinite", x / x.zeros_like());
        });
        assert_eq!(verdict(&graph(false, 0.0), &other, equality).unwrap_err().which, Which::Output("index".to_owned()));
    }
    verdict(&graph(false, 0.0), &graph(false, 1e-13), Equality::Sampled).unwrap();
    let number = small(|g, [x, ..]| g.output("z", x * 0.0 + 1.0));
    let nan = small(|g, [x, ..]| g.output("z", (x * 0.0 - 1.0).log()));
    assert!(verdict(&number, &nan, Equality::Sampled).is_err());
    assert!(verdict(&nan, &number, Equality::Sampled).is_err());
}

/// A decision has one bit, and equality none in the field itself: wrong operands are seen all the same.
#[test]
fn wrong_operands_of_small_masks_are_caught() {
    type Side = for<'b> fn([Expr<'b>; 3]) -> Expr<'b>;
    let sides: [(Side, Side); 5] = [
        (|[x, y, _]| x.less(y), |[x, _, s]| x.less(s)),
        (|[x, y, _]| x.equal(y), |[x, _, s]| x.equal(s)),
        (|[x, y, _]| x.not_equal(y), |[x, _, s]| x.not_equal(s)),
        (|[x, ..]| x.cast(DType::Bool), |[_, y, _]| y.cast(DType::Bool)),
        (|[x, y, _]| (x * y).cast(DType::I32), |[x, y, _]| (x + y).cast(DType::I32)),
    ];
    for seed in 0..200 {
        let graph = |side: Side| {
            let g = Builder::new();
            let input = |name: &str| g.input(&format!("{name}{seed}"), DType::F32, Shape::scalar());
            let chosen = side([input("x"), input("y"), input("s")]);
            g.output("chosen", chosen.cast(DType::Bool).select(input_of(&g, "x", seed), input_of(&g, "y", seed)));
            g.output("mask", chosen);
            g.finish().unwrap()
        };
        for (index, (before, after)) in sides.into_iter().enumerate() {
            let (before, after) = (graph(before), graph(after));
            verdict(&before, &before, Equality::Algebraic).unwrap();
            assert!(verdict(&before, &after, Equality::Algebraic).is_err(), "{index} with inputs {seed}");
        }
        // In f64 a sign is one bit as well.
        let (relu, abs) = (graph(|[x, ..]| x.relu()), graph(|[x, ..]| x.abs()));
        assert!(verdict(&relu, &abs, Equality::Sampled).is_err(), "inputs {seed}");
    }
}

fn input_of<'b>(g: &'b Builder, name: &str, seed: u32) -> Expr<'b> {
    let node = g.graph().input(&format!("{name}{seed}")).unwrap();
    g.expr(Value { node, output: 0 })
}

/// Labels pick a class in the field too: integer inputs are small indices.
#[test]
fn losses_over_labels_are_compared() {
    let graph = |mean: bool| {
        let g = Builder::new();
        let (x, labels) = (g.input("x", DType::F64, ["batch", "4"]), g.input("labels", DType::I32, ["batch"]));
        let loss = if mean {
            x.softmax_cross_entropy(labels).mean_all()
        } else {
            let picked = (x.log_softmax(1) * labels.one_hot(4, DType::F64)).sum(&[1]);
            -(picked.sum_all() / picked.count(&[0]))
        };
        g.output("loss", loss);
        g.finish().unwrap()
    };
    verdict(&graph(true), &graph(false), Equality::Sampled).unwrap();
}

#[test]
fn random_ops_draw_the_same_at_one_site() {
    let graph = |swap: bool| {
        let g = Builder::new();
        let (x, key) = (g.input("x", DType::F32, ["batch", "8"]), g.state("key", DType::I32, [2]));
        let (a, b) = (x.dropout(key, 0.5), x.dropout(key, 0.5));
        g.output("z", if swap { b * 2.0 + a } else { a + b * 2.0 });
        g.output("first", if swap { a } else { a * 1.0 });
        g.finish().unwrap()
    };
    verdict(&graph(false), &graph(true), Equality::Algebraic).unwrap();
}

#[test]
fn interfaces_are_compared() {
    let graph = |f: for<'b> fn(&'b Builder, [Expr<'b>; 3])| small(f);
    let before = graph(|g, [x, y, s]| {
        g.output("z", x + y);
        g.update(s, s * 0.5);
    });
    type Write = for<'b> fn(&'b Builder, [Expr<'b>; 3]);
    let cases: [(Write, &str); 8] = [
        (
            |g, [x, y, s]| {
                g.output("w", x + y);
                g.update(s, s * 0.5);
            },
            "the output `z`: it is missing",
        ),
        (
            |g, [x, y, s]| {
                g.output("z", x + y);
                g.output("w", x);
                g.update(s, s * 0.5);
            },
            "the output `w`: it is new",
        ),
        (|g, [x, y, _]| g.output("z", x + y), "the next value of `s`: it is missing"),
        (
            |g, [x, y, s]| {
                g.output("z", x + y);
                g.update(s, s * 0.5);
                g.update(y, y);
            },
            "the next value of `y`: it is new",
        ),
        (
            |g, [x, y, s]| {
                g.output("z", x + y);
                g.update(s, s);
            },
            "the next value of `s`: at a random point",
        ),
        (
            |g, [x, y, s]| {
                g.output("z", (x + y).cast(DType::F32));
                g.update(s, s * 0.5);
            },
            "the output `z`: it is f64[batch,2] before",
        ),
        (
            |g, [x, y, s]| {
                g.input("new", DType::F64, [2]);
                g.output("z", x + y);
                g.update(s, s * 0.5);
            },
            "the input `new`: it is new",
        ),
        (
            |g, [x, _, s]| {
                g.output("z", x);
                g.update(s, s * 0.5);
            },
            "the output `z`: at a random point",
        ),
    ];
    for (write, message) in cases {
        let wrong = verdict(&before, &graph(write), Equality::Algebraic).unwrap_err();
        assert!(wrong.to_string().starts_with(message), "{wrong}, not {message}");
    }
    // An input of another type or role is another input; one that nothing uses may go.
    let with = |declare: for<'b> fn(&'b Builder) -> Expr<'b>| {
        let g = Builder::new();
        let x = declare(&g);
        g.output("z", x.zeros_like().sum_all());
        g.finish().unwrap()
    };
    let input = with(|g| g.input("x", DType::F64, [2]));
    let message = |after: &Graph| verdict(&input, after, Equality::Algebraic).unwrap_err().to_string();
    assert!(
        message(&with(|g| g.parameter("x", DType::F64, [2]))).contains("it is data before the rewrite and parameter")
    );
    assert!(message(&with(|g| g.input("x", DType::F64, [3]))).contains("f64[2] before the rewrite and f64[3] after"));
    let without = {
        let g = Builder::new();
        g.output("z", g.scalar(DType::F64, 0.0));
        g.finish().unwrap()
    };
    verdict(&input, &without, Equality::Algebraic).unwrap();
    // What one step dropped, no later step may use again.
    let mut prover = Prover::new(&input).unwrap();
    assert_eq!(
        prover.check(&without, &input, &[], Equality::Algebraic).unwrap_err().which,
        Which::InputSpec("x".to_owned())
    );
}

#[test]
fn claims_about_nothing_and_values_too_large_are_errors() {
    let graph = small(|g, [x, ..]| g.output("z", x));
    let nowhere = Value { node: graph.ids().next_back().unwrap(), output: 7 };
    let mut prover = Prover::new(&graph).unwrap();
    let claim = [Claim { before: graph.output("z").unwrap(), after: nowhere }];
    let wrong = prover.check(&graph, &graph, &claim, Equality::Algebraic).unwrap_err();
    assert_eq!(*wrong, Unequal { which: Which::Claim(0), difference: Difference::NoSuchValue(nowhere) });
    let other = [Claim { before: graph.output("z").unwrap(), after: Value { output: 0, ..nowhere } }];
    prover.check(&graph, &graph, &other, Equality::Algebraic).expect_err("another value, or another type");
    let huge = {
        let g = Builder::new();
        g.output("z", g.input("x", DType::F64, [1 << 40]));
        g.finish().unwrap()
    };
    assert!(matches!(Prover::new(&huge), Err(ProverError::Inputs(_))));
    let grown = small(|g, [x, ..]| {
        let wide = x.sum_all().broadcast_to([1 << 20, 1 << 20]);
        g.output("z", x + wide.sin().sum_all());
    });
    let wrong = prover.check(&graph, &grown, &[], Equality::Sampled).unwrap_err();
    assert_eq!(wrong.which, Which::After);
    assert!(matches!(wrong.difference, Difference::Unevaluated(_)), "{wrong}");
}

#[test]
fn a_hundred_thousand_nodes_take_a_moment() {
    let graph = |last: f64| {
        small(move |g, [x, y, _]| {
            let (mut a, mut b) = (x, y);
            for index in 0..33_333 {
                (a, b) = (a + b, (a - b) * (1.0 + f64::from(index % 7)));
            }
            g.output("z", a * last + b);
        })
    };
    let (before, after, wrong) = (graph(1.0), graph(1.0), graph(2.0));
    assert!(before.len() > 90_000, "{}", before.len());
    let start = Instant::now();
    let mut prover = Prover::new(&before).unwrap();
    prover.check(&before, &after, &[], Equality::Algebraic).unwrap();
    assert!(prover.check(&before, &wrong, &[], Equality::Algebraic).is_err());
    println!("{} nodes: {:?}", before.len(), start.elapsed());
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}
