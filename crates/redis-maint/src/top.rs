//! The biggest of many, in bounded memory.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// The `limit` keys of the greatest weight, each with what is to be remembered of it.
///
/// The answer depends only on what was offered, not on the order: of equal weights the smaller key stays, and a key that
/// is offered again (SCAN may give a key twice) is one key with the greatest of its weights. Memory is that of `limit`
/// keys, and an offer takes O(log limit).
#[derive(Debug, Clone)]
pub struct TopN<K, V = ()> {
    limit: usize,
    /// Lightest first, and of equal weights the greatest key first: the first is the one to give way.
    order: BTreeSet<(u64, Reverse<K>)>,
    kept: BTreeMap<K, (u64, V)>,
}

impl<K: Ord + Clone, V> TopN<K, V> {
    /// Keeps at most `limit`; 0 keeps none.
    pub fn new(limit: usize) -> Self {
        TopN { limit, order: BTreeSet::new(), kept: BTreeMap::new() }
    }

    /// Whether a key of this weight may still get in. Asking first spares the caller the copy of a key that will not.
    pub fn admits(&self, weight: u64) -> bool {
        self.limit > 0
            && (self.order.len() < self.limit || self.order.first().is_some_and(|(lightest, _)| weight >= *lightest))
    }

    /// Offers a key.
    pub fn offer(&mut self, key: K, weight: u64, value: V) {
        if !self.admits(weight) {
            return;
        }
        if let Some((known, _)) = self.kept.get(&key) {
            if *known >= weight {
                return;
            }
            self.order.remove(&(*known, Reverse(key.clone())));
        }
        self.order.insert((weight, Reverse(key.clone())));
        self.kept.insert(key, (weight, value));
        if self.order.len() > self.limit
            && let Some((_, Reverse(lightest))) = self.order.pop_first()
        {
            self.kept.remove(&lightest);
        }
    }

    /// The keys with weight and value, heaviest first.
    pub fn iter(&self) -> impl Iterator<Item = (&K, u64, &V)> {
        self.order.iter().rev().filter_map(|(weight, Reverse(key))| Some((key, *weight, &self.kept.get(key)?.1)))
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(offers: impl IntoIterator<Item = (u32, u64)>, limit: usize) -> Vec<(u32, u64)> {
        let mut top = TopN::new(limit);
        offers.into_iter().for_each(|(key, weight)| top.offer(key, weight, ()));
        assert_eq!(top.kept.len(), top.len());
        top.iter().map(|(key, weight, ())| (*key, weight)).collect()
    }

    #[test]
    fn the_heaviest_are_kept_whatever_the_order() {
        let mut offers: Vec<(u32, u64)> = (0..100_000_u32).map(|key| (key, u64::from(key) * 7919 % 1000)).collect();
        let mut sorted = offers.clone();
        sorted.sort_by_key(|(key, weight)| (Reverse(*weight), *key));
        sorted.truncate(150);
        assert_eq!(top(offers.clone(), 150), sorted);
        offers.reverse();
        assert_eq!(top(offers, 150), sorted);
    }

    #[test]
    fn a_key_seen_twice_is_one_key_with_its_greatest_weight() {
        assert_eq!(top([(1, 5), (2, 4), (1, 5), (1, 3), (3, 1)], 3), [(1, 5), (2, 4), (3, 1)]);
        assert_eq!(top([(1, 5), (2, 4), (1, 9)], 3), [(1, 9), (2, 4)]);
        assert_eq!(top([(1, 1), (2, 4), (3, 5), (1, 6)], 2), [(1, 6), (3, 5)], "also one that had given way");
    }

    #[test]
    fn of_equal_weights_the_smaller_keys_stay() {
        assert_eq!(top([(9, 1), (8, 1), (7, 1), (1, 0)], 2), [(7, 1), (8, 1)]);
        assert_eq!(top([(7, 1), (8, 1), (9, 1)], 2), [(7, 1), (8, 1)]);
    }

    #[test]
    fn a_limit_of_nothing_keeps_nothing() {
        assert!(top([(1, u64::MAX)], 0).is_empty());
        assert!(!TopN::<u32>::new(0).admits(1));
    }

    #[test]
    fn the_value_is_the_one_offered_with_the_weight() {
        let mut top = TopN::new(2);
        top.offer("a", 1, "first");
        top.offer("a", 2, "second");
        top.offer("a", 1, "third");
        assert_eq!(top.iter().collect::<Vec<_>>(), [(&"a", 2, &"second")]);
        assert!(!top.is_empty());
    }
}
