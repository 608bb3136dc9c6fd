//! The configuration file, as typed and as meant; every limit and default, with its unit.
