//! `headwater doctor`: what is missing, what it means, and how to mend it.

use serde::Serialize;

use super::arguments::Json;
use super::{Error, Outcome, Output};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::database;
use crate::doctor::{self, Check, Facts, Verdict};

#[derive(Serialize)]
struct Report<'a> {
    node: &'a str,
    checks: &'a [Check],
    bad: usize,
    doubtful: usize,
}

pub(super) async fn run(
    config: &Config,
    arguments: &Json,
    out: &mut Output,
) -> Result<Outcome, Error> {
    let facts = Facts::read(config, &SystemClock::shared()).await;
    let checks = doctor::checks(&facts);
    let count = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
    let (bad, doubtful) = (count(Verdict::Bad), count(Verdict::Doubtful));
    if arguments.json {
        out.json(&Report { node: &config.node.name, checks: &checks, bad, doubtful })?;
    } else {
        for check in &checks {
            out.line(shown(check))?;
        }
        out.line(match (bad, doubtful) {
            (0, 0) => "all is well".to_owned(),
            (0, _) => format!("it works; {doubtful} to think about (!)"),
            (_, _) => format!("{bad} to mend (✗), {doubtful} to think about (!)"),
        })?;
    }
    match facts.database {
        Err(database::Error::TooOld { .. }) => Ok(Outcome::Found),
        Err(problem) => Err(Error::Unreachable(problem.to_string())),
        Ok(_) if bad > 0 => Ok(Outcome::Found),
        Ok(_) => Ok(Outcome::Well),
    }
}

fn shown(check: &Check) -> String {
    let sign = match check.verdict {
        Verdict::Good => '✓',
        Verdict::Unknown => '?',
        Verdict::Doubtful => '!',
        Verdict::Bad => '✗',
    };
    let mut text = format!("{sign} {}: {}", check.name, check.found);
    if let Some(meaning) = &check.meaning {
        text.push_str("\n    ");
        text.push_str(meaning);
    }
    if let Some(mend) = &check.mend {
        for (index, line) in mend.lines().enumerate() {
            text.push_str(if index == 0 { "\n    mend: " } else { "\n          " });
            text.push_str(line);
        }
    }
    text
}
