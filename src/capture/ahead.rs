//! Looks ahead in the log: which tables are defined anew between a place and the log's end. Where
//! the log does not name its columns, the present definition of a table is known to be the one at
//! that place only if it is none of them.

use std::collections::HashMap;
use std::time::Duration;

use super::alter::{Effect, effect, unties};
use super::decode::{Body, Decoder};
use super::follow::refuse::{at, unreadable};
use super::place::{Place, Spot};
use super::statement::{defines_tables, drops_database};
use super::stream::{Request, Stream};
use super::words::Mentions;
use super::{Error, start};
use crate::database::connect;
use crate::database::server::Server;
use crate::position::Position;
use crate::value::Name;

/// Ids that no replica is likely to have: a second reader must not end the first.
pub(super) const SERVER_IDS: std::ops::Range<u32> = 0xf000_0000..0xffff_fff0;

/// What the rest of the log does to a table. What cannot matter to the reading of rows is left out.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Where its columns are defined anew first, and the most that is done to them.
    pub(super) anew: Option<(Spot, Effect)>,
    /// Where what its columns refer to may come to an end first.
    pub(super) unties: Option<Spot>,
}

/// What becomes of some tables after the spot `here`, read from the position `from` before it, up to
/// what is the log's end now.
pub(super) async fn definitions(
    options: &connect::Options,
    from: &Position,
    here: &Spot,
    tables: &[Name],
    inflated_bytes_max: u64,
) -> Result<HashMap<Name, Ahead>, Error> {
    let mut found = HashMap::new();
    let mut connection = options.connect(&[]).await?;
    let server = Server::read(&mut connection).await?;
    let end = start::log_end(&mut connection, &server).await?;
    drop(connection);
    let mut place = Place::new(from)?;
    if place.spot().is_at_or_past(&end) {
        return Ok(found);
    }
    let request =
        Request { server_id: rand::random_range(SERVER_IDS), heartbeat: Duration::from_secs(1) };
    let mut stream = Stream::open(options, &request, from).await?;
    let mut decoder = Decoder::new(inflated_bytes_max);
    loop {
        let group = stream.next().await.map_err(|error| unreadable(&place.spot(), error))?;
        for raw in group.iter() {
            let spot = place.spot();
            let event = decoder.event(raw, false).map_err(|error| at(&spot, &error))?;
            match &event.body {
                Body::Rotate { file, offset } => place.rotated(file, *offset),
                // Not a sign of the end: MySQL also sends one in the place of what it leaves out.
                Body::Heartbeat => {}
                Body::Query(query) => {
                    place.begin(None);
                    for sql in query.texts().filter(|_| spot > *here) {
                        note(&mut found, &sql, &query.schema, options, tables, &spot);
                    }
                    place.passed(&event.header);
                }
                _ => place.passed(&event.header),
            }
        }
        if place.spot().is_at_or_past(&end) {
            return Ok(found);
        }
        stream.give_back(group);
    }
}

fn note(
    found: &mut HashMap<Name, Ahead>,
    sql: &str,
    schema: &str,
    options: &connect::Options,
    tables: &[Name],
    spot: &Spot,
) {
    let effect = effect(sql);
    if !defines_tables(sql) || effect == Effect::Nothing {
        return;
    }
    let unties = unties(sql);
    let all = drops_database(sql, &options.database);
    let mentions = Mentions::defined(sql, schema, &options.database);
    for table in tables {
        if all || mentions.table(table) {
            let ahead = found.entry(table.clone()).or_default();
            if effect > Effect::Keys {
                let most = &mut ahead.anew.get_or_insert_with(|| (spot.clone(), effect)).1;
                *most = effect.max(*most);
            }
            if unties && ahead.unties.is_none() {
                ahead.unties = Some(spot.clone());
            }
        }
    }
}
