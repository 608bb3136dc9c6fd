//! How the tables are defined at the place in the log that is being read: kept in the store with
//! the position, and brought on by the statements in between. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::alter::{Effect, effect, recasts};
use super::decode::MapColumn;
use super::logged::{is_disguised, without_hashes};
use super::statement::{defines_tables, drops_database};
use super::words::Mentions;
use crate::database::schema::{ForeignKey, LiveColumn, LiveSchema, LiveTable};
use crate::schema_map::{BoundMap, MapFile, TableRule};
use crate::value::Name;

/// The definitions of all tables at a place in the log.
pub(super) struct Tables {
    file: Arc<MapFile>,
    kept: Kept,
    /// The store does not have the present definitions yet.
    changed: bool,
}

/// What the store keeps.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Kept {
    schema: LiveSchema,
    /// Mapped tables that a statement may have changed since: what the schema says of them is good
    /// enough for those that refer to them, not for reading their rows.
    doubtful: BTreeSet<Name>,
    /// Of these, those whose columns may hold something else than they did, by the same names.
    #[serde(default)]
    recast: BTreeSet<Name>,
    /// Tables whose columns are as known, but may refer to something else.
    #[serde(default)]
    rekeyed: BTreeSet<Name>,
    /// Tables whose rows an operator gave up until they are defined anew.
    #[serde(default)]
    given_up: BTreeSet<Name>,
}

/// What may have become of a table since its definition was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Nothing.
    None,
    /// Its columns may refer to something else.
    Keys,
    /// Anything.
    All,
}

impl Tables {
    /// The definitions where capture begins: what the database says at the log's end.
    pub(super) fn at_end(file: Arc<MapFile>, live: LiveSchema) -> Tables {
        let kept = Kept { schema: live, ..Kept::default() };
        Tables { file, kept, changed: true }
    }

    /// The definitions where capture resumes, as the store kept them: `None` if it has none of this
    /// database.
    pub(super) fn stored(file: Arc<MapFile>, stored: &str, database: &str) -> Option<Tables> {
        let kept = serde_json::from_str::<Kept>(stored).ok();
        // Some servers have the database in small letters, whatever it is called by.
        let same = |known: &str| known.to_lowercase() == database.to_lowercase();
        let kept = kept.filter(|kept| same(&kept.schema.database))?;
        Some(Tables { file, kept, changed: false })
    }

    /// The definitions where capture resumes, of which nothing is known but what the tables are
    /// like now.
    pub(super) fn unknown(file: Arc<MapFile>, live: LiveSchema) -> Tables {
        let doubtful = live.tables.keys().cloned().collect();
        let kept = Kept { schema: live, doubtful, ..Kept::default() };
        Tables { file, kept, changed: false }
    }

    /// What a statement may have changed of a table since its definition was known.
    pub(super) fn doubt_of(&self, table: &str) -> Doubt {
        if self.kept.doubtful.contains(table) {
            Doubt::All
        } else if self.kept.rekeyed.contains(table) {
            Doubt::Keys
        } else {
            Doubt::None
        }
    }

    /// Whether an operator gave up the rows of a table until it is defined anew.
    pub(super) fn is_given_up(&self, table: &str) -> bool {
        self.kept.given_up.contains(table)
    }

    /// The tables of which something is known.
    pub(super) fn names(&self) -> impl Iterator<Item = &Name> {
        self.kept.schema.tables.keys()
    }

    /// What was known of a table last.
    pub(super) fn last(&self, table: &str) -> Option<&LiveTable> {
        self.kept.schema.tables.get(table)
    }

    /// Whether rows of a table may travel.
    pub(super) fn concern(&self, table: &str) -> bool {
        matches!(self.file.tables.get(table), Some(TableRule::Mapped(_)))
    }

