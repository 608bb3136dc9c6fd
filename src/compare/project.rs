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
    /// How each of the columns of the row is read that it takes.
    pub(super) forms: Vec<Form>,
}

impl Field {
    /// How many columns of the row it takes.
    pub(super) fn width(&self) -> usize {
        self.forms.len()
    }
}

/// How the same value is told in more than one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// In one way only.
    AsIs,
    /// With its members in any order, and any blanks between them.
    Json,
    /// With any number of zeros at its ends.
    Decimal,
    /// In any number of bytes.
    Bits,
    /// With its members in any order.
    Set,
}

impl Form {
    fn of(column: &BoundColumn) -> Form {
        match column.live.data_type.as_str() {
            "json" => Form::Json,
            "decimal" => Form::Decimal,
            "bit" => Form::Bits,
            "set" => Form::Set,
            _ => Form::AsIs,
        }
    }
}

/// A column of the statement's row.
struct Part {
    sql: String,
    form: Form,
}

impl Part {
    fn as_is(sql: String) -> Part {
        Part { sql, form: Form::AsIs }
    }
}

impl Projection {
    /// Reads the identity of `table`'s rows, the columns named, and those that only it has. `other` is
    /// the map at the other end.
    pub(super) fn of(
        map: &BoundMap,
        table: &BoundTable,
        other: &BoundMap,
        columns: &[Name],
        alone: &[Name],
    ) -> Projection {
        let mut select = Select { map, other, joins: String::new(), aliases: 0 };
        let mut expressions = Vec::new();
        let mut field = |name: &Name, parts: Vec<Part>, to: &mut Vec<Field>| {
            let forms = parts.iter().map(|part| part.form).collect();
            to.push(Field { name: Arc::clone(name), forms });
            expressions.extend(parts.into_iter().map(|part| part.sql));
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
                field(&column.name, parts, &mut identity);
            }
        }
        let mut values = Vec::new();
        let mut lonely = Vec::new();
        for (names, fields) in [(columns, &mut values), (alone, &mut lonely)] {
            for name in names {
                if let Some(index) = table.column(name) {
                    let parts = select.column(table, "t", index, 0);
                    field(name, parts, fields);
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

struct Select<'m> {
    map: &'m BoundMap,
    /// The map at the other end, where a row takes as many columns.
    other: &'m BoundMap,
    joins: String,
    aliases: usize,
}

impl Select<'_> {
    /// What a row of `table` under `alias` is called.
    fn identity(&mut self, table: &BoundTable, alias: &str, depth: u8) -> Vec<Part> {
        let map = self.map;
        match &table.identity {
            BoundIdentity::Borrowed { column, table: lender } if depth < DEPTH_MAX => {
                match map.tables.get(lender) {
                    Some(lender) => {
                        let key = at(alias, table, *column);
                        let joined = self.join(lender, &key, None);
                        self.identity(lender, &joined, depth.saturating_add(1))
                    }
                    None => vec![Part::as_is(at(alias, table, *column))],
                }
            }
            BoundIdentity::Borrowed { column, .. } => vec![Part::as_is(at(alias, table, *column))],
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
    fn column(&mut self, table: &BoundTable, alias: &str, index: usize, depth: u8) -> Vec<Part> {
        let plain = at(alias, table, index);
        let form = self.form(table, index);
        let rule = match table.columns.get(index).map(|column| &column.role) {
            Some(Role::Reference(rule)) if depth < DEPTH_MAX => rule.clone(),
            Some(
                Role::Plain
                | Role::Reference(_)
                | Role::LocalKey
                | Role::LeftOut(_)
                | Role::Generated,
            )
            | None => return vec![Part { sql: plain, form }],
        };
        let targets = self.targets(table, index, &rule);
        match rule {
            ReferenceRule::Always { table: target, .. } => {
                // A reference to a row that is not there is something else than none.
                let mut parts = vec![Part::as_is(format!("{plain} IS NULL"))];
                parts.extend(self.follow(&target, &plain, None, depth));
                parts
            }
            ReferenceRule::Conditional(rule) => {
                let decider = self.decider(table, alias, &rule);
                self.either(&plain, decider.as_deref(), &rule.tables, &targets, depth)
            }
            ReferenceRule::Polymorphic(rule) => {
                let kind = Self::kind(table, alias, &rule);
                self.either(&plain, Some(&kind), &rule.tables, &targets, depth)
            }
        }
    }

    /// How a column's values are read. Where one end tells the same in more ways than the other, as with
    /// JSON and text, both are read as what they mean.
    fn form(&self, table: &BoundTable, index: usize) -> Form {
        let Some(column) = table.columns.get(index) else { return Form::AsIs };
        let other = self.other.tables.get(&table.name);
        let other = other.and_then(|table| table.columns.get(table.column(&column.name)?));
        match (Form::of(column), other.map(Form::of)) {
            (Form::AsIs, Some(Form::Json)) => Form::Json,
            (Form::AsIs, Some(Form::Set)) => Form::Set,
            (form, _) => form,
        }
    }

    /// The tables that a column may lead to at either end, in one order: one of the ends may lack some.
    fn targets(&self, table: &BoundTable, index: usize, rule: &ReferenceRule) -> Vec<Name> {
        let name = table.columns.get(index).map(|column| &column.name);
        let other = self.other.tables.get(&table.name).zip(name);
        let other = other.and_then(|(table, name)| table.columns.get(table.column(name)?));
        let mut targets: Vec<Name> = rule.targets().into_iter().cloned().collect();
        if let Some(Role::Reference(rule)) = other.map(|column| &column.role) {
            targets.extend(rule.targets().into_iter().cloned());
        }
        targets.sort();
        targets.dedup();
        targets
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
        targets: &[Name],
        depth: u8,
    ) -> Vec<Part> {
        let Some(kind) = kind else {
            return vec![Part::as_is(plain.to_owned())];
        };
        // Not by `$`, which a line's end may follow.
        let digits = format!("({plain} <> '' AND {plain} NOT REGEXP '[^0-9]')");
        let any = one_of(kind, tables.iter().map(|(kind, _)| kind.as_str()));
        let mut parts = vec![
            Part::as_is(format!("{plain} IS NULL")),
            Part::as_is(format!("CASE WHEN {any} AND {digits} THEN NULL ELSE {plain} END")),
        ];
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
    fn follow(&mut self, target: &Name, key: &str, only: Option<&str>, depth: u8) -> Vec<Part> {
        let map = self.map;
        if let Some(target) = map.tables.get(target) {
            let joined = self.join(target, key, only);
            return self.identity(target, &joined, depth.saturating_add(1));
        }
        // It leads to no row of a table that is not here.
        let mut there =
            Select { map: self.other, other: self.map, joins: String::new(), aliases: 0 };
        let width = there.width_of(target, depth);
        (0..width).map(|_| Part::as_is("NULL".to_owned())).collect()
    }

    /// How many columns what a row of `target` is called takes.
    fn width_of(&mut self, target: &Name, depth: u8) -> usize {
        let map = self.map;
        map.tables
            .get(target)
            .map_or(1, |target| self.identity(target, "o", depth.saturating_add(1)).len())
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
