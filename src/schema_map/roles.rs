//! Binds one table: what becomes of each column, how rows are identified, which column others
//! refer to, and what stands in the way.

use std::sync::Arc;

use super::condition;
use super::file::{IdentityRule, MapFile, MappedTable, ReferenceEntry, TableRule};
use super::identity::{self, is_integer};
use super::{
    BoundColumn, BoundIdentity, BoundTable, ConditionalRule, Fill, PolymorphicRule, Problem,
    ReferenceRule, Role, RowCondition,
};
use crate::database::name::table_of;
use crate::database::schema::{ForeignKey, LiveColumn, LiveSchema, LiveTable};
use crate::value::Name;

/// Engines whose transactions can be rolled back and are written whole to the binary log.
const TRANSACTIONAL: [&str; 4] = ["InnoDB", "ROCKSDB", "TokuDB", "ndbcluster"];

/// Column types that have a form to travel in.
const TRAVELLING: [&str; 44] = [
    "tinyint",
    "smallint",
    "mediumint",
    "int",
    "bigint",
    "decimal",
    "float",
    "double",
    "bit",
    "year",
    "date",
    "time",
    "datetime",
    "timestamp",
    "char",
    "varchar",
    "tinytext",
    "text",
    "mediumtext",
    "longtext",
    "binary",
    "varbinary",
    "tinyblob",
    "blob",
    "mediumblob",
    "longblob",
    "enum",
    "set",
    "json",
    "uuid",
    "inet4",
    "inet6",
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
    "geomcollection",
    "vector",
    "integer",
    "numeric",
];

/// Binds tables of one map to one database.
pub(super) struct Binder<'a> {
    map: &'a MapFile,
    schema: &'a LiveSchema,
}

/// One table while its columns are looked at.
struct Work<'a> {
    rule: &'a MappedTable,
    database: &'a str,
    live: &'a LiveTable,
    local_key: Option<usize>,
    problems: Vec<Problem>,
}

impl Work<'_> {
    fn fatal(&mut self, message: String) {
        self.problems.push(Problem::new(&self.live.name, true, message));
    }

    fn fatal_until(&mut self, found: &str, mend: String) {
        self.problems.push(Problem::mended_by(&self.live.name, true, found, mend));
    }

    fn warn(&mut self, message: String) {
        self.problems.push(Problem::new(&self.live.name, false, message));
    }
}

