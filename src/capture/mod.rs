//! Reads the binary log of the node's database and turns committed row changes into segments.
//!
//! ```text
//!  server --stream--> raw events --decode--> Event --follow--> rows --translate--> Change
//!                                               |                                    |
//!                                             place (where to resume)            assembly
//!                                               |                                    |
//!                                               +----------- run: append ------------+--> spool
//! ```
//!
//! [`run`] is the loop: it connects, resumes, hands segments and their position to the spool in one
//! store transaction, and starts over after an error, at once or slowly as the error demands.

mod ahead;
mod alter;
mod assembly;
pub mod decode;
mod error;
mod fetch;
mod follow;
mod gtid;
mod identities;
mod insert;
mod logged;
mod place;
mod plan;
mod resume;
mod row;
mod run;
mod session;
mod start;
mod state;
mod statement;
mod storing;
mod stream;
mod tables;
mod teller;
mod translate;
mod watch;
mod words;

pub use error::{Disposition, Error, Resume};
pub use place::{canonical, reaches};
pub use run::{Capture, Options, run};
pub use start::log_end;
pub use state::{Doing, State};
pub use statement::{Statement, mentions};
pub(crate) use teller::{READ_ALL, WAITS};
