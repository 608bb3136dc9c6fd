//! The rows of one event, taken apart into the bytes of their columns.

use std::borrow::Cow;

use super::cursor::Cursor;
use super::error::{Damage, DecodeError};
use super::table_map::{MapColumn, bit};

const STATEMENT_END: u16 = 0x01;
/// `USE_SQL_FOREIGN_KEY_F`, of MySQL from 9.6.
const CASCADES_LOGGED: u16 = 0x10;
/// The table id of an event that only ends a statement.
const DUMMY_TABLE: u64 = 0x00ff_ffff;
/// No server allows more columns in a table.
const COLUMNS_MAX: u64 = 4096;

/// What happened to the rows of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowKind {
    /// They were inserted.
    Insert,
    /// They were updated.
    Update,
    /// They were deleted.
    Delete,
}

/// Rows of one table that the same statement inserted, updated or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowsEvent<'a> {
    /// What happened to them.
    pub kind: RowKind,
    /// The number of the table map that describes them.
    pub table_id: u64,
    /// Whether the statement ends here, and with it the meaning of its table ids.
    pub statement_end: bool,
    /// Whether what the server writes because of foreign keys is logged like any other row; if not,
    /// the storage engine did it unseen.
    pub cascades_logged: bool,
    /// How many columns the table has.
    pub columns: usize,
    /// Which columns the images have (of updates: the images before), the first the lowest bit.
    present: Cow<'a, [u8]>,
    /// Of updates: which columns the images after have.
    present_after: Cow<'a, [u8]>,
    /// The images. Owned if they were compressed.
    images: Cow<'a, [u8]>,
}

/// What stands before the images of a rows event.
pub(super) struct RowsHeader<'a> {
    table_id: u64,
    flags: u16,
    columns: usize,
    present: &'a [u8],
    present_after: &'a [u8],
}

impl<'a> RowsHeader<'a> {
    /// Reads the header and gives what follows it.
    pub(super) fn read(
        body: &'a [u8],
        id_bytes: usize,
        extra: bool,
        update: bool,
    ) -> Result<(RowsHeader<'a>, &'a [u8]), DecodeError> {
        let mut cursor = Cursor::new(body, "rows");
        let table_id = cursor.little(id_bytes)?;
        let flags = cursor.u16()?;
        if extra {
            let extra_bytes = usize::from(cursor.u16()?);
            let extra_bytes = extra_bytes
                .checked_sub(2)
                .ok_or_else(|| DecodeError::malformed("a rows event with a short extra header"))?;
            cursor.take(extra_bytes)?;
        }
        let columns = cursor.packed()?;
        if columns > COLUMNS_MAX {
            return Err(DecodeError::malformed("a rows event of more than 4096 columns"));
        }
        let columns = usize::try_from(columns).unwrap_or(usize::MAX);
        let present = cursor.take(columns.div_ceil(8))?;
        let present_after = if update { cursor.take(columns.div_ceil(8))? } else { present };
        Ok((RowsHeader { table_id, flags, columns, present, present_after }, cursor.rest()))
    }
}

impl<'a> RowsEvent<'a> {
    pub(super) fn new(kind: RowKind, header: &RowsHeader<'a>, images: Cow<'a, [u8]>) -> Self {
        RowsEvent {
            kind,
            table_id: header.table_id,
            statement_end: header.flags & STATEMENT_END != 0,
            cascades_logged: header.flags & CASCADES_LOGGED != 0,
            columns: header.columns,
            present: header.present.into(),
            present_after: header.present_after.into(),
            images,
        }
    }

    /// How many bytes its rows take.
    pub fn bytes(&self) -> usize {
        self.images.len()
    }

    /// The same with bytes of its own, to be kept when the event has gone.
    pub fn owned(&self) -> RowsEvent<'static> {
        RowsEvent {
            present: self.present.to_vec().into(),
            present_after: self.present_after.to_vec().into(),
            images: self.images.to_vec().into(),
            ..*self
        }
    }

    /// An event without a table, which only ends a statement.
    pub fn is_dummy(&self) -> bool {
        self.table_id == DUMMY_TABLE && self.images.is_empty()
    }

    /// Whether every image carries every column, as `binlog_row_image=FULL` makes them.
    pub fn is_full(&self) -> bool {
        self.absent().next().is_none()
    }

    /// The columns that some image does not carry.
    pub fn absent(&self) -> impl Iterator<Item = usize> {
        let carried =
            |index: &usize| bit(&self.present, *index) && bit(&self.present_after, *index);
        (0..self.columns).filter(move |index| !carried(index))
    }

    /// Whether the images (of updates: the images before) carry the column.
    pub fn has_before(&self, index: usize) -> bool {
        index < self.columns && bit(&self.present, index)
    }

    /// Whether the images (of updates: the images after) carry the column.
    pub fn has_after(&self, index: usize) -> bool {
        index < self.columns && bit(&self.present_after, index)
    }

    /// Reads the rows with the columns of their table map.
    pub fn rows<'e>(&'e self, columns: &'e [MapColumn]) -> Result<RowReader<'e>, DecodeError> {
        if columns.len() != self.columns {
            return Err(Damage::Rows { what: "the number of columns differs" }.into());
        }
        Ok(RowReader {
            kind: self.kind,
            columns,
            before: Carried::of(&self.present, self.columns),
            after: Carried::of(&self.present_after, self.columns),
            rest: Cursor::new(&self.images, "row"),
        })
    }
}