impl<'a> Binder<'a> {
    pub(super) fn new(map: &'a MapFile, schema: &'a LiveSchema) -> Binder<'a> {
        Binder { map, schema }
    }

    /// Binds a table; with a fatal problem among those returned the table must not be used.
    pub(super) fn table(
        &self,
        rule: &'a MappedTable,
        live: &'a LiveTable,
    ) -> (BoundTable, Vec<Problem>) {
        let local_key = local_key(rule, live);
        let database = &self.schema.database;
        let mut work = Work { rule, database, live, local_key, problems: Vec::new() };
        check_table(&mut work);
        let columns: Vec<BoundColumn> = live
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| BoundColumn {
                name: Arc::clone(&column.name),
                live: column.clone(),
                role: self.role(&mut work, index, column),
            })
            .collect();
        let identity = match identity::bind(rule, live, &columns) {
            Ok(identity) => identity,
            Err(message) => {
                work.fatal(message);
                BoundIdentity::WholeRow
            }
        };
        work.problems.extend(identity::remarks(&identity, database, live));
        let rows_left_out = self.row_conditions(&mut work, &columns);
        let is_local =
            |index: &usize| columns.get(*index).is_some_and(|column| column.role == Role::LocalKey);
        let table = BoundTable {
            name: Arc::clone(&live.name),
            class: Arc::clone(&rule.class),
            direction: self.map.direction(&rule.class),
            level: 0,
            identity,
            local_key,
            primary_key: primary_key(live),
            auto_increment: live
                .columns
                .iter()
                .position(|column| column.extra.contains("auto_increment"))
                .filter(is_local),
            referenced: false,
            delete_reaches: !live.triggers.is_empty(),
            followed: Vec::new(),
            has_triggers: !live.triggers.is_empty(),
            has_hashes: live.hashed_keys > 0,
            rows_left_out,
            columns,
        };
        (table, work.problems)
    }

    fn role(&self, work: &mut Work<'_>, index: usize, column: &LiveColumn) -> Role {
        if column.generated {
            return Role::Generated;
        }
        if let Some(fill) = work.rule.left_out.get(&column.name) {
            return left_out(work, column, fill);
        }
        if !TRAVELLING.contains(&column.data_type.as_str()) {
            work.fatal(format!(
                "column {} has the type {}, which cannot travel; leave it out with left_out = [\"{}\"]",
                column.name, column.column_type, column.name
            ));
            return Role::Plain;
        }
        if let Some(entry) = work.rule.references.get(&column.name) {
            return match self.stated(work, column, entry) {
                Ok(rule) => Role::Reference(rule),
                Err(message) => {
                    work.fatal(message);
                    Role::Plain
                }
            };
        }
        if work.rule.plain.contains(&column.name) {
            return Role::Plain;
        }
        if let IdentityRule::Borrowed(table) = &work.rule.identity
            && work.local_key == Some(index)
        {
            return self.always(work, column, table);
        }
        if let Some(role) = self.by_foreign_key(work, column) {
            return role;
        }
        let auto_increment = column.extra.contains("auto_increment");
        // Where rows are called by all they hold, a number is part of that unless the server counts.
        let whole = matches!(work.rule.identity, IdentityRule::WholeRow);
        let surrogate =
            auto_increment || (!whole && work.local_key == Some(index) && is_integer(column));
        if surrogate && !names_identity(work.rule, &column.name) {
            if !auto_increment {
                work.warn(format!(
                    "its key {} is not AUTO_INCREMENT: a new row gets the number after the highest",
                    column.name
                ));
            }
            return Role::LocalKey;
        }
        Role::Plain
    }

    fn always(&self, work: &mut Work<'_>, column: &LiveColumn, table: &Name) -> Role {
        match self.target(column, table) {
            Ok(()) => {
                Role::Reference(ReferenceRule::Always { table: Arc::clone(table), deferred: false })
            }
            Err(message) => {
                work.fatal(message);
                Role::Plain
            }
        }
    }

    /// What a foreign key makes of a column that the map says nothing about.
    fn by_foreign_key(&self, work: &mut Work<'_>, column: &LiveColumn) -> Option<Role> {
        let key = foreign_key(work.live, &column.name)?;
        let place = key.columns.iter().position(|name| *name == column.name)?;
        let referenced = key.referenced.get(place)?;
        let Some((rule, live)) = self.mapped(&key.table) else {
            let why = match self.map.tables.get(&key.table) {
                Some(TableRule::Excluded(_)) => "the map leaves out",
                Some(TableRule::Mapped(_)) => "is not in this database",
                None => "the map does not mention",
            };
            work.fatal(format!(
                "column {0} refers to {1}, which {why}: map {1}, or leave the column out with \
                 left_out = [\"{0}\"], or, if its numbers mean the same everywhere, plain = [\"{0}\"]",
                column.name, key.table
            ));
            return Some(Role::Plain);
        };
        let is_local_key = local_key(rule, live)
            .and_then(|index| live.columns.get(index))
            .is_some_and(|local| local.name == *referenced);
        if is_local_key && key.columns.len() == 1 {
            return Some(self.always(work, column, &key.table));
        }
        // A key that travels as it is means the same everywhere, and so does what refers to it.
        let travels = !is_local_key
            && foreign_key(live, referenced).is_none()
            && !rule.left_out.contains_key(referenced);
        if !travels {
            work.fatal(format!(
                "column {0} is part of the foreign key {1} to {2}, whose column {3} is local to \
                 each database; say what {0} refers to with references = {{ {0} = TABLE }}, or leave it out",
                column.name, key.name, key.table, referenced
            ));
        }
        Some(Role::Plain)
    }

    fn stated(
        &self,
        work: &Work<'_>,
        column: &LiveColumn,
        entry: &ReferenceEntry,
    ) -> Result<ReferenceRule, String> {
        let index_of = |name: &Name| {
            place(work.live, name).ok_or_else(|| {
                format!("the reference {} needs the column {name}, which is not there", column.name)
            })
        };
        match entry {
            ReferenceEntry::Always(table) => {
                self.target(column, table)?;
                Ok(ReferenceRule::Always { table: Arc::clone(table), deferred: false })
            }
            ReferenceEntry::Conditional { through, column: deciding, tables } => {
                let index = index_of(through)?;
                let decider = leads_to(work, through).ok_or_else(|| {
                    format!("{through}, which decides what {} is, refers to no table", column.name)
                })?;
                let (_, live) = self.mapped(&decider).ok_or_else(|| {
                    format!("{decider}, which decides what {} is, is not mapped", column.name)
                })?;
                place(live, deciding)
                    .ok_or_else(|| format!("{decider} has no column {deciding}"))?;
                Ok(ReferenceRule::Conditional(Arc::new(ConditionalRule {
                    through: index,
                    decider,
                    column: Arc::clone(deciding),
                    tables: self.kinds(column, tables)?,
                })))
            }
            ReferenceEntry::Polymorphic { kind, tables } => {
                Ok(ReferenceRule::Polymorphic(Arc::new(PolymorphicRule {
                    kind: index_of(kind)?,
                    tables: self.kinds(column, tables)?,
                })))
            }
        }
    }

    /// The kinds whose tables this database has.
    fn kinds(
        &self,
        column: &LiveColumn,
        tables: &std::collections::BTreeMap<String, Name>,
    ) -> Result<Vec<(String, Name)>, String> {
        let present = tables.iter().filter(|(_, table)| self.schema.tables.contains_key(*table));
        present
            .map(|(kind, table)| {
                self.target(column, table)?;
                Ok((kind.clone(), Arc::clone(table)))
            })
            .collect()
    }

    /// Whether a column can refer to a table.
    fn target(&self, column: &LiveColumn, table: &Name) -> Result<(), String> {
        let (rule, live) = self.mapped(table).ok_or_else(|| {
            let name = &column.name;
            format!("column {name} refers to {table}, which is not mapped, or not in this database")
        })?;
        let key = local_key(rule, live).and_then(|index| live.columns.get(index));
        let Some(key) = key else {
            return Err(format!(
                "column {} refers to {table}, which has no single key column that it could hold; \
                 name one with local_key",
                column.name
            ));
        };
        if matches!(rule.identity, IdentityRule::WholeRow) {
            return Err(format!(
                "column {} refers to {table}, whose rows are called by all they hold, so that none \
                 can be told from its like; say how rows of {table} are identified",
                column.name
            ));
        }
        if !is_integer(key) && !is_called_by(rule, key) {
            return Err(format!(
                "column {0} holds {1} of {table}, which is no number of this database alone and not \
                 what rows of {table} are called by: say identity = \"{1}\" for {table}",
                column.name, key.name
            ));
        }
        Ok(())
    }

    fn row_conditions(&self, work: &mut Work<'_>, columns: &[BoundColumn]) -> Vec<RowCondition> {
        let mut conditions = Vec::new();
        for (name, test) in &work.rule.rows_left_out {
            let found = columns.iter().enumerate().find(|(_, column)| column.name == *name);
            let Some((index, column)) = found else {
                // Without the column nothing could be held back that the map wants held back.
                work.fatal(format!(
                    "rows_left_out speaks of its column {name}, which is not there"
                ));
                continue;
            };
            if let Err(message) = condition::can_test(column, test, |table| self.is_natural(table))
            {
                work.fatal(message);
            }
            conditions.push(RowCondition { column: index, test: test.clone() });
        }
        conditions
    }

    /// Whether what refers to a table holds what its rows are called by.
    fn is_natural(&self, table: &Name) -> bool {
        self.mapped(table).is_some_and(|(rule, live)| {
            let key = local_key(rule, live).and_then(|index| live.columns.get(index));
            key.is_some_and(|key| is_called_by(rule, key))
        })
    }

    /// A table that the map maps and the database has.
    fn mapped(&self, table: &Name) -> Option<(&'a MappedTable, &'a LiveTable)> {
        let live = self.schema.tables.get(table)?;
        match self.map.tables.get(table)? {
            TableRule::Mapped(rule) => Some((rule, live)),
            TableRule::Excluded(_) => None,
        }
    }
}

