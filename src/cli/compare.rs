//! `headwater compare`: whether two databases hold the same, by identity and value.

use super::arguments;
use super::{Error, Outcome, Output};
use crate::compare::{self, Difference, NotCompared, Place, Report, TableReport, What, Wish};
use crate::config::Config;

/// Values are cut to this many characters where they are shown.
const SHOWN_MAX: usize = 60;

pub(super) async fn run(
    config: &Config,
    arguments: &arguments::Compare,
    out: &mut Output,
) -> Result<Outcome, Error> {
    let other = Config::load(&arguments.other)?;
    let wish =
        Wish { subset: arguments.subset, tables: arguments.tables.clone(), show: arguments.show };
    let mut printed = Ok(());
    let report = compare::compare(config, &other, &wish, |table| {
        let columns = table.columns_only_here.len() + table.columns_only_there.len();
        let told = table.here > 0 || table.there > 0 || table.only.is_some() || columns > 0;
        if !arguments.json && printed.is_ok() && told {
            printed = out.line(described(table, arguments.subset));
        }
    })
    .await
    .map_err(|error| sorted(&error))?;
    printed?;
    if arguments.json {
        out.json(&report)?;
    } else {
        if report.beyond > 0 {
            out.line(format!("{} rows are only in {}", report.beyond, other.node.name))?;
        }
        for NotCompared { table, at, why } in &report.not_compared {
            let at = match at {
                Place::Here => "here",
                Place::There => "there",
            };
            out.line(format!("{table}: not compared, because {at} {why}"))?;
        }
        out.line(verdict(&report))?;
    }
    Ok(if report.is_even() { Outcome::Well } else { Outcome::Found })
}

fn sorted(error: &compare::Error) -> Error {
    match error {
        compare::Error::Database { .. } if error.is_unreachable() => {
            Error::Unreachable(error.to_string())
        }
        compare::Error::Database { .. } => Error::Failed(error.to_string()),
        compare::Error::Map(_)
        | compare::Error::NoSuchTable(_)
        | compare::Error::NothingMapped { .. } => Error::Usage(error.to_string()),
    }
}

fn verdict(report: &Report) -> String {
    let Report { equal, differences, .. } = report;
    let tables = report.tables.len();
    let mut stuck: Vec<&str> = report.not_compared.iter().map(|one| &*one.table).collect();
    stuck.dedup();
    if report.is_even() {
        return format!("in step: {equal} rows in {tables} tables, 0 differences");
    }
    if *differences == 0 {
        return format!(
            "not known to be in step: {equal} rows in {tables} tables, 0 differences, {} tables not compared",
            stuck.len()
        );
    }
    let uneven = report.tables.iter().filter(|table| !table.examples.is_empty()).count();
    format!(
        "not in step: {differences} differences in {uneven} of {tables} tables, {equal} rows equal"
    )
}

fn described(table: &TableReport, subset: bool) -> String {
    let mut text = match table.only {
        Some(Place::Here) => format!("{}: there is no such mapped table there", table.table),
        Some(Place::There) => format!("{}: there is no such mapped table here", table.table),
        None => format!("{}: {} rows equal", table.table, table.equal),
    };
    let counts = [
        (table.differing, "differ"),
        (table.missing_there, "missing there"),
        (table.missing_here, if subset { "more there" } else { "missing here" }),
    ];
    for (count, what) in counts {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    let (ours, theirs) = (&table.columns_only_here, &table.columns_only_there);
    if !ours.is_empty() {
        text.push_str(&format!(" (only here, compared with NULL: {})", ours.join(", ")));
    }
    if !theirs.is_empty() {
        text.push_str(&format!(" (not compared, only there: {})", theirs.join(", ")));
    }
    for example in &table.examples {
        text.push_str("\n  ");
        text.push_str(&difference(example));
    }
    text
}

fn difference(difference: &Difference) -> String {
    let identity = &difference.identity;
    match difference.what {
        What::MissingThere => format!("{identity} is missing there"),
        What::MissingHere => format!("{identity} is missing here"),
        What::Differs => {
            let columns: Vec<String> = difference
                .columns
                .iter()
                .map(|column| {
                    format!(
                        "{}: {} here, {} there",
                        column.column,
                        cut(&column.here),
                        cut(&column.there)
                    )
                })
                .collect();
            format!("{identity} differs: {}", columns.join("; "))
        }
    }
}

fn cut(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}
