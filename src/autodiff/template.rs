//! Differentiating an op through its expansion.
//!
//! The expansion is built and differentiated in a graph of its own, over fresh inputs, and the result is spliced into
//! the caller's graph. In the caller's graph the expansion could be hash-consed into nodes that the operands
//! themselves depend on, and a derivative would then leak from one operand into another.

use crate::ir::{Builder, Diagnostic, Expr, Graph, TensorType, Value};
use crate::op::{Cotangent, Op, VjpCx};
use std::collections::HashMap;

/// Differentiated expansions, by op, operand types, and which cotangents are there and asked for.
#[derive(Default)]
pub(super) struct Templates(HashMap<Key, Template>);

/// The reverse sweep over a template's graph: the cotangents of the last argument, given outputs and their cotangents.
pub(super) type Reverse<'s> =
    &'s dyn for<'t> Fn(&[Expr<'t>], &[Cotangent<'t>], &[Expr<'t>]) -> Result<Vec<Cotangent<'t>>, Diagnostic>;

type Key = (Op, Vec<TensorType>, Vec<bool>, Vec<bool>);

/// The outer error is the caller's to explain: an inner diagnostic, or the reason why there is no derivative.
pub(super) type NoTemplate = Result<Diagnostic, &'static str>;

struct Template {
    graph: Graph,
    // For each operand of the op, its cotangent in `graph`.
    cotangents: Vec<Option<Value>>,
}

impl Templates {
    /// The cotangents of the operands of `op`, from its expansion and the sweep that asks for them.
    pub(super) fn apply<'b>(
        &mut self,
        reverse: Reverse<'_>,
        op: &Op,
        cx: &VjpCx<'_, 'b>,
    ) -> Result<Vec<Cotangent<'b>>, NoTemplate> {
        let types: Vec<TensorType> = cx.operands.iter().map(|operand| operand.ty()).collect();
        let present: Vec<bool> = cx.cotangents.iter().map(|c| matches!(c, Cotangent::Value(_))).collect();
        let key = (op.clone(), types, present, cx.needed.to_vec());
        if !self.0.contains_key(&key) {
            let template = Template::new(reverse, &key)?;
            self.0.insert(key.clone(), template);
        }
        let seeds = cx.cotangents.iter().filter_map(|cotangent| cotangent.value());
        let inputs: Vec<Expr<'b>> = cx.operands.iter().copied().chain(seeds).collect();
        Ok(self.0[&key].splice(cx.builder, &inputs))
    }
}

impl Template {
    fn new(reverse: Reverse<'_>, (op, types, present, needed): &Key) -> Result<Template, NoTemplate> {
        let builder = Builder::new();
        let operands: Vec<Expr<'_>> = types
            .iter()
            .enumerate()
            .map(|(slot, ty)| builder.input(&format!("operand{slot}"), ty.dtype, ty.shape.clone()))
            .collect();
        let Some(results) = op.expand(&operands) else {
            return Err(Err("it has neither a reverse rule nor an expansion"));
        };
        let cotangents: Vec<Cotangent<'_>> = results
            .iter()
            .zip(present)
            .enumerate()
            .map(|(index, (result, &present))| match present {
                true => Cotangent::Value(builder.input(&format!("d{index}"), result.dtype(), result.shape())),
                false => Cotangent::Zero,
            })
            .collect();
        let wrt: Vec<Expr<'_>> =
            operands.iter().zip(needed).filter(|&(_, &needed)| needed).map(|(&operand, _)| operand).collect();
        let mut found = reverse(&results, &cotangents, &wrt).map_err(Ok)?.into_iter();
        let cotangents = needed
            .iter()
            .map(|&needed| if needed { found.next()?.value().map(|value| value.value()) } else { None })
            .collect();
        let graph = builder.finish().map_err(|errors| Ok(errors.first().clone()))?;
        Ok(Template { graph, cotangents })
    }

    /// Copies what the cotangents need into `builder`, with `inputs` for the template's inputs in order.
    fn splice<'b>(&self, builder: &'b Builder, inputs: &[Expr<'b>]) -> Vec<Cotangent<'b>> {
        let live = self.graph.reaching(self.cotangents.iter().flatten().map(|value| value.node));
        let mut map: Vec<Vec<Expr<'b>>> = Vec::with_capacity(self.graph.len());
        let mut inputs = inputs.iter();
        for (id, node) in self.graph.nodes() {
            map.push(match node.op() {
                Op::Input(_) => inputs.next().map(|&input| vec![input]).unwrap_or_default(),
                _ if !live[id.index()] => Vec::new(),
                op => {
                    let operands: Vec<Expr<'b>> =
                        node.operands().iter().map(|v| map[v.node.index()][v.output as usize]).collect();
                    builder.push_all(op.clone(), &operands)
                }
            });
        }
        let get = |value: &Value| map[value.node.index()][value.output as usize];
        self.cotangents
            .iter()
            .map(|cotangent| cotangent.as_ref().map_or(Cotangent::Zero, |value| Cotangent::Value(get(value))))
            .collect()
    }
}
