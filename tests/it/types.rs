//! Every column type, from the child's log to the parent's table, at its limits: equal by the word
//! of the servers themselves. What was tried where is in `docs/types.md`, which these tests write.

mod charsets;
mod cjk;
mod differential;
pub(crate) mod ends;
mod exact;
mod generated;
mod keys;
mod kinds;
mod lacking;
mod named;
mod pairs;
mod strange;

#[test]
fn every_row_of_the_docs_is_told_by_a_test() {
    let known = kinds::kinds();
    let known = |row: &str| known.iter().any(|kind| kind.row == row);
    let untold = exact::TYPES.untold(known, &[include_str!("types/strange.rs")]);
    assert!(untold.is_empty(), "docs/types.md has rows that no test tells: {untold:?}");
}
