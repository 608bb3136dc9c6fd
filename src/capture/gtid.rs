//! What a server has executed, in both vendors' notations: `MySQL`'s sets of intervals per server
//! uuid and tag, `MariaDB`'s last number per replication domain.

use std::collections::BTreeMap;
use std::fmt;

/// A set of `MySQL` global transaction ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct GtidSet {
    /// By `uuid` or `uuid:tag`, disjoint half-open intervals in rising order.
    sources: BTreeMap<(uuid::Uuid, String), Vec<(u64, u64)>>,
}

/// Text that is not a set of GTIDs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a GTID set")]
pub struct NotGtids {
    /// The text.
    pub text: String,
}

impl GtidSet {
    /// Reads the server's notation: `uuid:1-5:7,uuid:tag:1-3`, with any white space.
    pub(super) fn parse(text: &str) -> Result<GtidSet, NotGtids> {
        let wrong = || NotGtids { text: text.to_owned() };
        let mut set = GtidSet::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let mut fields = part.split(':').map(str::trim);
            let uuid = fields.next().and_then(|uuid| uuid.parse().ok()).ok_or_else(wrong)?;
            let mut tag = String::new();
            for field in fields {
                if field.starts_with(|first: char| first.is_ascii_digit()) {
                    let (first, last) = field.split_once('-').unwrap_or((field, field));
                    let first: u64 = first.parse().map_err(|_not_a_number| wrong())?;
                    let last: u64 = last.parse().map_err(|_not_a_number| wrong())?;
                    if first == 0 || last < first || last == u64::MAX {
                        return Err(wrong());
                    }
                    set.sources.entry((uuid, tag.clone())).or_default().push((first, last + 1));
                } else {
                    field.clone_into(&mut tag);
                }
            }
        }
        // Once, not at every interval: a server may list a hundred thousand.
        set.sources.values_mut().for_each(join);
        Ok(set)
    }

    /// Adds one transaction.
    pub(super) fn add(&mut self, source: uuid::Uuid, tag: &str, number: u64) {
        self.add_range(source, tag, number, number.saturating_add(1));
    }

    /// Whether every transaction of `other` is in this set.
    pub(super) fn contains_all(&self, other: &GtidSet) -> bool {
        other.sources.iter().all(|(source, wanted)| {
            let had = self.sources.get(source).map(Vec::as_slice).unwrap_or_default();
            wanted.iter().all(|(start, end)| {
                had.iter().any(|(had_start, had_end)| had_start <= start && end <= had_end)
            })
        })
    }

    /// Whether there is no transaction in it.
    pub(super) fn is_empty(&self) -> bool {
        self.sources.values().all(Vec::is_empty)
    }

    /// The notation the dump request takes: one entry per source and tag.
    pub(super) fn entries(&self) -> impl Iterator<Item = String> + '_ {
        self.sources.iter().map(|((uuid, tag), intervals)| {
            let mut entry = uuid.hyphenated().to_string();
            if !tag.is_empty() {
                entry.push(':');
                entry.push_str(tag);
            }
            for (start, end) in intervals {
                let last = end.saturating_sub(1);
                entry.push(':');
                entry.push_str(&start.to_string());
                if last > *start {
                    entry.push('-');
                    entry.push_str(&last.to_string());
                }
            }
            entry
        })
    }

    fn add_range(&mut self, source: uuid::Uuid, tag: &str, start: u64, end: u64) {
        let intervals = self.sources.entry((source, tag.to_owned())).or_default();
        // The next transaction nearly always extends the last interval by one.
        if let Some(last) = intervals.last_mut().filter(|last| last.1 == start) {
            last.1 = end;
            return;
        }
        intervals.push((start, end));
        join(intervals);
    }
}

/// Sorts intervals and makes one of those that touch.
fn join(intervals: &mut Vec<(u64, u64)>) {
    intervals.sort_unstable();
    intervals.dedup_by(|next, last| {
        let touch = next.0 <= last.1;
        if touch {
            last.1 = last.1.max(next.1);
        }
        touch
    });
}

impl fmt::Display for GtidSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, entry) in self.entries().enumerate() {
            if index > 0 {
                out.write_str(",")?;
            }
            out.write_str(&entry)?;
        }
        Ok(())
    }
}

/// `MariaDB`'s position: the last transaction of each replication domain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DomainState {
    domains: BTreeMap<u32, (u32, u64)>,
}

