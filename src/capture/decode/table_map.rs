//! What the columns of a table are, as the server says right before the rows.

use super::charset::Charset;
use super::column::ColumnType;
use super::cursor::Cursor;
use super::error::DecodeError;

/// No server allows more columns in a table.
const COLUMNS_MAX: u64 = 4096;

mod field {
    pub(super) const SIGNEDNESS: u8 = 1;
    pub(super) const DEFAULT_COLLATION: u8 = 2;
    pub(super) const COLUMN_COLLATION: u8 = 3;
    pub(super) const COLUMN_NAME: u8 = 4;
    pub(super) const SET_MEMBERS: u8 = 5;
    pub(super) const ENUM_MEMBERS: u8 = 6;
    pub(super) const GEOMETRY_TYPE: u8 = 7;
    pub(super) const PRIMARY_KEY: u8 = 8;
    pub(super) const PRIMARY_KEY_WITH_PREFIX: u8 = 9;
    pub(super) const ENUM_AND_SET_DEFAULT_COLLATION: u8 = 10;
    pub(super) const ENUM_AND_SET_COLUMN_COLLATION: u8 = 11;
    pub(super) const VISIBILITY: u8 = 12;
    pub(super) const VECTOR_DIMENSION: u8 = 13;
}

/// A table map, read as far as its names. The columns are read on demand, because most tables of
/// a server are nobody's; two maps with equal [`TableMapEvent::body`] have equal columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableMapEvent<'a> {
    /// The number by which the rows that follow refer to it.
    pub table_id: u64,
    /// The table's schema.
    pub schema: &'a str,
    /// Its name.
    pub table: &'a str,
    /// Everything after the names.
    pub body: &'a [u8],
    /// Whether `MariaDB` wrote it: it counts geometries among the character columns.
    pub mariadb: bool,
}

/// One column of a table map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapColumn {
    /// Its type.
    pub column: ColumnType,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// Whether it is unsigned; `None` if the server doesn't say, or the type has no sign.
    pub unsigned: Option<bool>,
    /// Its character set; `None` if the server doesn't say, or the type has none.
    pub charset: Option<Charset>,
    /// The id of its collation, if that is not known here: only its definition says its character set.
    pub strange_collation: Option<u64>,
    /// Its name, with `binlog_row_metadata=FULL`.
    pub name: Option<String>,
    /// The members of an `ENUM` or `SET` in its character set, with `binlog_row_metadata=FULL`.
    pub members: Option<Vec<Vec<u8>>>,
    /// The place in the primary key, from 0, with `binlog_row_metadata=FULL`.
    pub key_place: Option<u16>,
    /// The geometry's type: 0 any, 1 point, ...
    pub geometry: Option<u64>,
    /// Whether `SELECT *` shows it, with `binlog_row_metadata=FULL` (MySQL).
    pub visible: Option<bool>,
    /// A vector's dimension.
    pub dimension: Option<u64>,
    /// Whether, by its type and the name it may have, it can be one that `MariaDB` adds at a table's
    /// end by itself: the hash of a unique key that is too long for the engine.
    pub may_be_hash: bool,
}

impl<'a> TableMapEvent<'a> {
    pub(super) fn read(
        body: &'a [u8],
        id_bytes: usize,
        mariadb: bool,
    ) -> Result<TableMapEvent<'a>, DecodeError> {
        let mut cursor = Cursor::new(body, "table map");
        let table_id = cursor.little(id_bytes)?;
        cursor.take(2)?;
        let schema = name(&mut cursor)?;
        let table = name(&mut cursor)?;
        Ok(TableMapEvent { table_id, schema, table, body: cursor.rest(), mariadb })
    }

    /// The columns, with all that the server says about them.
    pub fn columns(&self) -> Result<Vec<MapColumn>, DecodeError> {
        let mut cursor = Cursor::new(self.body, "table map");
        let count = cursor.packed()?;
        if count > COLUMNS_MAX {
            return Err(DecodeError::malformed("a table map of more than 4096 columns"));
        }
        let types = cursor.take_u64(count)?;
        let mut metadata = Cursor::new(cursor.packed_bytes()?, "table map's column metadata");
        let nullable = cursor.take(types.len().div_ceil(8))?;
        let mut columns = Vec::with_capacity(types.len());
        for (index, number) in types.iter().enumerate() {
            columns.push(MapColumn {
                column: ColumnType::read(*number, &mut metadata)?,
                nullable: bit(nullable, index),
                unsigned: None,
                charset: None,
                strange_collation: None,
                name: None,
                members: None,
                key_place: None,
                geometry: None,
                visible: None,
                dimension: None,
                may_be_hash: false,
            });
        }
        if !metadata.is_empty() {
            return Err(DecodeError::malformed("a table map with more metadata than columns"));
        }
        optional(&mut columns, cursor, self.mariadb)?;
        for column in &mut columns {
            column.may_be_hash = self.mariadb && is_like_hash(column);
        }
        Ok(columns)
    }
}

