//! Joins pairs of a map's instructions into one pass over a chunk. The elements are computed as before, bit for bit; what is
//! saved is writing the value between them and reading it again.

use crate::kernel::{MapCall, MapInstruction, MapOp, Slot, Then};
use crate::ops::Binary;

pub(super) fn contract(map: &mut MapCall) {
    let mut readers = vec![0usize; map.scratch];
    let mut maker = vec![usize::MAX; map.scratch];
    for (at, instruction) in map.code.iter().enumerate() {
        for slot in instruction.operands {
            if let Slot::Scratch(slot) = slot {
                readers[slot] += 1;
            }
        }
        if let Slot::Scratch(slot) = instruction.result {
            maker[slot] = at;
        }
    }
    let mut gone = vec![false; map.code.len()];
    for at in 0..map.code.len() {
        let second = map.code[at].clone();
        let joined = (0..second.operands.len()).find_map(|place| {
            let Slot::Scratch(slot) = second.operands[place] else { return None };
            // Every scratch slot is written once so far.
            let first = &map.code[maker[slot]];
            let is_sole = readers[slot] == 1 && !gone[maker[slot]];
            Some((maker[slot], is_sole.then(|| join(first, &second, place)).flatten()?))
        });
        if let Some((first, joined)) = joined {
            gone[first] = true;
            map.code[at] = joined;
        }
    }
    let mut gone = gone.into_iter();
    map.code.retain(|_| !gone.next().unwrap_or(false));
}

/// Both instructions as one, where the first makes the operand of the second at `place`.
fn join(first: &MapInstruction, second: &MapInstruction, place: usize) -> Option<MapInstruction> {
    let [a, b, ..] = first.operands;
    if !first.dtype.is_float() {
        return None;
    }
    let (op, operands) = match (first.op, second.op) {
        (MapOp::Binary(Binary::Mul), MapOp::Binary(then)) => {
            let then = match (then, place) {
                (Binary::Add, _) => Then::Add,
                (Binary::Sub, 0) => Then::Subtract,
                (Binary::Sub, _) => Then::SubtractFrom,
                _ => return None,
            };
            (MapOp::Multiply(then), [a, b, second.operands[1 - place], Slot::Unused])
        }
        (MapOp::Compare(compare), MapOp::Select) if place == 0 && first.dtype == second.dtype => {
            (MapOp::SelectBy(compare), [a, b, second.operands[1], second.operands[2]])
        }
        _ => return None,
    };
    Some(MapInstruction { op, dtype: second.dtype, operands, result: second.result })
}
