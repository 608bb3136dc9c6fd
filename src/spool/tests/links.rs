//! Links, their cursors, and what is released when.

use super::*;
use crate::change::{Epoch, NodeId};
use crate::spool::{Contact, Direction, Error, Link, State};

const GRACE: Duration = Duration::from_hours(24);

fn active(name: &str) -> Link {
    Link::new(name, Direction::Up, State::Active)
}

async fn filled(folder: &Path, clock: &Arc<StillClock>, transactions: u64) -> Spool {
    let spool = open_at(folder, clock);
    spool.append(captured((1..=transactions).map(|n| whole(n, n)).collect())).await.unwrap();
    spool
}

#[tokio::test]
async fn a_link_comes_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let invited = Link {
        invited_token_hash: Some([7; 32]),
        invited_expires: Some(Timestamp(99)),
        ..Link::new("clinic-12", Direction::Down, State::Invited)
    };
    spool.put_link(invited.clone()).await.unwrap();
    spool.put_link(active("a parent")).await.unwrap();
    assert_eq!(spool.links().await.unwrap(), [active("a parent"), invited.clone()]);

    let joined = |link: &mut Link| {
        let secret = link.invited_token_hash.take();
        link.state = State::Active;
        link.node = Some(NodeId(uuid::Uuid::from_u128(1)));
        link.epoch = Some(Epoch(uuid::Uuid::from_u128(2)));
        link.certificate = Some([3; 32]);
        secret
    };
    assert_eq!(spool.update_link("clinic-12", joined).await.unwrap(), Some([7; 32]));
    assert_eq!(spool.update_link("clinic-12", |link| link.invited_token_hash).await.unwrap(), None);
    let mut expected = invited;
    joined(&mut expected);
    assert_eq!(spool.link("clinic-12").await.unwrap(), Some(expected));
    assert_eq!(spool.link("clinic-13").await.unwrap(), None);
    let error = spool.update_link("clinic-13", |_| ()).await.unwrap_err();
    assert!(matches!(error, Error::UnknownLink(_)), "{error}");
    spool.delete_link("clinic-12").await.unwrap();
    assert_eq!(spool.link("clinic-12").await.unwrap(), None);
    assert!(matches!(spool.delete_link("clinic-12").await, Err(Error::UnknownLink(_))));
}

#[tokio::test]
async fn a_cursor_moves_forward_by_acknowledgement_and_back_only_by_rewind() {
    let folder = tempfile::tempdir().unwrap();
    let spool = filled(folder.path(), &StillClock::shared(), 10).await;
    spool.put_link(active("parent")).await.unwrap();
    let cursor = async || spool.link("parent").await.unwrap().unwrap().acknowledged;
    spool.acknowledge("parent", Sequence(6)).await.unwrap();
    spool.acknowledge("parent", Sequence(4)).await.unwrap();
    assert_eq!(cursor().await, Sequence(6));
    spool.put_link(active("parent")).await.unwrap();
    assert_eq!(cursor().await, Sequence(6));
    spool.rewind("parent", Sequence(8)).await.unwrap();
    assert_eq!(cursor().await, Sequence(6));
    spool.rewind("parent", Sequence(2)).await.unwrap();
    assert_eq!(cursor().await, Sequence(2));
    let error = spool.acknowledge("parent", Sequence(11)).await.unwrap_err();
    assert!(matches!(error, Error::BeyondHead { .. }), "{error}");
    let error = spool.acknowledge("nobody", Sequence(1)).await.unwrap_err();
    assert!(matches!(error, Error::UnknownLink(_)), "{error}");
}

#[tokio::test]
async fn nothing_is_released_before_every_active_link_had_it_for_the_grace_period() {
    let folder = tempfile::tempdir().unwrap();
    let clock = StillClock::shared();
    let spool = filled(folder.path(), &clock, 10).await;
    let released = async || spool.release(GRACE).await.unwrap().through.0;
    clock.pass(GRACE * 2);
    assert_eq!(released().await, 0, "no link yet");

    for name in ["a", "b", "gone"] {
        spool.put_link(active(name)).await.unwrap();
    }
    spool.put_link(Link::new("new", Direction::Down, State::Invited)).await.unwrap();
    spool.acknowledge("a", Sequence(5)).await.unwrap();
    clock.pass(GRACE / 2);
    spool.acknowledge("a", Sequence(9)).await.unwrap();
    spool.acknowledge("b", Sequence(7)).await.unwrap();
    clock.pass(GRACE / 2 + Duration::from_secs(1));
    assert_eq!(released().await, 0, "`gone` has acknowledged nothing");
    spool.update_link("gone", |link| link.state = State::Revoked).await.unwrap();
    assert_eq!(released().await, 0, "`b` has had it for half the period");
    clock.pass(GRACE / 2);
    assert_eq!(released().await, 7);
    assert_eq!(released().await, 7);
    assert_eq!(sequences(&spool.segments(Sequence(7), 1).await.unwrap()), [(8, 8, 0)]);
    assert_eq!(spool.usage().await.unwrap().bytes, 1500);
}

