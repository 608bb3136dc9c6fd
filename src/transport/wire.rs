//! What the two ends of a link say to each other around the batches, as JSON. `docs/wire.md`
//! describes it for people.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::batch::BatchKey;
use super::{SetAside, Wanted};
use crate::change::{Change, Epoch, Kind, NodeId, Sequence, Shape};
use crate::clock::Timestamp;
use crate::record::{Record, SegmentReader, SegmentWriter};

/// The versions of this conversation that this headwater speaks.
pub const PROTOCOL_VERSIONS: [u16; 1] = [1];
/// More rows than this are not asked for at a time.
pub const WANTED_MAX: usize = 500;
/// A list of wanted rows ends when it has this many bytes: identities may be whole rows.
const WANTED_BYTES_MAX: usize = 256 * 1024;
/// The longest JSON body either end reads: a list of wanted rows is the longest there is.
pub const JSON_BYTES_MAX: usize = 1024 * 1024;
/// The largest piece a parent takes.
pub const PIECE_BYTES_MAX: usize = 1024 * 1024;
/// Room for a piece's header in front of its bytes.
pub const PIECE_HEADER_BYTES_MAX: usize = 64;

/// Where requests go.
pub mod path {
    /// A child asks for its certificate.
    pub const JOIN: &str = "/v1/join";
    /// A child asks for its certificate to be made out anew.
    pub const RENEW: &str = "/v1/renew";
    /// The first request of a connection.
    pub const HELLO: &str = "/v1/hello";
    /// A piece of a batch.
    pub const PIECE: &str = "/v1/piece";
}

/// `POST /v1/join`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// The token's secret, base64.
    pub secret: String,
    /// The child's public key (`SubjectPublicKeyInfo`, DER, base64).
    pub public_key: String,
    /// The child's node id.
    pub node: NodeId,
    /// The epoch of its store.
    pub epoch: Epoch,
    /// The name in the child's own configuration; the invitation's name counts.
    pub name: String,
}

/// What a child gets for its invitation, or when it renews.
#[derive(Debug, Serialize, Deserialize)]
pub struct JoinAnswer {
    /// The name it is known by at the parent.
    pub name: String,
    /// Its certificate, DER, base64.
    pub certificate: String,
    /// The certificate of the parent's authority, DER, base64.
    pub authority: String,
    /// The parent's node id.
    pub parent: NodeId,
    /// The parent's name.
    pub parent_name: String,
}

/// `POST /v1/hello`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hello {
    /// The versions of the conversation it speaks.
    pub versions: Vec<u16>,
    /// Its node id.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// The epoch of its store.
    pub epoch: Epoch,
    /// The digest of its schema map, in hexadecimal.
    pub map: String,
    /// What its clock says.
    pub clock: Timestamp,
    /// After how many seconds without a byte it gives up.
    pub patience_seconds: u64,
}

/// The answer to a hello.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Welcome {
    /// The version spoken on this connection.
    pub version: u16,
    /// The parent's node id.
    pub node: NodeId,
    /// The parent's name.
    pub name: String,
    /// The epoch of the parent's store.
    pub epoch: Epoch,
    /// The digest of the parent's schema map, in hexadecimal.
    pub map: String,
    /// What the parent's clock says.
    pub clock: Timestamp,
    /// The version of its database server, as that prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The last transaction applied from this child.
    pub watermark: Sequence,
    /// The first eight bytes of the checksum of the batch that brought it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<[u8; 8]>,
    /// Changes of this child that are set aside.
    #[serde(default, skip_serializing_if = "SetAside::is_none")]
    pub set_aside: SetAside,
    /// What it holds of a batch not yet whole, or whole and not yet applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<Unfinished>,
    /// Rows it lacks.
    #[serde(default, skip_serializing_if = "RowList::is_empty")]
    pub wanted: RowList,
}

/// A batch of which the parent holds a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// The batch.
    #[serde(flatten)]
    pub key: BatchKey,
    /// How many of its bytes, from the first, are held.
    pub held: u64,
}

/// In front of a piece's bytes, in postcard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PieceHeader {
    /// The batch.
    pub key: BatchKey,
    /// Where in it the piece starts.
    pub offset: u64,
}

impl PieceHeader {
    /// The header in front of a piece, and the piece.
    pub fn split(body: &Bytes) -> Result<(PieceHeader, Bytes), Refusal> {
        let malformed = |words: &str| Refusal {
            code: Code::Malformed,
            message: words.to_owned(),
            expected: None,
        };
        let (header, rest) = postcard::take_from_bytes::<PieceHeader>(body)
            .map_err(|_error| malformed("the piece has no header"))?;
        if header.offset.saturating_add(rest.len() as u64) > header.key.bytes {
            return Err(malformed("the piece goes beyond the end of its batch"));
        }
        Ok((header, body.slice_ref(rest)))
    }
}

/// The answer to a piece.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum PieceAnswer {
    /// More is needed: so many bytes are held.
    Held {
        /// How many, from the first.
        held: u64,
    },
    /// The batch is whole and is being applied; ask again with an empty piece at its end.
    Applying,
    /// It is applied and committed, or was before.
    Applied {
        /// What may be released.
        through: Sequence,
        /// Changes set aside because a row they refer to is missing.
        #[serde(default)]
        parked: u64,
        /// Changes set aside because they need a person.
        #[serde(default)]
        quarantined: u64,
        /// What is set aside of the child's changes in all, if anything is or was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        in_all: Option<SetAside>,
        /// Rows the parent lacks.
        #[serde(default, skip_serializing_if = "RowList::is_empty")]
        wanted: RowList,
    },
}

