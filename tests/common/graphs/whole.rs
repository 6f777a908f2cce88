//! Whole graphs whose values stay small, with a loss for every value that is left over, beside their gradients.

use super::super::trial::{name_of, reverse};
use super::super::{Problem, WHOLE_UNITS, gradient_name, random_feeds};
use super::menu::{Recipe, recipes};
use super::menus::DIFFERENTIABLE;
use foldgrad::autodiff::{ReverseRules, gradients, hvp};
use foldgrad::op::Op;
use foldgrad::{Builder, DType, Expr, Graph};
use proptest::prelude::*;

/// A whole random graph of no more nodes than that, losses among them.
#[derive(Clone, Debug)]
pub struct Whole {
    recipe: Recipe,
    nodes: usize,
}

/// Random graphs of 5 to 40 nodes, shrinking to fewer instructions.
pub fn wholes() -> impl Strategy<Value = Whole> {
    (recipes(5..50), 5usize..29).prop_map(|(recipe, nodes)| Whole { recipe, nodes })
}

/// What was built.
pub struct Built<'b> {
    pub losses: Vec<Expr<'b>>,
    pub inputs: Vec<Expr<'b>>,
    /// Whether no value depends on a kink, so that differences can be taken.
    pub smooth: bool,
}

impl Whole {
    /// Builds the graph; the same each time.
    pub fn build<'b>(&self, b: &'b Builder) -> Built<'b> {
        let is_short = |pool: &super::pool::Pool<'b>| nodes(&b.graph()) + pool.unread().count() < self.nodes;
        let mut pool = self.recipe.draw(&DIFFERENTIABLE, b, DType::F64, is_short);
        while nodes(&b.graph()) < 5 {
            let (x, _) = pool.pick(0);
            pool.push((x.sin(), 1.0));
        }
        let losses: Vec<Expr<'b>> = pool.unread().map(|value| value.mean_all()).collect();
        let inputs = b.graph().inputs().map(|(_, id)| id).collect::<Vec<_>>();
        let value = |id| foldgrad::ir::Value { node: id, output: 0 };
        let inputs = inputs.into_iter().map(|id| b.expr(value(id))).collect();
        Built { losses, inputs, smooth: pool.smooth }
    }

    /// Number of nodes that compute something, and of losses.
    pub fn size(&self) -> (usize, usize) {
        let b = Builder::new();
        let losses = self.build(&b).losses.len();
        (nodes(&b.graph()), losses)
    }

    /// The graph beside the gradient of its losses, by `autodiff::gradients`, or by other rules. And whether the function
    /// is smooth, so that differences can be taken.
    pub fn problem(&self, rules: Option<&dyn ReverseRules>) -> Result<(Problem, bool), String> {
        let forward = Builder::new();
        let Built { losses, smooth, .. } = self.build(&forward);
        for (index, loss) in losses.iter().enumerate() {
            forward.output(&format!("loss{index}"), *loss);
        }
        let backward = Builder::new();
        let Built { losses, inputs, .. } = self.build(&backward);
        let found = match rules {
            None => gradients(&losses, &inputs),
            Some(rules) => {
                let seeded: Vec<(Expr<'_>, Expr<'_>)> = losses.iter().map(|l| (*l, l.scalar_like(1.0))).collect();
                reverse(rules, &seeded, &inputs)
            }
        };
        let mut wrt = Vec::new();
        for (&input, gradient) in inputs.iter().zip(found.map_err(|error| error.to_string())?) {
            let name = name_of(input);
            backward.output(&gradient_name(&name), gradient);
            wrt.push(name);
        }
        Ok((self.between(forward, backward, wrt)?, smooth))
    }

    /// The slope of the sum of the losses along a random direction, term by term, beside its gradient by `autodiff::hvp`.
    pub fn second_problem(&self) -> Result<Problem, String> {
        let (forward, backward) = (Builder::new(), Builder::new());
        let Built { losses, inputs, .. } = self.build(&forward);
        let slopes = gradients(&losses, &inputs).map_err(|error| error.to_string())?;
        for (&input, slope) in inputs.iter().zip(slopes) {
            let along = forward.input(&format!("along {}", name_of(input)), DType::F64, input.shape());
            forward.output(&format!("slope along {}", name_of(input)), slope * along);
        }
        let Built { losses, inputs, .. } = self.build(&backward);
        let along = |x: &Expr<'_>| format!("along {}", name_of(*x));
        let directions: Vec<Expr<'_>> =
            inputs.iter().map(|x| backward.input(&along(x), DType::F64, x.shape())).collect();
        let total = losses.into_iter().reduce(|a, b| a + b).ok_or("no loss")?;
        let products = hvp(total, &inputs, &directions).map_err(|error| error.to_string())?;
        let wrt: Vec<String> = inputs.iter().map(|&input| name_of(input)).collect();
        for (name, product) in wrt.iter().zip(products) {
            backward.output(&gradient_name(name), product);
        }
        self.between(forward, backward, wrt)
    }

    fn between(&self, forward: Builder, gradient: Builder, wrt: Vec<String>) -> Result<Problem, String> {
        let forward = forward.finish().map_err(|errors| errors.to_string())?;
        let gradient = gradient.finish().map_err(|errors| errors.to_string())?;
        let feeds = random_feeds(&gradient, !self.recipe.seed);
        Ok(Problem { label: format!("{self:?}"), forward, gradient, feeds, wrt, units: WHOLE_UNITS })
    }
}

/// Nodes that are neither inputs nor constants.
fn nodes(graph: &Graph) -> usize {
    graph.nodes().filter(|(_, node)| !matches!(node.op(), Op::Input(_) | Op::Constant(_))).count()
}