/// Whether `MariaDB` stores and names a hash of a key like this.
fn is_like_hash(column: &MapColumn) -> bool {
    let is_number = |name: &str| name.bytes().all(|letter| letter.is_ascii_digit());
    let name = column.name.as_deref();
    column.column == ColumnType::Integer { bytes: 8 }
        && name.is_none_or(|name| name.strip_prefix("DB_ROW_HASH_").is_some_and(is_number))
}

fn name<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, DecodeError> {
    let bytes = cursor.packed_bytes()?;
    if cursor.u8()? != 0 {
        return Err(DecodeError::malformed("a name in a table map that does not end"));
    }
    std::str::from_utf8(bytes)
        .map_err(|_error| DecodeError::malformed("a name in a table map that is not UTF-8"))
}

/// The bit of column `index` in a bitmap whose first column is the lowest bit.
pub(super) fn bit(bitmap: &[u8], index: usize) -> bool {
    bitmap.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}

/// The bit of column `index` in a bitmap whose first column is the highest bit.
fn high_bit(bitmap: &[u8], index: usize) -> bool {
    bitmap.get(index / 8).is_some_and(|byte| byte << (index % 8) & 0x80 != 0)
}

/// Which columns a list of the optional metadata speaks of.
type Choice = fn(ColumnType) -> bool;

fn is_character(column: ColumnType) -> bool {
    column.has_collation()
}

fn is_character_in_mariadb(column: ColumnType) -> bool {
    column.has_collation() || is_geometry(column)
}

fn is_geometry(column: ColumnType) -> bool {
    matches!(column, ColumnType::Geometry { .. })
}

fn is_vector(column: ColumnType) -> bool {
    matches!(column, ColumnType::Vector { .. })
}

fn is_enum(column: ColumnType) -> bool {
    matches!(column, ColumnType::Enum { .. })
}

fn is_set(column: ColumnType) -> bool {
    matches!(column, ColumnType::Set { .. })
}

fn is_enum_or_set(column: ColumnType) -> bool {
    is_enum(column) || is_set(column)
}

fn chosen(columns: &mut [MapColumn], choice: Choice) -> impl Iterator<Item = &mut MapColumn> {
    columns.iter_mut().filter(move |column| choice(column.column))
}