    /// A statement that defines something, run with `schema` as its database, has been read. Whether
    /// it may have changed a table. Tables that the map does not mention count: a later map may.
    pub(super) fn doubt(&mut self, sql: &str, schema: &str) -> bool {
        let effect = effect(sql);
        if !defines_tables(sql) || effect == Effect::Nothing {
            return false;
        }
        let database = &self.kept.schema.database;
        let all = drops_database(sql, database);
        let mentions = Mentions::defined(sql, schema, database);
        let known = self.kept.schema.tables.keys().chain(self.file.tables.keys());
        let touched: BTreeSet<&Name> = known.filter(|table| all || mentions.table(table)).collect();
        let recasts = recasts(sql);
        for &table in &touched {
            self.changed |= self.kept.given_up.remove(table);
            if effect == Effect::Keys {
                self.changed |= self.kept.rekeyed.insert(table.clone());
                continue;
            }
            self.changed |= self.kept.doubtful.insert(table.clone());
            self.changed |= recasts && self.kept.recast.insert(table.clone());
        }
        !touched.is_empty()
    }

    /// Doubts the tables that are defined otherwise than is known of them, and tells which of these
    /// are mapped.
    pub(super) fn doubt_unlike(&mut self, live: &LiveSchema) -> Vec<Name> {
        let unlike = |(name, known): (&Name, &LiveTable)| {
            let settled = self.doubt_of(name) == Doubt::None;
            let other = live.tables.get(name).is_some_and(|live| !is_read_alike(live, known));
            (settled && other).then(|| name.clone())
        };
        let mut found: Vec<Name> = self.kept.schema.tables.iter().filter_map(unlike).collect();
        for name in &found {
            self.kept.doubtful.insert(name.clone());
            self.kept.recast.insert(name.clone());
            self.changed = true;
        }
        found.retain(|name| self.concern(name));
        found
    }

    /// The mapped tables in doubt.
    pub(super) fn doubtful(&self) -> Vec<Name> {
        self.kept.doubtful.iter().filter(|name| self.concern(name)).cloned().collect()
    }

    /// The mapped tables of which nothing is known but that a statement made them.
    pub(super) fn unseen(&self) -> Vec<Name> {
        let unseen = |name: &Name| !self.kept.schema.tables.contains_key(name);
        self.doubtful().into_iter().filter(unseen).collect()
    }

    /// What tables are like now, for those that refer to them.
    pub(super) fn glimpse(&mut self, tables: impl IntoIterator<Item = LiveTable>) {
        for table in tables {
            self.changed = true;
            self.kept.schema.tables.insert(table.name.clone(), table);
        }
    }

    /// Nothing is known of the table again.
    pub(super) fn forget(&mut self, table: &Name) {
        self.changed |= self.kept.schema.tables.remove(table).is_some();
    }

    /// From here on the table is defined like this.
    pub(super) fn define(&mut self, table: LiveTable) {
        self.changed |= self.kept.doubtful.remove(&table.name);
        self.changed |= self.kept.recast.remove(&table.name);
        self.changed |= self.kept.rekeyed.remove(&table.name);
        self.changed |= self.kept.given_up.remove(&table.name);
        if !self.last(&table.name).is_some_and(|last| alike(last, &table)) {
            self.changed = true;
            self.kept.schema.tables.insert(table.name.clone(), table);
        }
    }

    /// Whether columns of a table may hold something else than its last known definition says.
    pub(super) fn is_recast(&self, table: &str) -> bool {
        self.kept.recast.contains(table)
    }

    /// What is known of a table, to go back to.
    pub(super) fn known(&self, table: &Name) -> Known {
        Known {
            last: self.last(table).cloned(),
            doubt: self.doubt_of(table),
            recast: self.is_recast(table),
            table: table.clone(),
        }
    }

    /// What the table is like from here on was not accepted: its definition is in doubt as before.
    pub(super) fn doubt_again(&mut self, known: Known) {
        let Known { table, last, doubt, recast } = known;
        match last {
            Some(last) => self.kept.schema.tables.insert(table.clone(), last),
            None => self.kept.schema.tables.remove(&table),
        };
        if recast {
            self.kept.recast.insert(table.clone());
        }
        if doubt == Doubt::Keys {
            self.kept.rekeyed.insert(table);
        } else {
            self.kept.doubtful.insert(table);
        }
        self.changed = true;
    }

