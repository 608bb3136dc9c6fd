//! Looks ahead in the log: whether a table is defined anew between a place and the log's end. Where
//! the log does not name its columns, the present definition of a table is known to be the one at
//! that place only if it is not.

use std::time::Duration;

use super::decode::{Body, Decoder};
use super::place::{Place, reaches};
use super::statement::{Statement, drops_database, mentions};
use super::stream::{Request, Stream};
use super::{Error, start};
use crate::database::connect;
use crate::database::server::Server;
use crate::position::Position;

/// Ids that no replica is likely to have: a second reader must not end the first.
const SERVER_IDS: std::ops::Range<u32> = 0xf000_0000..0xffff_fff0;

/// Where and how a table is defined anew after `from`; `None` if it is not before what is the
/// log's end now.
pub(super) async fn definition(
    options: &connect::Options,
    from: &Position,
    table: &str,
    inflated_bytes_max: u64,
) -> Result<Option<String>, Error> {
    let mut connection = options.connect(&[]).await?;
    let server = Server::read(&mut connection).await?;
    let end = start::log_end(&mut connection, &server).await?;
    drop(connection);
    let mut place = Place::new(from)?;
    if reaches(from, &end) {
        return Ok(None);
    }
    let request =
        Request { server_id: rand::random_range(SERVER_IDS), heartbeat: Duration::from_secs(1) };
    let mut stream = Stream::open(options, &request, from).await?;
    let mut decoder = Decoder::new(inflated_bytes_max);
    loop {
        let group = stream.next().await?;
        for raw in group.iter() {
            let spot = place.spot();
            let event = decoder.event(raw, false)?;
            match &event.body {
                Body::Rotate { file, offset } => place.rotated(file, *offset),
                // The server has nothing more to send.
                Body::Heartbeat => return Ok(None),
                Body::Query(query) => {
                    let sql = query.text();
                    let concerns = mentions(&sql, &query.schema, &options.database, table)
                        || drops_database(&sql, &options.database);
                    if concerns && Statement::read(&sql) == Statement::Definition {
                        return Ok(Some(spot.to_string()));
                    }
                    place.passed(&event.header);
                }
                _ => place.passed(&event.header),
            }
        }
        if reaches(&place.position(), &end) {
            return Ok(None);
        }
        stream.give_back(group);
    }
}
