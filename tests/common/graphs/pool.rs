//! The values that a random graph is built from, and the weights it has.

use super::super::Random;
use super::menu::{Drawn, Menu, Turn};
use foldgrad::ir::{Role, Shape, TensorType, Value, Weights};
use foldgrad::op::Domain;
use foldgrad::{Builder, DType, Expr};

/// Values larger than this are squashed, if the menu says so.
const LIMIT: f64 = 6.0;

pub const SMALL: Domain = Domain::AwayFromZero(0.1, 0.8);
pub const FACTOR: Domain = Domain::AwayFromZero(0.6, 1.6);
pub const POSITIVE: Domain = Domain::Range(0.6, 1.6);

pub struct Pool<'b> {
    pub b: &'b Builder,
    pub menu: &'static Menu,
    pub float: DType,
    pub seed: u64,
    pub random: Random,
    /// A value for each parameter and state of known size.
    pub weights: Weights,
    /// How many of the first values are inputs, which need not be read.
    pub inputs: usize,
    /// Whether no value depends on a kink, so that differences can be taken.
    pub smooth: bool,
    /// What a loss is to add, beside its values.
    pub penalties: Vec<Expr<'b>>,
    /// States that are still to get a next value.
    pub states: Vec<Expr<'b>>,
    items: Vec<Item<'b>>,
}

#[derive(Clone, Copy)]
struct Item<'b> {
    value: Expr<'b>,
    bound: f64,
    used: bool,
}

