//! The few that rank highest of many that are looked at one by one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Something and its rank. Of equal ranks the one that was offered first comes first.
#[derive(Debug)]
struct Entry<T> {
    rank: u64,
    number: Reverse<u64>,
    item: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Entry<T>) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Entry<T>) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Entry<T>) -> std::cmp::Ordering {
        (self.rank, self.number).cmp(&(other.rank, other.number))
    }
}

/// The highest-ranking `limit` of those that were offered.
#[derive(Debug)]
pub struct Top<T> {
    limit: usize,
    offered: u64,
    /// The lowest is at its head.
    heap: BinaryHeap<Reverse<Entry<T>>>,
}

impl<T> Top<T> {
    /// Nothing yet.
    pub fn new(limit: usize) -> Top<T> {
        Top { limit, offered: 0, heap: BinaryHeap::new() }
    }

    /// Takes one in if it ranks among the highest.
    pub fn offer(&mut self, rank: u64, item: T) {
        self.offered += 1;
        let entry = Entry { rank, number: Reverse(self.offered), item };
        if self.heap.len() < self.limit {
            self.heap.push(Reverse(entry));
        } else if let Some(mut lowest) = self.heap.peek_mut()
            && lowest.0 < entry
        {
            lowest.0 = entry;
        }
    }

    /// The highest first, with their ranks.
    pub fn into_sorted(self) -> Vec<(u64, T)> {
        let sorted = self.heap.into_sorted_vec();
        sorted.into_iter().map(|Reverse(entry)| (entry.rank, entry.item)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(limit: usize, ranks: &[u64]) -> Vec<(u64, usize)> {
        let mut top = Top::new(limit);
        for (at, rank) in ranks.iter().enumerate() {
            top.offer(*rank, at);
        }
        top.into_sorted()
    }

    #[test]
    fn the_highest_come_first_and_of_equals_the_first() {
        let ranks = [3, 9, 0, 9, 5, 3];
        let all = [(9, 1), (9, 3), (5, 4), (3, 0), (3, 5), (0, 2)];
        for limit in 0..=7 {
            assert_eq!(top(limit, &ranks), all[..limit.min(6)], "{limit}");
        }
    }
}