/// The column whose value other tables hold when they refer to a row of this one.
fn local_key(rule: &MappedTable, live: &LiveTable) -> Option<usize> {
    if let Some(stated) = &rule.local_key {
        return place(live, stated);
    }
    match primary_key(live).as_slice() {
        [single] => Some(*single),
        _ => live.columns.iter().position(|column| column.extra.contains("auto_increment")),
    }
}

fn check_table(work: &mut Work<'_>) {
    let engine = &work.live.engine;
    if !TRANSACTIONAL.iter().any(|known| known.eq_ignore_ascii_case(engine)) {
        let found =
            format!("its engine {engine} has no transactions, so a change could arrive by half");
        let table = table_of(work.database, &work.live.name);
        work.fatal_until(&found, format!("ALTER TABLE {table} ENGINE=InnoDB"));
    }
    if work.live.system_versioned {
        let table = table_of(work.database, &work.live.name);
        work.fatal(format!(
            "it is system-versioned, and its history rows would arrive as new rows: exclude it, \
             or ALTER TABLE {table} DROP SYSTEM VERSIONING"
        ));
    }
    if let Some(stated) = &work.rule.local_key
        && place(work.live, stated).is_none()
    {
        work.fatal(format!("its local_key {stated} is not a column of it"));
    }
    let rule = work.rule;
    let mentioned = rule
        .references
        .keys()
        .chain(&rule.plain)
        .chain(rule.left_out.keys())
        .chain(rule.column_conflicts.keys());
    for column in mentioned {
        if place(work.live, column).is_none() {
            work.warn(format!(
                "the map speaks of its column {column}, which it does not have: right for another \
                 version of the application, else check the spelling"
            ));
        }
    }
}

