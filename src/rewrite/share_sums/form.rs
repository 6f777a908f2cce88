//! The form of a sum: `Σ (c·x ± y) = c·Σx ± Σy` and `Σ c = N·c`, applied until every factor left under a sum varies.

use super::narrow::keeps_axes;
use super::sum_of;
use super::term::{Atom, Axes, AxisSet, Base, Form, GONE, Ratio, Scale, Term, add};
use crate::ir::{Dim, Graph, NodeId, Shape, Value};
use crate::op::Op;
use crate::ops::{Binary, Unary};
use indexmap::IndexMap;
use smallvec::SmallVec;
use std::collections::HashSet;

/// A form that grows beyond this many terms, or takes more steps to find, is given up.
const TERMS: usize = 16;
const FACTORS: usize = 24;
const STEPS: usize = 256;

/// `S(∏ over / ∏ under)` over some axes of the smallest shape that has all the axes of the factors.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shared {
    pub over: SmallVec<[Atom; 2]>,
    pub under: SmallVec<[Atom; 2]>,
    pub shape: Shape,
    pub summed: AxisSet,
}

impl Shared {
    /// The axes that are left.
    pub fn kept(&self) -> impl Iterator<Item = usize> {
        (0..self.shape.rank()).filter(|axis| self.summed & 1 << axis == 0)
    }
}

/// The forms of all sums of a graph, and the shared sums that they need.
#[derive(Debug, Default)]
pub(super) struct Forms {
    forms: IndexMap<NodeId, Form>,
    // With a sum of the graph that is just this one, if there is one.
    shared: IndexMap<Shared, Option<NodeId>>,
    smaller: HashSet<NodeId>,
}

impl Forms {
    /// The forms of every sum that the results of `graph` need; sums without a small form have none.
    pub fn of(graph: &Graph) -> Forms {
        let live = graph.live();
        let mut forms = Forms::default();
        for (id, node) in graph.nodes().filter(|(id, _)| live[id.index()]) {
            let Some((axes, mean)) = sum_of(node.op()) else { continue };
            if let Some(form) = forms.find(graph, id, axes, mean) {
                forms.forms.insert(id, form);
            }
        }
        forms
    }

    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Form)> {
        self.forms.iter().map(|(&id, form)| (id, form))
    }

    pub fn get(&self, id: NodeId) -> Option<&Form> {
        self.forms.get(&id)
    }

    /// How many shared sums there are.
    pub fn shared_count(&self) -> usize {
        self.shared.len()
    }

    /// The shared sum of that number, and a sum of the graph that is just this one.
    pub fn shared(&self, index: usize) -> Option<(&Shared, Option<NodeId>)> {
        self.shared.get_index(index).map(|(shared, &example)| (shared, example))
    }

    /// Whether what a sum comes down to has fewer elements than what it sums.
    pub fn is_smaller(&self, id: NodeId) -> bool {
        self.smaller.contains(&id)
    }

    fn find(&mut self, graph: &Graph, id: NodeId, axes: &[usize], mean: bool) -> Option<Form> {
        let operand = graph.node(id).operands()[0];
        let frame = graph.ty(operand).shape.clone();
        if frame.rank() > 60 || axes.iter().any(|&axis| frame[axis] == Dim::Known(0)) {
            return None;
        }
        let at = (0..frame.rank()).map(|axis| if frame[axis].is_one() { GONE } else { axis as u8 }).collect();
        let summed = axes.iter().fold(0, |set, &axis| set | 1 << axis);
        let widest = 0;
        let mut search = Search { graph, forms: self, frame, summed, form: Vec::new(), steps: 0, widest };
        search.run(Atom { base: Base::Value(operand), at })?;
        let Search { mut form, frame, widest, .. } = search;
        if widest < frame.iter().filter(|dim| !dim.is_one()).count() {
            self.smaller.insert(id);
        }
        if let [Term { scale, over, under }] = &form[..]
            && let ([Atom { base: Base::Sum(sum), at }], []) = (&over[..], &under[..])
            && *scale == Scale::one()
            && at.len() == graph.node(id).types()[0].shape.iter().filter(|dim| !dim.is_one()).count()
        {
            self.shared[*sum].get_or_insert(id);
        }
        if mean {
            for term in &mut form {
                axes.iter().try_for_each(|&axis| term.scale.size(frame[axis], true))?;
            }
        }
        Some(form)
    }
}

/// How far a factor has been looked into.
#[derive(Clone, Copy, PartialEq)]
enum State {
    Raw,
    /// No product; a sum of terms may still be split.
    Settled,
    /// Stays one factor: beside a factor that varies, the constant ones are not multiplied out.
    Frozen,
}

#[derive(Clone)]
struct Factor {
    atom: Atom,
    below: bool,
    state: State,
}

#[derive(Clone)]
struct Item {
    scale: Scale,
    factors: SmallVec<[Factor; 6]>,
}

struct Search<'g, 'f> {
    graph: &'g Graph,
    forms: &'f mut Forms,
    frame: Shape,
    summed: AxisSet,
    form: Form,
    steps: usize,
    /// The most axes under one of its sums.
    widest: usize,
}

