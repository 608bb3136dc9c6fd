//! This machine, its clock, its certificates, and the way to the parent.

use super::Verdict::{Bad, Doubtful};
use super::{Check, Facts, MachineFacts, certificates};

/// Clocks further apart than this make times in the log misleading.
const SKEW_SECONDS_MAX: u64 = 60;
/// The data folder's disk should have this many times the least left.
const DISK_MARGIN: u64 = 4;

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    let machine = &facts.machine;
    let mut checks: Vec<Check> = machine
        .warnings
        .iter()
        .map(|warning| {
            Check::not_good(
                "configuration",
                Doubtful,
                warning.clone(),
                "Somebody else could read what they should not.",
                "as the warning says",
            )
        })
        .collect();
    checks.push(data_dir(machine));
    checks.extend(disk(facts));
    checks.extend(clock(facts));
    checks.extend(certificates::checks(facts));
    checks.extend(parent(facts));
    checks
}

fn data_dir(machine: &MachineFacts) -> Check {
    const NAME: &str = "data_dir";
    let folder = &machine.data_dir;
    match machine.mode {
        None => Check::not_good(
            NAME,
            Bad,
            format!("{folder} is not there"),
            "What is captured has to be kept somewhere.",
            format!("mkdir -p -m 700 {folder} && chown headwater {folder}"),
        ),
        Some(_) if !machine.writable => Check::not_good(
            NAME,
            Bad,
            format!("{folder} cannot be written to by this user"),
            "What is captured has to be kept somewhere.",
            format!("chown headwater {folder}"),
        ),
        Some(mode) if mode & 0o077 != 0 => Check::not_good(
            NAME,
            Doubtful,
            format!("{folder} has mode {mode:o}"),
            "Patients' records and the node's key lie there, and other users may enter.",
            format!("chmod 700 {folder}"),
        ),
        Some(mode) => Check::good(NAME, format!("{folder}, mode {mode:o}")),
    }
}

fn disk(facts: &Facts) -> Vec<Check> {
    const NAME: &str = "disk";
    let machine = &facts.machine;
    let mut checks = Vec::new();
    if let Some(free) = machine.free_bytes {
        let (mib, least) = (free >> 20, machine.free_bytes_min);
        let found = format!("{mib} MiB free for {}", machine.data_dir);
        let meaning = "Capture waits when the disk is full, and the server's own log has to last.";
        let mend = "make room on that disk, or move node.data_dir to another";
        checks.push(if free < least {
            Check::not_good(NAME, Bad, found, meaning, mend)
        } else if free < least.saturating_mul(DISK_MARGIN) {
            Check::not_good(NAME, Doubtful, found, meaning, mend)
        } else {
            Check::good(NAME, found)
        });
    }
    let server = facts.database.as_ref().ok().and_then(|database| database.free_bytes);
    if let Some(free) =
        server.filter(|free| *free < machine.free_bytes_min.saturating_mul(DISK_MARGIN))
    {
        checks.push(Check::not_good(
            "the server's disk",
            Doubtful,
            format!("{} MiB free", free >> 20),
            "A database server whose disk is full stops, and its log with it.",
            "make room; PURGE BINARY LOGS only up to where headwater status says that capture is",
        ));
    }
    checks
}

fn clock(facts: &Facts) -> Option<Check> {
    const NAME: &str = "clock";
    let ahead = facts.database.as_ref().ok()?.ahead_milliseconds;
    let apart = ahead.unsigned_abs() / 1_000;
    Some(if apart > SKEW_SECONDS_MAX {
        let (later, earlier) =
            if ahead > 0 { ("the server's", "ours") } else { ("ours", "the server's") };
        Check::not_good(
            NAME,
            Doubtful,
            format!("{later} is {apart} s ahead of {earlier}"),
            "Nothing is decided by clocks alone, but lags and times shown are wrong by as much.",
            "timedatectl set-ntp true",
        )
    } else {
        Check::good(NAME, format!("{apart} s apart from the database's"))
    })
}

fn parent(facts: &Facts) -> Option<Check> {
    const NAME: &str = "parent";
    let parent = facts.parent.as_ref()?;
    Some(match &parent.answer {
        Ok(()) => Check::good(NAME, format!("{} answers", parent.url)),
        Err(problem) => Check::not_good(
            NAME,
            Doubtful,
            problem.clone(),
            "Changes are captured and wait here until it does.",
            "check parent.url, the link, and that the parent runs and its port is open",
        ),
    })
}
