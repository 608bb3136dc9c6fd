//! A row is never read with a definition that is not its own: where a statement may have changed
//! the table, the log's own description decides, or the database is asked.

use std::sync::Arc;

use super::refuse::{at, given_up, refused};
use super::{Follower, Live, bound};
use crate::capture::alter::Effect;
use crate::capture::decode::{ColumnFacts, DecodeError, MapColumn, Refusal, TableMapEvent};
use crate::capture::place::Spot;
use crate::capture::tables::{described, fits, same_contents, with_keys_of};
use crate::capture::{Error, ahead};
use crate::database::schema::{LiveSchema, LiveTable};
use crate::value::Name;

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
        // All in doubt are asked for together: looking ahead in the log once does for all of them.
        let mut doubtful = self.definitions.doubtful();
        if !doubtful.iter().any(|name| **name == *event.table) {
            doubtful.push(event.table.into());
        }
        let found = self.fetcher.definitions(&doubtful).await?;
        let mut live = match self.live.take() {
            Some(live) => live.schema,
            None => self.fetcher.schema().await?,
        };
        for name in &doubtful {
            live.tables.remove(name);
        }
        live.tables.extend(found.into_iter().map(|live| (live.name.clone(), live)));
        let former = self.definitions.last(event.table).cloned();
        let travelled = self.map.tables.contains_key(event.table) || former.is_none();
        match self.definition(&logged, event.table, &doubtful, &live, start).await? {
            Ok(tables) => tables.into_iter().for_each(|table| self.definitions.define(table)),
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
        }
        // Others may refer to tables made meanwhile whose rows have not been seen yet.
        let unseen = self.definitions.unseen();
        let made = unseen.iter().filter_map(|name| live.tables.get(name)).cloned();
        self.definitions.glimpse(made);
        self.map = Arc::new(bound(self.definitions.bind()));
        if travelled && !self.map.tables.contains_key(event.table) && !self.is_accepted(start) {
            let error = self.cannot_travel(event.table, start);
            // Read again, it is to be refused again.
            self.definitions.doubt_again(event.table, former);
            return Err(error);
        }
        self.live = Some(Live::new(&self.definitions, live));
        self.plans.clear();
        self.bindings += 1;
        tracing::info!(table = event.table, place = %start, "the table's definition is known anew");
        Ok(true)
    }

    /// The table was defined so that its rows cannot travel any more: nothing is left out silently.
    fn cannot_travel(&self, table: &str, start: &Spot) -> Error {
        let problem = self.map.problems.iter().find(|problem| *problem.table == *table);
        let why = problem.map_or("it does not fit the map", |problem| &problem.message);
        let what = format!("table {table} was defined so that its rows cannot travel: {why}");
        let remedy = format!("Change the table or the schema map. {}", given_up(start));
        refused(start, &what, &remedy)
    }

    /// The definition behind a description in the log, or why it is not known. Definitions of other
    /// tables in doubt come along where they become known with it.
    async fn definition(
        &self,
        logged: &[MapColumn],
        table: &str,
        doubtful: &[Name],
        now: &LiveSchema,
        start: &Spot,
    ) -> Result<Result<Vec<LiveTable>, String>, Error> {
        let last = self.definitions.last(table);
        let live = now.tables.get(table);
        let known: Vec<&LiveTable> = live.into_iter().chain(last).collect();
        if let Some(table) = described(logged, &known) {
            return Ok(Ok(vec![table]));
        }
        let Some(live) = live else {
            return Ok(Err("it is not in the database any more".to_owned() + NAMELESS));
        };
        if !fits(logged, live) {
            return Ok(Err(unreadable(logged, live).unwrap_or_else(|| {
                "its rows were written with another definition than it has now".to_owned()
                    + NAMELESS
            })));
        }
        let from = self.position();
        let (options, bytes_max) = (self.fetcher.options(), self.settings.inflated_bytes_max);
        let ahead = ahead::definitions(options, &from, start, doubtful, bytes_max).await?;
        // Names and places of columns stay, and what they hold is known if it is as it was.
        let harmless = |name: &str| match ahead.get(name) {
            None | Some((_, Effect::Nothing)) => true,
            Some((_, Effect::Columns)) => false,
            Some((_, Effect::Contents)) => {
                match (self.definitions.last(name), now.tables.get(name)) {
                    (Some(last), Some(live)) => {
                        same_contents(live, last, (name == table).then_some(logged))
                    }
                    (None, _) | (_, None) => false,
                }
            }
        };
        if let Some((place, _)) = ahead.get(table).filter(|_| !harmless(table)) {
            return Ok(Err(format!(
                "it is defined anew at {place} too, so how it is defined until then is not known\
                 {NAMELESS}"
            )));
        }
        let settled = doubtful.iter().filter(|name| harmless(name.as_ref()));
        let present = settled.filter_map(|name| {
            let known: Vec<_> = self.definitions.last(name).into_iter().collect();
            Some(with_keys_of(now.tables.get(name)?.clone(), &known))
        });
        Ok(Ok(present.collect()))
    }
}

const NAMELESS: &str = ", and its columns have no names in the log";

/// The column that no definition would make readable, and why.
fn unreadable(logged: &[MapColumn], live: &LiveTable) -> Option<String> {
    let old = DecodeError::from(Refusal::OldFraction);
    let mut columns = logged.iter().zip(&live.columns);
    let column =
        columns.find(|(logged, live)| ColumnFacts::new(logged, live).as_ref() == Err(&old));
    column.map(|(_, live)| format!("column {}: {old}", live.name))
}
