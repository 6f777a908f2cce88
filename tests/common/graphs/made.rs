//! Graphs with values for their weights, by what they are for.

use super::menu::Recipe;
use super::menus::{INFERENCE, ROWS, SYMBOLIC, TRAINING};
use super::pool::Pool;
use foldgrad::autodiff::gradients;
use foldgrad::ir::{Dim, Role, Weights};
use foldgrad::{Builder, DType, Expr, Graph};

/// A graph with a value for each of its weights of known size.
#[derive(Clone, Debug)]
pub struct Made {
    pub graph: Graph,
    pub weights: Weights,
    pub seed: u64,
}

fn make(recipe: &Recipe, menu: &'static super::Menu, finish: impl for<'b> FnOnce(&mut Pool<'b>)) -> Made {
    let b = Builder::new();
    let mut pool = recipe.draw(menu, &b, DType::F64, |_| true);
    finish(&mut pool);
    let weights = pool.weights;
    Made { graph: b.finish().expect("instructions build a graph"), weights, seed: recipe.seed }
}

fn give_out_what_is_left(pool: &mut Pool<'_>) {
    for (index, value) in pool.left().into_iter().enumerate() {
        pool.b.output(&format!("y{index}"), value);
    }
}

/// The loss, and its gradient by each of these.
fn give_out_gradients(pool: &Pool<'_>, loss: Expr<'_>, wrt: &[(String, Expr<'_>)]) {
    pool.b.output("loss", loss);
    let values: Vec<Expr<'_>> = wrt.iter().map(|(_, value)| *value).collect();
    let found = gradients(&[loss], &values).expect("every op here has a gradient");
    for ((name, _), gradient) in wrt.iter().zip(found) {
        pool.b.output(&format!("gradient of {name}"), gradient);
    }
}

fn parameters<'b>(pool: &Pool<'b>) -> Vec<(String, Expr<'b>)> {
    let names: Vec<String> = {
        let graph = pool.b.graph();
        let is_trained = |id| graph.as_input(id).is_some_and(|(_, role)| role == Role::Parameter);
        graph.inputs().filter(|&(_, id)| is_trained(id)).map(|(name, _)| name.to_owned()).collect()
    };
    names.into_iter().filter_map(|name| pool.named(&name).map(|value| (name, value))).collect()
}

/// A graph at rest, over a symbolic batch.
pub fn inference(recipe: &Recipe) -> Made {
    make(recipe, &INFERENCE, give_out_what_is_left)
}

/// A training graph, with running statistics, penalties, and the gradient of its loss by every parameter.
pub fn training(recipe: &Recipe) -> Made {
    make(recipe, &TRAINING, |pool| {
        let losses = pool.left().into_iter().map(|y| (y * y * y).mean_all());
        let loss = losses.chain(pool.penalties.iter().copied()).reduce(|a, b| a + b).expect("a value is left");
        give_out_gradients(pool, loss, &parameters(pool));
    })
}

/// A graph of sizes that are not known.
pub fn symbolic(recipe: &Recipe) -> Made {
    make(recipe, &SYMBOLIC, |pool| {
        give_out_what_is_left(pool);
        match (recipe.seed % 8, pool.named("x")) {
            // What is given out may be an input, and a weight.
            (0, Some(x)) => pool.b.output("as given", x),
            (1, _) => pool.b.output("weight", pool.b.parameter("p given", DType::F64, ["n", "4"])),
            (2, _) => drop(pool.b.input("read by nobody", DType::F64, ["n", "k"])),
            _ => {}
        }
    })
}

/// The same with a loss, and its gradients.
pub fn symbolic_training(recipe: &Recipe) -> Made {
    make(recipe, &SYMBOLIC, |pool| {
        let losses = pool.left().into_iter().map(|y| (y * y).sum_all() * 0.1);
        let loss = losses.reduce(|a, b| a + b).expect("a value is left");
        let data = pool.named("x").map(|x| ("x".to_owned(), x));
        let wrt: Vec<_> = parameters(pool).into_iter().chain(data).collect();
        give_out_gradients(pool, loss, &wrt);
    })
}

/// A graph to predict with: most give out what has a row for each of the batch, and there first.
pub fn rows(recipe: &Recipe) -> Made {
    let couples = recipe.seed % 3 == 2;
    make(recipe, &ROWS, |pool| {
        for (at, value) in pool.left().into_iter().enumerate() {
            let given = match value.shape().iter().position(|dim| dim.known().is_none()) {
                Some(axis) => {
                    let others = (0..value.rank()).filter(|&other| other != axis);
                    value.transpose(&[axis].into_iter().chain(others).collect::<Vec<_>>())
                }
                None if couples && at % 2 == 1 => value,
                None => {
                    let index = super::coupled::index(pool);
                    value.mean_all().broadcast_to([Dim::symbol("n")]) + index.cast(DType::F64)
                }
            };
            pool.b.output(&format!("y{at}"), given);
        }
    })
}