impl DomainState {
    /// Reads the server's notation: `0-1-10,1-2-3`.
    pub(super) fn parse(text: &str) -> Result<DomainState, NotGtids> {
        let wrong = || NotGtids { text: text.to_owned() };
        let mut state = DomainState::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let mut fields = part.split('-');
            let mut next = || fields.next().and_then(|field| field.parse::<u64>().ok());
            let (domain, server, number) = (next(), next(), next());
            let (Some(domain), Some(server), Some(number), None) = (domain, server, number, next())
            else {
                return Err(wrong());
            };
            let domain = u32::try_from(domain).map_err(|_not_a_number| wrong())?;
            let server = u32::try_from(server).map_err(|_not_a_number| wrong())?;
            state.reached(domain, server, number);
        }
        Ok(state)
    }

    /// Whether a server whose log state is `state`, the last number of each domain *and server*, has
    /// written each of these transactions, or later ones of the same server.
    pub(super) fn is_in(&self, state: &str) -> bool {
        let had = |domain: u32, server: u32, number: u64| {
            state.split(',').filter_map(|part| DomainState::parse(part).ok()).any(|one| {
                one.domains.get(&domain).is_some_and(|(by, last)| *by == server && *last >= number)
            })
        };
        !self.domains.is_empty()
            && self.domains.iter().all(|(domain, (server, number))| had(*domain, *server, *number))
    }

    /// Notes the last transaction of a domain.
    pub(super) fn reached(&mut self, domain: u32, server: u32, number: u64) {
        self.domains.insert(domain, (server, number));
    }
}

impl fmt::Display for DomainState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (domain, (server, number))) in self.domains.iter().enumerate() {
            if index > 0 {
                out.write_str(",")?;
            }
            write!(out, "{domain}-{server}-{number}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    #[test]
    fn a_set_is_printed_as_it_was_read() {
        for text in ["", &format!("{SERVER}:1-5:7"), &format!("{SERVER}:1,{SERVER}:tag:1-3")] {
            assert_eq!(GtidSet::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_joint_form_with_a_tag_becomes_two_entries() {
        let set = GtidSet::parse(&format!("{SERVER}:1-105:tag:1-3")).unwrap();
        let entries: Vec<_> = set.entries().collect();
        assert_eq!(entries, [format!("{SERVER}:1-105"), format!("{SERVER}:tag:1-3")]);
    }

    #[test]
    fn transactions_added_in_any_order_join_into_one_interval() {
        let mut set = GtidSet::default();
        let source = SERVER.parse().unwrap();
        for number in [3, 1, 2, 5, 4, 4] {
            set.add(source, "", number);
        }
        assert_eq!(set.to_string(), format!("{SERVER}:1-5"));
    }

    #[test]
    fn a_set_that_shrank_does_not_contain_the_old_one() {
        let old = GtidSet::parse(&format!("{SERVER}:1-10")).unwrap();
        let new = GtidSet::parse(&format!("{SERVER}:1-8")).unwrap();
        assert!(old.contains_all(&new));
        assert!(!new.contains_all(&old));
    }

    #[test]
    fn intervals_in_any_order_are_joined() {
        let set = GtidSet::parse(&format!("{SERVER}:7-9:1-3,{SERVER}:3-5:20:6")).unwrap();
        assert_eq!(set.to_string(), format!("{SERVER}:1-9:20"));
    }

    #[test]
    fn garbage_is_refused() {
        for text in ["x", "3e11fa47:1", &format!("{SERVER}:5-1"), &format!("{SERVER}:0")] {
            assert!(GtidSet::parse(text).is_err(), "{text}");
        }
        for text in ["0-1", "0-1-2-3", "a-b-c", "4294967296-1-1"] {
            assert!(DomainState::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_a_server_wrote_is_in_the_state_of_those_that_follow_it() {
        let state = "0-1-10, 0-2-12,1-2-3";
        for (read, is_in) in [
            ("0-1-10", true),
            ("0-1-9,1-2-3", true),
            ("0-1-11", false),
            ("0-3-1", false),
            ("", false),
        ] {
            assert_eq!(DomainState::parse(read).unwrap().is_in(state), is_in, "{read}");
        }
    }

    #[test]
    fn domains_are_kept_apart() {
        let mut state = DomainState::parse("0-1-10, 1-2-3").unwrap();
        state.reached(0, 7, 11);
        assert_eq!(state.to_string(), "0-7-11,1-2-3");
    }
}
