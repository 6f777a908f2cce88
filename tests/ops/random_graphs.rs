//! Laws L4 and L5 on random whole graphs: 5 to 40 nodes with fan-out, shared weights and several losses, thousands a run.
//!
//! One random direction through every input sees a mistake in any entry of any gradient; a sample of the graphs is also
//! checked entry by entry, against central differences, and to second order. `PROPTEST_CASES` sets the number.

use crate::common::{
    ExpansionRules, Oracle, Whole, Worst, check_direction, check_gradients, check_same, config, wholes,
};
use foldgrad::op::{Op, Role};
use proptest::test_runner::{TestCaseError, TestRunner};
use std::cell::RefCell;

/// Runs a law on every `every`-th of the random graphs.
#[track_caller]
fn for_graphs(every: u32, law: impl Fn(&Whole) -> Result<(), String>) {
    let mut config = config(6000);
    config.cases = config.cases.div_ceil(every);
    let outcome = TestRunner::new(config).run(&wholes(), |whole| law(&whole).map_err(TestCaseError::fail));
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[derive(Debug, Default)]
struct Seen {
    graphs: usize,
    nodes: usize,
    fewest: usize,
    most: usize,
    several_losses: usize,
    shared_weights: usize,
    batch_norms: usize,
    gradient_nodes: usize,
    units: f64,
}

#[test]
fn gradients_of_random_graphs_equal_dual_numbers() {
    let seen = RefCell::new(Seen { fewest: usize::MAX, ..Seen::default() });
    for_graphs(1, |whole| {
        let (problem, _) = whole.problem(None)?;
        let (nodes, losses) = whole.size();
        let graph = &problem.forward;
        let is_weight = |id| graph.as_input(id).is_some_and(|(_, role)| role == Role::Parameter);
        let is_shared = |(_, id)| is_weight(id) && graph.users(id).count() > 1;
        let is_norm = |op: &Op| matches!(op, Op::BatchNormTrain(_));
        let mut seen = seen.borrow_mut();
        seen.graphs += 1;
        seen.nodes += nodes;
        seen.fewest = seen.fewest.min(nodes);
        seen.most = seen.most.max(nodes);
        seen.several_losses += usize::from(losses > 1);
        seen.shared_weights += usize::from(graph.inputs().any(is_shared));
        seen.batch_norms += usize::from(graph.nodes().any(|(_, node)| is_norm(node.op())));
        seen.gradient_nodes += problem.gradient.len();
        for direction in 0..2 {
            seen.units = seen.units.max(check_direction(&problem, direction)?);
        }
        Ok(())
    });
    let seen = seen.into_inner();
    println!("{seen:?}");
    assert!(seen.fewest >= 5 && seen.most <= 40, "{seen:?}");
    if seen.graphs >= 2000 {
        let common = [seen.several_losses, seen.shared_weights, seen.batch_norms];
        assert!(common.iter().all(|&count| count > seen.graphs / 10), "{seen:?}");
    }
}

#[test]
fn gradients_of_random_graphs_equal_every_oracle_entry_by_entry() {
    let worst = RefCell::new(Worst::default());
    for_graphs(20, |whole| {
        let (problem, smooth) = whole.problem(None)?;
        let mut oracles = vec![Oracle::Dual, Oracle::ComplexStep];
        if smooth {
            oracles.push(Oracle::CentralDifferences);
        }
        worst.borrow_mut().add(check_gradients(&problem, &oracles)?);
        Ok(())
    });
    println!("entry by entry: {:?}", worst.into_inner());
}

#[test]
fn hand_derived_rules_change_no_gradient_of_a_random_graph() {
    let worst = RefCell::new(Worst::default());
    for_graphs(4, |whole| {
        let (hand, definition) = (whole.problem(None)?.0, whole.problem(Some(&ExpansionRules))?.0);
        worst.borrow_mut().add(check_same(&hand, &definition)?);
        Ok(())
    });
    println!("by definition: {:?}", worst.into_inner());
}

#[test]
fn hessian_vector_products_of_random_graphs_equal_dual_numbers() {
    let worst = RefCell::new(0.0f64);
    for_graphs(6, |whole| {
        let units = check_direction(&whole.second_problem()?, 5)?;
        worst.replace_with(|worst| worst.max(units));
        Ok(())
    });
    println!("Hessian-vector products: {:.1} units", worst.into_inner());
}
