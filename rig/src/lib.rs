//! Throwaway database servers, a link that can be cut, and a clinic at work, for headwater's
//! tests, demo and benches.
//!
//! ```no_run
//! # async fn story() -> anyhow::Result<()> {
//! use headwater_rig::{Flavor, Server, ServerOptions, openmrs};
//!
//! let server = Server::start(Flavor::Mariadb1011, ServerOptions::default()).await?;
//! openmrs::create(&server, "openmrs").await?;
//! server.sql_in("openmrs", "DELETE FROM obs; DELETE FROM encounter").await?;
//! # Ok(())
//! # }
//! ```

pub mod clinic;
pub mod edge;
mod flavor;
mod keyring;
mod link;
pub mod openmrs;
mod options;
mod server;
mod sql;
mod template;

pub use clinic::Clinic;
pub use flavor::{Flavor, Installed, found_servers, tested_on};
pub use link::{Conditions, Direction, Link};
pub use options::ServerOptions;
pub use server::{Server, connect, tail};
