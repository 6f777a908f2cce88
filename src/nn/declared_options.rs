//! The options that every layer has, as methods of the layers here.

use super::{
    Activation, BatchNormalization, Concatenate, Declared, Dense, Dropout, Flatten, Lambda, Layer, Merge, Model,
    Reshape,
};
use crate::ir::Expr;

/// [`Layer::named`] and [`Layer::frozen`] as methods of the layers here, so that one need not import the trait.
macro_rules! declared_options {
    ($([$($generics:tt)*] $layer:ty),*) => {$(
        impl<$($generics)*> $layer {
            /// The layer under a name of the user's choice; the last option to be set, after the layer's own.
            pub fn named(self, name: &str) -> Declared {
                Layer::named(self, name)
            }

            /// The layer with its variables left as they are; see [`Layer::frozen`].
            pub fn frozen(self) -> Declared {
                Layer::frozen(self)
            }
        }
    )*};
}
declared_options!(
    [] Activation, [] BatchNormalization, [] Concatenate, [] Dense, [] Dropout, [] Flatten, [] Merge, [] Model, [] Reshape,
    [F: for<'b> Fn(Expr<'b>) -> Expr<'b> + Send + Sync + 'static] Lambda<F>
);
