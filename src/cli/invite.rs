//! `headwater invite NAME`: prints the one-time token that lets a child join.

use std::path::Path;

use crate::clock::Clock;
use crate::transport::enrol::{self, EnrolError, INVITATION_LIFE};

/// Invites a child; the token is for the last line of stdout. Works while the node runs.
pub fn invite(
    data_dir: &Path,
    node_name: &str,
    child: &str,
    clock: &dyn Clock,
) -> Result<String, EnrolError> {
    let token = enrol::invite(data_dir, node_name, child, INVITATION_LIFE, clock.now())?;
    Ok(token.to_string())
}
