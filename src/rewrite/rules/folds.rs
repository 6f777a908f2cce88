//! Rules that fold affine maps, batch norm among them, into the weights of products.
//!
//! All of them are the same algebra: collect the map ([`Maps`]), walk to the product ([`Between`]), carry the map there,
//! and let the product take it in ([`Product`](crate::rewrite::product::Product)).

use crate::rewrite::chain::{Between, Maps, product_at};
use crate::rewrite::product::Product;
use crate::rewrite::rule::{need, rules};
use crate::rewrite::{Match, Miss, Rewrite};

/// The maps whose result a product multiplies, through ops that maps pass; refusals are about them.
fn maps_before<'g>(m: &Match<'g>, product: &Product) -> Result<(Between, Maps<'g>), Miss> {
    Between::walk(m, m.root(), product.data, |value| {
        let maps = Maps::ending_at(m, value)?;
        m.concerns(value.node);
        Ok(maps)
    })
}

/// Refuses to leave an addition behind where there was no more than one operation before.
fn pays(m: &Match<'_>, maps: &Maps<'_>) -> Result<(), Miss> {
    if maps.elementwise_operations(m) > 1 { Ok(()) } else { Err(Miss::Absent) }
}

rules! {
    /// s⊙(x·W + b) + t ⇒ x·(W·diag s) + (s⊙b + t);   batch norm: s = γ/√(σ² + ε), t = β − s⊙μ
    ///
    /// Also from behind ops that the map passes: changes of shape with the axis tracked, ReLU where there is no shift
    /// and s > 0.
    fn affine_into_product_before(m) {
        let maps = Maps::ending_at(m, m.result())?;
        let (between, product) = Between::walk(m, maps.first(), maps.x, |value| product_at(m, value))?;
        let map = between.pull(m, maps.map)?;
        product.gains_from(m, &map, &maps.nodes)?;
        let folded = product.followed_by(m, &map)?;
        let absorbed = maps.nodes.into_iter().chain(between.nodes());
        Ok(Rewrite::by(between.apply(m, folded)).absorbing(absorbed).into(product.node))
    }

    /// (s⊙x + t)·W + b ⇒ x·(diag s·W) + (t·W + b);   batch norm: s = γ/√(σ² + ε), t = β − s⊙μ
    ///
    /// This is what becomes of a batch norm behind the activation: the next product takes it in, through changes of shape
    /// with the axis tracked.
    fn affine_into_product_behind(m) {
        let product = Product::of(m, m.root())?;
        let (between, maps) = maps_before(m, &product)?;
        let map = between.push(m, maps.map)?;
        product.gains_from(m, &map, &maps.nodes)?;
        let folded = product.preceded_by(m, &map, between.apply(m, m.get(maps.x)))?;
        Ok(Rewrite::by(folded).absorbing(maps.nodes).absorbing(between.nodes()).into(product.node))
    }

    /// s₂⊙(s₁⊙x + t₁) + t₂ ⇒ (s₂⊙s₁)⊙x + (s₂⊙t₁ + t₂)
    fn affine_after_affine(m) {
        let maps = Maps::ending_at(m, m.result())?;
        if maps.nodes.len() < 2 || maps.map.nodes() >= maps.elementwise_operations(m) {
            return Err(Miss::Absent);
        }
        Ok(Rewrite::by(maps.map.apply(m.get(maps.x))).absorbing(maps.nodes).into(m.root()))
    }

    /// relu(s⊙x + t)·W ⇒ relu(x + t/s)·(diag s·W),   s > 0
    ///
    /// Where only the scale passes the activation on the way to the product, the shift stays before it.
    fn scale_into_product_behind(m): sampled {
        let product = Product::of(m, m.root())?;
        let (between, maps) = maps_before(m, &product)?;
        let (Some(scale), Some(shift)) = (maps.map.scale, maps.map.shift) else { return Err(Miss::Absent) };
        need!(m.is_positive(scale), "its scale is not known to be positive");
        let mut rest = maps.map.scale_only();
        rest.scale = None;
        rest.shift = Some(shift / scale);
        need!(rest.shift.is_some_and(|shift| m.is_finite(shift)), "its shift is too large for its scale");
        pays(m, &maps)?;
        let map = between.push(m, maps.map.scale_only())?;
        let shifted = m.in_layer_of(maps.nodes[0], || rest.apply(m.get(maps.x)));
        let folded = product.preceded_by(m, &map, between.apply(m, shifted))?;
        Ok(Rewrite::by(folded).absorbing(maps.nodes).absorbing(between.nodes()).into(product.node))
    }

    /// s⊙relu(x·W + b) + t ⇒ relu(x·(W·diag s) + s⊙b) + t,   s > 0
    ///
    /// Where no product follows, the scale goes back through the activation and the shift stays.
    fn scale_into_product_before(m): sampled {
        let maps = Maps::ending_at(m, m.result())?;
        let (Some(_), Some(_)) = (maps.map.scale, maps.map.shift) else { return Err(Miss::Absent) };
        let (between, product) = Between::walk(m, maps.first(), maps.x, |value| product_at(m, value))?;
        let map = between.pull(m, maps.map.scale_only())?;
        let folded = product.followed_by(m, &map)?;
        pays(m, &maps)?;
        let mut rest = maps.map.clone();
        rest.scale = None;
        let result = rest.apply(between.apply(m, folded));
        Ok(Rewrite::by(result).absorbing(maps.nodes).absorbing(between.nodes()).into(product.node))
    }

    /// (x·W₁ + b₁)·W₂ + b₂ ⇒ x·(W₁·W₂) + (b₁·W₂ + b₂),   where that takes fewer multiply-adds
    fn product_after_product(m) {
        let outer = Product::of(m, m.root())?;
        let inner = product_at(m, outer.data)?;
        m.concerns(inner.node);
        let result = inner.followed_by_product(m, &outer)?;
        m.single_use(outer.data)?;
        Ok(Rewrite::by(result).absorbing([inner.node]).into(outer.node))
    }
}
