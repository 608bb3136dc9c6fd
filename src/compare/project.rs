//! The SELECT that reads a table's rows in terms that mean the same in both databases: joins take
//! the place of local ids.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::database::name::quoted;
use crate::database::schema::LiveColumn;
use crate::schema_map::{
    BoundColumn, BoundIdentity, BoundMap, BoundTable, ConditionalRule, PolymorphicRule,
    ReferenceRule, Role, RowCondition,
};
use crate::value::Name;

/// An identity borrowed through more tables than this is a circle.
const DEPTH_MAX: u8 = 8;

/// How a table is read: one statement, and what its columns mean.
#[derive(Debug)]
pub(super) struct Projection {
    /// `SELECT ... FROM ...` without parameters.
    pub(super) statement: String,
    /// What makes up the identity, first in the row.
    pub(super) identity: Vec<Field>,
    /// The values compared, next in the row.
    pub(super) values: Vec<Field>,
    /// Values of columns that the other database lacks, next in the row: NULL in them is what not
    /// having them means, and anything else is a difference.
    pub(super) alone: Vec<Field>,
    /// Columns at the row's end, and the conditions that leave it out.
    pub(super) left_out: Vec<(RowCondition, LiveColumn)>,
}

/// One column of the table, as some columns of the statement's row.
#[derive(Debug, Clone)]
pub(super) struct Field {
    /// The column's name.
    pub(super) name: Name,
    /// How many columns of the row it takes.
    pub(super) width: usize,
    /// Whether it holds JSON, whose text says the same in more than one way.
    pub(super) json: bool,
}

impl Projection {
    /// Reads the identity of `table`'s rows, the columns named, and those that only it has. `other` is
    /// the table at the other end.
    pub(super) fn of(
        map: &BoundMap,
        table: &BoundTable,
        other: Option<&BoundTable>,
        columns: &[Name],
        alone: &[Name],
    ) -> Projection {
        // Where one end keeps JSON as it was written, and the other as what it means, the latter
        // counts.
        let is_json = |column: &BoundColumn| {
            let there = other.and_then(|table| table.columns.get(table.column(&column.name)?));
            holds_json(column) || there.is_some_and(holds_json)
        };
        let mut select = Select { map, joins: String::new(), aliases: 0 };
        let mut expressions = Vec::new();
        let mut field = |name: &Name, json: bool, parts: Vec<String>, to: &mut Vec<Field>| {
            to.push(Field { name: Arc::clone(name), width: parts.len(), json });
            expressions.extend(parts);
        };
        let mut identity = Vec::new();
        for index in table.identity_columns() {
            if let Some(column) = table.columns.get(index) {
                let parts = match &table.identity {
                    BoundIdentity::Borrowed { .. } => select.identity(table, "t", 0),
                    BoundIdentity::Column(_)
                    | BoundIdentity::Composite(_)
                    | BoundIdentity::WholeRow => select.column(table, "t", index, 0),
                };
                field(&column.name, is_json(column), parts, &mut identity);
            }
        }
        let mut values = Vec::new();
        let mut lonely = Vec::new();
        for (names, fields) in [(columns, &mut values), (alone, &mut lonely)] {
            for name in names {
                if let Some(index) = table.column(name)
                    && let Some(column) = table.columns.get(index)
                {
                    let parts = select.column(table, "t", index, 0);
                    field(name, is_json(column), parts, fields);
                }
            }
        }
        let mut left_out = Vec::new();
        for condition in &table.rows_left_out {
            if let Some(column) = table.columns.get(condition.column) {
                expressions.push(at("t", table, condition.column));
                left_out.push((condition.clone(), column.live.clone()));
            }
        }
        let statement = format!(
            "SELECT {} FROM {} t{}",
            expressions.join(", "),
            quoted(&table.name),
            select.joins
        );
        Projection { statement, identity, values, alone: lonely, left_out }
    }
}

fn holds_json(column: &BoundColumn) -> bool {
    column.live.data_type == "json"
}

struct Select<'m> {
    map: &'m BoundMap,
    joins: String,
    aliases: usize,
}

