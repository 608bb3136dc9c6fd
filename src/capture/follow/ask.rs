//! What the log alone does not tell is asked of the database, noted, and not asked again.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Follower, Live};
use crate::capture::Error;
use crate::capture::plan::TablePlan;
use crate::capture::start::Filled;
use crate::capture::translate::{Need, Pause, RowValues as _, Translator, local_key};
use crate::change::{Change, Identity, Kind};
use crate::schema_map::BoundMap;
use crate::spool::Spool;
use crate::value::Name;

impl Follower {
    /// The map bound to the tables as they are now, which are asked for once.
    async fn live_map(&mut self) -> Result<Arc<BoundMap>, Error> {
        if let Some(live) = &self.live {
            return Ok(live.map.clone());
        }
        let live = Live::new(&self.definitions, self.fetcher.schema().await?);
        Ok(self.live.insert(live).map.clone())
    }

    pub(super) async fn fetch(&mut self, need: &Need) -> Result<(), Error> {
        match need {
            Need::Decision { rule, local } => {
                let map = self.live_map().await?;
                let text = self.fetcher.decision(&map, rule, *local).await?;
                self.decisions.put(rule, *local, text);
            }
            Need::Identity { table, local } => self.identity(table, *local).await?,
        }
        Ok(())
    }

    /// Asks the database for the identity of a row, and of its neighbours while at it.
    async fn identity(&mut self, table: &Name, local: i64) -> Result<(), Error> {
        let number = self.identities.number(table);
        let map = self.live_map().await?;
        if let Some(bound) = map.tables.get(table).cloned()
            && let Some(key) = bound.local_key
        {
            for row in self.fetcher.near(&bound, local).await? {
                let Some(found) = local_key(&row.value(key)?) else { continue };
                if found != local && self.identities.get(number, found)?.is_some() {
                    continue;
                }
                let mut identity = None;
                // What an identity is made of may itself have to be asked for, level by level.
                for _ in 0..16 {
                    let mut translator = Translator {
                        map: &map,
                        identities: &mut self.identities,
                        decisions: &self.decisions,
                    };
                    match translator.kept(&bound, &row) {
                        Ok(known) => {
                            identity = known;
                            break;
                        }
                        Err(Pause::Need(need)) if found == local => {
                            Box::pin(self.fetch(&need)).await?;
                        }
                        Err(Pause::Need(_)) => break,
                        Err(Pause::Failed(error)) => return Err(error),
                    }
                }
                if let Some(identity) = identity {
                    match self.identities.put(number, found, identity) {
                        // A neighbour that nobody asked for.
                        Err(Error::LongIdentity { .. }) if found != local => {}
                        noted => noted?,
                    }
                }
            }
        }
        if self.identities.get(number, local)?.is_none() {
            self.identities.lost(number, local);
        }
        Ok(())
    }

    /// Something happened to rows of a table and the log does not say what: what the index says of
    /// them is not believed any more, nor what they decided.
    pub(super) fn forget(&mut self, table: &Name) {
        self.decisions.forget(table);
        let number = self.identities.number(table);
        if self.identities.forget(number) {
            tracing::info!(%table, "what its rows are called will be asked anew");
        }
        self.unfilled.insert(table.clone());
    }

    /// The same of all tables.
    pub(super) fn forget_all(&mut self) {
        let map = Arc::clone(&self.map);
        map.tables.keys().for_each(|table| self.forget(table));
    }

    /// Tables of which something was forgotten since this was last asked, and which may have to be
    /// filled again: see [`crate::capture::start`].
    pub(in crate::capture) fn take_unfilled(&mut self) -> BTreeSet<Name> {
        std::mem::take(&mut self.unfilled)
    }

    /// Whether what was forgotten may be asked again: between transactions, and no rows are being
    /// given up.
    pub(in crate::capture) fn may_fill(&self) -> bool {
        self.is_between() && !self.map.tables.keys().any(|it| self.definitions.is_given_up(it))
    }

    /// Notes the identities of all rows of the tables that lend theirs to others, as they are now,
    /// where nothing is known of them.
    pub(in crate::capture) async fn fill(
        &mut self,
        spool: &Spool,
        filled: &mut Filled,
    ) -> Result<(), Error> {
        let schema = self.fetcher.schema().await?;
        let map = self.definitions.bind_to(&schema);
        filled.fill(&map, &mut self.fetcher, &mut self.identities, spool).await
    }

    /// A row that the other end lacks, whole, as the database has it now.
    pub(in crate::capture) async fn whole_row(
        &mut self,
        table: &Name,
        identity: &Identity<'static>,
    ) -> Result<(), Error> {
        let map = self.live_map().await?;
        let Some(bound) = map.tables.get(table).cloned() else { return Ok(()) };
        if !TablePlan::is_sent(&bound) {
            return Ok(());
        }
        let Some(row) = self.fetcher.whole_row(&map, &bound, identity).await? else {
            return Ok(());
        };
        let shape = TablePlan::insert_shape(&bound);
        let columns = bound.value_columns();
        for _ in 0..64 {
            let mut translator = Translator {
                map: &map,
                identities: &mut self.identities,
                decisions: &self.decisions,
            };
            if Translator::left_out(&bound, &row)? {
                return Ok(());
            }
            let translated = translator.identity(&bound, &row).and_then(|identity| {
                let values = columns.iter().map(|column| translator.value(&bound, *column, &row));
                Ok((identity, values.collect::<Result<Vec<_>, Pause>>()?))
            });
            match translated {
                Ok((None, _)) => return Ok(()),
                // The database may have found it by another spelling of what it is called.
                Ok((Some(identity), values)) => {
                    self.assembly.change(&Change {
                        shape,
                        kind: Kind::Insert,
                        identity,
                        previous: None,
                        values,
                        base: None,
                    })?;
                    return Ok(());
                }
                Err(Pause::Need(need)) => self.fetch(&need).await?,
                Err(Pause::Failed(error)) => return Err(error),
            }
        }
        Ok(())
    }
}
