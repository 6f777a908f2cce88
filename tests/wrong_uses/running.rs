//! Wrong uses of finished graphs: reading their text, feeding them, binding their symbols.

use super::{accepted, report};
use foldgrad::DType::{F32, F64, I32};
use foldgrad::exec::Executable;
use foldgrad::ir::{self, Bindings, OrderedMap, Symbol};
use foldgrad::reference::{Array, interpret};
use foldgrad::{Graph, Tensor};
use insta::assert_snapshot;

/// `y = x·w`, for a batch of `x`.
fn product() -> Graph {
    accepted(|g| {
        let x = g.input("x", F32, ["batch", "3"]); // X
        let w = g.parameter("w", F32, [3, 2]);
        g.output("y", x.dense(w, None)); // HERE
    })
}

fn batch(size: usize) -> Bindings {
    Bindings::from([(Symbol::new("batch"), size)])
}

#[test]
fn symbol_without_a_size() {
    let said = report(Executable::new(product(), &Bindings::from([(Symbol::new("bacth"), 32)])));
    assert_snapshot!(said, @"the dimension `batch` has no size: bind it, or feed an input that has it; %0 input `x` (tests/wrong_uses/running.rs:X:19) has it in its shape [batch,3]");
}

#[test]
fn more_memory_than_there_is() {
    let said = report(Executable::new(product(), &batch(usize::MAX / 2)));
    assert_snapshot!(said, @"%0 input `x` (tests/wrong_uses/running.rs:X:19) has shape [9223372036854775807, 3], more than the memory can hold; bind smaller sizes, such as a smaller batch");
}

#[test]
fn feeds_that_are_too_few() {
    let mut run = Executable::new(product(), &batch(4)).expect("planned");
    let said = report(run.run(&[], &mut [Tensor::zeros(F32, [3, 2])]));
    assert_snapshot!(said, @"the graph has 1 data inputs (x), but 0 were given; give one tensor for each, in that order");
}

#[test]
fn feed_of_another_batch() {
    let mut run = Executable::new(product(), &batch(4)).expect("planned");
    let said = report(run.run(&[&Tensor::zeros(F32, [5, 3])], &mut [Tensor::zeros(F32, [3, 2])]));
    assert_snapshot!(said, @"`x` is f32[4, 3] in this plan, but f32[5, 3] was given; give that type, or plan for another batch size");
}

#[test]
fn weights_of_another_element_type() {
    let mut run = Executable::new(product(), &batch(4)).expect("planned");
    let said = report(run.run(&[&Tensor::zeros(F32, [4, 3])], &mut [Tensor::zeros(F64, [3, 2])]));
    assert_snapshot!(said, @"`w` is f32[3, 2] in this plan, but f64[3, 2] was given; give that type, or plan for another batch size");
}

#[test]
fn integers_in_the_place_of_floats() {
    let said = report(interpret(&product(), &feeds([("x", Tensor::zeros(I32, [4, 3]))])));
    assert_snapshot!(said, @"the input `x` is declared f32[batch,3], but fed with integers of shape [4, 3] (with batch = 4); feed that type, and one size for each symbol");
}

fn feeds<const N: usize>(named: [(&str, Tensor); N]) -> OrderedMap<String, Array<f32>> {
    named.iter().map(|(name, tensor)| ((*name).to_owned(), Array::from_tensor(tensor))).collect()
}

#[test]
fn input_that_is_not_fed() {
    let said = report(interpret(&product(), &feeds([("x", Tensor::zeros(F32, [4, 3]))])));
    assert_snapshot!(said, @"the input `w` (f32[3,2]) was not fed; feed a value under that name");
}

#[test]
fn feed_of_an_unknown_name() {
    let said = report(interpret(&product(), &feeds([("pixels", Tensor::zeros(F32, [4, 3]))])));
    assert_snapshot!(said, @"the graph has no input `pixels`; feed only those that it has: `x`, `w`");
}

#[test]
fn feeds_of_two_batches() {
    let graph = accepted(|g| {
        let (x, y) = (g.input("x", F32, ["batch"]), g.input("y", F32, ["batch"]));
        g.output("z", x + y);
    });
    let said = report(interpret(&graph, &feeds([("x", Tensor::zeros(F32, [4])), ("y", Tensor::zeros(F32, [5]))])));
    assert_snapshot!(said, @"the input `y` is declared f32[batch], but fed with a value of shape [5] (with batch = 4); feed that type, and one size for each symbol");
}

#[test]
fn buffer_of_another_length() {
    let said = report(Tensor::new([28, 28], vec![0.0f32; 768]));
    assert_snapshot!(said, @"a tensor of shape [28, 28] has 784 elements, but the buffer holds 768; give a buffer of that length or another shape");
}

#[test]
fn text_with_a_slip() {
    let text = r#"graph {
  %x = input() {name="x", role=data, type=f32[batch,3]}
  %y = rellu(%x)
  output "y" = %y
}"#;
    assert_snapshot!(report(ir::parse(text)), @r"
    error[syntax]: there is no op `rellu`
      --> line 3
    note: the line reads: %y = rellu(%x)
    help: did you mean `relu`?
    ");
}

#[test]
fn text_that_is_cut_short() {
    let text = r#"graph {
  %x = input() {name="x", role=data, type=f32[batch,3]}
  %y = relu(%x"#;
    assert_snapshot!(report(ir::parse(text)), @r"
    error[syntax]: expected `,` or `)` after an operand, found the end of the line
      --> line 3
    note: the line reads: %y = relu(%x
    help: operands are written `(%0, %1)`, all of a node on one line
    ");
}

#[test]
fn text_with_too_few_operands() {
    let text = r#"graph {
  %x = input() {name="x", role=data, type=f32[batch,784]}
  %w = input() {name="w", role=parameter, type=f32[300,784]}
  %y = dense(%x, %w)
  output "y" = %y
}"#;
    assert_snapshot!(report(ir::parse(text)), @r"
    error[attribute]: dense: takes 3 operands (x, kernel, bias), found 2
      --> line 4
    note: x (input `x`): f32[batch,784] was made here
      --> line 2
    note: kernel (input `w`): f32[300,784] was made here
      --> line 3
    note: the line reads: %y = dense(%x, %w)
    help: give each of them, in that order
    ");
}
