//! A row is never read with a definition that is not its own: where a statement may have changed
//! the table, the log's own description decides, or the database is asked.

use std::sync::Arc;

use super::refuse::{at, given_up, refused};
use super::{Follower, bound};
use crate::capture::decode::{MapColumn, TableMapEvent};
use crate::capture::place::Spot;
use crate::capture::tables::{described, fits, with_keys_of};
use crate::capture::{Error, ahead};
use crate::database::schema::LiveTable;

impl Follower {
    /// Makes sure that the map is bound to the definition that the rows announced by `event` were
    /// written with. False if those rows have been given up.
    pub(super) async fn define(
        &mut self,
        event: &TableMapEvent<'_>,
        start: &Spot,
    ) -> Result<bool, Error> {
        if self.definitions.is_given_up(event.table) {
            return Ok(false);
        }
        let logged = event.columns().map_err(|error| at(start, &error))?;
        if !self.definitions.is_doubtful(event.table)
            && self.definitions.last(event.table).is_some_and(|known| fits(&logged, known))
        {
            return Ok(true);
        }
        let live = self.fetcher.definitions(&[event.table.into()]).await?.pop();
        let table = match self.definition(&logged, event.table, live.as_ref()).await? {
            Ok(table) => table,
            Err(why) if self.is_accepted(start) => {
                tracing::warn!(table = event.table, place = %start, "rows given up: {why}");
                self.definitions.give_up(event.table);
                return Ok(false);
            }
            Err(why) => {
                let remedy = format!(
                    "With binlog_row_metadata = FULL the log itself says what its rows mean. {}",
                    given_up(start)
                );
                return Err(refused(start, &format!("table {}: {why}", event.table), &remedy));
            }
        };
        self.definitions.define(table);
        // Others may refer to tables made meanwhile whose rows have not been seen yet.
        let unseen = self.definitions.unseen();
        if !unseen.is_empty() {
            self.definitions.glimpse(self.fetcher.definitions(&unseen).await?);
        }
        match live {
            Some(live) => drop(self.live.tables.insert(live.name.clone(), live)),
            None => drop(self.live.tables.remove(event.table)),
        }
        self.map = Arc::new(bound(self.definitions.bind()));
        self.live_map = Arc::new(self.definitions.bind_to(&self.live));
        self.plans.clear();
        self.bindings += 1;
        tracing::info!(table = event.table, place = %start, "the table's definition is known anew");
        Ok(true)
    }

    /// The definition behind a description in the log, or why it is not known.
    async fn definition(
        &self,
        logged: &[MapColumn],
        table: &str,
        live: Option<&LiveTable>,
    ) -> Result<Result<LiveTable, String>, Error> {
        let known: Vec<&LiveTable> = live.into_iter().chain(self.definitions.last(table)).collect();
        if let Some(table) = described(logged, &known) {
            return Ok(Ok(table));
        }
        let Some(live) = live else {
            return Ok(Err(
                "it is not in the database any more, and its columns have no names in \
                           the log"
                    .to_owned(),
            ));
        };
        if !fits(logged, live) {
            return Ok(Err("its rows were written with another definition than it has now, and \
                           its columns have no names in the log"
                .to_owned()));
        }
        let from = self.position();
        let bytes_max = self.settings.inflated_bytes_max;
        Ok(match ahead::definition(self.fetcher.options(), &from, table, bytes_max).await? {
            None => Ok(with_keys_of(live.clone(), &known)),
            Some(place) => Err(format!(
                "it is defined anew at {place} too, so how it is defined until then is not known, \
                 and its columns have no names in the log"
            )),
        })
    }
}