    /// The rows of the table are given up until it is defined anew.
    pub(super) fn give_up(&mut self, table: &str) {
        self.changed |= self.kept.given_up.insert(table.into());
    }

    /// The map bound to these definitions.
    pub(super) fn bind(&self) -> BoundMap {
        BoundMap::bind(&self.file, &self.kept.schema)
    }

    /// The map as it would be bound with these definitions of some tables.
    pub(super) fn bind_with<'t>(&self, tables: impl Iterator<Item = &'t LiveTable>) -> BoundMap {
        let mut schema = self.kept.schema.clone();
        schema.tables.extend(tables.map(|table| (table.name.clone(), table.clone())));
        BoundMap::bind(&self.file, &schema)
    }

    /// A column whose foreign key does not lead where any did that was known last, where the map
    /// does not say what it refers to.
    pub(super) fn led_elsewhere(&self, now: &LiveTable) -> Option<Name> {
        let last = self.last(&now.name)?;
        let Some(TableRule::Mapped(rule)) = self.file.tables.get(&now.name) else { return None };
        let stated = |column: &Name| {
            rule.references.contains_key(column)
                || rule.plain.contains(column)
                || rule.left_out.contains_key(column)
        };
        let mut columns =
            now.foreign_keys.iter().filter(|key| !leads(last, key)).flat_map(|key| &key.columns);
        columns.find(|column| !stated(column)).cloned()
    }

    /// The map bound to other definitions.
    pub(super) fn bind_to(&self, schema: &LiveSchema) -> BoundMap {
        BoundMap::bind(&self.file, schema)
    }

    /// The definitions as the store keeps them, if it does not have them yet.
    pub(super) fn for_store(&mut self) -> Option<String> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        serde_json::to_string(&self.kept).ok()
    }
}

/// What was known of a table before it was defined anew.
pub(super) struct Known {
    pub(super) table: Name,
    pub(super) last: Option<LiveTable>,
    doubt: Doubt,
    recast: bool,
}

/// Whether two definitions of a table mean the same to whoever reads its rows.
pub(super) fn alike(one: &LiveTable, other: &LiveTable) -> bool {
    one.columns == other.columns
        && one.indexes == other.indexes
        && one.foreign_keys == other.foreign_keys
        && one.engine == other.engine
        && one.hashed_keys == other.hashed_keys
}

/// Whether rows are read alike with two definitions, where the second may have keys of former ones.
fn is_read_alike(live: &LiveTable, known: &LiveTable) -> bool {
    let columns = live.columns.len() == known.columns.len()
        && live.columns.iter().zip(&known.columns).all(|(live, known)| {
            live.name == known.name
                && is_same_content(live, known)
                && live.generated == known.generated
                && counts(live) == counts(known)
        });
    columns && live.engine == known.engine && live.foreign_keys.iter().all(|key| leads(known, key))
}

/// Whether columns of a table lead where a foreign key leads them. What the columns there are called is
/// for the other table's definition to say.
fn leads(table: &LiveTable, key: &ForeignKey) -> bool {
    table
        .foreign_keys
        .iter()
        .any(|known| (&known.columns, &known.table) == (&key.columns, &key.table))
}

/// Whether the server numbers the rows in this column. The rest of what it says beside the type it
/// says in other words in another version.
fn counts(column: &LiveColumn) -> bool {
    column.extra.contains("auto_increment")
}

/// Whether two columns hold the same.
fn is_same_content(one: &LiveColumn, other: &LiveColumn) -> bool {
    (&one.data_type, one.charset_now(), one.unsigned, &one.members)
        == (&other.data_type, other.charset_now(), other.unsigned, &other.members)
}

