//! Savepoints: the log has them, and a return to one of them, in a transaction that also changed a table
//! whose engine cannot roll back. What came in between was undone in every table that travels.

use super::Follower;
use super::refuse::{given_up, refused};
use crate::capture::Error;
use crate::capture::place::Spot;
use crate::capture::words::words;

/// With more savepoints than this in a transaction, none of them is remembered.
const SAVEPOINTS_MAX: usize = 1_000;

/// The savepoints of a transaction in order, and how many changes it had at each; `None` after too many.
#[derive(Debug)]
pub(super) struct Savepoints(Option<Vec<(String, u64)>>);

impl Default for Savepoints {
    fn default() -> Savepoints {
        Savepoints(Some(Vec::new()))
    }
}

impl Savepoints {
    fn set(&mut self, name: String, changes: u64) {
        if let Some(set) = &mut self.0 {
            set.push((name, changes));
        }
        self.0.take_if(|set| set.len() > SAVEPOINTS_MAX);
    }

    /// How many changes a return to a savepoint leaves, which goes on being one. `None` if it is not
    /// known: of two with one name, one may be a function's own.
    fn back_to(&mut self, name: &str) -> Option<u64> {
        let set = self.0.as_mut()?;
        let mut found = set.iter().enumerate().filter(|(_, (known, _))| known == name);
        let (Some((place, (_, changes))), None) = (found.next(), found.next()) else {
            return None;
        };
        let changes = *changes;
        set.truncate(place + 1);
        Some(changes)
    }
}

/// The name that is the word with this number; their case does not matter.
fn name(sql: &str, word: usize) -> Option<String> {
    words(sql).nth(word).map(|word| word.text.to_lowercase())
}

impl Follower {
    /// `SAVEPOINT name`, or `RELEASE SAVEPOINT name`, after which no server returns to it.
    pub(super) fn savepoint(&mut self, sql: &str) {
        let changes = self.assembly.changes();
        let sets = words(sql).next().is_some_and(|word| word.is("SAVEPOINT"));
        if let (true, Some(open), Some(name)) = (sets, &mut self.transaction, name(sql, 1)) {
            open.savepoints.set(name, changes);
        }
    }

    /// `ROLLBACK TO name`.
    pub(super) fn back_to_savepoint(&mut self, sql: &str, start: &Spot) -> Result<(), Error> {
        let open = self.transaction.as_mut();
        let left = open.zip(name(sql, 2)).and_then(|(open, name)| open.savepoints.back_to(&name));
        let undone = match left {
            Some(left) => self.assembly.back_to(left)?,
            None => !self.assembly.is_open(),
        };
        if !undone {
            if !self.is_accepted(start) {
                let what = format!(
                    "a transaction that changed table {} was rolled back to a savepoint after \
                     changes of a table whose engine cannot roll back",
                    self.changed_table()
                );
                return Err(refused(start, &what, &given_up(start)));
            }
            tracing::warn!(place = %start, "what the transaction there changed so far is given up");
            self.rolled_back |= self.assembly.abandon()?;
        }
        // What it did to identities was rolled back in part.
        self.forget_changed();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_return_leaves_what_was_there_when_the_savepoint_was_set() {
        let mut savepoints = Savepoints::default();
        for (name, changes) in [("a", 1), ("b", 2), ("c", 3)] {
            savepoints.set(name.to_owned(), changes);
        }
        assert_eq!(savepoints.back_to("b"), Some(2));
        assert_eq!(savepoints.back_to("c"), None, "it went with what came after b");
        assert_eq!(savepoints.back_to("b"), Some(2), "a return does not end it");
        savepoints.set("a".to_owned(), 4);
        assert_eq!(savepoints.back_to("a"), None, "either could be meant");
    }

    #[test]
    fn too_many_savepoints_are_not_remembered() {
        let mut savepoints = Savepoints::default();
        for number in 0..=SAVEPOINTS_MAX {
            savepoints.set(number.to_string(), 0);
        }
        assert_eq!(savepoints.back_to("0"), None);
    }
}
