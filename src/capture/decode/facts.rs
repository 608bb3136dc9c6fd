//! What has to be known of a column beyond its table map, to turn its bytes into a value.

use crate::database::schema::LiveColumn;

use super::charset::Charset;
use super::column::ColumnType;
use super::error::{DecodeError, Refusal};
use super::table_map::MapColumn;
use super::text;

/// What the bytes of a column mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnFacts {
    /// Whether an integer is unsigned.
    pub unsigned: bool,
    /// The character set; [`Charset::Binary`] for columns without.
    pub charset: Charset,
    /// The members of an `ENUM` or `SET`, in order.
    pub members: Vec<String>,
    /// One of `MariaDB`'s types that the log shows as bytes.
    pub special: Option<Special>,
}

/// Types of `MariaDB` whose values are text to everybody but the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Special {
    /// `UUID`.
    Uuid,
    /// `INET4`.
    Inet4,
    /// `INET6`.
    Inet6,
}

impl ColumnFacts {
    /// Puts together what the log and the schema say of a column. The log wins where it speaks,
    /// since it describes its own rows; a type that is another in the schema is refused.
    pub fn new(map: &MapColumn, live: &LiveColumn) -> Result<ColumnFacts, DecodeError> {
        if !agree(map.column, live) {
            return Err(Refusal::Mismatch {
                expected: live.column_type.clone(),
                found: format!("{:?}", map.column),
            }
            .into());
        }
        if map.column.is_old_temporal() && live.scale.unwrap_or(0) > 0 {
            return Err(Refusal::OldFraction.into());
        }
        let charset = match (map.charset, &live.charset) {
            (Some(charset), _) => charset,
            (None, Some(name)) => Charset::of_name(name)?,
            (None, None) => match map.strange_collation {
                Some(id) => return Err(Refusal::Collation(id).into()),
                None => Charset::Binary,
            },
        };
        let members = match &map.members {
            Some(members) => {
                // What cannot be read here is what the schema calls it, as the server converted it.
                let same = (members.len() == live.members.len()).then_some(&live.members);
                let known = |place: usize| {
                    same.and_then(|same| same.get(place)).filter(|it| !it.is_empty())
                };
                let name = |(place, member): (usize, &Vec<u8>)| {
                    name(member, charset).or_else(|error| known(place).cloned().ok_or(error))
                };
                members.iter().enumerate().map(name).collect::<Result<_, _>>()?
            }
            None => live.members.clone(),
        };
        Ok(ColumnFacts {
            unsigned: map.unsigned.unwrap_or(live.unsigned),
            charset,
            members,
            special: match live.data_type.as_str() {
                "uuid" => Some(Special::Uuid),
                "inet4" => Some(Special::Inet4),
                "inet6" => Some(Special::Inet6),
                _ => None,
            },
        })
    }
}

impl MapColumn {
    /// Whether all can be read that the log says of the column.
    pub fn is_described(&self) -> bool {
        let charset = self.charset.unwrap_or(Charset::Binary);
        let is_known = |member: &Vec<u8>| name(member, charset).is_ok();
        self.strange_collation.is_none() && self.members.iter().flatten().all(is_known)
    }
}

fn name(member: &[u8], charset: Charset) -> Result<String, DecodeError> {
    if charset == Charset::Binary {
        return Ok(String::from_utf8_lossy(member).into_owned());
    }
    text::decode(member, charset).map(std::borrow::Cow::into_owned).ok_or_else(|| {
        Refusal::Mismatch {
            expected: "an ENUM or SET with readable members".to_owned(),
            found: format!("a member that is not valid {}", charset.name()),
        }
        .into()
    })
}

/// Whether the schema's type is stored the way the log's is.
fn agree(column: ColumnType, live: &LiveColumn) -> bool {
    let kind = live.data_type.as_str();
    let fraction_is = |digits: u8| live.scale.unwrap_or(0) == u32::from(digits);
    match column {
        ColumnType::Integer { bytes } => {
            matches!(
                (kind, bytes),
                ("tinyint", 1) | ("smallint", 2) | ("mediumint", 3) | ("int", 4) | ("bigint", 8)
            )
        }
        ColumnType::Float => kind == "float",
        ColumnType::Double => kind == "double",
        ColumnType::Decimal { precision, scale } => {
            kind == "decimal"
                && live.precision.is_none_or(|digits| digits == u32::from(precision))
                && live.scale.is_none_or(|digits| digits == u32::from(scale))
        }
        ColumnType::Bit { bits } => {
            kind == "bit" && live.precision.is_none_or(|digits| digits == u32::from(bits))
        }
        ColumnType::Year => kind == "year",
        ColumnType::Date => kind == "date",
        ColumnType::Time { fraction } => kind == "time" && fraction_is(fraction),
        ColumnType::DateTime { fraction } => kind == "datetime" && fraction_is(fraction),
        ColumnType::Timestamp { fraction } => kind == "timestamp" && fraction_is(fraction),
        ColumnType::OldTime => kind == "time",
        ColumnType::OldDateTime => kind == "datetime",
        ColumnType::OldTimestamp => kind == "timestamp",
        ColumnType::VarChar { .. } => matches!(kind, "varchar" | "varbinary" | "vector"),
        ColumnType::CompressedVarChar { .. } => matches!(kind, "varchar" | "varbinary"),
        ColumnType::Char { .. } => {
            matches!(kind, "char" | "binary" | "uuid" | "inet4" | "inet6")
        }
        ColumnType::Enum { bytes } => {
            kind == "enum" && usize::from(bytes) == if live.members.len() > 255 { 2 } else { 1 }
        }
        ColumnType::Set { .. } => kind == "set",
        ColumnType::Blob { .. } | ColumnType::CompressedBlob { .. } => {
            kind.ends_with("text") || kind.ends_with("blob") || kind == "json"
        }
        ColumnType::Json { .. } => kind == "json",
        ColumnType::Geometry { .. } => crate::database::value::is_spatial(kind),
        ColumnType::Vector { .. } => kind == "vector",
    }
}
