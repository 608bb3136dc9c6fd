use super::*;
use crate::clock::Timestamp;

const DAY: i64 = 86_400_000_000;

/// A child whose database does not answer and whose machine is in order.
fn child() -> Facts {
    let ends = Ok(Timestamp(400 * DAY));
    let certificates = vec![CertificateFacts { owner: Owner::Child, ends }];
    Facts {
        duties: Duties { capture: true, apply: false },
        capture_server_id: 7,
        database_name: "openmrs".to_owned(),
        state_schema: "headwater".to_owned(),
        node: "clinic".to_owned(),
        map_files: Ok(()),
        database: Err(Error::Lost { reason: "gone".to_owned() }),
        machine: MachineFacts {
            data_dir: "/data".to_owned(),
            mode: Some(0o700),
            writable: true,
            free_bytes: Some(100 << 30),
            free_bytes_min: 256 << 20,
            certificates,
            link_error: None,
            parent_database: None,
            now: Timestamp(10 * DAY),
            warnings: Vec::new(),
        },
        parent: Some(ParentFacts { url: "https://p:1".to_owned(), answer: Ok(()) }),
    }
}

fn verdict(facts: &Facts, name: &str) -> Verdict {
    let checks = checks(facts);
    let found = checks.iter().filter(|check| check.name == name).map(|check| check.verdict).max();
    found.unwrap_or_else(|| panic!("{name} is not in {checks:?}"))
}

#[test]
fn what_is_wrong_with_the_database_does_not_hide_what_is_wrong_with_the_machine() {
    let facts = child();
    assert_eq!(verdict(&facts, "database"), Verdict::Bad);
    for name in ["data_dir", "disk", "certificate", "parent"] {
        assert_eq!(verdict(&facts, name), Verdict::Good, "{name}");
    }
}

/// Not as one that is away, for which a node waits.
#[test]
fn a_server_that_is_too_old_is_told_by_its_version() {
    let mut facts = child();
    facts.database = Err(Error::TooOld { version: "5.5.62-log".to_owned() });
    assert_eq!(verdict(&facts, "server version"), Verdict::Bad);
    assert!(checks(&facts).iter().all(|check| check.name != "database"));
}

#[test]
fn a_data_folder_must_be_there_writable_and_closed_to_others() {
    let mut facts = child();
    for (mode, writable, expected) in [
        (None, false, Verdict::Bad),
        (Some(0o700), false, Verdict::Bad),
        (Some(0o750), true, Verdict::Doubtful),
        (Some(0o701), true, Verdict::Doubtful),
        (Some(0o700), true, Verdict::Good),
    ] {
        (facts.machine.mode, facts.machine.writable) = (mode, writable);
        assert_eq!(verdict(&facts, "data_dir"), expected, "{mode:?} {writable}");
    }
}

#[test]
fn a_disk_is_doubtful_before_it_is_full() {
    let mut facts = child();
    for (mib, expected) in [
        (255, Verdict::Bad),
        (256, Verdict::Doubtful),
        (1023, Verdict::Doubtful),
        (1024, Verdict::Good),
    ] {
        facts.machine.free_bytes = Some(mib << 20);
        assert_eq!(verdict(&facts, "disk"), expected, "{mib} MiB");
    }
}

#[test]
fn a_certificate_is_doubtful_in_its_last_month_and_bad_after_it() {
    let mut facts = child();
    for (day, expected) in [
        (10, Verdict::Good),
        (369, Verdict::Good),
        (371, Verdict::Doubtful),
        (400, Verdict::Bad),
        (500, Verdict::Bad),
    ] {
        facts.machine.now = Timestamp(day * DAY);
        assert_eq!(verdict(&facts, "certificate"), expected, "day {day}");
    }
    facts.machine.certificates.clear();
    assert_eq!(verdict(&facts, "certificate"), Verdict::Unknown, "a child that has not joined");
}

#[test]
fn the_end_of_what_a_parent_makes_anew_by_itself_is_no_trouble() {
    let mut facts = child();
    facts.machine.now = Timestamp(500 * DAY);
    for (owner, expected) in [
        (Owner::Child, Verdict::Bad),
        (Owner::Server, Verdict::Good),
        (Owner::Authority, Verdict::Good),
    ] {
        let ends = Ok(Timestamp(400 * DAY));
        facts.machine.certificates = vec![CertificateFacts { owner, ends }];
        (facts.parent, facts.duties) = (None, Duties { capture: false, apply: true });
        assert_eq!(verdict(&facts, "certificate"), expected, "{owner:?}");
    }
}

#[test]
fn a_map_file_that_is_missing_is_told_while_the_database_is_away() {
    let mut facts = child();
    facts.map_files = Err("maps/a.toml cannot be read".to_owned());
    assert_eq!(verdict(&facts, "schema map"), Verdict::Bad);
    assert_eq!(verdict(&facts, "database"), Verdict::Bad);
}

#[test]
fn a_parent_that_does_not_answer_stops_nothing() {
    let mut facts = child();
    facts.parent =
        Some(ParentFacts { url: "https://p:1".to_owned(), answer: Err("no".to_owned()) });
    assert_eq!(verdict(&facts, "parent"), Verdict::Doubtful);
}

#[test]
fn every_check_that_is_not_good_says_what_it_means_and_what_to_do() {
    let mut facts = child();
    facts.machine = MachineFacts {
        certificates: vec![CertificateFacts {
            owner: Owner::Child,
            ends: Err("is no certificate".to_owned()),
        }],
        warnings: vec!["the password can be read".to_owned()],
        free_bytes: Some(0),
        free_bytes_min: 1,
        ..MachineFacts::default()
    };
    let checks = checks(&facts);
    assert!(checks.len() >= 5);
    for check in checks.iter().filter(|check| check.verdict != Verdict::Good) {
        assert!(check.meaning.is_some() && check.mend.is_some(), "{check:?}");
    }
}
