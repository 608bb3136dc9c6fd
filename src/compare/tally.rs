//! Pairs the rows of two databases by the hash of what they are called.

use std::collections::HashMap;

use super::canon::Canonical;
use super::{TableReport, What};

/// What has been seen of the rows with one identity: how many more there are here than there, and
/// the sum of their values' hashes here less there. Both are 0 when nothing differs, also for rows
/// without a key, which may be there several times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Balance {
    rows: i64,
    values: u64,
}

/// One share of a table's rows.
pub(super) struct Tally {
    share: u128,
    shares: u128,
    uneven: HashMap<u128, Balance>,
    here: u64,
    there: u64,
}

impl Tally {
    /// Looks only at the identities whose hash falls into this share.
    pub(super) fn new(share: u64, shares: u64) -> Tally {
        Tally {
            share: u128::from(share),
            shares: u128::from(shares.max(1)),
            uneven: HashMap::new(),
            here: 0,
            there: 0,
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

    /// A row of the second.
    pub(super) fn there(&mut self, row: &Canonical) {
        if self.is_ours(row) {
            self.there = self.there.saturating_add(1);
            self.add(row.identity, -1, row.values.wrapping_neg());
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
    pub(super) fn is_even(&self, subset: bool) -> bool {
        self.uneven.values().all(|balance| subset && balance.rows < 0)
    }

    /// Adds this share's figures.
    pub(super) fn count(&self, report: &mut TableReport) {
        let (mut differing, mut missing_there, mut missing_here) = (0_u64, 0_u64, 0_u64);
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
