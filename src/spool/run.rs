//! What 32 rows with consecutive local keys are called, in the bytes of one row of the identity
//! index. Writing one row of the store for each identity would be a quarter of capture's work.
//! `docs/formats.md` has the layout.

use super::error::Error;

/// Local keys that differ only in these bits are in one run.
const SLOT_BITS: u32 = 5;
/// The length that stands for a row that is gone.
const GONE: u16 = u16::MAX;
/// The slot and the length before each identity.
const HEAD_BYTES: usize = 3;

/// The run that a local key belongs to, and its slot there.
pub(super) fn place(local: i64) -> (i64, u8) {
    let slot = local & ((1 << SLOT_BITS) - 1);
    (local >> SLOT_BITS, u8::try_from(slot).unwrap_or_default())
}

/// What became of the row in a slot: it is called so, or it is gone.
pub(super) type Entry<'b> = (u8, Option<&'b [u8]>);

/// The entries of a run, by slot.
struct Entries<'b>(&'b [u8]);

impl<'b> Entries<'b> {
    fn next(&mut self) -> Result<Option<Entry<'b>>, Error> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let damaged = || Error::damaged("a run of the identity index is unreadable".to_owned());
        let ([slot, high, low], rest) =
            self.0.split_first_chunk::<HEAD_BYTES>().ok_or_else(damaged)?;
        let length = u16::from_be_bytes([*high, *low]);
        if length == GONE {
            self.0 = rest;
            return Ok(Some((*slot, None)));
        }
        let (identity, rest) = rest.split_at_checked(length.into()).ok_or_else(damaged)?;
        self.0 = rest;
        Ok(Some((*slot, Some(identity))))
    }
}

/// What a run says of a slot; `None` if nothing.
pub(super) fn find(bytes: &[u8], slot: u8) -> Result<Option<Entry<'_>>, Error> {
    let mut entries = Entries(bytes);
    while let Some(entry) = entries.next()? {
        if entry.0 == slot {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

/// All that a run says, by slot.
pub(super) fn entries(bytes: &[u8]) -> Result<Vec<Entry<'_>>, Error> {
    let mut entries = Entries(bytes);
    let mut found = Vec::new();
    while let Some(entry) = entries.next()? {
        found.push(entry);
    }
    Ok(found)
}

/// Whether rows that are gone are kept in mind, or forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    /// Beside the index: they hide what it says.
    Kept,
    /// In the index itself: what it does not know is not there.
    Forgotten,
}

/// Writes into `run` what `old` says, but for the slots that `changes` names; how many entries it
/// has. `changes` are sorted by slot, each slot once.
pub(super) fn merge(
    old: &[u8],
    changes: &[Entry<'_>],
    gone: Gone,
    run: &mut Vec<u8>,
) -> Result<u32, Error> {
    run.clear();
    let mut count = 0_u32;
    let mut put = |run: &mut Vec<u8>, (slot, identity): Entry<'_>| {
        let length = match identity {
            Some(identity) => u16::try_from(identity.len()).unwrap_or(GONE),
            None if gone == Gone::Forgotten => return,
            None => GONE,
        };
        run.push(slot);
        run.extend_from_slice(&length.to_be_bytes());
        run.extend_from_slice(identity.unwrap_or_default());
        count = count.saturating_add(1);
    };
    let mut old = Entries(old);
    let mut known = old.next()?;
    for change in changes {
        while let Some(entry) = known.filter(|entry| entry.0 < change.0) {
            put(run, entry);
            known = old.next()?;
        }
        if known.is_some_and(|entry| entry.0 == change.0) {
            known = old.next()?;
        }
        put(run, *change);
    }
    while let Some(entry) = known {
        put(run, entry);
        known = old.next()?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;
    use std::collections::BTreeMap;

    #[test]
    fn keys_below_zero_have_slots_too() {
        assert_eq!((place(0), place(33), place(-1)), ((0, 0), (1, 1), (-1, 31)));
        assert_eq!(place(i64::MIN), (i64::MIN >> 5, 0));
    }

    #[test]
    fn a_run_cut_short_is_told() {
        let mut run = Vec::new();
        merge(b"", &[(1, Some(b"abc")), (4, Some(b""))], Gone::Forgotten, &mut run).unwrap();
        assert_eq!(run, b"\x01\0\x03abc\x04\0\0");
        for end in [1, 2, 3, 5, 7] {
            assert!(find(&run[..end], 9).is_err(), "cut at {end}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(headwater_rig::edge::seed().unwrap()),
            ..ProptestConfig::default()
        })]

        #[test]
        fn a_run_is_a_map(steps in prop::collection::vec(
            prop::collection::btree_map(0_u8..32, prop::option::of("[a-z]{0,40}"), 0..8), 1..8))
        {
            for gone in [Gone::Kept, Gone::Forgotten] {
                let mut expected: BTreeMap<u8, Option<String>> = BTreeMap::new();
                let mut run = Vec::new();
                for step in &steps {
                    expected.extend(step.clone());
                    if gone == Gone::Forgotten {
                        expected.retain(|_, identity| identity.is_some());
                    }
                    let changes: Vec<Entry<'_>> = step
                        .iter()
                        .map(|(slot, identity)| (*slot, identity.as_deref().map(str::as_bytes)))
                        .collect();
                    let old = std::mem::take(&mut run);
                    let count = merge(&old, &changes, gone, &mut run).unwrap();
                    prop_assert_eq!(count as usize, expected.len());
                }
                for slot in 0..32 {
                    let found = find(&run, slot).unwrap();
                    let found = found.map(|(_, found)| found.map(<[u8]>::to_vec));
                    let known = expected.get(&slot).cloned();
                    prop_assert_eq!(found, known.map(|known| known.map(String::into_bytes)));
                }
            }
        }
    }
}