/// Whether all columns of a definition hold what they held in another, where neither the log's rows
/// (`logged`, if they are at hand) nor the type itself says what they hold. Without a definition
/// before it to hold it against, only these say it.
pub(super) fn same_contents(
    now: &LiveTable,
    before: Option<&LiveTable>,
    logged: Option<&[MapColumn]>,
) -> bool {
    now.columns.iter().enumerate().all(|(place, column)| {
        let says = |logged: &MapColumn| {
            (logged.charset.is_some() || logged.unsigned.is_some())
                && column.members.is_empty()
                && !is_disguised(logged)
        };
        let logged = logged.and_then(|logged| logged.get(place));
        let temporal = matches!(column.data_type.as_str(), "time" | "datetime" | "timestamp");
        // In its old format, of any fraction: the log does not show it.
        let may_be_old = temporal && logged.is_none_or(|logged| logged.column.is_old_temporal());
        let only_one_meaning =
            temporal && !may_be_old || matches!(column.data_type.as_str(), "date" | "year" | "bit");
        if only_one_meaning || logged.is_some_and(says) {
            return true;
        }
        let mut before = before.into_iter().flat_map(|before| &before.columns);
        let same = before.find(|same| same.name == column.name);
        same.is_some_and(|same| {
            is_same_content(same, column) && (!may_be_old || same.scale == column.scale)
        })
    })
}

/// A table as the log itself describes it, with what its known definitions say beyond that; `None`
/// if the log does not name its columns, or nothing else is known of the table.
pub(super) fn described(logged: &[MapColumn], known: &[&LiveTable]) -> Option<LiveTable> {
    let mut table = (*known.first()?).clone();
    table.columns = without_hashes(logged, known)
        .iter()
        .map(|column| column.definition(known.iter().flat_map(|table| &table.columns)))
        .collect::<Option<_>>()?;
    Some(with_keys_of(table, known))
}

/// A table whose columns are as they were, and refer to what they refer to now.
pub(super) fn with_columns_of(now: LiveTable, before: &LiveTable) -> LiveTable {
    let (columns, hashed_keys) = (before.columns.clone(), before.hashed_keys);
    with_keys_of(LiveTable { columns, hashed_keys, ..now }, &[before])
}

