//! A row is never read with a definition that is not its own: where a statement may have changed
//! the table, the log's own description decides, or the database is asked.

use std::collections::HashMap;
use std::sync::Arc;

use super::refuse::{at, given_up, refused, remedy};
use super::{Follower, Live, bound};
use crate::capture::Error;
use crate::capture::ahead::{self, Ahead};
use crate::capture::alter::Effect;
use crate::capture::decode::{ColumnFacts, DecodeError, MapColumn, Refusal, TableMapEvent};
use crate::capture::logged::{fits, is_disguised, other_charset};
use crate::capture::place::Spot;
use crate::capture::tables::{
    Doubt, Known, described, same_contents, with_columns_of, with_keys_of,
};
use crate::database::schema::{LiveSchema, LiveTable};
use crate::schema_map::BoundMap;
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
        let Some(logged) = self.logged(event, start)? else { return Ok(false) };
        let doubt = self.definitions.doubt_of(event.table);
        let last = self.definitions.last(event.table);
        let fits = last.is_some_and(|known| fits(&logged, known));
        let alike = last.is_some_and(|known| other_charset(&logged, known).is_none());
        let known = doubt == Doubt::None && fits && alike;
        if known && !is_lost(&self.map, event.table) {
            return Ok(true);
        }
        // All in doubt are asked for together: looking ahead in the log once does for all of them.
        let mut doubtful = self.definitions.doubtful();
        if !doubtful.iter().any(|name| **name == *event.table) {
            doubtful.push(event.table.into());
        }
        let live = self.live_now(&doubtful).await?;
        let found = if let Some(why) = self.led_elsewhere(event.table, &live, start).await? {
            Err(why)
        } else if known {
            Ok(Vec::new())
        } else if doubt == Doubt::Keys && fits {
            Ok(self.with_keys_now(event.table, &live))
        } else {
            self.definition(&logged, event, &doubtful, &live, start).await?
        };
        match found {
            Ok(mut tables) => {
                if self.would_lose(event.table, &tables, &live) {
                    // Perhaps what it refers to fits the map by now.
                    doubtful.retain(|name| **name != *event.table);
                    let ahead = self.ahead(&doubtful, start).await?;
                    tables.extend(self.settled(&doubtful, &live, &ahead, None));
                }
                if !self.bind_anew(event.table, tables, &live, start)? {
                    return Ok(false);
                }
            }
            Err(why) if self.is_accepted(start) => {
                tracing::warn!(table = event.table, place = %start, "rows given up: {why}");
                self.definitions.give_up(event.table);
                return Ok(false);
            }
            Err(why) => {
                let full =
                    "With binlog_row_metadata = FULL the log itself says what its rows mean. ";
                let full = if why.ends_with(NAMELESS) { full } else { "" };
                let remedy = format!("{full}{}", given_up(start));
                return Err(refused(start, &format!("table {}: {why}", event.table), &remedy));
            }
        }
        self.live = Some(Live::new(&self.definitions, live));
        self.plans.clear();
        self.bindings += 1;
        tracing::info!(table = event.table, place = %start, "the table's definition is known anew");
        Ok(true)
    }

    /// The columns as the log describes them. `None` if they are of a kind that is not read here, and
    /// their rows have been given up.
    fn logged(
        &mut self,
        event: &TableMapEvent<'_>,
        start: &Spot,
    ) -> Result<Option<Vec<MapColumn>>, Error> {
        match event.columns() {
            Ok(logged) => Ok(Some(logged)),
            Err(DecodeError::Refused(why)) if self.is_accepted(start) => {
                tracing::warn!(table = event.table, place = %start, "rows given up: {why}");
                self.definitions.give_up(event.table);
                Ok(None)
            }
            Err(error @ DecodeError::Refused(_)) => {
                let what = format!("table {}: {error}", event.table);
                Err(refused(start, &what, &remedy(&error, start)))
            }
            Err(error @ DecodeError::Damaged(_)) => Err(at(start, &error)),
        }
    }

    /// All tables as they are now; those in doubt are asked for in any case.
    async fn live_now(&mut self, doubtful: &[Name]) -> Result<LiveSchema, Error> {
        let Some(live) = self.live.take() else { return self.fetcher.schema().await };
        let mut live = live.schema;
        for name in doubtful {
            live.tables.remove(name);
        }
        let found = self.fetcher.definitions(doubtful).await?;
        live.tables.extend(found.into_iter().map(|table| (table.name.clone(), table)));
        Ok(live)
    }

    /// A table of which only what its columns refer to may have changed.
    fn with_keys_now(&self, table: &str, now: &LiveSchema) -> Vec<LiveTable> {
        let Some(last) = self.definitions.last(table) else { return Vec::new() };
        let now = now.tables.get(table).unwrap_or(last).clone();
        vec![with_columns_of(now, last)]
    }

    /// Why what a column refers to at this place is not known: it leads elsewhere now, and the log goes
    /// on with a statement that may have ended what it was until then.
    async fn led_elsewhere(
        &self,
        table: &str,
        now: &LiveSchema,
        start: &Spot,
    ) -> Result<Option<String>, Error> {
        let elsewhere = now.tables.get(table).and_then(|now| self.definitions.led_elsewhere(now));
        let Some(column) = elsewhere else { return Ok(None) };
        let mut ahead = self.ahead(&[table.into()], start).await?;
        let place = ahead.remove(table).and_then(|ahead| ahead.unties);
        Ok(place.map(|place| {
            format!(
                "what its column {column} refers to may be defined anew at {place} too, so what it \
                 refers to until then is not known"
            )
        }))
    }

    /// Whether the rows of a table could not travel with these definitions.
    fn would_lose(&self, table: &str, tables: &[LiveTable], live: &LiveSchema) -> bool {
        let unseen = self.definitions.unseen();
        let glimpsed = unseen.iter().filter_map(|name| live.tables.get(name));
        is_lost(&self.definitions.bind_with(glimpsed.chain(tables)), table)
    }

    /// Binds the map to what has become known with the definition of `table`. Refuses what would
    /// leave out its rows, or others that travelled so far; where it was accepted, it is false, the rows of this
    /// place are given up, and the table's next rows are refused again.
    fn bind_anew(
        &mut self,
        table: &str,
        tables: Vec<LiveTable>,
        live: &LiveSchema,
        start: &Spot,
    ) -> Result<bool, Error> {
        let former: Vec<Known> =
            tables.iter().map(|table| self.definitions.known(&table.name)).collect();
        let mut travelled: Vec<Name> = vec![table.into()];
        travelled.extend(self.map.tables.keys().cloned());
        for table in tables {
            self.definitions.define(table);
        }
        // Others may refer to tables made meanwhile whose rows have not been seen yet.
        let unseen = self.definitions.unseen();
        self.definitions.glimpse(unseen.iter().filter_map(|name| live.tables.get(name)).cloned());
        let mut map = self.definitions.bind();
        let lost = |map: &BoundMap| travelled.iter().any(|name| is_lost(map, name));
        let (own, others): (Vec<_>, Vec<_>) =
            former.into_iter().partition(|known| *known.table == *table);
        if lost(&map) && !others.is_empty() {
            // Perhaps by what others are like now, whose own rows will tell.
            for known in others {
                self.definitions.doubt_again(known);
            }
            map = self.definitions.bind();
        }
        // Of these their own rows will tell.
        for name in unseen.iter().filter(|name| !map.tables.contains_key(*name)) {
            self.definitions.forget(name);
        }
        if lost(&map) {
            let mut lost: Vec<&Name> =
                travelled.iter().filter(|name| is_lost(&map, name)).collect();
            // The table itself first: others may be lost by it.
            lost.sort_by_key(|name| (***name != *table, *name));
            lost.dedup();
            let error = cannot_travel(table, &lost, &map, start);
            for known in own {
                self.definitions.doubt_again(known);
            }
            return if self.is_accepted(start) { Ok(false) } else { Err(error) };
        }
        self.map = Arc::new(bound(map));
        Ok(true)
    }

    /// The definition behind a description in the log, or why it is not known. Definitions of other
    /// tables in doubt come along where they become known with it.
    async fn definition(
        &self,
        logged: &[MapColumn],
        event: &TableMapEvent<'_>,
        doubtful: &[Name],
        now: &LiveSchema,
        start: &Spot,
    ) -> Result<Result<Vec<LiveTable>, String>, Error> {
        let table = event.table;
        let last = self.definitions.last(table);
        let live = now.tables.get(table);
        let known: Vec<&LiveTable> = live.into_iter().chain(last).collect();
        // A fraction in the old format does not show in the log: by its names it would look whole.
        if let Some(why) = known.iter().find_map(|known| unreadable(logged, known)) {
            return Ok(Err(why));
        }
        let doubted = self.definitions.doubt_of(table) != Doubt::None;
        let other = live.and_then(|live| other_charset(logged, live)).filter(|_| !doubted);
        if let Some(what) = other
            && self.anew(table, doubtful, start).await?.is_none()
        {
            // No statement explains it, so what the log says may be misread.
            return Ok(Err(what));
        }
        let disguised = event.mariadb && logged.iter().any(is_disguised);
        if let Some(table) = described(logged, &known).filter(|_| !disguised) {
            return Ok(Ok(vec![table]));
        }
        let strange = logged.iter().any(|column| !column.is_described());
        let unknown = match (is_named(logged), strange) {
            (false, _) => NAMELESS,
            (true, true) => STRANGE,
            (true, false) => DISGUISED,
        };
        let Some(live) = live else {
            return Ok(Err("it is not in the database any more".to_owned() + unknown));
        };
        if !fits(logged, live) {
            let what = "its rows were written with another definition than it has now";
            return Ok(Err(what.to_owned() + unknown));
        }
        let ahead = self.ahead(doubtful, start).await?;
        let settled = self.settled(doubtful, now, &ahead, Some((table, logged)));
        let anew = ahead.get(table).and_then(|ahead| ahead.anew.as_ref());
        match anew.filter(|_| !settled.iter().any(|settled| *settled.name == *table)) {
            Some((place, _)) => Ok(Err(format!(
                "it is defined anew at {place} too, so how it is defined until then is not known\
                 {unknown}"
            ))),
            None => Ok(Ok(settled)),
        }
    }

    /// Where the rest of the log defines a table's columns anew first.
    async fn anew(
        &self,
        table: &str,
        tables: &[Name],
        start: &Spot,
    ) -> Result<Option<Spot>, Error> {
        let mut ahead = self.ahead(tables, start).await?;
        Ok(ahead.remove(table).and_then(|ahead| ahead.anew).map(|(place, _)| place))
    }

    /// What the rest of the log does to tables.
    async fn ahead(&self, tables: &[Name], start: &Spot) -> Result<HashMap<Name, Ahead>, Error> {
        let from = self.position();
        let (options, bytes_max) = (self.fetcher.options(), self.settings.inflated_bytes_max);
        ahead::definitions(options, &from, start, tables, bytes_max).await
    }

    /// Those of the tables in doubt that are known to have been here what they are now: names and
    /// places of columns stay, and what they hold is as it was, as far as the rows of one of them,
    /// `logged`, do not say it.
    fn settled(
        &self,
        doubtful: &[Name],
        now: &LiveSchema,
        ahead: &HashMap<Name, Ahead>,
        logged: Option<(&str, &[MapColumn])>,
    ) -> Vec<LiveTable> {
        let harmless = |name: &str| match ahead.get(name).and_then(|ahead| ahead.anew.as_ref()) {
            None | Some((_, Effect::Nothing | Effect::Keys)) => true,
            Some((_, Effect::Columns)) => false,
            Some((_, Effect::Contents)) => {
                // Changed before and again after the row, they could have held anything in between.
                let before = self.definitions.last(name);
                let before = before.filter(|_| !self.definitions.is_recast(name));
                let logged = logged.filter(|(table, _)| name == *table).map(|(_, logged)| logged);
                now.tables.get(name).is_some_and(|now| same_contents(now, before, logged))
            }
        };
        let settled = doubtful.iter().filter(|name| harmless(name.as_ref()));
        let present = settled.filter_map(|name| {
            let known: Vec<_> = self.definitions.last(name).into_iter().collect();
            Some(with_keys_of(now.tables.get(name)?.clone(), &known))
        });
        present.collect()
    }
}

