//! R1 to R3 and R5 for every rule: it fires on its examples, says why not on its counterexamples, changes no value and
//! lowers the work. That what is printed under an example is what happens, is [`golden_files`](super::golden).

use super::draw;
use super::golden::{Example, Expected, all};
use crate::common::{Magnitude, feeds_as};
use foldgrad::Graph;
use foldgrad::ir;
use foldgrad::ir::OrderedMap;
use foldgrad::pass::{Action, Pipeline};
use foldgrad::reference::{Array, interpret};
use foldgrad::rewrite::{Equality, Prover, rules, work};
use std::collections::BTreeSet;

/// Largest difference of a value before and after, in units of 2⁻⁵³ of the magnitudes that are summed into it: the same
/// as for gradients of whole graphs.
const UNITS: f64 = 64.0;
/// Draws of every example: the first is tame.
const DRAWS: u64 = 12;
/// Sizes of the symbols, the empty batch and the batch of one among them.
const SIZES: [usize; 5] = [0, 1, 2, 3, 7];

#[test]
fn r1_a_rule_fires_on_its_examples() {
    for example in all(true) {
        let mut rewriter = example.rewriter();
        let after = example.run(&mut rewriter, &example.graph);
        assert!(!rewriter.fired().is_empty(), "{}", example.label());
        assert!(rewriter.fired().iter().all(|fired| fired.rule.name == example.rule.name));
        assert_eq!(example.expected, Expected::Becomes(ir::print(&after)), "{}", example.label());
        ir::verify(&after).unwrap_or_else(|errors| panic!("{}: {errors}", example.label()));
    }
}

#[test]
fn r2_a_rule_says_why_it_does_not_fire() {
    for example in all(false) {
        let mut rewriter = example.rewriter();
        let after = example.run(&mut rewriter, &example.graph);
        assert!(rewriter.fired().is_empty(), "{}", example.label());
        let said = rewriter.refused().iter().map(|refused| format!("{}: {}", refused.subject, refused.reason));
        assert_eq!(example.expected, Expected::Stays(said.collect()), "{}", example.label());
        assert_eq!(ir::print(&after), ir::print(&example.graph), "{}", example.label());
        // A sentence for a person: no lower-case variant names, no line breaks.
        for refused in rewriter.refused() {
            assert!(!refused.reason.is_empty() && !refused.reason.contains('\n'), "{}", refused.reason);
        }
    }
}

/// In the field, or where a rule is no algebra in f64 by samples; by the prover that also judges every pass.
#[test]
fn r3_a_rule_changes_no_value_as_algebra() {
    for example in all(true) {
        let mut rewriter = example.rewriter();
        let after = example.run(&mut rewriter, &example.graph);
        let algebraic = rewriter.fired().iter().all(|fired| fired.equality == Equality::Algebraic);
        // Only signs and orders are beyond the field.
        let orders = ["relu", "leaky_relu", "max", "reduce_max"];
        let ordered = example.graph.nodes().any(|(_, node)| orders.contains(&node.op().name()));
        assert!(algebraic || ordered, "{}: it is proved by samples", example.label());
        let weights = example.weights(0).unwrap_or_default();
        let mut prover = Prover::with_weights(&example.graph, &weights).expect("small inputs").points(4);
        let mut check = |equality| prover.check(&example.graph, &after, &[], equality);
        check(Equality::Sampled).unwrap_or_else(|unequal| panic!("{}: {unequal}", example.label()));
        if algebraic {
            check(Equality::Algebraic).unwrap_or_else(|unequal| panic!("{}: {unequal}", example.label()));
        }
        // The driver comes to the same verdict, rewrite by rewrite.
        let mut proved = example.rewriter().proved(&example.graph).expect("small inputs");
        assert_eq!(ir::print(&example.run(&mut proved, &example.graph)), ir::print(&after), "{}", example.label());
    }
}

