//! A named value from outside: data, a parameter, or state.

use crate::ir::{Role, TensorType};
use crate::op::onnx::{Exported, Held, Onnx};
use crate::op::{Attr, AttrError, Attrs, Case, Edge, InferCx, Mismatch, Nature, OpDef, Rows, RowsCx, Types};
use std::sync::Arc;

/// A graph input. Made with [`Builder::input`](crate::Builder::input), `parameter` or `state`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Input {
    name: Arc<str>,
    /// What the input stands for.
    pub role: Role,
    ty: Arc<TensorType>,
}

impl Input {
    pub(crate) fn new(name: &str, role: Role, ty: TensorType) -> Input {
        Input { name: name.into(), role, ty: Arc::new(ty) }
    }

    /// The input's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl OpDef for Input {
    const NAMES: &'static [&'static str] = &["input"];

    fn about(&self) -> &'static str {
        "a named value from outside: data, a parameter, or state"
    }

    fn nature(&self) -> Nature<'_> {
        Nature::Source
    }

    fn operand_names(&self) -> &'static [&'static str] {
        &[]
    }

    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![
            ("name", Attr::Text(self.name.to_string())),
            ("role", Attr::Word(self.role.name())),
            ("type", Attr::Type((*self.ty).clone())),
        ]
    }

    fn from_attrs(_: &str, attrs: &mut Attrs) -> Result<Input, AttrError> {
        let roles = [Role::Data, Role::Parameter, Role::State].map(|role| (role.name(), role));
        Ok(Input::new(&attrs.text("name")?, attrs.word("role", &roles)?, attrs.ty("type")?))
    }

    fn infer(&self, _: &InferCx) -> Result<Types, Mismatch> {
        Ok([(*self.ty).clone()].into())
    }

    /// Data comes row by row; a parameter that is as long as the batch belongs to the batch as a whole.
    fn rows(&self, cx: &RowsCx<'_>) -> Rows {
        match (self.role, cx.result_axis(0)) {
            (Role::Parameter | Role::State, Some(_)) => Rows::Coupled,
            (_, axis) => Rows::apart(axis),
        }
    }

    fn onnx(&self, _: &mut dyn Onnx, _: &[Held], _: &TensorType) -> Exported<Held> {
        unreachable!("inputs have names, and are no nodes of ONNX")
    }

    fn cases() -> Vec<Case> {
        Vec::new()
    }

    fn edges() -> Vec<Edge> {
        Vec::new()
    }
}