/// Whether rows of a mapped table that ought to travel cannot.
fn is_lost(map: &BoundMap, table: &str) -> bool {
    !map.tables.contains_key(table) && !map.left_out.iter().any(|(name, _)| **name == *table)
}

/// The table was defined so that rows cannot travel any more: nothing is left out silently.
fn cannot_travel(table: &str, lost: &[&Name], map: &BoundMap, start: &Spot) -> Error {
    let reason = lost.iter().find_map(|lost| {
        map.problems.iter().find(|problem| problem.fatal && problem.table == **lost)
    });
    let why = reason.map_or("it does not fit the map", |problem| &problem.message);
    let of = reason.map_or(table, |problem| &problem.table);
    let names: Vec<&str> = lost.iter().take(NAMED_MAX).map(|name| &***name).collect();
    let others = match lost.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let what = format!(
        "table {table} was defined so that rows of {}{others} cannot travel: {of}: {why}",
        names.join(", ")
    );
    let remedy = format!("Change the table or the schema map. {}", given_up(start));
    refused(start, &what, &remedy)
}

/// How many of the tables that cannot travel any more are named.
const NAMED_MAX: usize = 5;
const NAMELESS: &str = ", and its columns have no names in the log";
const STRANGE: &str = ", and the log has a collation or members that are not known here";
const DISGUISED: &str = ", and UUID, INET4, INET6 and BINARY columns look alike in the log";

fn is_named(logged: &[MapColumn]) -> bool {
    logged.iter().all(|column| column.name.is_some())
}

/// The column that no definition would make readable, and why.
fn unreadable(logged: &[MapColumn], live: &LiveTable) -> Option<String> {
    let old = DecodeError::from(Refusal::OldFraction);
    let mut columns = logged.iter().zip(&live.columns);
    let column =
        columns.find(|(logged, live)| ColumnFacts::new(logged, live).as_ref() == Err(&old));
    column.map(|(_, live)| format!("column {}: {old}", live.name))
}
