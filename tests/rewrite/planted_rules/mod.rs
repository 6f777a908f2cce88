//! Wrong rules are caught twice: by the laws of rules, which compare values in f64, and by the proof at compile time.
//!
//! Each planted rule is one equation with one mistake of the kind that ships: a factor forgotten, an axis confused with
//! another of its size, an order ignored. It fires on an example on which the right rule holds. The laws know nothing of
//! the prover and the prover nothing of the laws; the right rules pass both.

mod examples;
mod judges;
mod mistakes;

use examples::Example;
use foldgrad::rewrite::{RewriteError, Rule, rules};
use judges::{law, proof};
use mistakes::{Planted, planted};

#[test]
fn the_laws_catch_every_planted_rule() {
    let escaped: Vec<&str> =
        planted().iter().filter(|planted| law(planted.example, &[&planted.rule]).is_ok()).map(name).collect();
    assert_eq!(escaped, [""; 0]);
}

#[test]
fn the_laws_see_the_value_and_not_the_crash() {
    for planted in planted() {
        let reason = law(planted.example, &[&planted.rule]).expect_err("the laws catch it");
        assert!(reason.contains("instead of"), "{}: {reason}", planted.rule.name);
    }
}

#[test]
fn the_proof_catches_every_planted_rule_and_names_it() {
    for planted in planted() {
        match proof(planted.example, &[&planted.rule]) {
            Err(RewriteError::Unequal { rule, node, unequal, .. }) => {
                assert_eq!(rule, Some(planted.rule.name), "{unequal}");
                let node = node.expect("a node is named");
                assert!(node.starts_with(planted.at), "{}: `{node}` is no {}", planted.rule.name, planted.at);
            }
            other => panic!("{}: {other:?}", planted.rule.name),
        }
    }
}

#[test]
fn the_right_rules_pass_the_laws_and_the_proof() {
    for example in Example::all() {
        let rules: Vec<&'static Rule> = rules::all().collect();
        let fired = law(example, &rules).unwrap_or_else(|reason| panic!("{example:?}: {reason}"));
        assert!(fired > 0, "{example:?}: no rule fired");
        let fired = proof(example, &rules).unwrap_or_else(|error| panic!("{example:?}: {error}"));
        assert!(fired > 0, "{example:?}: no rule fired");
    }
}

#[test]
fn a_planted_rule_without_its_mistake_passes() {
    // Each family of planted rules, with nothing planted: the catch is the mistake and not the way it is written.
    for (right, example) in mistakes::right() {
        let fired = law(example, &[right]).unwrap_or_else(|reason| panic!("{}: {reason}", right.name));
        assert!(fired > 0, "{}: did not fire", right.name);
        let fired = proof(example, &[right]).unwrap_or_else(|error| panic!("{}: {error}", right.name));
        assert!(fired > 0, "{}: did not fire", right.name);
    }
}

#[test]
fn mistakes_are_many_and_different() {
    let names: std::collections::BTreeSet<&str> = planted().iter().map(name).collect();
    assert!(names.len() == planted().len() && names.len() >= 15, "{names:?}");
}

fn name(planted: &Planted) -> &'static str {
    planted.rule.name
}
