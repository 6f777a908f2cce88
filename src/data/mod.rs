//! Labelled pictures, and where they come from.
//!
//! ```text
//! --data DIR, FASHION_MNIST_DIR ─┐
//! the user's cache ──────────────┼─ idx ──┐
//! a download into that cache ────┘        ├─→ ImageSet (train), ImageSet (test), DataSource
//! none of them: silhouettes ──────────────┘
//! ```
//!
//! **Invariant:** an [`ImageSet`] is consistent once it exists: as many labels as images, each image
//! `rows x cols` bytes, every label below the number of classes it was made for. Whoever trains on one
//! checks nothing again.
//!
//! **Invariant:** what a user names is used or refused, never replaced. Only where nothing was named, and
//! nothing can be downloaded, does the drawn data set of [`silhouettes`] step in, and then
//! [`DataSource::notice`] has something to say.
//!
//! ```
//! use foldgrad::data::{DataSource, fashion_mnist};
//!
//! # fn main() -> Result<(), foldgrad::data::DataError> {
//! let options = fashion_mnist::LoadOptions { offline: true, built_in: [100, 50], ..Default::default() };
//! let fashion = fashion_mnist::load(&options)?;
//! if let Some(notice) = fashion.source.notice() {
//!     eprintln!("{notice}");
//! }
//! assert_eq!((fashion.train.len(), fashion.test.len()), (100, 50));
//! assert!(matches!(fashion.source, DataSource::BuiltIn { .. }));
//! # Ok(()) }
//! ```

pub mod download;
mod error;
pub mod fashion_mnist;
pub mod idx;
mod set;
pub mod silhouettes;
mod source;

pub use error::{Attempt, DataError};
pub use fashion_mnist::{FASHION_CLASSES, Fashion};
pub use set::ImageSet;
pub use source::DataSource;
