//! The list of touched rows, which tells whoever keeps other copies of the target what changed.

use std::collections::BTreeMap;

use mysql_async::Value as Param;

use super::error::Failure;
use super::plan::{Net, RowName};
use super::state::moment;
use super::work::Work;

/// The list of touched rows is cut to its limit once in so many entries.
const PRUNE_EVERY: u64 = 64;
/// A list of touched rows that is longer than this is followed by another.
const TOUCHED_BYTES: usize = 64 << 10;
/// What of a row's identity is listed: of one without a key the whole row would be.
const TOUCHED_CHARACTERS: usize = 4_000;

impl Work<'_> {
    /// Adds to the list, and cuts it to its limit now and then.
    pub(super) async fn list_touched(
        &mut self,
        touched: BTreeMap<String, Vec<String>>,
    ) -> Result<(), Failure> {
        if touched.is_empty() || self.limits.touched_entries_max == 0 {
            return Ok(());
        }
        let table = &self.names.touched;
        let columns = "(node, row_table, identities, touched_at)";
        let entries: Vec<(String, String)> = touched
            .into_iter()
            .flat_map(|(name, lists)| lists.into_iter().map(move |list| (name.clone(), list)))
            .collect();
        let bytes_max = self.session.packet_bytes_max / 2;
        for some in entries.chunks((bytes_max / (2 * TOUCHED_BYTES)).clamp(1, 64)) {
            let marks = vec!["(?,?,?,?)"; some.len()].join(",");
            let sql = format!("INSERT INTO {table} {columns} VALUES {marks}");
            let mut params = Vec::with_capacity(some.len() * 4);
            for (name, identities) in some {
                params.push(Param::from(self.node.to_string()));
                params.push(Param::from(name));
                params.push(Param::from(identities));
                params.push(moment(self.now));
            }
            let done = self.session.execute(&sql, params).await?;
            let first = done.last_insert_id.unwrap_or(0);
            if first % PRUNE_EVERY < some.len() as u64 {
                let oldest = first.saturating_sub(self.limits.touched_entries_max);
                let sql = format!("DELETE FROM {table} WHERE id < ?");
                self.session.execute(&sql, vec![Param::from(oldest)]).await?;
            }
        }
        Ok(())
    }
}

/// Notes that a row was written. A list that has grown long is followed by another.
pub(super) fn touch(touched: &mut BTreeMap<String, Vec<String>>, name: &RowName<'_, '_>, net: Net) {
    let lists = touched.entry(name.table.to_owned()).or_default();
    if lists.last().is_none_or(|list| list.len() >= TOUCHED_BYTES) {
        lists.push(String::new());
    }
    let Some(list) = lists.last_mut() else { return };
    list.push(match net {
        Net::Insert => '+',
        Net::Update => '*',
        Net::Delete => '-',
    });
    let shown = name.identity.to_string().replace(['\n', '\r'], " ");
    list.extend(shown.chars().take(TOUCHED_CHARACTERS));
    list.push('\n');
}
