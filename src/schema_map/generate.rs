//! Proposes a map for a live database, as TOML with a comment on everything that was guessed or
//! could not be decided. What it prints can be loaded as it is; what could not be decided is
//! excluded, with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use super::BoundMap;
use super::Direction;
use super::Fill;
use super::file::{IdentityRule, MapFile, MappedTable, TableRule};
use super::propose;
use crate::database::schema::LiveSchema;
use crate::value::Name;

/// The class that every proposed table gets.
const CLASS: &str = "main";

/// Proposes a map of the tables that `known` does not mention; `known` may be empty.
pub fn generate(schema: &LiveSchema, known: &MapFile) -> String {
    let class = free_class(known);
    let mut map = known.clone();
    map.classes.insert(Arc::clone(&class), Direction::Up);
    let mut comments: BTreeMap<Name, Vec<String>> = BTreeMap::new();
    let fresh: Vec<Name> =
        schema.tables.keys().filter(|name| !known.tables.contains_key(*name)).cloned().collect();
    for name in &fresh {
        let Some(live) = schema.tables.get(name) else { continue };
        let (rule, remarks) = propose::table(live, schema, &class);
        map.tables.insert(Arc::clone(name), rule);
        comments.insert(Arc::clone(name), remarks);
    }
    exclude_what_cannot_travel(&mut map, schema, &fresh);
    for problem in BoundMap::bind(&map, schema).problems {
        if let Some(remarks) = comments.get_mut(&problem.table) {
            remarks.push(problem.message);
        }
    }
    print(schema, &map, &class, &fresh, &comments)
}

/// A class of the same name in another file may go another way.
fn free_class(known: &MapFile) -> Name {
    let name = if known.classes.contains_key(CLASS) { "more" } else { CLASS };
    Arc::from(name)
}

/// Excluding one table can leave another with a reference to nowhere, so this goes on until the
/// map binds.
fn exclude_what_cannot_travel(map: &mut MapFile, schema: &LiveSchema, fresh: &[Name]) {
    for _ in 0..=fresh.len() {
        let bound = BoundMap::bind(map, schema);
        let mut excluded: BTreeSet<&Name> = BTreeSet::new();
        for problem in bound.problems.iter().filter(|problem| problem.fatal) {
            if fresh.contains(&problem.table) && excluded.insert(&problem.table) {
                let reason = format!("undecided: {}", problem.message);
                map.tables.insert(Arc::clone(&problem.table), TableRule::Excluded(reason));
            }
        }
        if excluded.is_empty() {
            return;
        }
    }
}

fn print(
    schema: &LiveSchema,
    map: &MapFile,
    class: &Name,
    fresh: &[Name],
    comments: &BTreeMap<Name, Vec<String>>,
) -> String {
    let usual = usual_identity(map, fresh);
    let mut text = format!(
        "# Proposed by `headwater map generate` for the database {}. Read it before you use it:\n\
         # what is guessed has a comment, what could not be decided is excluded as \"undecided\".\n\
         # References come from the foreign keys; those without one are yours to state.\n\
         \nversion = 1\n\n[defaults]\nclass = \"{class}\"\nidentity = {}\n\
         \n# \"up\" to the parent, \"down\" from it, \"both\", or \"none\".\n\
         [classes.{class}]\ndirection = \"up\"\n\n[tables]\n",
        schema.database,
        quoted(&usual)
    );
    for name in fresh {
        let (Some(rule), Some(live)) = (map.tables.get(name), schema.tables.get(name)) else {
            continue;
        };
        let remarks = comments.get(name).map(Vec::as_slice).unwrap_or_default();
        if !remarks.is_empty() {
            text.push('\n');
        }
        for remark in remarks {
            comment(&mut text, remark);
        }
        let rows = match live.rows_estimate {
            0 => String::new(),
            rows => format!(" # about {rows} rows"),
        };
        let written = match rule {
            TableRule::Excluded(reason) => {
                writeln!(text, "{} = {{ exclude = {} }}", key(name), quoted(reason))
            }
            TableRule::Mapped(rule) => {
                writeln!(text, "{} = {}{rows}", key(name), entry(rule, &usual))
            }
        };
        debug_assert!(written.is_ok(), "writing into a String cannot fail");
    }
    text
}

/// The entry in one line; what the defaults say is left out.
fn entry(rule: &MappedTable, usual: &Name) -> String {
    let list = |names: &mut dyn Iterator<Item = &Name>| {
        names.map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
    };
    let mut parts = Vec::new();
    match &rule.identity {
        IdentityRule::Column(name) if name == usual => {}
        IdentityRule::Column(name) => parts.push(format!("identity = {}", quoted(name))),
        IdentityRule::Borrowed(table) => {
            parts.push(format!("identity = {{ borrowed = {} }}", quoted(table)));
        }
        IdentityRule::Composite(names) => {
            parts.push(format!("identity = [{}]", list(&mut names.iter())));
        }
        IdentityRule::WholeRow => parts.push("identity = { whole_row = true }".to_owned()),
    }
    if !rule.left_out.is_empty() {
        parts.push(format!("left_out = [{}]", list(&mut rule.left_out.keys())));
    }
    let fills: Vec<String> = rule
        .left_out
        .iter()
        .filter_map(|(name, fill)| match fill {
            Fill::Default => None,
            Fill::Text(value) => Some(format!("{} = {}", key(name), quoted(value))),
        })
        .collect();
    if !fills.is_empty() {
        parts.push(format!("fill = {{ {} }}", fills.join(", ")));
    }
    if parts.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", parts.join(", ")) }
}

fn comment(text: &mut String, remark: &str) {
    // What is there to be copied stays in one piece.
    let width = if remark.contains(['{', '`']) { usize::MAX } else { 96 };
    let mut line = String::from("#");
    for word in remark.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > width {
            text.push_str(&line);
            line = String::from("\n#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}

/// The column that identifies the most tables: it need not be said for each.
fn usual_identity(map: &MapFile, fresh: &[Name]) -> Name {
    let mut counts: BTreeMap<&Name, usize> = BTreeMap::new();
    for name in fresh {
        if let Some(TableRule::Mapped(rule)) = map.tables.get(name)
            && let IdentityRule::Column(column) = &rule.identity
        {
            *counts.entry(column).or_default() += 1;
        }
    }
    let usual = counts.into_iter().max_by_key(|(_, count)| *count);
    usual.map_or_else(|| Arc::from("uuid"), |(column, _)| Arc::clone(column))
}

/// A name as a TOML key.
fn key(name: &str) -> String {
    let bare = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { quoted(name) }
}

/// A TOML string on one line, which keys have to be: JSON's, but for the one character that JSON
/// lets stand as it is.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text.replace('\n', " ")).to_string().replace('\u{7f}', "\\u007F")
}
