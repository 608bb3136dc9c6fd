//! Pairs the rows of two databases by the hash of what they are called.

use std::collections::HashMap;

use super::canon::Canonical;
use super::{TableReport, What};

/// What has been seen of the rows with one identity: how many more there are here than there, and
/// the sum of their values' hashes here less there. Both are 0 when nothing differs, also for rows
/// without a key, which may be there several times. Where the second database may have more, a row here
/// is even with any of those there, so its hash stays until one of them is equal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Balance {
    rows: i64,
    values: u64,
}

/// One share of a table's rows.
pub(super) struct Tally {
    share: u128,
    shares: u128,
    subset: bool,
    uneven: HashMap<u128, Balance>,
    here: u64,
    there: u64,
    /// Rows there beside one of the same identity.
    beside: u64,
}

impl Tally {
    /// Looks only at the identities whose hash falls into this share.
    pub(super) fn new(share: u64, shares: u64, subset: bool) -> Tally {
        Tally {
            share: u128::from(share),
            shares: u128::from(shares.max(1)),
            subset,
            uneven: HashMap::new(),
            here: 0,
            there: 0,
            beside: 0,
        }
    }

    fn is_ours(&self, row: &Canonical) -> bool {
        row.identity.checked_rem(self.shares) == Some(self.share)
    }

    /// A row of the first database.
    pub(super) fn here(&mut self, row: &Canonical) {
        if self.is_ours(row) {
            self.here = self.here.saturating_add(1);
            self.add(row.identity, 1, row.values);
        }
    }

    /// A row of the second, after all of the first.
    pub(super) fn there(&mut self, row: &Canonical) {
        if !self.is_ours(row) {
            return;
        }
        self.there = self.there.saturating_add(1);
        match self.uneven.get_mut(&row.identity) {
            Some(balance) if self.subset && matches!(balance.rows, 0 | 1) => {
                // The second of two rows there that are called the same.
                if balance.rows == 0 {
                    self.beside = self.beside.saturating_add(1);
                }
                balance.rows = 0;
                if balance.values == row.values {
                    self.uneven.remove(&row.identity);
                }
            }
            Some(_) | None => self.add(row.identity, -1, row.values.wrapping_neg()),
        }
    }

    fn add(&mut self, identity: u128, rows: i64, values: u64) {
        let balance = self.uneven.entry(identity).or_default();
        balance.rows = balance.rows.saturating_add(rows);
        balance.values = balance.values.wrapping_add(values);
        if *balance == Balance::default() {
            self.uneven.remove(&identity);
        }
    }

    /// What is wrong with the rows of this identity, if anything is.
    pub(super) fn what(&self, identity: u128) -> Option<What> {
        Some(match self.uneven.get(&identity)?.rows {
            0 => What::Differs,
            1.. => What::MissingThere,
            ..0 => What::MissingHere,
        })
    }

    /// Whether there is nothing to report.
    pub(super) fn is_even(&self) -> bool {
        self.uneven.values().all(|balance| self.subset && balance.rows < 0)
    }

    /// Adds this share's figures.
    pub(super) fn count(&self, report: &mut TableReport) {
        let (mut differing, mut missing_there, mut missing_here) = (0_u64, 0_u64, self.beside);
        for balance in self.uneven.values() {
            match balance.rows {
                0 => differing = differing.saturating_add(1),
                1.. => missing_there = missing_there.saturating_add(balance.rows.unsigned_abs()),
                ..0 => missing_here = missing_here.saturating_add(balance.rows.unsigned_abs()),
            }
        }
        let equal = self.here.saturating_sub(differing).saturating_sub(missing_there);
        report.here = report.here.saturating_add(self.here);
        report.there = report.there.saturating_add(self.there);
        report.equal = report.equal.saturating_add(equal);
        report.differing = report.differing.saturating_add(differing);
        report.missing_there = report.missing_there.saturating_add(missing_there);
        report.missing_here = report.missing_here.saturating_add(missing_here);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of rows as their identities and values: the first database's, then the second's.
    fn counted(subset: bool, here: &[(u128, u64)], there: &[(u128, u64)]) -> (u64, u64, u64, u64) {
        let row = |(identity, values): &(u128, u64)| Canonical {
            identity: *identity,
            values: *values,
            row: Vec::new(),
        };
        let mut tally = Tally::new(0, 1, subset);
        for one in here {
            tally.here(&row(one));
        }
        for one in there {
            tally.there(&row(one));
        }
        let mut report = TableReport::default();
        tally.count(&mut report);
        let more = if subset { 0 } else { report.missing_here };
        assert_eq!(tally.is_even(), report.differing + report.missing_there + more == 0);
        (report.equal, report.differing, report.missing_there, report.missing_here)
    }

    #[test]
    fn a_row_that_is_there_twice_is_even_with_an_equal_one() {
        let here = [(1, 10), (2, 20)];
        assert_eq!(counted(true, &here, &here), (2, 0, 0, 0));
        for there in [[(1, 10), (1, 11), (2, 20)], [(1, 11), (1, 10), (2, 20)]] {
            assert_eq!(counted(true, &here, &there), (2, 0, 0, 1), "{there:?}");
        }
        assert_eq!(counted(true, &here, &[(1, 11), (1, 12), (2, 20)]), (1, 1, 0, 1));
        assert_eq!(counted(true, &here, &[(1, 11), (1, 12), (1, 10), (2, 20)]), (2, 0, 0, 2));
        assert_eq!(counted(true, &here, &[(1, 10), (3, 30)]), (1, 0, 1, 1));
        assert_eq!(counted(false, &here, &[(1, 11), (2, 20), (3, 30)]), (1, 1, 0, 1));
    }

    #[test]
    fn rows_without_a_key_are_counted() {
        assert_eq!(counted(true, &[(1, 5), (1, 5)], &[(1, 5), (1, 5), (1, 5)]), (2, 0, 0, 1));
        assert_eq!(counted(true, &[(1, 5), (1, 5)], &[(1, 5)]), (1, 0, 1, 0));
        assert_eq!(counted(false, &[(1, 5), (1, 5)], &[(1, 5), (1, 5)]), (2, 0, 0, 0));
    }
}
