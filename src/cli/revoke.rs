//! `headwater revoke NAME`: ends a child's link, within a second if the node runs.

use std::path::Path;

use crate::clock::Clock;
use crate::transport::enrol::{self, EnrolError};

/// Ends a child's link. Works while the node runs.
pub fn revoke(data_dir: &Path, child: &str, clock: &dyn Clock) -> Result<(), EnrolError> {
    enrol::revoke(data_dir, child, clock.now())
}
