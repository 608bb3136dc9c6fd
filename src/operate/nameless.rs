//! Rows without an identity: they are nobody's elsewhere, so they stay where they are. Capture says that
//! it saw some; how many there are now, and where, only the tables know.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde::Serialize;

use crate::config::Config;
use crate::database::Error;
use crate::database::name::quoted;
use crate::database::schema::LiveSchema;
use crate::schema_map::{BoundIdentity, BoundMap, Direction, MapFile};

/// The note that capture saw rows without an identity.
pub(crate) const NAMELESS: &str = "capture.nameless";

/// Rows of one table that have no identity, and so do not travel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Nameless {
    /// The table.
    pub table: String,
    /// The column that names its rows, and is NULL in these.
    pub column: String,
    /// How many there are.
    pub rows: u64,
}

/// The rows without an identity that a database has now. Only tables whose identity may be NULL are
/// asked.
pub(super) async fn nameless(
    connection: &mut Conn,
    config: &Config,
) -> Result<Vec<Nameless>, Error> {
    // What is wrong with the map, other commands tell.
    let Ok(file) = MapFile::load(&config.database.maps) else { return Ok(Vec::new()) };
    let schema = LiveSchema::read(connection, &config.database.options.database).await?;
    let map = BoundMap::bind(&file, &schema);
    let mut found = Vec::new();
    for table in map.tables.values().filter(|table| table.direction != Direction::None) {
        let BoundIdentity::Column(index) = table.identity else { continue };
        let Some(column) = table.columns.get(index).filter(|column| column.live.nullable) else {
            continue;
        };
        let (name, from) = (quoted(&column.name), quoted(&table.name));
        let question = format!("SELECT COUNT(*) FROM {from} WHERE {name} IS NULL");
        let rows: Option<u64> = connection.query_first(question).await?;
        if let Some(rows) = rows.filter(|rows| *rows > 0) {
            let (table, column) = (table.name.to_string(), column.name.to_string());
            found.push(Nameless { table, column, rows });
        }
    }
    found.sort_by(|one, other| one.table.cmp(&other.table));
    Ok(found)
}
