//! What stands around a fold: integers and masks, odd names, outputs of every kind, states that change, training mode.

use super::check::{count, fold, folded};
use super::net::{Net, rows};
use foldgrad::DType;
use foldgrad::pass::{Pipeline, WeightsMismatch, fold_weights};

#[test]
fn integers_and_masks() {
    fold(|n| {
        let words = n.b.input("words", DType::I32, ["batch"]);
        let keep = n.b.input("keep", DType::Bool, rows(&[4]));
        let y = n.norm("bn", n.dense("dense", words.one_hot(3, n.dtype), 4), 1);
        n.output("y", keep.select(y, y.zeros_like()));
        n.output("class", y.arg_max(1));
        n.output("positive", y.greater(y.zeros_like()));
        n.output("next word", words + words);
    })
    .leaves(&[("batch_norm_infer", 0), ("dense", 1), ("mul", 0)]);
}

#[test]
fn integers_are_no_channels() {
    fold(|n| {
        let words = n.b.input("words", DType::I32, rows(&[3]));
        let offset = n.b.constant(foldgrad::Tensor::vector(vec![1, 0, 1]));
        n.output("shifted", offset - (words + offset));
        n.output("y", n.dense("dense", (words + offset).cast(n.dtype), 4));
    })
    .leaves(&[("dense", 1), ("add", 1), ("sub", 1)]);
}

#[test]
fn a_mask_between_lets_nothing_pass() {
    fold(|n| {
        let keep = n.b.input("keep", DType::Bool, rows(&[4]));
        let z = n.norm("bn", n.x(&[4]), 1);
        n.output("y", n.dense("dense", keep.select(z, z.zeros_like()), 4));
    })
    .leaves(&[("batch_norm_infer", 1), ("dense", 1)]);
}

#[test]
fn names_of_any_characters() {
    let name = "a \"b\"\n\\c/é ✓@0";
    let trap = fold(|n| {
        let x = n.data(name, &[3]);
        let z = n.b.scoped(name, || n.dense(&format!("{name}!"), x, 3));
        n.output(name, n.norm(&format!("{name}?"), z, 1));
    });
    trap.leaves_only("dense");
    for folded in &trap.0 {
        let text = folded.folded.graph.to_string();
        let read = foldgrad::ir::parse(&text).expect("the text form quotes names");
        assert_eq!(read.to_string(), text);
    }
}

#[test]
fn weights_named_like_data() {
    // The folded kernel may not take the name of an input.
    fold(|n| {
        let x = n.data("dense/kernel", &[3]);
        let y = n.b.scoped("dense", || x.dense(n.weight("w", &[3, 3]), Some(n.weight("dense/kernel_1", &[3]))));
        n.output("y", n.norm("bn", y + n.data("dense/bias", &[3]), 1));
        n.output("z", n.norm("bn2", n.b.scoped("dense", || x.tanh().dense(n.weight("v", &[3, 3]), None)), 1));
    });
}

#[test]
fn a_value_given_out_twice() {
    fold(|n| {
        let y = n.norm("bn", n.dense("dense", n.x(&[4]), 4), 1);
        n.output("once", y);
        n.output("twice", y);
    })
    .leaves_only("dense");
    fold(|n| {
        let z = n.dense("dense", n.x(&[4]), 4);
        n.output("raw", z);
        n.output("raw again", z);
        n.output("y", n.norm("bn", z, 1));
    })
    .refused("is also used by the output `raw`");
}

#[test]
fn outputs_that_nothing_computes() {
    fold(|n| {
        let (x, w) = (n.x(&[4]), n.weight("w", &[4, 4]));
        n.output("the input", x);
        n.output("a weight", w);
        n.output("a number", n.b.scalar(n.dtype, 2.5));
        n.output("of weights", (w.tanh() * 2.0).sum(&[0]));
        n.output("a row of numbers", x.full_like(0.5));
        n.output("a weight for each row", n.weight("v", &[4]).broadcast_to(x.shape()));
        n.output("y", n.norm("bn", x.dot(w), 1));
    })
    .leaves(&[("batch_norm_infer", 0), ("dense", 1)]);
}

