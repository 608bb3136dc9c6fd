//! This node's own certificates: when they end, and what that ends.

use super::Verdict::{Bad, Doubtful, Unknown};
use super::{CertificateFacts, Check, Facts, Owner};
use crate::clock::Timestamp;

const NAME: &str = "certificate";
/// What a parent cannot begin without.
const PARENTS: &str = "parent's certificate";
const DAY_SECONDS: u64 = 86_400;
/// A child renews its certificate years before it ends, if it reaches its parent.
const DAYS_MIN: u64 = 30;

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    let machine = &facts.machine;
    let mut checks: Vec<Check> = machine
        .certificates
        .iter()
        .map(|certificate| match &certificate.ends {
            Err(problem) => unusable(facts, certificate.owner, problem),
            Ok(ends) if *ends <= machine.now => over(facts, certificate.owner, *ends),
            Ok(ends) => good_until(certificate.owner, *ends, machine.now),
        })
        .collect();
    let own = |certificate: &CertificateFacts| certificate.owner == Owner::Child;
    if facts.parent.is_some() && !machine.certificates.iter().any(own) {
        checks.push(Check::not_good(
            NAME,
            Unknown,
            "this node has none yet",
            "The parent lets nobody in without one, and headwater run does not start before the \
             first join.",
            format!("headwater invite {} at the parent, headwater join TOKEN here", facts.node),
        ));
    }
    checks
}

/// What gets a child in again whose certificate is of no use any more.
fn join_again(facts: &Facts) -> String {
    let name = &facts.node;
    format!(
        "at the parent: headwater revoke {name}, then headwater invite {name}\n\
         here: stop headwater, headwater join TOKEN, start it again"
    )
}

fn unusable(facts: &Facts, owner: Owner, problem: &str) -> Check {
    let (name, meaning, mend) = match owner {
        Owner::Child => (NAME, WAITS, join_again(facts)),
        Owner::Server => (PARENTS, "Without it no child is let in.", AS_IT_SAYS.to_owned()),
        Owner::Authority => {
            (PARENTS, "Without it no child is let in, old or new.", AS_IT_SAYS.to_owned())
        }
    };
    Check::not_good(name, Bad, problem, meaning, mend)
}

const AS_IT_SAYS: &str = "as the message says";
const WAITS: &str = "The parent does not let this node in. What is captured waits here.";

fn over(facts: &Facts, owner: Owner, ends: Timestamp) -> Check {
    match owner {
        Owner::Child => Check::not_good(
            NAME,
            Bad,
            format!("this node's has expired at {ends}"),
            WAITS,
            join_again(facts),
        ),
        Owner::Server => Check::good(
            NAME,
            format!(
                "the one shown to children has expired at {ends}; headwater run makes a new one"
            ),
        ),
        // It is looked at for its key only.
        Owner::Authority => {
            Check::good(NAME, format!("the authority's ended at {ends}, which ends nothing"))
        }
    }
}

fn good_until(owner: Owner, ends: Timestamp, now: Timestamp) -> Check {
    let days = ends.since(now).as_secs() / DAY_SECONDS;
    let whose = match owner {
        Owner::Child => "this node's",
        Owner::Server => "the one shown to children",
        Owner::Authority => "the authority's",
    };
    let found = format!("{whose} is good for {days} more days");
    if owner == Owner::Child && days < DAYS_MIN {
        return Check::not_good(
            NAME,
            Doubtful,
            found,
            "When it has expired, the parent does not let this node in; it renews itself whenever \
             the two speak with each other.",
            "have this node reach its parent once before then: headwater status says what keeps it",
        );
    }
    Check::good(NAME, found)
}
