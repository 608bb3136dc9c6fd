//! What headwater's own tables in a database say: how far each child was applied, and what is set
//! aside. The store has it too, but not at every moment.

use std::collections::HashMap;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Row};

use crate::database;
use crate::database::name::table_of;
use crate::spool::Link;

/// What has been applied here, and what has not.
#[derive(Debug, Default)]
pub(super) struct Target {
    /// How many changes are parked and quarantined.
    pub(super) held: (u64, u64),
    /// The last transaction applied, by node and epoch.
    applied: HashMap<(String, String), u64>,
}

impl Target {
    /// Asks a database that changes are applied to, or tells why it does not say.
    ///
    /// # Errors
    ///
    /// A server that does not answer.
    pub(super) async fn read(
        connection: &mut Conn,
        state_schema: &str,
    ) -> Result<Result<Target, String>, database::Error> {
        match ask(connection, state_schema).await.map_err(database::Error::from) {
            Ok(target) => Ok(Ok(target)),
            Err(database::Error::Refused { code, message }) => {
                Ok(Err(format!("what is set aside here cannot be told: {message} (error {code})")))
            }
            Err(error) => Err(error),
        }
    }

    /// How far a link's other end has been applied, by this database or by the store, which may be
    /// a moment behind.
    pub(super) fn received(&self, link: &Link) -> u64 {
        let applied = link.node.zip(link.epoch).and_then(|(node, epoch)| {
            self.applied.get(&(node.to_string(), epoch.to_string())).copied()
        });
        applied.unwrap_or_default().max(link.received.0)
    }
}

async fn ask(connection: &mut Conn, schema: &str) -> Result<Target, mysql_async::Error> {
    let (held, watermark) = (table_of(schema, "held"), table_of(schema, "watermark"));
    let question = format!(
        "SELECT COALESCE(SUM(state = 'parked'), 0), COALESCE(SUM(state = 'quarantined'), 0) FROM {held}"
    );
    let row: Option<Row> = connection.query_first(question).await?;
    let count = |index: usize| {
        row.as_ref().and_then(|row| row.get_opt::<u64, _>(index)?.ok()).unwrap_or_default()
    };
    let held = (count(0), count(1));
    let question = format!("SELECT node, epoch, sequence FROM {watermark}");
    let applied =
        connection.query_map(question, |(node, epoch, sequence)| ((node, epoch), sequence)).await?;
    Ok(Target { held, applied: applied.into_iter().collect() })
}
