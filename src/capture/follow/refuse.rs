//! Refusals: each names the place in the log and the remedy.

use crate::capture::decode::{DecodeError, Refusal};
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
    refused(start, &error.to_string(), &remedy(error, start))
}

/// What somebody can do about an event or a table that cannot be read: only damage is the disk's.
pub(super) fn remedy(error: &DecodeError, start: &Spot) -> String {
    let DecodeError::Refused(refusal) = error else { return READ_AGAIN.to_owned() };
    match refusal {
        Refusal::TooLarge { .. } => "Raise [capture] inflated_bytes_max".to_owned(),
        // Of a format description, whose checksum is looked at last.
        Refusal::ChecksumAlgorithm(_) | Refusal::LogVersion(_) | Refusal::PostHeader { .. } => {
            format!("Install a newer headwater. If this is the newest: {READ_AGAIN}")
        }
        Refusal::AncientRows(_) | Refusal::CompressionMethod { .. } => {
            "Install a newer headwater".to_owned()
        }
        Refusal::ColumnType { .. }
        | Refusal::Collation(_)
        | Refusal::Charset(_)
        | Refusal::OldFraction => {
            format!("Alter the column, or exclude the table in the schema map. {}", given_up(start))
        }
        Refusal::Mismatch { .. } | Refusal::Absent => given_up(start),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::decode::Damage;
    use crate::capture::place::Place;
    use crate::position::{Position, ServerIdentity};

    #[test]
    fn only_damage_is_told_as_damage() {
        let server = ServerIdentity::Mysql { server_uuid: "7".to_owned() };
        let file = "binlog.000007".to_owned();
        let position = Position { server, file, offset: 4, gtids: None };
        let start = Place::new(&position).unwrap().spot();
        let told = |error: DecodeError| at(&start, &error).to_string();
        let damaged = told(Damage::Malformed { what: "nonsense" }.into());
        assert!(damaged.contains("check the server's disk"), "{damaged}");
        let what = "the compressed transaction";
        let large = told(Refusal::TooLarge { what, bytes: 9, limit: 8 }.into());
        assert!(large.contains("Raise [capture] inflated_bytes_max"), "{large}");
        let strange = told(Refusal::Collation(1029).into());
        assert!(strange.contains("Alter the column") && strange.contains("accept"), "{strange}");
        for refused in [large, strange] {
            assert!(!refused.contains("disk"), "{refused}");
        }
    }
}
