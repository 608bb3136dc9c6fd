//! Writes batches into the target database, exactly once: the watermark commits with the rows.
//!
//! ```text
//!  batch --segments--> changes --plan--> runs --resolve, write by set--> rows + watermark, COMMIT
//!                                          | fails: rolled back and halved, down to one change
//!                                          +--> parked (a row is missing) or quarantined (a person
//!                                               is needed), with the later changes of the same row
//! ```
//!
//! [`Applier`] is the way in; `docs/apply.md` tells the whole. Planning (`plan.rs`), the text of
//! statements (`statement.rs`) and the conversion of values (`cell.rs`) do no I/O.

mod admit;
mod again;
mod applier;
mod ask;
mod batch;
mod cell;
mod error;
mod exact;
mod held;
mod json_number;
mod layout;
mod mistaken;
mod plan;
mod resolve;
mod run;
mod session;
mod state;
mod statement;
mod target;
mod touched;
mod work;

pub use again::Retried;
pub use applier::{Applier, Limits, Report, Settings};
pub use error::{Error, State};
pub use held::{Shown, ShownValue, Waiting};