/// A table with the keys that it had: a copy put in its place by renaming has no foreign keys, and
/// its columns refer to the same rows all the same.
pub(super) fn with_keys_of(mut table: LiveTable, known: &[&LiveTable]) -> LiveTable {
    for key in known.iter().flat_map(|other| &other.foreign_keys) {
        if !table.foreign_keys.iter().any(|known| known.columns == key.columns) {
            table.foreign_keys.push(key.clone());
        }
    }
    for index in known.iter().flat_map(|other| &other.indexes) {
        if !table.indexes.iter().any(|known| known.name == index.name) {
            table.indexes.push(index.clone());
        }
    }
    let has = |name: &Name| table.columns.iter().any(|column| column.name == *name);
    let (mut keys, mut indexes) = (table.foreign_keys.clone(), table.indexes.clone());
    keys.retain(|key| key.columns.iter().all(has));
    indexes.retain(|index| index.columns.iter().all(has));
    LiveTable { foreign_keys: keys, indexes, ..table }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "version = 1\n[defaults]\nidentity = \"uuid\"\n\
        [classes.all]\ndirection = \"up\"\n[tables]\n\
        note = { class = \"all\", plain = [\"stated\"] }\n";

    fn column(name: &str, charset: Option<&str>, extra: &str) -> LiveColumn {
        LiveColumn {
            name: name.into(),
            data_type: if charset.is_some() { "varchar" } else { "int" }.to_owned(),
            column_type: String::new(),
            nullable: true,
            default: None,
            charset: charset.map(ToOwned::to_owned),
            collation: None,
            extra: extra.to_owned(),
            unsigned: false,
            generated: false,
            members: Vec::new(),
            characters_max: None,
            precision: None,
            scale: None,
        }
    }

    fn schema(columns: Vec<LiveColumn>, keys: &[(&str, &str)]) -> LiveSchema {
        let foreign_key = |(column, table): &(&str, &str)| ForeignKey {
            name: "f".to_owned(),
            columns: vec![(*column).into()],
            table: (*table).into(),
            referenced: vec!["id".into()],
            on_delete: String::new(),
            on_update: String::new(),
        };
        let note = LiveTable {
            name: "note".into(),
            engine: "InnoDB".to_owned(),
            columns,
            indexes: Vec::new(),
            foreign_keys: keys.iter().map(foreign_key).collect(),
            rows_estimate: 0,
            triggers: Vec::new(),
            system_versioned: false,
            hashed_keys: 0,
        };
        let tables = [(Name::from("note"), note)].into_iter().collect();
        LiveSchema { database: "clinic".to_owned(), tables }
    }

    fn known(schema: LiveSchema) -> Tables {
        Tables::at_end(Arc::new(MapFile::parse(MAP, "test.toml").unwrap()), schema)
    }

    #[test]
    fn what_another_version_says_in_other_words_is_no_other_definition() {
        let of = |charset, extra| schema(vec![column("text", Some(charset), extra)], &[]);
        let before = || known(of("utf8", "on update CURRENT_TIMESTAMP"));
        let doubted = |live: LiveSchema| before().doubt_unlike(&live);
        let after = "default_generated on update current_timestamp()";
        assert!(doubted(of("utf8mb3", after)).is_empty());
        assert_eq!(doubted(of("utf8mb4", after)), ["note".into()]);
        let mut generated = of("utf8", "stored generated");
        let note = generated.tables.get_mut("note").unwrap();
        note.columns.iter_mut().for_each(|column| column.generated = true);
        assert_eq!(doubted(generated), ["note".into()]);
        let number = |extra| schema(vec![column("id", None, extra)], &[]);
        assert_eq!(known(number("")).doubt_unlike(&number("auto_increment")), ["note".into()]);
    }

    #[test]
    fn a_column_renamed_in_the_table_referred_to_alters_no_other() {
        let of = |table, referenced: &str| {
            let mut schema = schema(vec![column("near", None, "")], &[("near", table)]);
            let note = schema.tables.get_mut("note").unwrap();
            note.foreign_keys.iter_mut().for_each(|key| key.referenced = vec![referenced.into()]);
            schema
        };
        assert!(known(of("ward", "id")).doubt_unlike(&of("ward", "ward_id")).is_empty());
        assert_eq!(known(of("ward", "id")).doubt_unlike(&of("room", "id")), ["note".into()]);
    }

    #[test]
    fn times_in_the_old_format_have_more_than_one_meaning() {
        let of = |data_type: &str, scale| {
            let data_type = data_type.to_owned();
            let column = LiveColumn { data_type, scale: Some(scale), ..column("a", None, "") };
            schema(vec![column], &[]).tables.remove("note").unwrap()
        };
        assert!(same_contents(&of("date", 0), None, None));
        for kind in ["time", "datetime", "timestamp"] {
            assert!(!same_contents(&of(kind, 0), None, None), "{kind}");
            assert!(same_contents(&of(kind, 0), Some(&of(kind, 0)), None), "{kind}");
            assert!(!same_contents(&of(kind, 3), Some(&of(kind, 0)), None), "{kind}");
        }
    }

    #[test]
    fn a_foreign_key_leads_elsewhere_if_none_led_there() {
        let of = |keys: &[(&str, &str)]| {
            schema(vec![column("near", None, ""), column("stated", None, "")], keys)
        };
        let led = |before: &[(&str, &str)], now: &[(&str, &str)]| {
            known(of(before)).led_elsewhere(&of(now).tables["note"])
        };
        let near = Some(Name::from("near"));
        assert_eq!(led(&[("near", "a")], &[("near", "b")]), near);
        assert_eq!(led(&[], &[("near", "b")]), near);
        assert_eq!(led(&[("near", "b")], &[("near", "b")]), None);
        assert_eq!(led(&[("near", "b")], &[]), None);
        assert_eq!(led(&[("stated", "a")], &[("stated", "b")]), None);
    }
}