/// Why a request was turned down; a stable word for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// No certificate was shown, or none that this parent gave.
    UnknownChild,
    /// The link was revoked.
    Revoked,
    /// The certificate's time is over.
    Expired,
    /// The node's store is not the one it joined with.
    Epoch,
    /// The schema maps differ.
    Map,
    /// No common version of the conversation.
    Protocol,
    /// The invitation is not known, used up or over.
    Invitation,
    /// The first request of a connection has to be a hello.
    HelloFirst,
    /// What lies between the watermark and the batch has to come first.
    Gap,
    /// Not the byte that is expected next.
    Offset,
    /// The batch was damaged on its way: send it again.
    Checksum,
    /// The batch cannot be taken as it is, ever.
    Batch,
    /// More bytes than allowed.
    TooLarge,
    /// The request does not follow the form.
    Malformed,
    /// There is no such address.
    NotFound,
    /// Not now: try the same again.
    Busy,
    /// Something went wrong at the parent: try the same again.
    Internal,
    /// A code of a later version.
    #[serde(other)]
    Unknown,
}

/// A request turned down, in plain words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For programs.
    pub code: Code,
    /// For people.
    pub message: String,
    /// The last transaction applied, with [`Code::Gap`]; the bytes held, with [`Code::Offset`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
}

impl Code {
    /// Whether asking again soon may help. What cannot help without a person is asked again slowly.
    pub fn is_passing(self) -> bool {
        match self {
            Code::HelloFirst
            | Code::Gap
            | Code::Offset
            | Code::Checksum
            | Code::Busy
            | Code::Internal => true,
            Code::UnknownChild
            | Code::Revoked
            | Code::Expired
            | Code::Epoch
            | Code::Map
            | Code::Protocol
            | Code::Invitation
            | Code::Batch
            | Code::TooLarge
            | Code::Malformed
            | Code::NotFound
            | Code::Unknown => false,
        }
    }
}

/// Rows asked for: a segment whose changes carry no columns, in base64.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RowList(String);

impl RowList {
    /// Writes the list; what is above its limits is left for another time.
    pub fn new(rows: &[Wanted]) -> RowList {
        let mut writer = SegmentWriter::new();
        for row in rows.iter().take(WANTED_MAX) {
            if writer.len() >= WANTED_BYTES_MAX {
                break;
            }
            writer.change(&Change {
                shape: Shape { table: Arc::clone(&row.table), columns: Vec::new() }.into(),
                kind: Kind::Delete,
                identity: row.identity.clone(),
                previous: None,
                values: Vec::new(),
                base: None,
            });
        }
        RowList(STANDARD_NO_PAD.encode(writer.finish()))
    }

    /// Whether no row is asked for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads the list; `None` if it does not follow the form.
    pub fn rows(&self) -> Option<Vec<Wanted>> {
        let bytes = STANDARD_NO_PAD.decode(&self.0).ok()?;
        let mut reader = SegmentReader::new(&bytes);
        let mut rows = Vec::new();
        while let Some(record) = reader.read().ok()? {
            let Record::Change(change) = record else { return None };
            if rows.len() == WANTED_MAX {
                return None;
            }
            let table = Arc::clone(&change.shape.table);
            rows.push(Wanted { table, identity: change.identity.into_owned() });
        }
        Some(rows)
    }
}

/// A map's digest, as it is shown and compared.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Identity;
    use crate::value::{Reference, Value};

    #[test]
    fn wanted_rows_of_every_kind_of_identity_survive_the_way() {
        let rows = vec![
            Wanted { table: "obs".into(), identity: Identity::One(Value::Text("AB-c".into())) },
            Wanted {
                table: "user_role".into(),
                identity: Identity::Many(vec![
                    Value::Reference(Box::new(Reference {
                        table: "users".into(),
                        identity: Identity::One(Value::Text("u1".into())),
                    })),
                    Value::Text("Nurse".into()),
                ]),
            },
        ];
        let text = serde_json::to_string(&RowList::new(&rows)).unwrap();
        assert_eq!(serde_json::from_str::<RowList>(&text).unwrap().rows(), Some(rows));
        assert_eq!(RowList::default().rows(), Some(Vec::new()));
        assert_eq!(RowList("!!".to_owned()).rows(), None);
        assert_eq!(RowList(STANDARD_NO_PAD.encode([9, 9, 9])).rows(), None);
    }

    #[test]
    fn a_list_is_never_longer_than_its_limit() {
        let row = Wanted { table: "obs".into(), identity: Identity::One(Value::Int(1)) };
        let list = RowList::new(&vec![row; WANTED_MAX + 10]);
        assert_eq!(list.rows().unwrap().len(), WANTED_MAX);
    }

    #[test]
    fn a_refusal_of_a_later_version_can_still_be_read() {
        let refusal: Refusal =
            serde_json::from_str(r#"{"code":"made-up","message":"so it is","new":1}"#).unwrap();
        assert_eq!(refusal.code, Code::Unknown);
        assert_eq!(serde_json::to_string(&Code::UnknownChild).unwrap(), r#""unknown-child""#);
    }

    #[test]
    fn a_piece_header_fits_its_room() {
        let header = PieceHeader {
            key: BatchKey {
                from: Sequence(u64::MAX),
                through: Sequence(u64::MAX),
                bytes: u64::MAX,
                checksum: [255; 8],
            },
            offset: u64::MAX,
        };
        assert!(postcard::to_stdvec(&header).unwrap().len() <= PIECE_HEADER_BYTES_MAX);
    }
}