fn left_out(work: &mut Work<'_>, column: &LiveColumn, fill: &Fill) -> Role {
    let has_value = column.nullable
        || column.default.is_some()
        || column.extra.contains("auto_increment")
        || column.extra.contains("default_generated")
        || matches!(fill, Fill::Text(_));
    if !has_value {
        work.fatal(format!(
            "column {0} is left out, but a new row needs a value in it: add fill = {{ {0} = \"...\" }}",
            column.name
        ));
    }
    let primary = primary_key(work.live);
    if primary.iter().any(|index| Some(*index) == place(work.live, &column.name)) {
        work.fatal(format!(
            "column {} is part of the primary key and cannot be left out",
            column.name
        ));
    }
    Role::LeftOut(fill.clone())
}

/// The table that a column refers to, by the map or by a foreign key of its own.
fn leads_to(work: &Work<'_>, column: &Name) -> Option<Name> {
    match work.rule.references.get(column) {
        Some(ReferenceEntry::Always(table)) => Some(Arc::clone(table)),
        Some(ReferenceEntry::Conditional { .. } | ReferenceEntry::Polymorphic { .. }) => None,
        None => foreign_key(work.live, column).map(|key| Arc::clone(&key.table)),
    }
}

/// The foreign key that a column belongs to; one of a single column before one of several.
fn foreign_key<'a>(live: &'a LiveTable, column: &Name) -> Option<&'a ForeignKey> {
    let keys = live.foreign_keys.iter().filter(|key| key.columns.contains(column));
    keys.min_by_key(|key| key.columns.len())
}

/// Whether rows are called by this column alone.
fn is_called_by(rule: &MappedTable, column: &LiveColumn) -> bool {
    matches!(&rule.identity, IdentityRule::Column(name) if *name == column.name)
}

fn names_identity(rule: &MappedTable, column: &Name) -> bool {
    match &rule.identity {
        IdentityRule::Column(name) => name == column,
        IdentityRule::Composite(names) => names.contains(column),
        IdentityRule::WholeRow | IdentityRule::Borrowed(_) => false,
    }
}

pub(super) fn place(live: &LiveTable, column: &str) -> Option<usize> {
    live.columns.iter().position(|live| &*live.name == column)
}

pub(super) fn primary_key(live: &LiveTable) -> Vec<usize> {
    let primary = live.indexes.iter().find(|index| index.name == "PRIMARY");
    let names = primary.map(|index| index.columns.as_slice()).unwrap_or_default();
    names.iter().filter_map(|name| place(live, name)).collect()
}