#[test]
fn nothing_at_all() {
    let trap = fold(|n| n.output("x", n.x(&[4])));
    trap.untouched();
    fold(|n| n.output("w", n.weight("w", &[4]).batch_norm_infer(n.moments("bn", 4), 0, 1e-3)));
}

#[test]
fn nodes_that_no_output_needs() {
    fold(|n| {
        let x = n.x(&[4]);
        let _dead = n.norm("dead bn", n.dense("dead", x, 7), 1);
        n.output("y", n.norm("bn", n.dense("dense", x, 4), 1));
    })
    .leaves_only("dense");
}

#[test]
fn weights_and_data_may_be_unused() {
    let trap = fold(|n| {
        let _unused = (n.data("unused data", &[7]), n.weight("unused weight", &[7]));
        n.output("y", n.norm("bn", n.dense("dense", n.x(&[4]), 4), 1));
    });
    for folded in &trap.0 {
        assert!(folded.folded.graph.input("unused data").is_some(), "the signature stays");
        assert!(folded.folded.graph.input("unused weight").is_none(), "a weight that nothing reads goes");
    }
}

#[test]
fn training_batch_norm_is_never_folded() {
    // Its statistics are the batch's: whatever running statistics there are, they are not it.
    let net = |n: &Net| {
        let [gamma, beta, _, _] = n.moments("bn", 4);
        let normed = n.dense("dense", n.x(&[4]), 4).batch_norm_train(gamma, beta, 1, 1e-3);
        n.output("y", normed.y);
    };
    fold(net).untouched().leaves(&[("batch_norm_train", 1), ("dense", 1)]);
    let before = |n: &Net| {
        let [gamma, beta, _, _] = n.moments("bn", 4);
        n.output("y", n.dense("dense", n.x(&[4]).batch_norm_train(gamma, beta, 1, 1e-3).y, 4));
    };
    fold(before).untouched();
}

#[test]
fn weights_that_the_graph_updates_are_no_weights() {
    let net = Net::new(DType::F64);
    let (x, [gamma, beta, mean, var]) = (net.x(&[4]), net.moments("bn", 4));
    let z = net.dense("dense", x, 4);
    let normed = z.batch_norm_train(gamma, beta, 1, 1e-3);
    net.b.update(mean, mean * 0.9 + normed.mean * 0.1);
    net.output("train", normed.y);
    net.output("infer", z.batch_norm_infer([gamma, beta, mean, var], 1, 1e-3));
    let (graph, weights) = net.finish();
    let outcome = Pipeline::inference().proved(true).run_with(&graph, &weights, &mut |_, _| {}).expect("a pipeline");
    assert_eq!(outcome.graph.to_string(), graph.to_string());
    assert!(outcome.refused.iter().any(|refused| refused.reason.contains("are computed from data")), "{outcome:?}");
    let refused = fold_weights(&outcome.graph, &weights).expect_err("a state that changes is no weight");
    assert_eq!(refused, WeightsMismatch::Updated { name: "bn/mean".to_owned() });
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let net = Net::new(DType::F32);
    net.output("y", net.norm("bn", net.dense("dense", net.x(&[4]), 4), 1));
    let (graph, weights) = net.finish();
    let mut missing = weights.clone();
    missing.remove("bn/var");
    let error = fold_weights(&graph, &missing).expect_err("a weight is missing").to_string();
    assert!(error.contains("`bn/var`") && error.contains("f32[4]"), "{error}");
    let mut other = weights.clone();
    other["bn/var"] = foldgrad::Tensor::zeros(DType::F32, [3]);
    let error = fold_weights(&graph, &other).expect_err("a weight of another shape").to_string();
    assert!(error.contains("`bn/var`") && error.contains("f32[3]"), "{error}");
    let error = Pipeline::inference().proved(true).run_with(&graph, &other, &mut |_, _| {}).expect_err("the same");
    assert!(error.to_string().contains("bn/var"), "{error}");
    let again = folded(graph, weights);
    assert_eq!(count(&again.folded.graph, "dense"), 1);
}
