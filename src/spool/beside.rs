//! The links as a second process changes them for a moment: `headwater invite` and `revoke` work
//! while the node runs, which sees the change within a second.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::error::Error;
use super::file;
use super::link::{self, Link};
use super::lock::Lock;
use crate::clock::Timestamp;

/// The store's links, opened beside the process that runs on it, or without one.
pub struct Beside {
    connection: Connection,
    _lock: Option<Lock>,
}

impl Beside {
    /// Opens the store; makes or migrates it only if no other process has it.
    pub fn open(data_dir: &Path, now: Timestamp) -> Result<Beside, Error> {
        let lock = match Lock::take(data_dir) {
            Ok(lock) => Some(lock),
            Err(Error::Locked { .. }) => {
                // Refuses a store whose schema is not the one known here: the process that holds
                // it must not see it change.
                drop(file::open_reader(data_dir)?);
                None
            }
            Err(error) => return Err(error),
        };
        let connection = file::open_writer(data_dir, now)?;
        Ok(Beside { connection, _lock: lock })
    }

    /// Puts a link in the place of what is there under its name, as one step that nothing comes
    /// between; `change` sees what is there. Cursors stay where they are.
    pub fn change_link<E: From<Error>>(
        &mut self,
        name: &str,
        change: impl FnOnce(Option<&Link>) -> Result<Link, E>,
    ) -> Result<(), E> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(Error::from)?;
        let found = link::get(&transaction, name)?;
        let changed = change(found.as_ref())?;
        link::put(&transaction, &changed)?;
        transaction.commit().map_err(Error::from)?;
        Ok(())
    }
}
