//! The names written to a segment, and their numbers.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::value::Name;

/// Numbers by name. Names are shared, so nearly every question is answered by a name's address;
/// an equal name at another address gets the same number.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_text: HashMap<Name, u32, RandomState>,
    /// Each name is kept, so that its address cannot come to mean another.
    by_address: HashMap<usize, (u32, Name), RandomState>,
}

impl Names {
    /// The number of a name already written.
    pub(super) fn number(&self, name: &Name) -> Option<u32> {
        match self.by_address.get(&address(name)) {
            Some((number, _)) => Some(*number),
            None => self.by_text.get(name).copied(),
        }
    }

    /// The number of a name, and whether it is the first time that it is asked for.
    pub(super) fn intern(&mut self, name: &Name) -> (u32, bool) {
        if let Some((number, _)) = self.by_address.get(&address(name)) {
            return (*number, false);
        }
        let next = u32::try_from(self.by_text.len()).unwrap_or(u32::MAX);
        let number = *self.by_text.entry(Arc::clone(name)).or_insert(next);
        self.by_address.insert(address(name), (number, Arc::clone(name)));
        (number, number == next)
    }

    pub(super) fn clear(&mut self) {
        self.by_text.clear();
        self.by_address.clear();
    }
}

fn address(name: &Name) -> usize {
    Arc::as_ptr(name).cast::<u8>() as usize
}
