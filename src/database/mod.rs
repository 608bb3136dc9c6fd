//! What capture, apply and the commands all need of a MySQL or MariaDB server: a connection, which
//! server it is, and what its tables look like.

pub mod connect;
pub mod dump;
mod error;
pub mod name;
mod read;
pub mod schema;
pub mod server;
pub mod value;

pub use error::Error;
pub(crate) use error::{BUSY, LOST};
