//! Which rows the other end is asked for: those that changes set aside wait for.

use super::applier::{Applier, Report};
use super::error::{Error, Failure};
use super::held;
use super::plan::row_hash;
use super::session::Session;
use crate::change::NodeId;
use crate::schema_map::{BoundIdentity, BoundMap};
use crate::transport::Wanted;

impl Applier {
    /// Rows that parked changes of a node wait for; at most so many, chosen by chance.
    pub async fn wanted(&self, node: NodeId, most: usize) -> Result<Vec<Wanted>, Error> {
        let map = self.bound().await.map;
        self.with_session(async |session| {
            let mut wanted = held::wanted(session, &self.names, node, most).await?;
            wanted.retain(|row| can_be_asked_for(&map, row));
            Ok(wanted)
        })
        .await
    }

    /// Rows asked for have come: others that changes set aside wait for are asked for in their turn.
    pub(super) async fn ask_for_more(
        &self,
        session: &mut Session,
        node: NodeId,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let room = self.settings.limits.wanted_max.saturating_sub(report.wanted.len());
        if report.released.saturating_add(report.superseded) == 0 || room == 0 {
            return Ok(());
        }
        for wanted in held::wanted(session, &self.names, node, room).await? {
            if !report.wanted.contains(&wanted) {
                report.wanted.push(wanted);
            }
        }
        Ok(())
    }

    /// Leaves out what is not to be asked for: a row that came whole and was set aside itself would
    /// only come again, for ever.
    pub(super) async fn can_come(
        &self,
        session: &mut Session,
        node: NodeId,
        map: &BoundMap,
        wanted: &mut Vec<Wanted>,
    ) -> Result<(), Failure> {
        wanted.retain(|row| can_be_asked_for(map, row));
        if wanted.is_empty() {
            return Ok(());
        }
        let hash = |row: &Wanted| row_hash(&row.table, &row.identity);
        let hashes: Vec<u64> = wanted.iter().map(hash).collect();
        let held = held::blocked(session, &self.names, node, &hashes).await?;
        wanted.retain(|row| !held.get(&hash(row)).is_some_and(|chain| chain.whole));
        Ok(())
    }
}

/// A row without a key would come as one more.
fn can_be_asked_for(map: &BoundMap, row: &Wanted) -> bool {
    let table = map.tables.get(&row.table);
    table.is_none_or(|table| !matches!(table.identity, BoundIdentity::WholeRow))
}
