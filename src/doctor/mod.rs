//! Whether everything a node needs is there: [`Facts`] are read once, [`checks`] judges them
//! without asking anybody. `headwater doctor` prints the verdicts; `headwater run` acts on them.

mod binlog;
mod certificates;
mod facts;
mod machine;
mod privileges;
mod tables;

pub use facts::{
    BinlogFacts, CertificateFacts, DatabaseFacts, Duties, Facts, MachineFacts, MapFacts, Owner,
    ParentFacts,
};
pub use privileges::{Names, Privileges};
pub(crate) use privileges::{locks_to_read, to_ask_for_positions};

use serde::Serialize;

use crate::database::Error;

/// What a check found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It cannot be found out from here.
    Unknown,
    /// It works, with a risk that should be known.
    Doubtful,
    /// It keeps changes from being captured or applied.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at, in a few words; stays the same between versions.
    pub name: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// Why it matters; only where something is to be done or known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meaning: Option<String>,
    /// The exact statement or command that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Check {
    fn good(name: &'static str, found: impl Into<String>) -> Check {
        Check { name, verdict: Verdict::Good, found: found.into(), meaning: None, mend: None }
    }

    fn not_good(
        name: &'static str,
        verdict: Verdict,
        found: impl Into<String>,
        meaning: impl Into<String>,
        mend: impl Into<String>,
    ) -> Check {
        let meaning = Some(meaning.into());
        Check { name, verdict, found: found.into(), meaning, mend: Some(mend.into()) }
    }
}

/// Judges everything that was read, in the order in which it is best mended.
pub fn checks(facts: &Facts) -> Vec<Check> {
    let mut checks = machine::checks(facts);
    checks.extend(tables::map_files(facts));
    match &facts.database {
        Err(problem @ Error::TooOld { .. }) => checks.push(Check::not_good(
            "server version",
            Verdict::Bad,
            problem.to_string(),
            "What such a server writes to its log, or where it stands in it, cannot be read.",
            "upgrade the database server",
        )),
        Err(problem) => checks.push(Check::not_good(
            "database",
            Verdict::Bad,
            problem.to_string(),
            "Nothing can be captured from a database, or applied to it, that does not answer.",
            "mend what the message names, then run headwater doctor again",
        )),
        Ok(database) => {
            checks.push(Check::good("database", format!("{} answers", database.server)));
            if facts.duties.capture {
                checks.extend(binlog::checks(facts, database));
            }
            if facts.duties.capture || facts.duties.apply {
                checks.extend(binlog::durability(facts.duties, &database.server));
            }
            checks.extend(tables::checks(facts, database));
            checks.extend(privileges::checks(facts, database));
        }
    }
    checks
}

#[cfg(test)]
mod tests;
