//! Recognises maps that are compiled as a whole, the [programs](Program): the updates of the usual optimisers.

use crate::kernel::{MapCall, MapOp, Native, Pattern, Program, Slot};
use crate::ops::Binary;

/// An expression over the roles of a program's operands: `[gradient, rate, velocity, momentum, parameter]`.
enum Expression {
    Role(usize),
    Op(Binary, &'static Expression, &'static Expression),
}

use Expression::{Op, Role};

const STEP: Expression = Op(Binary::Mul, &Role(1), &Role(0));
const VELOCITY: Expression = Op(Binary::Sub, &Op(Binary::Mul, &Role(3), &Role(2)), &STEP);
const DESCENT: Expression = Op(Binary::Sub, &Role(4), &STEP);
const MOMENTUM: Expression = Op(Binary::Add, &Role(4), &VELOCITY);
const NESTEROV: Expression = Op(Binary::Add, &Role(4), &Op(Binary::Sub, &Op(Binary::Mul, &Role(3), &VELOCITY), &STEP));

/// The velocity and parameter that a program computes.
const PROGRAMS: [(Program, Option<&Expression>, &Expression); 3] = [
    (Program::Nesterov, Some(&VELOCITY), &NESTEROV),
    (Program::Momentum, Some(&VELOCITY), &MOMENTUM),
    (Program::Descent, None, &DESCENT),
];

/// Which roles are one number, rather than one an element.
const IS_SCALAR: [bool; 5] = [false, true, false, true, false];

/// The program that the map's instructions amount to, if it is one of the list. Looks at the code before instructions are
/// joined.
pub(super) fn recognise(map: &MapCall) -> Option<Native> {
    PROGRAMS.iter().find_map(|&(program, velocity, parameter)| {
        let count = if velocity.is_some() { 2 } else { 1 };
        (0..map.outputs.len()).find_map(|last| {
            let first = if count == 2 { 1usize.checked_sub(last)? } else { last };
            if map.outputs.len() != count {
                return None;
            }
            let mut roles = [None; 5];
            let fits = velocity.is_none_or(|velocity| unify(map, velocity, Slot::Output(first), &mut roles))
                && unify(map, parameter, Slot::Output(last), &mut roles);
            let dtype = map.outputs[last].dtype;
            let used = roles.iter().flatten().count();
            // What a program does not use is bound to the rate: a number that may be read.
            let inputs = roles.map(|role| role.or(roles[1]).unwrap_or(0));
            (fits && used == map.inputs.len() && dtype.is_float()).then_some(Native {
                program,
                dtype,
                inputs,
                outputs: [first, last],
            })
        })
    })
}

/// Whether a slot holds the expression, with each role bound to one input. Expressions are a few operations deep.
fn unify(map: &MapCall, expression: &Expression, slot: Slot, roles: &mut [Option<usize>; 5]) -> bool {
    match expression {
        Role(role) => {
            let Slot::Input(input) = slot else { return false };
            let pattern = if IS_SCALAR[*role] { Pattern::Scalar } else { Pattern::Full };
            let fits = map.inputs[input].pattern == pattern && roles[*role].is_none_or(|bound| bound == input);
            roles[*role] = Some(input);
            fits
        }
        Op(op, left, right) => {
            let Some(made) = map.code.iter().find(|instruction| instruction.result == slot) else { return false };
            if made.op != MapOp::Binary(*op) {
                return false;
            }
            let [a, b, ..] = made.operands;
            let before = *roles;
            if unify(map, left, a, roles) && unify(map, right, b, roles) {
                return true;
            }
            *roles = before;
            *op != Binary::Sub && unify(map, left, b, roles) && unify(map, right, a, roles)
        }
    }
}