impl Select<'_> {
    /// What a row of `table` under `alias` is called.
    fn identity(&mut self, table: &BoundTable, alias: &str, depth: u8) -> Vec<String> {
        let map = self.map;
        match &table.identity {
            BoundIdentity::Borrowed { column, table: lender } if depth < DEPTH_MAX => {
                match map.tables.get(lender) {
                    Some(lender) => {
                        let key = at(alias, table, *column);
                        let joined = self.join(lender, &key, None);
                        self.identity(lender, &joined, depth.saturating_add(1))
                    }
                    None => vec![at(alias, table, *column)],
                }
            }
            BoundIdentity::Borrowed { column, .. } => vec![at(alias, table, *column)],
            BoundIdentity::Column(_) | BoundIdentity::Composite(_) | BoundIdentity::WholeRow => {
                table
                    .identity_columns()
                    .into_iter()
                    .flat_map(|index| self.column(table, alias, index, depth.saturating_add(1)))
                    .collect()
            }
        }
    }

    /// A column's value; for a reference, what the row it leads to is called.
    fn column(&mut self, table: &BoundTable, alias: &str, index: usize, depth: u8) -> Vec<String> {
        let plain = at(alias, table, index);
        let rule = match table.columns.get(index).map(|column| &column.role) {
            Some(Role::Reference(rule)) if depth < DEPTH_MAX => rule.clone(),
            Some(
                Role::Plain
                | Role::Reference(_)
                | Role::LocalKey
                | Role::LeftOut(_)
                | Role::Generated,
            )
            | None => return vec![plain],
        };
        match rule {
            ReferenceRule::Always { table: target, .. } => {
                // A reference to a row that is not there is something else than none.
                let mut parts = vec![format!("{plain} IS NULL")];
                parts.extend(self.follow(&target, &plain, None, depth));
                parts
            }
            ReferenceRule::Conditional(rule) => {
                let decider = self.decider(table, alias, &rule);
                self.either(&plain, decider.as_deref(), &rule.tables, depth)
            }
            ReferenceRule::Polymorphic(rule) => {
                let kind = Self::kind(table, alias, &rule);
                self.either(&plain, Some(&kind), &rule.tables, depth)
            }
        }
    }

    fn kind(table: &BoundTable, alias: &str, rule: &PolymorphicRule) -> String {
        at(alias, table, rule.kind)
    }

    /// The column of the deciding row that says what the value is.
    fn decider(
        &mut self,
        table: &BoundTable,
        alias: &str,
        rule: &ConditionalRule,
    ) -> Option<String> {
        let decider = Arc::clone(self.map.tables.get(&rule.decider)?);
        let joined = self.join(&decider, &at(alias, table, rule.through), None);
        Some(format!("{joined}.{}", quoted(&rule.column)))
    }

    /// A value that is a local id if `kind` says so and it is all digits, and plain otherwise.
    fn either(
        &mut self,
        plain: &str,
        kind: Option<&str>,
        tables: &[(String, Name)],
        depth: u8,
    ) -> Vec<String> {
        let Some(kind) = kind else {
            return vec![plain.to_owned()];
        };
        // Not by `$`, which a line's end may follow.
        let digits = format!("({plain} <> '' AND {plain} NOT REGEXP '[^0-9]')");
        let any = one_of(kind, tables.iter().map(|(kind, _)| kind.as_str()));
        let mut parts = vec![
            format!("{plain} IS NULL"),
            format!("CASE WHEN {any} AND {digits} THEN NULL ELSE {plain} END"),
        ];
        let mut targets: Vec<&Name> = tables.iter().map(|(_, table)| table).collect();
        targets.sort();
        targets.dedup();
        for target in targets {
            let kinds = tables.iter().filter(|(_, table)| table == target);
            let these = one_of(kind, kinds.map(|(kind, _)| kind.as_str()));
            let only = format!("{these} AND {digits}");
            let key = format!("CAST({plain} AS UNSIGNED)");
            parts.extend(self.follow(target, &key, Some(&only), depth));
        }
        parts
    }

    /// What the row of `target` with this local key is called.
    fn follow(&mut self, target: &Name, key: &str, only: Option<&str>, depth: u8) -> Vec<String> {
        let map = self.map;
        match map.tables.get(target) {
            Some(target) => {
                let joined = self.join(target, key, only);
                self.identity(target, &joined, depth.saturating_add(1))
            }
            None => vec!["NULL".to_owned()],
        }
    }

    /// Joins a table by its local key; the alias it has then.
    fn join(&mut self, table: &BoundTable, key: &str, only: Option<&str>) -> String {
        self.aliases = self.aliases.saturating_add(1);
        let alias = format!("r{}", self.aliases);
        let local = table.local_key.or_else(|| table.primary_key.first().copied());
        let local = local.map_or_else(|| "NULL".to_owned(), |index| at(&alias, table, index));
        let only = only.map(|only| format!(" AND {only}")).unwrap_or_default();
        // Writing into a String cannot fail.
        let _written = write!(
            self.joins,
            " LEFT JOIN {} {alias} ON {local} = {key}{only}",
            quoted(&table.name)
        );
        alias
    }
}

/// Whether a text is exactly one of several.
fn one_of<'k>(text: &str, kinds: impl Iterator<Item = &'k str>) -> String {
    let list: Vec<String> =
        kinds.map(|kind| format!("'{}'", kind.replace('\\', "\\\\").replace('\'', "''"))).collect();
    if list.is_empty() {
        return "FALSE".to_owned();
    }
    format!("CAST({text} AS BINARY) IN ({})", list.join(", "))
}

fn at(alias: &str, table: &BoundTable, column: usize) -> String {
    match table.columns.get(column) {
        Some(column) => format!("{alias}.{}", quoted(&column.name)),
        None => "NULL".to_owned(),
    }
}