/// With zero, tiny and huge variances, γ = 0 and γ < 0, |μ| ≫ σ, constant data, one example and none.
#[test]
fn r3_a_rule_changes_no_value_at_nasty_points() {
    let (mut worst, mut compared, mut skipped) = (0.0f64, 0usize, 0usize);
    for example in all(true) {
        for (draw, size) in (0..DRAWS).flat_map(|draw| SIZES.map(|size| (draw, size))) {
            // A rule that asks for signs is asked again at every draw.
            let after = match example.weights(draw) {
                Some(weights) => example.run(&mut example.rewriter_with(Some(weights)), &example.graph),
                None => example.rewritten(),
            };
            let feeds = draw::feeds(
                &example.graph,
                &example.ranges,
                &draw::sizes(&example.graph, size),
                &example.label(),
                draw,
            );
            let feeds = feeds_as::<Magnitude>(&feeds);
            let [before, after] = [&example.graph, &after].map(|graph| values(graph, &feeds));
            assert!(before.keys().eq(after.keys()), "{}", example.label());
            for (name, before) in &before {
                let label = || format!("{}: {name} at draw {draw}, size {size}", example.label());
                let (Array::Real(a), Array::Real(b)) = (before, &after[name]) else {
                    assert_eq!(before, &after[name], "{}", label());
                    continue;
                };
                assert_eq!(a.shape, b.shape, "{}", label());
                for (a, b) in a.data.iter().zip(&b.data) {
                    // Infinities may come in another order and meet as NaN, but finite stays finite.
                    assert_eq!(a.value.is_finite(), b.value.is_finite(), "{}: {a:?} and {b:?}", label());
                    if !a.value.is_finite() {
                        skipped += 1;
                        continue;
                    }
                    let (difference, unit) = ((a.value - b.value).abs(), a.size.max(b.size) * f64::EPSILON / 2.0);
                    assert!(difference <= UNITS * unit, "{}: {a:?} and {b:?}", label());
                    (worst, compared) = (if unit > 0.0 { worst.max(difference / unit) } else { worst }, compared + 1);
                }
            }
        }
    }
    println!("{compared} elements equal to {worst:.1} units of the magnitudes; {skipped} are not finite on both sides");
    assert!(skipped * 4 < compared, "{skipped} of {compared} are not finite: nothing is compared");
}

/// Outputs and updates by name.
fn values(graph: &Graph, feeds: &OrderedMap<String, Array<Magnitude>>) -> OrderedMap<String, Array<Magnitude>> {
    let evaluation = interpret(graph, feeds).expect("every input is fed");
    let updates = evaluation.updates.into_iter().map(|(name, value)| (format!("update of {name}"), value));
    evaluation.outputs.into_iter().chain(updates).collect()
}

#[test]
fn r5_a_rule_lowers_the_work() {
    for example in all(true) {
        let (before, after) = (work(&example.graph), work(&example.rewritten()));
        assert!(after < before, "{}: {before:?} to {after:?}", example.label());
    }
}

/// A preset has no rule outside of the laws, and names are unique.
#[test]
fn rules_have_names_of_their_own() {
    let names: Vec<&str> = rules::all().map(|rule| rule.name).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    assert!(names.len() >= 23, "{}", names.len());
    for rule in rules::all() {
        assert!(rule.equation.contains('⇒'), "{rule:?}");
    }
}

/// Whether two values are one at NaN, infinities and zeros, the sign of a zero aside.
fn same(before: &Array<f64>, after: &Array<f64>) -> bool {
    let (Array::Real(a), Array::Real(b)) = (before, after) else { return before == after };
    a.data.iter().zip(&b.data).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()))
}

/// The identities of the presets hold for NaN and infinity too; those that do not are in no preset.
#[test]
fn identities_hold_for_every_number() {
    const SPECIAL: [f64; 8] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0, 1e308, -5e-324, 1.0];
    let special = |example: &Example| {
        let mut feeds = draw::feeds(&example.graph, &example.ranges, &draw::sizes(&example.graph, 8), "special", 0);
        for feed in feeds.values_mut() {
            if let Array::Real(array) = feed {
                array.data.iter_mut().zip(SPECIAL.iter().cycle()).for_each(|(x, &special)| *x = special);
            }
        }
        let [before, after] = [&example.graph, &example.rewritten()].map(|graph| interpret(graph, &feeds));
        let (before, after) = (before.expect("fed").outputs, after.expect("fed").outputs);
        before.iter().all(|(name, before)| same(before, &after[name]))
    };
    let sets = [(rules::IDENTITIES, true), (rules::AT_REST, true), (rules::UNSAFE, false)];
    for (rule, safe) in sets.iter().flat_map(|(set, safe)| set.iter().map(move |rule| (*rule, *safe))) {
        for example in super::golden::examples(rule).iter().filter(|example| example.fires) {
            assert_eq!(special(example), safe, "{}", example.label());
        }
    }
    let preset = |pipeline: Pipeline| pipeline.passes().to_vec();
    for pass in preset(Pipeline::training()).into_iter().chain(preset(Pipeline::inference())) {
        let Action::Rules(sets) = pass.action else { continue };
        let mut rules = sets.iter().copied().flatten();
        let unsafe_rule = rules.find(|rule| rules::UNSAFE.iter().any(|other| other.name == rule.name));
        assert!(unsafe_rule.is_none(), "{}: {unsafe_rule:?}", pass.name);
    }
}
