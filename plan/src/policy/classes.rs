//! Classes of one axis, remotes or services.

use std::collections::BTreeMap;

use super::{Class, Mentions, Ranks};
use crate::TooLarge;

/// Gives each distinct set of rules of a level a number.
pub(super) struct Classes {
    /// By level; numbers begin at 1.
    numbers: Vec<BTreeMap<Ranks, u32>>,
}

impl Classes {
    pub(super) fn new(levels: usize) -> Self {
        Self { numbers: vec![BTreeMap::new(); levels] }
    }

    /// The number of the class that stands for these rules; 0 for none.
    pub(super) fn of(&mut self, level: usize, ranks: &Ranks) -> u32 {
        let Some(numbers) = self.numbers.get_mut(level).filter(|_| !ranks.is_empty()) else { return 0 };
        if let Some(number) = numbers.get(ranks) {
            return *number;
        }
        let number = numbers.len() as u32 + 1;
        numbers.insert(ranks.clone(), number);
        number
    }

    /// For each rule, the classes that it belongs to.
    pub(super) fn by_rule(&self, rules: usize) -> Vec<Vec<Class>> {
        let mut classes = vec![Vec::new(); rules];
        for (level, numbers) in self.numbers.iter().enumerate() {
            for (ranks, number) in numbers {
                for rank in ranks {
                    if let Some(classes) = classes.get_mut(*rank as usize) {
                        classes.push((level, *number));
                    }
                }
            }
        }
        classes
    }
}

/// A node of a trie: a prefix or a range, and the rules that name it.
pub(super) struct Node<K> {
    pub(super) key: K,
    ranks: Ranks,
    parent: Option<usize>,
    /// How many nodes stand beneath it at most, one within the other.
    pub(super) height: usize,
}

/// The nodes of a trie. In the order of the keys a node stands right before those beneath it.
pub(super) struct Trie<K>(pub(super) Vec<Node<K>>);

impl<K: Copy + Ord> Trie<K> {
    pub(super) fn new(keys: BTreeMap<K, Ranks>, covers: impl Fn(K, K) -> bool) -> Self {
        let mut nodes: Vec<Node<K>> = Vec::with_capacity(keys.len());
        let mut above: Vec<usize> = Vec::new();
        for (key, mut ranks) in keys {
            ranks.dedup();
            let is_above = |place: &usize| nodes.get(*place).is_some_and(|node| covers(node.key, key));
            while above.last().is_some_and(|place| !is_above(place)) {
                above.pop();
            }
            let parent = above.last().copied();
            above.push(nodes.len());
            nodes.push(Node { key, ranks, parent, height: 0 });
        }
        // From behind, a node is met after all that stand beneath it.
        for place in (0..nodes.len()).rev() {
            let Some((height, parent)) = nodes.get(place).and_then(|node| Some((node.height, node.parent?))) else {
                continue;
            };
            if let Some(parent) = nodes.get_mut(parent) {
                parent.height = parent.height.max(height + 1);
            }
        }
        Self(nodes)
    }

    /// For each node its classes, by level: that of the rules of all nodes of the level that cover it.
    pub(super) fn classify(
        &self,
        level_of: impl Fn(&Node<K>) -> usize,
        levels: usize,
        classes: &mut Classes,
        mentions: &mut Mentions,
    ) -> Result<Vec<Vec<u32>>, TooLarge> {
        // What a node hands on: its ranks of its own level, and its classes.
        let mut ranks: Vec<Ranks> = Vec::with_capacity(self.0.len());
        let mut all: Vec<Vec<u32>> = Vec::with_capacity(self.0.len());
        // The ranks of the nearest node of each level around a node.
        let mut nearest: Vec<Vec<Option<usize>>> = Vec::with_capacity(self.0.len());
        for (place, node) in self.0.iter().enumerate() {
            let level = level_of(node);
            let mut own_nearest =
                node.parent.and_then(|parent| nearest.get(parent)).cloned().unwrap_or_else(|| vec![None; levels]);
            let mut own_classes =
                node.parent.and_then(|parent| all.get(parent)).cloned().unwrap_or_else(|| vec![0; levels]);
            let inherited = own_nearest.get(level).copied().flatten().and_then(|nearest| ranks.get(nearest));
            let mut own = inherited.cloned().unwrap_or_default();
            own.extend(&node.ranks);
            own.sort_unstable();
            own.dedup();
            mentions.spend(own.len() + 1)?;
            if let Some(class) = own_classes.get_mut(level) {
                *class = classes.of(level, &own);
            }
            if let Some(nearest) = own_nearest.get_mut(level) {
                *nearest = Some(place);
            }
            ranks.push(own);
            all.push(own_classes);
            nearest.push(own_nearest);
        }
        Ok(all)
    }
}
