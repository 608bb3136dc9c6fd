//! Headwater keeps clinic databases in step with their parent over links and power that fail.
//!
//! ```text
//!  child's database                  child                                parent         parent's database
//!  binlog --event--> capture --segment--> spool --batch--> transport --pieces over HTTPS-->
//!        --> transport --batch--> apply --> one SQL transaction { rows + watermark } COMMIT
//!        <-- acknowledged through N <-------------------------------------+
//!  the spool releases what is acknowledged and past its grace period
//! ```
//!
//! The modules follow that way: [`capture`] reads the binary log, [`spool`] keeps what was
//! captured, [`transport`] carries it, [`apply`] writes it. [`change`], [`value`] and [`record`]
//! are the words all of them share; [`schema_map`] says what travels and how rows are identified.

pub mod apply;
pub mod capture;
pub mod change;
pub mod cli;
pub mod clock;
pub mod compare;
pub mod config;
pub mod database;
pub mod doctor;
pub mod node;
pub mod operate;
pub mod position;
pub mod record;
pub mod schema_map;
pub mod spool;
pub mod transport;
pub mod value;