#[tokio::test]
async fn children_to_whom_nothing_is_sent_do_not_hold_the_spool() {
    let folder = tempfile::tempdir().unwrap();
    let clock = StillClock::shared();
    let spool = filled(folder.path(), &clock, 10).await;
    let child = Link::new("clinic-12", Direction::Down, State::Active);
    spool.put_link(child).await.unwrap();
    assert_eq!(spool.release(Duration::ZERO).await.unwrap().through, Sequence(0), "no parent");
    spool.put_link(active("parent")).await.unwrap();
    spool.acknowledge("parent", Sequence(8)).await.unwrap();
    clock.pass(GRACE);
    assert_eq!(spool.release(GRACE).await.unwrap().through, Sequence(8));
    let usage = spool.usage().await.unwrap();
    let waiting = |name: &str| {
        let found = usage.links.iter().find(|link| link.link.name == name).unwrap();
        (found.waiting_transactions, found.waiting_since)
    };
    assert_eq!(waiting("parent"), (2, Some(Timestamp(9_000_000))));
    assert_eq!(waiting("clinic-12"), (0, None));
}

#[tokio::test]
async fn acknowledgements_in_quick_succession_never_shorten_the_grace_period() {
    let folder = tempfile::tempdir().unwrap();
    let clock = StillClock::shared();
    let spool = filled(folder.path(), &clock, 100).await;
    spool.put_link(active("parent")).await.unwrap();
    let grace = Duration::from_mins(10);
    let mut acknowledged = std::collections::BTreeMap::new();
    for through in 1..=100 {
        spool.acknowledge("parent", Sequence(through)).await.unwrap();
        acknowledged.insert(through, clock.now());
        clock.pass(Duration::from_secs(17));
        let released = spool.release(grace).await.unwrap().through.0;
        if released > 0 {
            assert!(clock.now().since(acknowledged[&released]) >= grace, "{released}");
        }
        let due = acknowledged.range(..).filter(|(_, at)| clock.now().since(**at) >= grace * 2);
        assert!(due.count() as u64 <= released, "released {released} late");
    }
    clock.pass(grace);
    while spool.release(grace).await.unwrap().more {}
    assert_eq!(spool.usage().await.unwrap().transactions, 0);
}

#[tokio::test]
async fn a_clock_that_was_ahead_does_not_hold_the_spool_for_years() {
    for restarted in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let clock = StillClock::shared();
        let mut spool = filled(folder.path(), &clock, 3).await;
        spool.put_link(active("parent")).await.unwrap();
        clock.leap(40 * 365);
        spool.acknowledge("parent", Sequence(3)).await.unwrap();
        if restarted {
            spool.close().await.unwrap();
            spool = open_at(folder.path(), &clock);
        }
        clock.leap(-40 * 365);
        assert_eq!(spool.release(GRACE).await.unwrap().through, Sequence(0));
        clock.pass(GRACE);
        assert_eq!(spool.release(GRACE).await.unwrap().through, Sequence(3));
    }
}

#[tokio::test]
async fn a_clock_that_leaps_releases_nothing() {
    let week = GRACE * 7;
    let folder = tempfile::tempdir().unwrap();
    let clock = StillClock::shared();
    let spool = filled(folder.path(), &clock, 10).await;
    spool.put_link(active("parent")).await.unwrap();
    let through = async |spool: &Spool| spool.release(week).await.unwrap().through.0;
    // A dead battery: the machine begins in 1970, and hears the time after its first words with
    // the parent.
    clock.leap(-20_000);
    spool.acknowledge("parent", Sequence(5)).await.unwrap();
    clock.pass(GRACE);
    clock.leap(20_000);
    assert_eq!(through(&spool).await, 0);
    // Ahead for a minute, and back.
    clock.leap(365);
    spool.acknowledge("parent", Sequence(6)).await.unwrap();
    assert_eq!(through(&spool).await, 0);
    clock.leap(-365);
    clock.pass(GRACE);
    assert_eq!(through(&spool).await, 0);
    // Ahead while the node was off: a day of it counts, which makes three.
    spool.close().await.unwrap();
    clock.leap(900);
    let spool = open_at(folder.path(), &clock);
    assert_eq!(through(&spool).await, 0);
    clock.pass(GRACE * 3 + Duration::from_hours(23));
    assert_eq!(through(&spool).await, 0, "a little less than seven days");
    clock.pass(Duration::from_hours(2));
    assert_eq!(through(&spool).await, 5, "seven days after the first");
    clock.pass(GRACE);
    assert_eq!(through(&spool).await, 6);
}

