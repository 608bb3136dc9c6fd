//! What the log alone does not tell is asked of the database, noted, and not asked again.

use std::sync::Arc;

use super::{Follower, Live};
use crate::capture::Error;
use crate::capture::plan::TablePlan;
use crate::capture::translate::{Need, Pause, RowValues as _, Translator, local_key};
use crate::change::{Change, Identity, Kind};
use crate::record::IdentityBytes;
use crate::schema_map::BoundMap;
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
                    match translator.identity(&bound, &row) {
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
                    self.identities.put(number, found, IdentityBytes::new(&identity));
                }
            }
        }
        if self.identities.get(number, local)?.is_none() {
            self.identities.lost(number, local);
        }
        Ok(())
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
            let values: Result<Vec<_>, Pause> =
                columns.iter().map(|column| translator.value(&bound, *column, &row)).collect();
            match values {
                Ok(values) => {
                    self.assembly.change(&Change {
                        shape,
                        kind: Kind::Insert,
                        identity: identity.clone(),
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
