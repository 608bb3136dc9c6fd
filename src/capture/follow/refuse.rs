//! Refusals: each names the place in the log and the remedy.

use crate::capture::decode::DecodeError;
use crate::capture::place::Spot;
use crate::capture::{Error, Resume};

pub(super) const READ_AGAIN: &str = "The log is damaged there: check the server's disk, and see \
                                     'A damaged log' in docs/operator.md";

pub(super) fn given_up(start: &Spot) -> String {
    format!(
        "Copy the rows it concerns by other means, as 'Rows that are not in the log' in \
         docs/operator.md says, then go on with [capture] accept = [\"{start}\"]"
    )
}

pub(super) fn refused(start: &Spot, what: &str, remedy: &str) -> Error {
    Error::Refused { place: start.to_string(), what: what.to_owned(), remedy: remedy.to_owned() }
}

pub(in crate::capture) fn at(start: &Spot, error: &DecodeError) -> Error {
    refused(start, &error.to_string(), READ_AGAIN)
}

/// What the server says of its own log when it is asked for it from a place on.
pub(in crate::capture) fn unreadable(start: &Spot, error: Error) -> Error {
    match error {
        Error::Unreadable { server } | Error::Resume(Resume::NotAnEvent { server, .. }) => {
            refused(start, &cannot_read(&server), READ_AGAIN)
        }
        other => other,
    }
}

pub(super) fn cannot_read(server: &str) -> String {
    format!(
        "the server cannot read its own log on from there, in this file or a later one ({server})"
    )
}

pub(super) fn placed(start: &Spot, error: Error) -> Error {
    match error {
        Error::Value { .. } => refused(
            start,
            &error.to_string(),
            &format!(
                "Leave the column out in the schema map, or change its type. {}",
                given_up(start)
            ),
        ),
        other => other,
    }
}
