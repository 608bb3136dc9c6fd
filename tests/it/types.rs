//! Every column type, from the child's log to the parent's table, at its limits: equal by the word
//! of the servers themselves. What was tried where is in `docs/types.md`, which these tests write.

mod cjk;
mod ends;
mod exact;
mod kinds;
