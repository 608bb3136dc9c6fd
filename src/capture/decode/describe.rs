//! A column's definition out of what the log alone says of it.

use super::charset::Charset;
use super::column::ColumnType;
use super::facts::ColumnFacts;
use super::table_map::MapColumn;
use crate::database::schema::LiveColumn;
use crate::value::Name;

impl MapColumn {
    /// The column's definition as the log names it, with what `known` columns of this name and
    /// type say beyond that. `None` if the log does not name its columns, or names a collation that
    /// is not known here, or members that cannot be read.
    pub fn definition<'k>(
        &self,
        known: impl IntoIterator<Item = &'k LiveColumn>,
    ) -> Option<LiveColumn> {
        if !self.is_described() {
            return None;
        }
        let name: Name = self.name.as_deref()?.into();
        let same = |live: &&LiveColumn| live.name == name && ColumnFacts::new(self, live).is_ok();
        let mut column = match known.into_iter().find(same) {
            Some(live) => live.clone(),
            None => self.bare(name),
        };
        if let Some(unsigned) = self.unsigned {
            column.unsigned = unsigned;
        }
        if let Some(charset) = self.charset.filter(|_| column.charset.is_some()) {
            column.charset = Some(charset.name().to_owned());
        }
        if let Ok(facts) = ColumnFacts::new(self, &column) {
            column.members = facts.members;
        }
        Some(column)
    }

    fn bare(&self, name: Name) -> LiveColumn {
        let binary = self.charset.unwrap_or(Charset::Binary) == Charset::Binary;
        let (data_type, precision, scale) = kind(self.column, binary);
        let character = matches!(data_type, "char" | "varchar" | "longtext" | "enum" | "set");
        let charset = self.charset.filter(|_| character && !binary);
        LiveColumn {
            name,
            data_type: data_type.to_owned(),
            column_type: data_type.to_owned(),
            nullable: self.nullable,
            default: None,
            charset: charset.map(|charset| charset.name().to_owned()),
            collation: None,
            extra: String::new(),
            unsigned: false,
            generated: false,
            // Their number tells how an `ENUM` is stored; their names are read once that is known.
            members: vec![String::new(); self.members.as_ref().map_or(0, Vec::len)],
            characters_max: None,
            precision,
            scale,
        }
    }
}

/// The name that `information_schema` has for a type, its precision and its scale.
fn kind(column: ColumnType, binary: bool) -> (&'static str, Option<u32>, Option<u32>) {
    let text = |of_bytes, of_letters| if binary { of_bytes } else { of_letters };
    match column {
        ColumnType::Integer { bytes: 1 } => ("tinyint", None, None),
        ColumnType::Integer { bytes: 2 } => ("smallint", None, None),
        ColumnType::Integer { bytes: 3 } => ("mediumint", None, None),
        ColumnType::Integer { bytes: 4 } => ("int", None, None),
        ColumnType::Integer { .. } => ("bigint", None, None),
        ColumnType::Float => ("float", None, None),
        ColumnType::Double => ("double", None, None),
        ColumnType::Decimal { precision, scale } => {
            ("decimal", Some(precision.into()), Some(scale.into()))
        }
        ColumnType::Bit { bits } => ("bit", Some(bits.into()), None),
        ColumnType::Year => ("year", None, None),
        ColumnType::Date => ("date", None, None),
        ColumnType::Time { fraction } => ("time", None, Some(fraction.into())),
        ColumnType::DateTime { fraction } => ("datetime", None, Some(fraction.into())),
        ColumnType::Timestamp { fraction } => ("timestamp", None, Some(fraction.into())),
        // With a fraction, for all that is known: so that it is refused.
        ColumnType::OldTime => ("time", None, Some(6)),
        ColumnType::OldDateTime => ("datetime", None, Some(6)),
        ColumnType::OldTimestamp => ("timestamp", None, Some(6)),
        ColumnType::VarChar { .. } | ColumnType::CompressedVarChar { .. } => {
            (text("varbinary", "varchar"), None, None)
        }
        ColumnType::Char { .. } => (text("binary", "char"), None, None),
        ColumnType::Enum { .. } => ("enum", None, None),
        ColumnType::Set { .. } => ("set", None, None),
        ColumnType::Blob { .. } | ColumnType::CompressedBlob { .. } => {
            (text("longblob", "longtext"), None, None)
        }
        ColumnType::Json { .. } => ("json", None, None),
        ColumnType::Geometry { .. } => ("geometry", None, None),
        ColumnType::Vector { .. } => ("vector", None, None),
    }
}