/// The fields after the null bitmap; those that aren't known are passed over.
fn optional(
    columns: &mut [MapColumn],
    mut cursor: Cursor<'_>,
    mariadb: bool,
) -> Result<(), DecodeError> {
    let character: Choice = if mariadb { is_character_in_mariadb } else { is_character };
    let mut seen = 0_u16;
    while !cursor.is_empty() {
        let field = cursor.u8()?;
        // Each may cost a look at every column, so a field that came again and again would cost
        // far more than its bytes.
        let this = 1_u16.checked_shl(u32::from(field)).unwrap_or(0);
        if seen & this != 0 {
            return Err(DecodeError::malformed("a table map with the same metadata twice"));
        }
        seen |= this;
        let content = &mut Cursor::new(cursor.packed_bytes()?, "table map's optional metadata");
        match field {
            field::SIGNEDNESS => {
                for (index, column) in chosen(columns, ColumnType::is_numeric).enumerate() {
                    column.unsigned = Some(high_bit(content.rest(), index));
                }
            }
            field::DEFAULT_COLLATION => default_collation(columns, content, character, mariadb)?,
            field::COLUMN_COLLATION => collations(columns, content, character, mariadb)?,
            field::ENUM_AND_SET_DEFAULT_COLLATION => {
                default_collation(columns, content, is_enum_or_set, mariadb)?;
            }
            field::ENUM_AND_SET_COLUMN_COLLATION => {
                collations(columns, content, is_enum_or_set, mariadb)?;
            }
            field::COLUMN_NAME => {
                for column in columns.iter_mut() {
                    let name = String::from_utf8_lossy(content.packed_bytes()?);
                    column.name = Some(name.into_owned());
                }
            }
            field::SET_MEMBERS => members(columns, content, is_set)?,
            field::ENUM_MEMBERS => members(columns, content, is_enum)?,
            field::GEOMETRY_TYPE => {
                for column in chosen(columns, is_geometry) {
                    column.geometry = Some(content.packed()?);
                }
            }
            field::PRIMARY_KEY => primary_key(columns, content, false)?,
            field::PRIMARY_KEY_WITH_PREFIX => primary_key(columns, content, true)?,
            field::VISIBILITY => {
                for (index, column) in columns.iter_mut().enumerate() {
                    column.visible = Some(high_bit(content.rest(), index));
                }
            }
            field::VECTOR_DIMENSION => {
                for column in chosen(columns, is_vector) {
                    column.dimension = Some(content.packed()?);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

impl MapColumn {
    fn collate(&mut self, id: u64, mariadb: bool) {
        let charset = Charset::of_collation(id, mariadb).ok();
        self.strange_collation = Some(id).filter(|_| charset.is_none());
        self.charset = charset;
    }
}

/// One collation for all, then those of the columns that differ, by their place among the chosen.
fn default_collation(
    columns: &mut [MapColumn],
    content: &mut Cursor<'_>,
    choice: Choice,
    mariadb: bool,
) -> Result<(), DecodeError> {
    let default = content.packed()?;
    for column in chosen(columns, choice) {
        column.collate(default, mariadb);
    }
    // In one pass: the places rise.
    let mut left = chosen(columns, choice);
    let mut next = 0;
    while !content.is_empty() {
        let place = content.packed()?;
        let collation = content.packed()?;
        let between = place.checked_sub(next).and_then(|between| usize::try_from(between).ok());
        match between.and_then(|between| left.nth(between)) {
            Some(column) => column.collate(collation, mariadb),
            None => return Err(DecodeError::malformed("a collation for a column that is not")),
        }
        next = place.saturating_add(1);
    }
    Ok(())
}

fn collations(
    columns: &mut [MapColumn],
    content: &mut Cursor<'_>,
    choice: Choice,
    mariadb: bool,
) -> Result<(), DecodeError> {
    for column in chosen(columns, choice) {
        column.collate(content.packed()?, mariadb);
    }
    Ok(())
}

fn members(
    columns: &mut [MapColumn],
    content: &mut Cursor<'_>,
    choice: Choice,
) -> Result<(), DecodeError> {
    for column in chosen(columns, choice) {
        let mut members = Vec::new();
        for _ in 0..content.packed()? {
            members.push(content.packed_bytes()?.to_vec());
        }
        column.members = Some(members);
    }
    Ok(())
}

fn primary_key(
    columns: &mut [MapColumn],
    content: &mut Cursor<'_>,
    prefixes: bool,
) -> Result<(), DecodeError> {
    let mut place = 0_u16;
    while !content.is_empty() {
        let index = usize::try_from(content.packed()?).unwrap_or(usize::MAX);
        if prefixes {
            content.packed()?;
        }
        match columns.get_mut(index) {
            Some(column) => column.key_place = Some(place),
            None => return Err(DecodeError::malformed("a key of a column that is not")),
        }
        place = place.saturating_add(1);
    }
    Ok(())
}
