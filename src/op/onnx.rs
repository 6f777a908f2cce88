//! What an op may ask of an export to ONNX. What it becomes is its own answer, [`OpDef::onnx`](super::OpDef::onnx): nodes
//! of ONNX, its definition in smaller ops, or a reason why not. Names, constants and the file belong to the exporter,
//! [`interchange::onnx`](crate::interchange::onnx).

use crate::ir::{DType, Dim, Expr, Shape, Tensor, TensorType, common_shape};

/// A tensor of the ONNX graph that stands for a value of ours.
///
/// What it *holds* may be smaller than the value: element-wise ops of ONNX broadcast as numpy does, so a value that is
/// a stretched one stays small until something needs it whole.
#[derive(Clone, Debug)]
pub struct Held {
    /// The tensor's name.
    pub name: String,
    /// The element type.
    pub dtype: DType,
    /// The shape of the value that it stands for.
    pub shape: Shape,
    /// The shape it has; numpy broadcasts it to `shape`.
    pub held: Shape,
}

impl Held {
    /// The tensor of that name, which holds a whole value of that type.
    pub fn of(name: String, ty: &TensorType) -> Held {
        Held { name, dtype: ty.dtype, shape: ty.shape.clone(), held: ty.shape.clone() }
    }

    /// The result of an element-wise op that was written as `name`.
    pub fn elementwise(name: String, operands: &[&Held], dtype: DType) -> Held {
        let shape = operands.first().map(|operand| operand.shape.clone()).unwrap_or_default();
        let held = operands.iter().fold(Shape::scalar(), |held, operand| match common_shape(&held, &operand.held) {
            Some(held) => held,
            None => unreachable!("both stretch to one shape, so they stretch to each other"),
        });
        Held { name, dtype, shape, held }
    }

    /// Whether it holds every element of its value.
    pub fn is_whole(&self) -> bool {
        self.shape == self.held
    }

    /// One number in every element: how the elements lie does not matter, and it serves as a value of that type as well.
    pub fn uniform(&self, ty: &TensorType) -> Option<Held> {
        (self.held.rank() == 0 && self.shape.rank() > 0).then(|| Held { shape: ty.shape.clone(), ..self.clone() })
    }
}

/// Why a node cannot be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What stands in the way.
    pub why: String,
    /// What to do instead.
    pub help: &'static str,
}

impl Refusal {
    /// Of what an inference graph does not have.
    pub fn training(why: &str) -> Refusal {
        const INFERENCE: &str = "export the inference graph: `model.graph(Mode::Inference, DType::F32)`";
        Refusal { why: why.to_owned(), help: INFERENCE }
    }
}

/// What was written, or why it was not.
pub type Exported<T> = Result<T, Refusal>;

/// An attribute of a node.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Attribute {
    /// A number of an axis, a flag, an element type.
    Int(i64),
    /// Several of them.
    Ints(Vec<i64>),
    /// A number in single precision, the only one that attributes have.
    Float(f32),
    /// A word.
    Text(&'static str),
}

impl Attribute {
    /// Whether an attribute holds what belongs to a value of that type. Attributes of ONNX are single precision: a slope
    /// or an ε of a float64 graph would lose digits.
    pub fn holds(dtype: DType) -> bool {
        dtype == DType::F32
    }
}

/// The definition of a composite: its results, given one expression for each operand.
pub type Definition<'a> = dyn for<'b> Fn(&[Expr<'b>]) -> Option<Vec<Expr<'b>>> + 'a;

/// An ONNX graph in the making. Tensors are known by their names.
pub trait Onnx {
    /// Appends a node with one result, and gives the result's name.
    fn node(&mut self, op: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> String;

    /// A tensor as an initialiser.
    fn constant(&mut self, tensor: &Tensor) -> String;

    /// A vector of 64-bit integers, which ONNX uses for shapes and axes.
    fn integers(&mut self, values: &[i64]) -> String;

    /// A 64-bit integer without axes.
    fn integer(&mut self, value: i64) -> String;

    /// The shape with the symbols that parameters fix replaced by their sizes.
    fn resolve(&self, shape: &Shape) -> Shape;

    /// The product of dimensions as an i64 vector of one entry. Sizes of symbolic axes are computed from the inputs.
    ///
    /// # Errors
    /// A symbol that is the dimension of no data input.
    fn count(&mut self, factors: &[Dim]) -> Exported<String>;

    /// The value at its whole shape.
    ///
    /// # Errors
    /// As [`count`](Onnx::count).
    fn whole(&mut self, value: &Held) -> Exported<String>;

    /// The elements of `name` under another shape; axes on both sides are products of dimensions.
    ///
    /// # Errors
    /// As [`count`](Onnx::count).
    fn reshape(&mut self, name: &str, from: &[Vec<Dim>], to: &[Vec<Dim>]) -> Exported<String>;

    /// Another element type.
    fn cast(&mut self, name: &str, dtype: DType) -> String;

    /// A composite by its definition in smaller ops.
    ///
    /// # Errors
    /// What any of them refuses.
    fn expand(&mut self, definition: &Definition<'_>, operands: &[Held]) -> Exported<Held>;

    /// One number as a scalar initialiser.
    fn scalar(&mut self, dtype: DType, value: f64) -> String {
        self.constant(&Tensor::full(dtype, [], value))
    }

    /// One number that stands for a whole value of that type.
    fn filled(&mut self, ty: &TensorType, value: f64) -> Held {
        Held { held: Shape::scalar(), ..Held::of(self.scalar(ty.dtype, value), ty) }
    }

    /// New axes of size 1 at these places of the result.
    fn unsqueeze(&mut self, name: &str, axes: &[usize]) -> String {
        if axes.is_empty() {
            return name.to_owned();
        }
        let axes: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
        let axes = self.integers(&axes);
        self.node("Unsqueeze", &[name, &axes], &[])
    }

    /// Axes in another order.
    fn transpose(&mut self, name: &str, permutation: &[usize]) -> String {
        if permutation.iter().enumerate().all(|(axis, &from)| axis == from) {
            return name.to_owned();
        }
        let permutation = permutation.iter().map(|&axis| axis as i64).collect();
        self.node("Transpose", &[name], &[("perm", Attribute::Ints(permutation))])
    }

    /// Element by element, one node over these operands. They stay as small as they are held, because ONNX broadcasts
    /// them as numpy does.
    fn map(&mut self, op: &str, operands: &[&Held], dtype: DType) -> Held {
        let names: Vec<&str> = operands.iter().map(|operand| operand.name.as_str()).collect();
        let name = self.node(op, &names, &[]);
        Held::elementwise(name, operands, dtype)
    }
}

/// The operands of an op that takes `N` of them.
pub fn exactly<const N: usize>(operands: &[Held]) -> &[Held; N] {
    match operands.try_into() {
        Ok(operands) => operands,
        Err(_) => unreachable!("a node has as many operands as its op takes: V3"),
    }
}

/// The axes of a shape, each as a product of dimensions, as [`Onnx::reshape`] takes them.
pub fn axes_of(shape: &Shape) -> Vec<Vec<Dim>> {
    shape.iter().map(|&dim| vec![dim]).collect()
}
