//! Compares two databases by identity and value, through different local ids.