impl<'b> Pool<'b> {
    pub fn new(menu: &'static Menu, b: &'b Builder, float: DType, seed: u64) -> Pool<'b> {
        Pool {
            b,
            menu,
            float,
            seed,
            random: Random(seed),
            weights: Weights::new(),
            inputs: 0,
            smooth: true,
            penalties: vec![],
            states: vec![],
            items: vec![],
        }
    }

    fn at(&mut self, index: usize) -> Drawn<'b> {
        self.items[index].used = true;
        (self.items[index].value, self.items[index].bound)
    }

    /// A value that nobody uses yet, one of the latest, or any.
    pub fn pick(&mut self, pick: u8) -> Drawn<'b> {
        let (len, fresh) = (self.items.len(), self.menu.fresh);
        let unused = self.items.iter().rposition(|item| !item.used);
        let late = fresh + (255 - fresh) / 3 * 2;
        let at = usize::from(pick);
        self.at(match pick {
            pick if pick < fresh => unused.unwrap_or(at % len),
            pick if pick < late => len - 1 - at % len.min(5),
            _ => at % len,
        })
    }

    /// One of the values of that type, if there is any.
    pub fn of_type(&mut self, ty: &TensorType, pick: u8) -> Option<Drawn<'b>> {
        let same: Vec<usize> = (0..self.items.len()).filter(|&at| self.items[at].value.ty() == *ty).collect();
        let index = *same.get(usize::from(pick) % same.len().max(1))?;
        Some(self.at(index))
    }

    /// A value of the same type, the same one if there is no other.
    pub fn like(&mut self, turn: &Turn<'b>) -> Drawn<'b> {
        self.of_type(&turn.x.ty(), turn.second).unwrap_or((turn.x, turn.bound))
    }

    /// The first value of which that holds.
    pub fn find(&self, is: impl Fn(Expr<'b>) -> bool) -> Option<Drawn<'b>> {
        self.items.iter().find(|item| is(item.value)).map(|item| (item.value, item.bound))
    }

    /// The latest value of which that holds.
    pub fn latest(&self, is: impl Fn(Expr<'b>) -> bool) -> Option<Drawn<'b>> {
        self.items.iter().rfind(|item| is(item.value)).map(|item| (item.value, item.bound))
    }

    /// Any value in the shape of another: one that has it, or the mean over what it lacks.
    pub fn fitted(&mut self, like: Expr<'b>, pick: u8) -> Drawn<'b> {
        let same = if pick.is_multiple_of(4) { None } else { self.of_type(&like.ty(), pick) };
        if let Some(same) = same {
            return same;
        }
        let (value, bound) = self.pick(pick);
        let (from, to) = (value.shape(), like.shape());
        let value = match (value.rank(), like.rank()) {
            // The mean over the rows, one for each column.
            (2, 1) if from[1] == to[0] => value.mean(&[0]),
            (2, 1) if from[0] == to[0] => value.mean(&[1]),
            (1, 2) if from[0] == to[1] => value.along(1, like),
            (1, 2) if from[0] == to[0] => value.along(0, like),
            _ => value.mean_all().broadcast_to(to),
        };
        (value, bound)
    }

    pub fn push(&mut self, (value, bound): Drawn<'b>) {
        let is_large = self.menu.bounded && bound > LIMIT;
        let (value, bound) = if is_large { (value.tanh(), 1.0) } else { (value, bound) };
        // The same value again is the old one, which is left over once more: so something always is.
        match self.items.iter_mut().find(|item| item.value.value() == value.value()) {
            Some(item) => item.used = false,
            None => self.items.push(Item { value, bound, used: false }),
        }
    }

    /// Values beside the inputs that nothing reads.
    pub fn unread(&self) -> impl Iterator<Item = Expr<'b>> {
        self.items.iter().skip(self.inputs).filter(|item| !item.used).map(|item| item.value)
    }

    /// Values beside the inputs that nothing reads; at least one value.
    pub fn left(&self) -> Vec<Expr<'b>> {
        let left: Vec<Expr<'b>> = self.unread().collect();
        if left.is_empty() { self.items.last().map(|item| item.value).into_iter().collect() } else { left }
    }

    /// The input of that name.
    pub fn named(&self, name: &str) -> Option<Expr<'b>> {
        let node = self.b.graph().input(name);
        node.map(|node| self.b.expr(Value { node, output: 0 }))
    }

    /// Whether this instruction reads a weight that others read.
    fn shares(&self, turn: &Turn<'b>) -> bool {
        turn.second.is_multiple_of(self.menu.shares.max(1))
    }

    /// An axis that a weight may lie along.
    pub fn axis(&self, turn: &Turn<'b>) -> Option<usize> {
        if self.menu.open { turn.any_axis() } else { turn.axis().map(|(axis, _)| axis) }
    }

    /// The last axis, if a weight may lie along it.
    pub fn last(&self, turn: &Turn<'b>) -> Option<usize> {
        if self.menu.open { turn.x.rank().checked_sub(1) } else { turn.last().map(|(axis, _)| axis) }
    }

    /// A weight of its own, or the one of that kind and shape.
    pub fn weight(&mut self, kind: &str, turn: &Turn<'b>, shape: impl Into<Shape>, domain: Domain) -> Expr<'b> {
        let shape = shape.into();
        let kind = if self.menu.shares == 1 { "w" } else { kind };
        // What has no value before a run is drawn there, and must be good to divide by.
        let open = if shape.known().is_some() { "" } else { "p " };
        let own = if self.shares(turn) { String::new() } else { format!("#{}", self.b.graph().len()) };
        self.declare(&format!("{open}{kind}{shape}{own}"), Role::Parameter, shape, domain)
    }

    /// The input of that name, with a value if its size is known.
    pub fn declare(&mut self, name: &str, role: Role, shape: impl Into<Shape>, domain: Domain) -> Expr<'b> {
        if let Some(known) = self.named(name) {
            return known;
        }
        let shape = shape.into();
        if let Some(sizes) = shape.known() {
            let array = self.random.array(self.float, &sizes, domain);
            self.weights.insert(name.to_owned(), array.to_tensor(self.float).expect("a tensor"));
        }
        self.b.declare(name, role, TensorType::new(self.float, shape))
    }

    /// A vector of that length from the pool, or a weight.
    pub fn vector(&mut self, turn: &Turn<'b>, len: usize, pick: u8) -> Drawn<'b> {
        let ty = TensorType::new(self.float, [len]);
        self.of_type(&ty, pick).unwrap_or_else(|| (self.weight("vector", turn, [len], SMALL), 1.0))
    }

    pub fn scalar(&self, value: f64) -> Expr<'b> {
        self.b.scalar(self.float, value)
    }
}
