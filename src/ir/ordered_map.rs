//! A map that remembers in which order its keys came.

use indexmap::{IndexMap, map};
use std::borrow::Borrow;
use std::fmt::{self, Debug};
use std::hash::Hash;
use std::ops::{Index, IndexMut};

/// Values by key, in the order in which the keys were first inserted. Equal maps hold equal pairs, in any order.
///
/// ```
/// use foldgrad::ir::OrderedMap;
/// let mut sizes = OrderedMap::from([("rows", 3), ("columns", 4)]);
/// sizes.insert("rows", 5);
/// assert_eq!(sizes["rows"], 5);
/// assert!(sizes.keys().eq(&["rows", "columns"]));
/// ```
#[derive(Clone)]
pub struct OrderedMap<K, V>(IndexMap<K, V>);

impl<K, V> OrderedMap<K, V> {
    /// An empty map.
    pub fn new() -> OrderedMap<K, V> {
        OrderedMap(IndexMap::new())
    }

    /// An empty map with room for that many pairs.
    pub fn with_capacity(pairs: usize) -> OrderedMap<K, V> {
        OrderedMap(IndexMap::with_capacity(pairs))
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pairs, in order.
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter(self.0.iter())
    }

    /// The pairs, in order; their values to be changed.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (&K, &mut V)> + ExactSizeIterator {
        self.0.iter_mut()
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + ExactSizeIterator + Clone {
        self.0.keys()
    }

    /// The values, in the order of their keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + ExactSizeIterator + Clone {
        self.0.values()
    }

    /// The values, to be changed.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut V> + ExactSizeIterator {
        self.0.values_mut()
    }

    /// The keys alone.
    pub fn into_keys(self) -> impl DoubleEndedIterator<Item = K> + ExactSizeIterator {
        self.0.into_keys()
    }

    /// The values alone.
    pub fn into_values(self) -> impl DoubleEndedIterator<Item = V> + ExactSizeIterator {
        self.0.into_values()
    }

    /// Keeps the pairs that `keep` wants.
    pub fn retain(&mut self, keep: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain(keep);
    }
}

impl<K: Hash + Eq, V> OrderedMap<K, V> {
    /// Sets the value of a key; one that is there keeps its place. Returns the value that it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, value)
    }

    /// The value of a key, `value` if it had none.
    pub fn or_insert(&mut self, key: K, value: V) -> &mut V {
        self.0.entry(key).or_insert(value)
    }

    /// Takes a key out, with its value; the others keep their order.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.0.shift_remove(key)
    }

    /// The value of a key.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(key)
    }

    /// The value of a key, to be changed.
    pub fn get_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.0.get_mut(key)
    }

    /// Whether a key is there.
    pub fn contains_key<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.0.contains_key(key)
    }
}

/// Panics where the key is missing; [`get`](OrderedMap::get) does not.
impl<K: Hash + Eq + Borrow<Q>, V, Q: Hash + Eq + ?Sized> Index<&Q> for OrderedMap<K, V> {
    type Output = V;
    fn index(&self, key: &Q) -> &V {
        &self.0[key]
    }
}

/// Panics where the key is missing; [`get_mut`](OrderedMap::get_mut) does not.
impl<K: Hash + Eq + Borrow<Q>, V, Q: Hash + Eq + ?Sized> IndexMut<&Q> for OrderedMap<K, V> {
    fn index_mut(&mut self, key: &Q) -> &mut V {
        &mut self.0[key]
    }
}

impl<K, V> Default for OrderedMap<K, V> {
    fn default() -> OrderedMap<K, V> {
        OrderedMap::new()
    }
}

impl<K: Debug, V: Debug> Debug for OrderedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<K: Hash + Eq, V: PartialEq> PartialEq for OrderedMap<K, V> {
    fn eq(&self, other: &OrderedMap<K, V>) -> bool {
        self.0 == other.0
    }
}

impl<K: Hash + Eq, V: Eq> Eq for OrderedMap<K, V> {}

impl<K: Hash + Eq, V, const N: usize> From<[(K, V); N]> for OrderedMap<K, V> {
    fn from(pairs: [(K, V); N]) -> OrderedMap<K, V> {
        OrderedMap(IndexMap::from(pairs))
    }
}

impl<K: Hash + Eq, V> FromIterator<(K, V)> for OrderedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> OrderedMap<K, V> {
        OrderedMap(pairs.into_iter().collect())
    }
}

impl<K: Hash + Eq, V> Extend<(K, V)> for OrderedMap<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, pairs: I) {
        self.0.extend(pairs);
    }
}

/// The pairs of an [`OrderedMap`], in order.
#[derive(Clone, Debug)]
pub struct Iter<'m, K, V>(map::Iter<'m, K, V>);

/// The pairs of an [`OrderedMap`] that is used up, in order.
#[derive(Debug)]
pub struct IntoIter<K, V>(map::IntoIter<K, V>);

/// Hands an iterator's methods on to the one inside.
macro_rules! handed_on {
    ([$($generics:tt)*] $name:ty, $item:ty) => {
        impl<$($generics)*> Iterator for $name {
            type Item = $item;
            fn next(&mut self) -> Option<$item> {
                self.0.next()
            }
            fn size_hint(&self) -> (usize, Option<usize>) {
                self.0.size_hint()
            }
        }

        impl<$($generics)*> DoubleEndedIterator for $name {
            fn next_back(&mut self) -> Option<$item> {
                self.0.next_back()
            }
        }

        impl<$($generics)*> ExactSizeIterator for $name {}
    };
}
handed_on!(['m, K, V] Iter<'m, K, V>, (&'m K, &'m V));
handed_on!([K, V] IntoIter<K, V>, (K, V));

impl<'m, K, V> IntoIterator for &'m OrderedMap<K, V> {
    type Item = (&'m K, &'m V);
    type IntoIter = Iter<'m, K, V>;
    fn into_iter(self) -> Iter<'m, K, V> {
        self.iter()
    }
}

impl<K, V> IntoIterator for OrderedMap<K, V> {
    type Item = (K, V);
    type IntoIter = IntoIter<K, V>;
    fn into_iter(self) -> IntoIter<K, V> {
        IntoIter(self.0.into_iter())
    }
}
