//! An ordered map that is cheap to copy.
//!
//! A model is copied for every write, and most of it stays the same. The map is cut into chunks that copies share; a write copies
//! the one chunk that it changes, and the list of chunks.

use std::{
    collections::{BTreeMap, btree_map},
    fmt,
    sync::Arc,
};

/// Most entries of a chunk.
const MOST: usize = 256;

/// An ordered map whose copies share what is the same.
pub struct SharedMap<K, V> {
    /// In order; none is empty.
    chunks: Arc<Vec<Arc<BTreeMap<K, V>>>>,
    length: usize,
}

impl<K: Ord + Clone, V: Clone> SharedMap<K, V> {
    /// Number of entries.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Is there none?
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The chunk that has the key, if any has.
    fn chunk_of(&self, key: &K) -> usize {
        let behind =
            self.chunks.partition_point(|chunk| chunk.first_key_value().is_some_and(|(first, _)| first <= key));
        behind.saturating_sub(1)
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.chunks.get(self.chunk_of(key))?.get(key)
    }

    /// Is there a value?
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.chunk_of(key);
        // Nothing is copied for a key that is not there.
        self.chunks.get(place)?.get(key)?;
        Arc::make_mut(Arc::make_mut(&mut self.chunks).get_mut(place)?).get_mut(key)
    }

    /// Sets the value of a key; the one before it comes back.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let place = self.chunk_of(&key);
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(chunk) = chunks.get_mut(place) else {
            chunks.push(Arc::new(BTreeMap::from([(key, value)])));
            self.length = 1;
            return None;
        };
        let chunk = Arc::make_mut(chunk);
        let before = chunk.insert(key, value);
        self.length += usize::from(before.is_none());
        let middle = (chunk.len() > MOST).then(|| chunk.keys().nth(MOST / 2).cloned()).flatten();
        if let Some(middle) = middle {
            let upper = chunk.split_off(&middle);
            chunks.insert(place + 1, Arc::new(upper));
        }
        before
    }

    /// Removes a key; its value comes back.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.chunk_of(key);
        self.chunks.get(place)?.get(key)?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let chunk = Arc::make_mut(chunks.get_mut(place)?);
        let before = chunk.remove(key);
        self.length -= usize::from(before.is_some());
        if chunk.is_empty() {
            chunks.remove(place);
        } else {
            Self::join(chunks, place);
        }
        before
    }

    /// Joins a chunk with the next if both are small, so that removals do not leave crumbs.
    fn join(chunks: &mut Vec<Arc<BTreeMap<K, V>>>, place: usize) {
        let length = |place: usize| chunks.get(place).map(|chunk| chunk.len());
        if let (Some(one), Some(next)) = (length(place), length(place + 1))
            && one + next <= MOST / 2
        {
            let mut next = chunks.remove(place + 1);
            if let Some(chunk) = chunks.get_mut(place) {
                Arc::make_mut(chunk).append(Arc::make_mut(&mut next));
            }
        }
    }

    /// All entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.chunks.iter().flat_map(|chunk| -> btree_map::Iter<'_, K, V> { chunk.iter() })
    }

    /// The entries of one stretch of the order: behind those whose key is `before` it, up to the first that is not `within` it.
    pub(crate) fn stretch<'a>(
        &'a self,
        before: impl Fn(&K) -> bool + 'a,
        within: impl Fn(&K) -> bool + 'a,
    ) -> impl Iterator<Item = (&'a K, &'a V)> {
        let first = self.chunks.partition_point(|chunk| chunk.last_key_value().is_some_and(|(last, _)| before(last)));
        let chunks = self.chunks.get(first..).unwrap_or_default();
        let entries = chunks.iter().flat_map(|chunk| -> btree_map::Iter<'_, K, V> { chunk.iter() });
        entries.skip_while(move |(key, _)| before(key)).take_while(move |(key, _)| within(key))
    }

    /// How many keys are from the first to the last. Chunks between them are not looked into.
    pub(crate) fn count_between(&self, first: &K, last: &K) -> usize {
        if first > last {
            return 0;
        }
        let begin = self.chunks.partition_point(|chunk| chunk.last_key_value().is_some_and(|(key, _)| key < first));
        let end = self.chunks.partition_point(|chunk| chunk.first_key_value().is_some_and(|(key, _)| key <= last));
        let chunks = self.chunks.get(begin..end).unwrap_or_default();
        let within = |chunk: &BTreeMap<K, V>| {
            let ends = chunk.first_key_value().zip(chunk.last_key_value());
            ends.is_some_and(|((lowest, _), (highest, _))| first <= lowest && highest <= last)
        };
        let count = |chunk: &Arc<BTreeMap<K, V>>| {
            if within(chunk) { chunk.len() } else { chunk.range(first..=last).count() }
        };
        chunks.iter().map(count).sum()
    }

    /// All keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// All values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self { chunks: Arc::default(), length: 0 }
    }
}

impl<K, V> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        Self { chunks: Arc::clone(&self.chunks), length: self.length }
    }
}

/// Two maps are equal if their entries are, however they are cut.
impl<K: Ord + Clone, V: Clone + PartialEq> PartialEq for SharedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.length == other.length && self.iter().eq(other.iter())
    }
}

impl<K: Ord + Clone, V: Clone + Eq> Eq for SharedMap<K, V> {}

impl<K: Ord + Clone + fmt::Debug, V: Clone + fmt::Debug> fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((any::<bool>(), 0u16..2_000, any::<u8>()), 0..4_000)) {
            let (mut shared, mut plain) = (SharedMap::default(), BTreeMap::new());
            let mut copies = Vec::new();
            for (place, (insert, key, value)) in steps.into_iter().enumerate() {
                // More insertions than removals first, then the other way round: chunks are cut, and joined.
                if insert == (place < 2_000) || value < 50 {
                    prop_assert_eq!(shared.insert(key, value), plain.insert(key, value));
                } else {
                    prop_assert_eq!(shared.remove(&key), plain.remove(&key));
                }
                if let Some(value) = shared.get_mut(&(key / 2)) {
                    *value = value.wrapping_add(1);
                    *plain.entry(key / 2).or_default() = *value;
                }
                prop_assert_eq!(shared.get(&key), plain.get(&key));
                if place % 500 == 0 {
                    copies.push((shared.clone(), plain.clone()));
                }
            }
            copies.push((shared, plain));
            for (shared, plain) in copies {
                prop_assert_eq!(shared.len(), plain.len());
                prop_assert!(shared.iter().eq(plain.iter()));
                prop_assert!(shared.chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= MOST));
                prop_assert!(shared.keys().all(|key| shared.contains_key(key)));
                let stretch = shared.stretch(|key| *key < 500, |key| *key < 900);
                prop_assert!(stretch.eq(plain.range(500..900)));
                for (first, last) in [(0, 2_000), (500, 900), (900, 900), (900, 500), (3_000, 4_000)] {
                    let counted = plain.keys().filter(|key| (first..=last).contains(*key)).count();
                    prop_assert_eq!(shared.count_between(&first, &last), counted);
                }
            }
        }
    }
}
