//! One receiver's account of a flow: what came, came late, came again or did not come.

use std::collections::BTreeMap;

/// Gaps that are kept apart; more than that and the oldest is lost for good.
const GAPS_MAX: usize = 4096;

/// Where a receiver is in a flow, whose sequences are 1, 2, 3 and so on.
#[derive(Debug, Default)]
pub struct Account {
    /// The sequence that should come next; 0 before the first.
    next: u64,
    gaps: Option<Box<Gaps>>,
}

/// What did not come when it should have.
#[derive(Debug, Default)]
struct Gaps {
    /// By their first sequence.
    open: BTreeMap<u64, Gap>,
    /// In gaps that are no longer kept.
    forgotten: u64,
}

#[derive(Clone, Copy, Debug)]
struct Gap {
    /// The first sequence behind it.
    end: u64,
    /// Something wrong came in its place and was counted as that.
    replaced: bool,
}

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was its turn, or nothing was known against it.
    InTurn,
    /// So many messages should have come before it.
    Ahead(u64),
    /// It comes behind a later one: out of order.
    Late,
    /// It was there already.
    Again,
}

impl Account {
    /// Whether anything has come.
    pub fn has_begun(&self) -> bool {
        self.next > 0
    }

    /// The sequence that should come next, 1 before the first.
    pub fn next(&self) -> u64 {
        self.next.max(1)
    }

    /// The whole sequence that ends in these bits, near to what should come next.
    pub fn whole(&self, low: u32) -> u64 {
        let next = self.next();
        let distance = low.wrapping_sub(next as u32) as i32;
        next.saturating_add_signed(i64::from(distance))
    }

    /// Takes the message of this sequence. The first one that ever comes is where the account begins if
    /// `anywhere`, else it must be 1.
    pub fn take(&mut self, sequence: u64, anywhere: bool) -> Taken {
        if self.next == 0 {
            self.next = if anywhere { sequence } else { 1 };
        }
        if sequence < self.next {
            return self.take_past(sequence);
        }
        let ahead = sequence - self.next;
        if ahead > 0 {
            self.note_gap(self.next, Gap { end: sequence, replaced: false });
        }
        self.next = sequence + 1;
        if ahead > 0 { Taken::Ahead(ahead) } else { Taken::InTurn }
    }

    /// Takes whatever came as the message that should come next.
    pub fn take_unread(&mut self) {
        self.next = self.next() + 1;
    }

    /// Takes something wrong in place of the message that should come next.
    pub fn take_wrong(&mut self) {
        let next = self.next();
        self.note_gap(next, Gap { end: next + 1, replaced: true });
        self.next = next + 1;
    }

    /// Messages that did not come, up to the last that was sent, if that is known.
    pub fn missing(&self, last: Option<u64>) -> u64 {
        let gaps = self.gaps.as_ref().map_or(0, |gaps| {
            let open = gaps.open.iter().filter(|(_, gap)| !gap.replaced);
            gaps.forgotten + open.map(|(first, gap)| gap.end - first).sum::<u64>()
        });
        gaps + last.map_or(0, |last| (last + 1).saturating_sub(self.next()))
    }

    fn note_gap(&mut self, first: u64, gap: Gap) {
        let gaps = self.gaps.get_or_insert_default();
        gaps.open.insert(first, gap);
        if gaps.open.len() > GAPS_MAX
            && let Some((first, gap)) = gaps.open.pop_first()
            && !gap.replaced
        {
            gaps.forgotten += gap.end - first;
        }
    }

    fn take_past(&mut self, sequence: u64) -> Taken {
        let Some(gaps) = &mut self.gaps else { return Taken::Again };
        let found = gaps.open.range(..=sequence).next_back().map(|(first, gap)| (*first, *gap));
        let Some((first, gap)) = found.filter(|(_, gap)| sequence < gap.end) else { return Taken::Again };
        gaps.open.remove(&first);
        if first < sequence {
            gaps.open.insert(first, Gap { end: sequence, ..gap });
        }
        if sequence + 1 < gap.end {
            gaps.open.insert(sequence + 1, gap);
        }
        // What was wrong did not stand for it after all: it only came before its turn.
        if gap.replaced { Taken::InTurn } else { Taken::Late }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How each message came, and how many are missing of those up to the last.
    fn check(sequences: &[u64], last: u64) -> (Vec<Taken>, u64) {
        let mut account = Account::default();
        let taken = sequences.iter().map(|sequence| account.take(*sequence, false)).collect();
        (taken, account.missing(Some(last)))
    }

    #[test]
    fn what_is_whole_and_in_order_is_right() {
        assert_eq!(check(&[1, 2, 3], 3), (vec![Taken::InTurn; 3], 0));
        assert_eq!(check(&[], 0), (vec![], 0));
    }

    #[test]
    fn what_is_lost_at_the_begin_in_the_middle_and_at_the_end_is_missing() {
        assert_eq!(check(&[3, 4], 4), (vec![Taken::Ahead(2), Taken::InTurn], 2));
        assert_eq!(check(&[1, 4, 5], 5).1, 2);
        assert_eq!(check(&[1, 2], 5).1, 3);
        assert_eq!(check(&[], 5).1, 5);
    }

    #[test]
    fn what_comes_late_is_missing_no_more() {
        assert_eq!(check(&[1, 3, 2, 4], 4).0[1..3], [Taken::Ahead(1), Taken::Late]);
        assert_eq!(check(&[1, 3, 2, 4], 4).1, 0);
        let (taken, missing) = check(&[1, 6, 4, 2, 5, 3], 6);
        assert_eq!((taken[2..].to_vec(), missing), (vec![Taken::Late; 4], 0));
    }

    #[test]
    fn what_comes_again_is_a_repeat_wherever_it_comes() {
        assert_eq!(check(&[1, 1], 1), (vec![Taken::InTurn, Taken::Again], 0));
        assert_eq!(check(&[1, 2, 5, 1, 3, 3], 5).0[3..], [Taken::Again, Taken::Late, Taken::Again]);
    }

    #[test]
    fn something_wrong_stands_for_what_did_not_come() {
        let mut account = Account::default();
        account.take(1, false);
        account.take_wrong();
        assert_eq!(account.take(3, false), Taken::InTurn);
        assert_eq!(account.missing(Some(3)), 0);
        assert_eq!(account.take(2, false), Taken::InTurn, "it was an insertion");
        assert_eq!(account.take(2, false), Taken::Again);
    }

    #[test]
    fn a_member_may_begin_in_the_middle() {
        let mut account = Account::default();
        assert!(!account.has_begun());
        assert_eq!(account.take(7, true), Taken::InTurn);
        assert_eq!((account.take(8, true), account.missing(Some(8))), (Taken::InTurn, 0));
        assert_eq!(account.take(6, true), Taken::Again);
    }

    #[test]
    fn sequences_go_on_beyond_32_bits() {
        let mut account = Account::default();
        let near = u64::from(u32::MAX);
        account.take(near, true);
        assert_eq!(account.whole(0), near + 1);
        assert_eq!(account.whole(u32::MAX), near);
        account.take(near + 1, true);
        assert_eq!(account.whole(5), near + 6);
        assert_eq!(Account::default().whole(1), 1);
    }

    #[test]
    fn many_gaps_are_forgotten_and_stay_missing() {
        let mut account = Account::default();
        let gaps = 2 * GAPS_MAX as u64;
        for at in 1..=gaps {
            account.take(2 * at, false);
        }
        assert_eq!(account.missing(Some(2 * gaps)), gaps);
        assert_eq!(account.gaps.as_ref().unwrap().open.len(), GAPS_MAX);
    }
}