impl Search<'_, '_> {
    fn run(&mut self, whole: Atom) -> Option<()> {
        let factors = SmallVec::from_iter([Factor { atom: whole, below: false, state: State::Raw }]);
        let mut items = vec![Item { scale: Scale::one(), factors }];
        while let Some(mut item) = items.pop() {
            if !self.settle(&mut item)? {
                continue;
            }
            let varying = item.factors.iter().filter(|factor| self.varies(&factor.atom)).count();
            if varying > 0 {
                item.factors
                    .iter_mut()
                    .filter(|f| f.atom.axes() & self.summed == 0)
                    .for_each(|f| f.state = State::Frozen);
            }
            let splits: Vec<usize> = (0..item.factors.len()).filter(|&i| self.splits(&item.factors[i])).collect();
            match splits[..] {
                [split] if varying <= 1 => self.split(item, split, &mut items)?,
                _ => {
                    let term = self.summed_up(item)?;
                    add(&mut self.form, term)?;
                }
            }
            if items.len() + self.form.len() > TERMS {
                return None;
            }
        }
        Some(())
    }

    fn varies(&self, atom: &Atom) -> bool {
        atom.axes() & self.summed != 0
    }

    /// Takes products apart until every factor is a value of its own; false if one is zero.
    fn settle(&mut self, item: &mut Item) -> Option<bool> {
        while let Some(place) = item.factors.iter().position(|factor| factor.state == State::Raw) {
            self.steps += 1;
            if self.steps > STEPS || item.factors.len() > FACTORS {
                return None;
            }
            item.factors[place].state = State::Settled;
            let Factor { atom, below, .. } = item.factors[place].clone();
            let Base::Value(value) = atom.base else { continue };
            let node = self.graph.node(value.node);
            let raw = |operand: Value, at: Axes, below: bool| Factor {
                atom: Atom { base: Base::Value(operand), at },
                below,
                state: State::Raw,
            };
            match (node.op(), node.operands()) {
                (Op::Constant(constant), _) => {
                    if let Some(ratio) = constant.tensor().item().filter(|_| atom.at.is_empty()).and_then(Ratio::of) {
                        item.scale.number(if below { ratio.inverse()? } else { ratio })?;
                        item.factors.remove(place);
                    }
                }
                (Op::Size(size), _) => {
                    size.dims().iter().try_for_each(|&dim| item.scale.size(dim, below))?;
                    item.factors.remove(place);
                }
                (Op::Broadcast(op), &[x]) => {
                    let shape = &self.graph.ty(x).shape;
                    let axis = |(&to, dim): (&usize, &Dim)| if dim.is_one() { GONE } else { atom.at[to] };
                    item.factors[place] = raw(x, op.dims().iter().zip(shape.iter()).map(axis).collect(), below);
                }
                (Op::Reshape(_), &[x]) if keeps_axes(self.graph, value.node) => {
                    let mut axes = atom.at.iter().copied().filter(|&axis| axis != GONE);
                    let shape = &self.graph.ty(x).shape;
                    let at = shape.iter().map(|dim| if dim.is_one() { None } else { axes.next() });
                    item.factors[place] = raw(x, at.map(|axis| axis.unwrap_or(GONE)).collect(), below);
                }
                (Op::Unary(Unary::Neg), &[x]) => {
                    item.scale.ratio = item.scale.ratio.negated();
                    item.factors[place] = raw(x, atom.at, below);
                }
                (Op::Binary(op @ (Binary::Mul | Binary::Div)), &[a, b]) => {
                    item.factors[place] = raw(a, atom.at.clone(), below);
                    let inverted = *op == Binary::Div;
                    item.factors.insert(place + 1, raw(b, atom.at, below != inverted));
                }
                _ if !self.varies(&atom) => match self.forms.get(value.node).map(|form| &form[..]) {
                    Some([]) => return if below { None } else { Some(false) },
                    Some([term]) => {
                        let term = placed(term, &atom.at);
                        item.factors.remove(place);
                        insert(item, term, below)?;
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        Some(true)
    }

    /// Whether a factor is a sum of terms that may be taken apart.
    fn splits(&self, factor: &Factor) -> bool {
        let Base::Value(value) = factor.atom.base else { return false };
        if factor.below || factor.state == State::Frozen {
            return false;
        }
        if matches!(self.graph.node(value.node).op(), Op::Binary(Binary::Add | Binary::Sub)) {
            return true;
        }
        let Some(form) = self.forms.get(value.node) else { return false };
        // A sum of sums is one sum; but a factor that varies beside the inner sum would stand under the outer one.
        !self.varies(&factor.atom)
            || form.iter().all(|term| {
                let term = placed(term, &factor.atom.at);
                let varying: Vec<&Atom> = term.over.iter().filter(|atom| self.varies(atom)).collect();
                let one = matches!(varying[..], [] | [Atom { base: Base::Sum(_), .. }]);
                one && !term.under.iter().any(|atom| self.varies(atom))
            })
    }

    fn split(&self, mut item: Item, split: usize, items: &mut Vec<Item>) -> Option<()> {
        let Factor { atom, .. } = item.factors.remove(split);
        let Base::Value(value) = atom.base else { return None };
        let node = self.graph.node(value.node);
        if let (Op::Binary(op), &[a, b]) = (node.op(), node.operands()) {
            for (operand, negative) in [(b, *op == Binary::Sub), (a, false)] {
                let mut item = item.clone();
                if negative {
                    item.scale.ratio = item.scale.ratio.negated();
                }
                let atom = Atom { base: Base::Value(operand), at: atom.at.clone() };
                item.factors.insert(split, Factor { atom, below: false, state: State::Raw });
                items.push(item);
            }
            return Some(());
        }
        for term in self.forms.get(value.node)? {
            let mut item = item.clone();
            insert(&mut item, placed(term, &atom.at), false)?;
            items.push(item);
        }
        Some(())
    }

    /// The sum of a product: what is constant goes before the sum, and axes along which nothing varies count.
    fn summed_up(&mut self, item: Item) -> Option<Term> {
        let Item { mut scale, factors } = item;
        let varying = |factor: &&Factor, below: bool| factor.below == below && self.varies(&factor.atom);
        let sorted = |below: bool, inside: bool| {
            let chosen = factors.iter().filter(|f| f.below == below && self.varies(&f.atom) == inside);
            let mut atoms: SmallVec<[Atom; 2]> = chosen.map(|factor| factor.atom.clone()).collect();
            atoms.sort();
            atoms
        };
        let covered = factors.iter().filter(|f| varying(f, f.below)).fold(0, |set, f| set | f.atom.axes());
        let (mut over, mut under) = (sorted(false, false), sorted(true, false));
        match (&sorted(false, true)[..], &sorted(true, true)[..]) {
            ([], []) => {}
            ([Atom { base: Base::Sum(inner), at }], []) => {
                // It may have axes that this sum never had.
                self.widest = usize::MAX;
                let mut shared = self.forms.shared(*inner)?.0.clone();
                let kept: Vec<usize> = shared.kept().collect();
                let summed = |axis: &u8| self.summed & 1 << axis != 0;
                kept.iter().zip(at).filter(|(_, to)| summed(to)).for_each(|(&axis, _)| shared.summed |= 1 << axis);
                let at = at.iter().copied().filter(|axis| !summed(axis)).collect();
                over.push(Atom { base: self.share(shared), at });
            }
            (inside, below) if inside.iter().chain(below).all(|atom| matches!(atom.base, Base::Value(_))) => {
                let axes: Vec<u8> = (0..self.frame.rank() as u8).filter(|axis| covered & 1 << axis != 0).collect();
                self.widest = self.widest.max(axes.len());
                let to = |axis: u8| axes.partition_point(|&other| other < axis) as u8;
                let moved = |atoms: &[Atom]| atoms.iter().map(|atom| atom.moved(to)).collect();
                let summed =
                    axes.iter().filter(|&axis| self.summed & 1 << axis != 0).fold(0, |set, &a| set | 1 << to(a));
                let shape = axes.iter().map(|&axis| self.frame[usize::from(axis)]).collect();
                let at = axes.iter().copied().filter(|axis| self.summed & 1 << axis == 0).collect();
                let shared = Shared { over: moved(inside), under: moved(below), shape, summed };
                over.push(Atom { base: self.share(shared), at });
            }
            _ => return None,
        }
        let free = |axis: &usize| self.summed & !covered & 1 << axis != 0;
        (0..self.frame.rank()).filter(free).try_for_each(|axis| scale.size(self.frame[axis], false))?;
        // What is left lies in the shape of the result.
        let to = |axis: u8| (0..axis).filter(|other| self.summed & 1 << other == 0).count() as u8;
        for atoms in [&mut over, &mut under] {
            atoms.iter_mut().for_each(|atom| *atom = atom.moved(to));
            atoms.sort();
        }
        Some(Term { scale, over, under })
    }

    fn share(&mut self, shared: Shared) -> Base {
        let entry = self.forms.shared.entry(shared);
        let index = entry.index();
        entry.or_insert(None);
        Base::Sum(index)
    }
}

/// A term of a value, where that value lies in a larger shape.
fn placed(term: &Term, at: &Axes) -> Term {
    let place = |atom: &Atom| atom.moved(|axis| at[usize::from(axis)]);
    Term {
        scale: term.scale.clone(),
        over: term.over.iter().map(place).collect(),
        under: term.under.iter().map(place).collect(),
    }
}

/// Multiplies an item by a term, or divides it.
fn insert(item: &mut Item, term: Term, below: bool) -> Option<()> {
    item.scale.scale(&term.scale, below)?;
    let frozen = |below: bool| move |atom: Atom| Factor { atom, below, state: State::Frozen };
    item.factors.extend(term.over.into_iter().map(frozen(below)));
    item.factors.extend(term.under.into_iter().map(frozen(!below)));
    Some(())
}
