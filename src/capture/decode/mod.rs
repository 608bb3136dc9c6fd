//! Reads binary log events, rows and values out of the bytes that a MySQL or `MariaDB` server
//! sent. No I/O, no clock; what is read borrows from those bytes, and nothing is trusted: damage
//! and anything unknown are errors by name, never a guess.
//!
//! ```text
//!  bytes --Decoder::event--> Event --TableMapEvent::columns--> [MapColumn]
//!                              |                                    |
//!                              +--RowsEvent::rows(&columns)--> Row of RawColumn
//!                                                                   |
//!                        ColumnFacts (types and character sets) --> value
//! ```
//!
//! Rows are taken apart late: [`RowReader::read`] only finds where each column lies, so that an
//! unchanged or unmapped column costs a comparison of two slices or nothing.

mod charset;
mod cjk;
mod column;
mod cursor;
mod decimal;
mod describe;
mod error;
mod event;
mod facts;
mod gtid;
#[cfg(test)]
mod hostile;
mod json;
mod payload;
mod rows;
mod single_byte;
mod statement;
mod table_map;
mod temporal;
mod text;
mod value;

pub use charset::Charset;
pub use column::ColumnType;
pub use error::{Damage, DecodeError, Refusal};
pub use event::{Body, Decoder, Event, Header, Incident};
pub use facts::{ColumnFacts, Special};
pub use gtid::{Gtid, GtidInterval, MariadbGtid, MariadbGtidList, PreviousGtid};
pub use payload::{PayloadReader, TransactionPayload};
pub use rows::{RawColumn, Row, RowKind, RowReader, RowsEvent};
pub use statement::{Query, XaPrepare, Xid};
pub use table_map::{MapColumn, TableMapEvent};
