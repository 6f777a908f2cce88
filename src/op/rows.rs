//! How the rows of a batch pass through an op. What couples them is the op's own answer, [`OpDef::rows`]; a graph keeps its
//! rows apart if every op in it does, and then any block of rows can be computed without the others.

use super::{Nature, Op, OpDef, Rearrangement};
use crate::ir::{Builder, Dim, Expr, Graph, NodeId, Shape, Symbol, TensorType};
use smallvec::SmallVec;

/// What the rows of an op's results depend on, where row `i` of each operand depends on row `i` of the batch alone, and an
/// operand without rows on nothing in the batch, not even on its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows {
    /// The same holds of the results: for each, the axis along which its rows lie, or none where it has none.
    Apart(Vec<Option<usize>>),
    /// A result depends on several rows, on the place of a row in the batch, or on how many there are.
    Coupled,
}

impl Rows {
    /// Of an op with one result: its rows lie along that axis, if it has any.
    pub fn apart(axis: Option<usize>) -> Rows {
        Rows::Apart(vec![axis])
    }
}

/// What an op sees when it is asked about [`Rows`]: the types of its operands and results, and where the batch is in them.
///
/// No type here has the batch as two of its axes: such a value couples rows, and no op is asked about it.
#[derive(Debug)]
pub struct RowsCx<'a> {
    batch: Symbol,
    operands: &'a [&'a TensorType],
    results: &'a [TensorType],
}

impl<'a> RowsCx<'a> {
    /// Asks about operands and results of these types; none if one of them has the batch twice.
    pub fn new(batch: Symbol, operands: &'a [&'a TensorType], results: &'a [TensorType]) -> Option<RowsCx<'a>> {
        let once = |ty: &TensorType| axes(&ty.shape, batch).nth(1).is_none();
        let all = operands.iter().all(|ty| once(ty)) && results.iter().all(once);
        all.then_some(RowsCx { batch, operands, results })
    }

    /// The type of an operand.
    pub fn ty(&self, slot: usize) -> &'a TensorType {
        self.operands[slot]
    }

    /// The axis along which the rows of an operand lie.
    pub fn axis(&self, slot: usize) -> Option<usize> {
        self.axis_in(&self.operands[slot].shape)
    }

    /// The axis of a result that is as long as the batch.
    pub fn result_axis(&self, result: usize) -> Option<usize> {
        self.axis_in(&self.results[result].shape)
    }

    /// The type of a result.
    pub fn result_ty(&self, result: usize) -> &'a TensorType {
        &self.results[result]
    }

    /// The axis of a shape that is as long as the batch, the first if there are several.
    pub fn axis_in(&self, shape: &Shape) -> Option<usize> {
        axes(shape, self.batch).next()
    }

    /// What follows from an op's nature; of what its nature does not tell, its definition says, and a primitive couples rows.
    pub fn by_nature(&self, op: &impl OpDef) -> Rows {
        match op.nature() {
            Nature::Elementwise(_) | Nature::View(Rearrangement::Same) => self.elementwise(),
            Nature::View(Rearrangement::Permute(from)) => {
                Rows::apart(self.axis(0).and_then(|axis| from.iter().position(|&of| of == axis)))
            }
            Nature::View(Rearrangement::Stretch(to)) => {
                Rows::apart(self.axis(0).map_or(self.result_axis(0), |axis| Some(to[axis])))
            }
            Nature::View(Rearrangement::Cut { axis, .. }) | Nature::Scan { axis } => self.along(axis),
            Nature::Reduction { axes } => self.over(axes),
            _ => self.by_expansion(op),
        }
    }

    /// An op that takes element by element.
    pub fn elementwise(&self) -> Rows {
        Rows::apart(self.result_axis(0))
    }

    /// An op that goes along one axis of its first operand, whose place it keeps.
    pub fn along(&self, axis: usize) -> Rows {
        if self.axis(0) == Some(axis) { Rows::Coupled } else { Rows::apart(self.axis(0)) }
    }

    /// An op that goes along axes of its first operand, which are gone from its result.
    pub fn over(&self, gone: &[usize]) -> Rows {
        match self.axis(0) {
            Some(axis) if gone.contains(&axis) => Rows::Coupled,
            axis => Rows::apart(axis.map(|axis| axis - gone.iter().filter(|&&gone| gone < axis).count())),
        }
    }

    /// A composite that has nothing to say but what its definition says.
    pub fn by_expansion(&self, op: &impl OpDef) -> Rows {
        let builder = Builder::new();
        let input = |(slot, ty): (usize, &&TensorType)| builder.input(&slot.to_string(), ty.dtype, ty.shape.clone());
        let operands: Vec<Expr<'_>> = self.operands.iter().enumerate().map(input).collect();
        let Some(results) = op.expand(&operands) else { return Rows::Coupled };
        results.iter().enumerate().for_each(|(index, &result)| builder.output(&index.to_string(), result));
        match builder.finish() {
            Ok(graph) if keeps_rows_apart(&graph, self.batch) => {
                Rows::Apart(graph.outputs().map(|(_, value)| self.axis_in(&graph.ty(value).shape)).collect())
            }
            _ => Rows::Coupled,
        }
    }
}

fn axes(shape: &Shape, batch: Symbol) -> impl Iterator<Item = usize> + '_ {
    shape.iter().enumerate().filter(move |(_, dim)| **dim == Dim::Symbol(batch)).map(|(axis, _)| axis)
}

/// Whether every op that an output or an update needs keeps the rows of a batch apart, and gives them where its types say.
pub(crate) fn keeps_rows_apart(graph: &Graph, batch: Symbol) -> bool {
    let live = graph.live();
    graph.ids().filter(|id| live[id.index()]).all(|id| node_keeps_apart(graph, id, batch))
}

fn node_keeps_apart(graph: &Graph, id: NodeId, batch: Symbol) -> bool {
    let node = graph.node(id);
    let operands: SmallVec<[&TensorType; 4]> = node.operands().iter().map(|&operand| graph.ty(operand)).collect();
    let Some(cx) = RowsCx::new(batch, &operands, node.types()) else { return false };
    match Op::rows(node.op(), &cx) {
        Rows::Apart(axes) => axes.iter().copied().eq((0..node.types().len()).map(|result| cx.result_axis(result))),
        Rows::Coupled => false,
    }
}