#[tokio::test]
async fn within_the_grace_period_a_restored_parent_gets_what_it_lost_and_after_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let clock = StillClock::shared();
    let spool = filled(folder.path(), &clock, 10).await;
    spool.put_link(active("parent")).await.unwrap();
    spool.acknowledge("parent", Sequence(4)).await.unwrap();
    clock.pass(GRACE);
    spool.acknowledge("parent", Sequence(10)).await.unwrap();
    assert_eq!(spool.release(GRACE).await.unwrap().through, Sequence(4));

    spool.rewind("parent", Sequence(4)).await.unwrap();
    clock.pass(GRACE * 9);
    assert_eq!(spool.release(GRACE).await.unwrap().through, Sequence(4));
    assert_eq!(spool.segments(Sequence(4), u64::MAX).await.unwrap().len(), 6);

    for error in [
        spool.rewind("parent", Sequence(3)).await.unwrap_err(),
        spool.segments(Sequence(3), 1).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Released { released: Sequence(4), .. }), "{error}");
    }
    spool.close().await.unwrap();
    let spool = open_at(folder.path(), &clock);
    assert!(matches!(spool.segments(Sequence(0), 1).await, Err(Error::Released { .. })));
    assert_eq!(spool.usage().await.unwrap().bytes, 3000);
}

#[tokio::test]
async fn releasing_goes_step_by_step_and_gives_space_back() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let large = |n| Segment { compressed: vec![1; 300_000], ..whole(n, n) };
    for n in 1..=200 {
        spool.append(captured(vec![large(n)])).await.unwrap();
    }
    let full = spool.usage().await.unwrap();
    assert_eq!(full.bytes, 60_000_000);
    spool.put_link(active("parent")).await.unwrap();
    spool.acknowledge("parent", Sequence(200)).await.unwrap();
    let mut steps = Vec::new();
    loop {
        let step = spool.release(Duration::ZERO).await.unwrap();
        steps.push(step.segments);
        if !step.more {
            break;
        }
    }
    assert_eq!(steps, [64, 64, 64, 8]);
    for _ in 0..10 {
        spool.release(Duration::ZERO).await.unwrap();
    }
    let empty = spool.usage().await.unwrap();
    assert_eq!((empty.bytes, empty.transactions, empty.oldest), (0, 0, None));
    assert!(empty.file_bytes < 20_000_000, "{} of {}", empty.file_bytes, full.file_bytes);
    spool.append(captured(vec![large(201)])).await.unwrap();
}

#[tokio::test]
async fn usage_says_what_waits_for_each_link_and_what_was_heard_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let spool = filled(folder.path(), &StillClock::shared(), 10).await;
    spool.put_link(active("parent")).await.unwrap();
    spool.acknowledge("parent", Sequence(6)).await.unwrap();
    let failed = Contact { error: Some("cannot be reached".to_owned()), ..Contact::default() };
    spool.contact("parent", failed).await.unwrap();
    let usage = spool.usage().await.unwrap();
    assert_eq!((usage.head, usage.released, usage.transactions), (Sequence(10), Sequence(0), 10));
    assert_eq!(usage.oldest, Some(Timestamp(1_000_000)));
    let link = &usage.links[0];
    assert_eq!((link.waiting_transactions, link.waiting_since), (4, Some(Timestamp(7_000_000))));
    assert_eq!(link.link.last_error.as_deref(), Some("cannot be reached"));

    let heard = Contact { at: Some(Timestamp(5)), received: Some(Sequence(77)), error: None };
    spool.contact("parent", heard).await.unwrap();
    let link = spool.link("parent").await.unwrap().unwrap();
    assert_eq!(
        (link.received, link.last_contact, link.last_error),
        (Sequence(77), Some(Timestamp(5)), None)
    );
}