/// One column of one row, not yet a value. Two of the same column are equal exactly if the stored
/// values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RawColumn<'a> {
    /// The image doesn't carry the column (`binlog_row_image` other than `FULL`).
    Absent,
    /// NULL.
    Null,
    /// The bytes of the value, without the length before them.
    Bytes(&'a [u8]),
}

/// One row: its images before and after. Keep one and pass it to [`RowReader::read`] again and
/// again, so that its memory is used again.
#[derive(Debug, Clone, Default)]
pub struct Row<'a> {
    /// What it was, one entry for each column; empty for an insert.
    pub before: Vec<RawColumn<'a>>,
    /// What it is, one entry for each column; empty for a delete.
    pub after: Vec<RawColumn<'a>>,
}

impl Row<'_> {
    /// Its memory, for a row of another event.
    pub fn emptied<'b>(self) -> Row<'b> {
        // Collecting what is left of a vector in a vector of the same type takes its memory over.
        fn emptied<'b>(mut image: Vec<RawColumn<'_>>) -> Vec<RawColumn<'b>> {
            image.clear();
            image.into_iter().map(|_| RawColumn::Null).collect()
        }
        Row { before: emptied(self.before), after: emptied(self.after) }
    }
}

/// Reads the rows of one event in order.
#[derive(Debug, Clone)]
pub struct RowReader<'a> {
    kind: RowKind,
    columns: &'a [MapColumn],
    before: Carried<'a>,
    after: Carried<'a>,
    rest: Cursor<'a>,
}

/// Which columns an image carries.
#[derive(Debug, Clone, Copy)]
struct Carried<'a> {
    bitmap: &'a [u8],
    count: usize,
}

impl<'a> Carried<'a> {
    fn of(bitmap: &'a [u8], columns: usize) -> Carried<'a> {
        Carried { bitmap, count: (0..columns).filter(|index| bit(bitmap, *index)).count() }
    }
}

impl<'a> RowReader<'a> {
    /// Reads the next row into `row`. False after the last.
    pub fn read(&mut self, row: &mut Row<'a>) -> Result<bool, DecodeError> {
        row.before.clear();
        row.after.clear();
        if self.rest.is_empty() {
            return Ok(false);
        }
        let left = self.rest.len();
        match self.kind {
            RowKind::Insert => self.image(self.after, &mut row.after)?,
            RowKind::Delete => self.image(self.before, &mut row.before)?,
            RowKind::Update => {
                self.image(self.before, &mut row.before)?;
                self.image(self.after, &mut row.after)?;
            }
        }
        if self.rest.len() == left {
            return Err(Damage::Rows { what: "a row takes no bytes" }.into());
        }
        Ok(true)
    }

    fn image(
        &mut self,
        carried: Carried<'a>,
        image: &mut Vec<RawColumn<'a>>,
    ) -> Result<(), DecodeError> {
        let nulls = self.rest.take(carried.count.div_ceil(8))?;
        image.reserve(self.columns.len());
        let mut place = 0;
        for (index, column) in self.columns.iter().enumerate() {
            if !bit(carried.bitmap, index) {
                image.push(RawColumn::Absent);
                continue;
            }
            image.push(if bit(nulls, place) {
                RawColumn::Null
            } else {
                RawColumn::Bytes(column.column.take(&mut self.rest)?)
            });
            place += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emptied_row_keeps_its_memory() {
        let bytes = vec![1, 2, 3];
        let row = Row { before: Vec::with_capacity(7), after: vec![RawColumn::Bytes(&bytes); 9] };
        let place = row.after.as_ptr().addr();
        let row = row.emptied();
        drop(bytes);
        assert!(row.before.is_empty() && row.after.is_empty());
        assert!(row.before.capacity() == 7 && row.after.capacity() == 9);
        assert_eq!(row.after.as_ptr().addr(), place);
    }
}
