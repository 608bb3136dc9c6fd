//! One running node: capture, links and apply put together.
