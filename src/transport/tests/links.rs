//! Links that last: changing addresses, silences, restarts, restored backups.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use super::*;
use crate::transport::Watermark;
use crate::transport::client::{self, Schedule};
use crate::transport::wire::Welcome;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_captured_arrives_and_is_acknowledged_within_the_same_breath() {
    let parent = Parent::start().await;
    let child = Child::joined(&parent, "clinic").await;
    let running = child.run(child.options());
    for round in 1..=20 {
        capture(&child.spool, 1, 500).await;
        eventually("acknowledged", || async { child.acknowledged().await == round }).await;
    }
    assert_eq!(parent.target.transactions(), (1..=20).collect::<Vec<_>>());
    let link = parent.spool.link("clinic").await.unwrap().unwrap();
    assert!(link.last_contact.is_some() && link.last_error.is_none());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_whose_address_changes_between_two_batches_goes_on() {
    let parent = Parent::start().await;
    let mut child = Child::joined(&parent, "clinic").await;
    let proxy = Proxy::start(parent.address).await;
    child.parent = proxy.url();
    proxy.from.store(2, Ordering::SeqCst);
    let running = child.run(child.options());
    capture(&child.spool, 1, 10).await;
    eventually("acknowledged", || async { child.acknowledged().await == 1 }).await;
    // The old way is dead and silent, as behind a NAT that has forgotten it.
    proxy.frozen.store(true, Ordering::SeqCst);
    proxy.from.store(3, Ordering::SeqCst);
    capture(&child.spool, 1, 10).await;
    crate::clock::sleep(Duration::from_millis(500)).await;
    proxy.frozen.store(false, Ordering::SeqCst);
    running.stop().await;
    let running = child.run(child.options());
    eventually("acknowledged", || async { child.acknowledged().await == 2 }).await;
    let seen = proxy.seen_from.lock().unwrap().clone();
    assert!(seen.contains(&IpAddr::from([127, 0, 0, 2])), "{seen:?}");
    assert!(seen.contains(&IpAddr::from([127, 0, 0, 3])), "{seen:?}");
    assert_eq!(parent.target.transactions(), [1, 2]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_link_is_given_up_after_its_silence_and_dialled_anew() {
    let parent = Parent::start().await;
    let mut child = Child::joined(&parent, "clinic").await;
    let proxy = Proxy::start(parent.address).await;
    child.parent = proxy.url();
    let mut options = child.options();
    options.patience = Duration::from_millis(800);
    let running = child.run(options);
    capture(&child.spool, 1, 10).await;
    eventually("acknowledged", || async { child.acknowledged().await == 1 }).await;
    proxy.frozen.store(true, Ordering::SeqCst);
    capture(&child.spool, 1, 10).await;
    eventually("the silence is noticed", || async {
        child.last_error().await.is_some_and(|words| words.contains("nothing came through"))
    })
    .await;
    proxy.frozen.store(false, Ordering::SeqCst);
    eventually("acknowledged", || async { child.acknowledged().await == 2 }).await;
    eventually("all is well", || async { child.last_error().await.is_none() }).await;
    assert_eq!(parent.target.transactions(), [1, 2]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_starts_again_finds_its_child_waiting() {
    let parent = Parent::start().await;
    let mut child = Child::joined(&parent, "clinic").await;
    let proxy_to = parent.address;
    child.parent = parent.url();
    let running = child.run(child.options());
    capture(&child.spool, 3, 10).await;
    eventually("acknowledged", || async { child.acknowledged().await == 3 }).await;
    let (data_dir, target, port) = parent.stop().await;
    capture(&child.spool, 3, 10).await;
    eventually("the loss is noticed", || async { child.last_error().await.is_some() }).await;
    let parent = Parent::start_in(data_dir, target, port, |_| {}).await;
    assert_eq!(parent.address, proxy_to);
    eventually("acknowledged", || async { child.acknowledged().await == 6 }).await;
    assert_eq!(parent.target.transactions(), [1, 2, 3, 4, 5, 6]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_restored_from_a_backup_is_sent_again_what_it_forgot() {
    let parent = Parent::start().await;
    let child = Child::joined(&parent, "clinic").await;
    let running = child.run(child.options());
    capture(&child.spool, 5, 10).await;
    eventually("acknowledged", || async { child.acknowledged().await == 5 }).await;
    running.stop().await;
    parent.target.rewind(2);
    let running = child.run(child.options());
    eventually("it has all of it again", || async { parent.target.transactions().len() == 5 })
        .await;
    eventually("acknowledged", || async { child.acknowledged().await == 5 }).await;
    assert_eq!(parent.target.transactions(), [1, 2, 3, 4, 5]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_with_nothing_to_send_learns_that_its_parent_was_restored() {
    let parent = Parent::start().await;
    let mut child = Child::joined(&parent, "clinic").await;
    let proxy = Proxy::start(parent.address).await;
    child.parent = proxy.url();
    let mut options = child.options();
    options.hello_every = Duration::from_millis(300);
    options.patience = Duration::from_secs(30);
    let running = child.run(options);
    capture(&child.spool, 5, 10).await;
    eventually("acknowledged", || async { child.acknowledged().await == 5 }).await;
    parent.target.rewind(2);
    eventually("it has all of it again", || async { parent.target.transactions().len() == 5 })
        .await;
    assert_eq!(proxy.connections.load(Ordering::SeqCst), 1, "hello needs no new connection");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_with_nothing_to_send_notices_that_its_parent_stopped() {
    let parent = Parent::start().await;
    let child = Child::joined(&parent, "clinic").await;
    let running = child.run(child.options());
    capture(&child.spool, 1, 10).await;
    eventually("acknowledged", || async { child.acknowledged().await == 1 }).await;
    let (data_dir, target, port) = parent.stop().await;
    eventually("the loss is noticed", || async { child.last_error().await.is_some() }).await;
    target.rewind(0);
    let parent = Parent::start_in(data_dir, target, port, |_| {}).await;
    eventually("it has it again", || async { parent.target.transactions() == [1] }).await;
    eventually("acknowledged", || async { child.acknowledged().await == 1 }).await;
    eventually("all is well", || async { child.last_error().await.is_none() }).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_restored_from_a_backup_stops_with_words() {
    let parent = Parent::start().await;
    let child = Child::joined(&parent, "clinic").await;
    parent.target.with(|memory| {
        let key = (child.spool.node_id(), child.spool.epoch());
        memory.watermarks.insert(key, Watermark { sequence: Sequence(3), batch: None });
    });
    // Its log has grown past what the parent has, but it never sent that.
    capture(&child.spool, 9, 10).await;
    let running = child.run(child.options());
    eventually("the link's words say so", || async {
        child.last_error().await.is_some_and(|words| words.contains("older copy"))
    })
    .await;
    assert!(parent.target.transactions().is_empty());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_machines_with_one_data_dir_none_is_acknowledged_what_the_other_sent() {
    let parent = Parent::start().await;
    let first = Child::joined(&parent, "clinic").await;
    capture(&first.spool, 2, 10).await;
    let running = first.run(first.options());
    eventually("acknowledged", || async { first.acknowledged().await == 2 }).await;
    running.stop().await;
    let first = first.close().await;
    let second = Child::copy_of(&first, &parent);
    let first = Child::open(first, &parent);

    // The second offers much, and is cut before anything of it is applied.
    capture(&second.spool, 5, 200_000).await;
    let proxy = Proxy::start(parent.address).await;
    proxy.budget.store(20_000, Ordering::SeqCst);
    let mut large = ClientOptions { parent: proxy.url(), ..second.options() };
    large.pace.batch_bytes_min = large.pace.batch_bytes_max;
    let cut = second.run(large);
    eventually("it was cut", || async { second.last_error().await.is_some() }).await;
    cut.stop().await;
    assert_eq!(parent.target.transactions(), [1, 2]);
    // The first sends its own transactions of the same numbers.
    capture(&first.spool, 3, 10).await;
    let running = first.run(first.options());
    eventually("acknowledged", || async { first.acknowledged().await == 5 }).await;
    running.stop().await;
    // Of the second's nothing was applied, so nothing may be acknowledged.
    let running = second.run(second.options());
    eventually("the link's words say so", || async {
        second.last_error().await.is_some_and(|words| words.contains("another machine"))
    })
    .await;
    assert_eq!(second.acknowledged().await, 2);
    running.stop().await;
    // Nor by the answer to a piece of the same range, to a link that said hello before.
    let batch = second.batch(2, 5, Codec::Lz4).await;
    let (mut connection, _) = second.greet().await.unwrap();
    let error = send_whole(&mut connection, &batch).await.unwrap_err();
    assert_eq!(error.code(), Some(crate::transport::wire::Code::Gap), "{error}");
    assert_eq!(parent.target.transactions(), [1, 2, 3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smaller_batch_offered_later_does_not_make_a_child_its_own_clone() {
    let parent = Parent::start().await;
    let child = Child::joined(&parent, "clinic").await;
    parent.target.with(|memory| memory.delay = Duration::from_secs(1));
    capture(&child.spool, 6, 1000).await;
    // The large one is being applied when the child loses its power.
    let running = child.run(child.options());
    eventually("it is being applied", || async {
        child.spool.note("link.offered").await.unwrap().is_some()
    })
    .await;
    crate::clock::sleep(Duration::from_millis(400)).await;
    running.stop().await;
    let mut options = child.options();
    options.compression = crate::transport::codec::Compression::None;
    options.pace.batch_bytes_min = 1;
    options.pace.batch_bytes_max = 1;
    let running = child.run(options);
    eventually("all is acknowledged", || async { child.acknowledged().await == 6 }).await;
    assert_eq!(parent.target.transactions(), [1, 2, 3, 4, 5, 6]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_knows_how_many_of_its_changes_are_set_aside() {
    let parent = Parent::start().await;
    let child = Child::joined(&parent, "clinic").await;
    let noted = async || {
        let note = child.spool.note(client::SET_ASIDE).await.unwrap();
        note.map(|bytes| serde_json::from_slice::<SetAside>(&bytes).unwrap())
    };
    let some = SetAside { parked: 2, quarantined: 1 };
    parent.target.with(|memory| memory.set_aside = some);
    let mut options = child.options();
    options.hello_every = Duration::from_millis(300);
    let running = child.run(options);
    eventually("it is told at the hello", || async { noted().await == Some(some) }).await;
    parent.target.with(|memory| memory.set_aside = SetAside::default());
    eventually("and again, when it has changed", || async {
        noted().await == Some(SetAside::default())
    })
    .await;
    running.stop().await;
    let running = child.run(child.options());
    capture(&child.spool, 1, 10).await;
    eventually("acknowledged", || async { child.acknowledged().await == 1 }).await;
    parent.target.with(|memory| memory.set_aside = some);
    capture(&child.spool, 1, 10).await;
    eventually("the batch's answer adds to it", || async { noted().await == Some(some) }).await;
    let less = SetAside { parked: 1, quarantined: 0 };
    parent.target.with(|memory| memory.in_all = Some(less));
    capture(&child.spool, 1, 10).await;
    eventually("or says what that makes", || async { noted().await == Some(less) }).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_cannot_now_is_tried_again_and_one_that_never_will_is_told() {
    let parent = Parent::start().await;
    let child = Child::joined(&parent, "clinic").await;
    let busy = TargetError::Retry("deadlock".to_owned());
    parent.target.with(|memory| memory.fail_next = Some(busy));
    capture(&child.spool, 2, 10).await;
    let running = child.run(child.options());
    eventually("acknowledged", || async { child.acknowledged().await == 2 }).await;
    assert_eq!(parent.target.applies(), 2);
    let never = "the table secret is not let up".to_owned();
    parent.target.with(|memory| memory.refuses = Some(never));
    capture(&child.spool, 1, 10).await;
    eventually("the link's words say so", || async {
        child.last_error().await.is_some_and(|words| words.contains("secret is not let up"))
    })
    .await;
    assert_eq!(child.acknowledged().await, 2);
    parent.target.with(|memory| memory.refuses = None);
    eventually("acknowledged", || async { child.acknowledged().await == 3 }).await;
    assert_eq!(parent.target.transactions(), [1, 2, 3]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_the_parent_lacks_are_handed_over() {
    let parent = Parent::start().await;
    let child = Child::joined(&parent, "clinic").await;
    let row = Wanted { table: "person".into(), identity: Identity::One(Value::UInt(7)) };
    parent.target.with(|memory| memory.wanted_next = vec![row.clone()]);
    capture(&child.spool, 1, 10).await;
    let mut running = child.run(child.options());
    assert_eq!(running.wanted_rows.recv().await.unwrap(), [row]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_forgot_what_it_asked_for_asks_again() {
    let parent = Parent::start().await;
    let child = Child::joined(&parent, "clinic").await;
    let row = Wanted { table: "person".into(), identity: Identity::One(Value::UInt(7)) };
    parent.target.with(|memory| memory.missing = vec![row.clone()]);
    let asked_for = |welcome: &Welcome| welcome.wanted.rows().unwrap();
    let (_connection, welcome) = child.greet().await.unwrap();
    assert_eq!(asked_for(&welcome), std::slice::from_ref(&row));
    // Not at every hello: the row may never come.
    let (_connection, welcome) = child.greet().await.unwrap();
    assert_eq!(asked_for(&welcome), []);
    let (data_dir, target, port) = parent.stop().await;
    let parent = Parent::start_in(data_dir, target, port, |_| {}).await;
    let (_connection, welcome) = child.greet().await.unwrap();
    assert_eq!(asked_for(&welcome), [row]);
    assert_eq!(parent.target.with(|memory| memory.asked), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_sends_in_its_intervals() {
    let parent = Parent::start().await;
    let child = Child::joined(&parent, "clinic").await;
    let mut options = child.options();
    options.schedule = Schedule::Every(Duration::from_secs(4));
    let running = child.run(options);
    capture(&child.spool, 1, 10).await;
    eventually("acknowledged", || async { child.acknowledged().await == 1 }).await;
    // Another interval has begun.
    crate::clock::sleep(Duration::from_millis(500)).await;
    capture(&child.spool, 1, 10).await;
    crate::clock::sleep(Duration::from_millis(300)).await;
    capture(&child.spool, 1, 10).await;
    eventually("acknowledged", || async { child.acknowledged().await == 3 }).await;
    assert_eq!(parent.target.applies(), 2);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_connection_resumes_the_session_and_is_known_by_it() {
    let parent = Parent::start().await;
    let child = Child::joined(&parent, "clinic").await;
    let credentials = joined(child.data_dir.path()).unwrap().unwrap();
    let config = Arc::new(tls::child(&credentials, shared(&child.clock)).unwrap());
    for resumed in [false, true, true] {
        let mut connection = child.dial().connect(Arc::clone(&config)).await.unwrap();
        assert_eq!(connection.is_resumed(), resumed);
        let welcome: Result<Welcome, _> =
            connection.ask(path::HELLO, &child.hello(), "saying hello").await;
        assert!(welcome.is_ok());
    }
    parent.revoke("clinic");
    crate::clock::sleep(Duration::from_millis(1100)).await;
    let mut connection = child.dial().connect(config).await.unwrap();
    assert!(connection.is_resumed());
    let welcome: Result<Welcome, _> =
        connection.ask(path::HELLO, &child.hello(), "saying hello").await;
    assert_eq!(welcome.unwrap_err().code(), Some(crate::transport::wire::Code::Revoked));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_takes_anothers_name_starts_at_the_beginning() {
    let parent = Parent::start().await;
    let first = Child::joined(&parent, "clinic").await;
    capture(&first.spool, 2, 10).await;
    let (mut connection, _) = first.greet().await.unwrap();
    let batch = first.batch(0, 2, Codec::Lz4).await;
    assert_eq!(through(send_whole(&mut connection, &batch).await), 2);
    parent.revoke("clinic");
    let second = Child::joined(&parent, "clinic").await;
    capture(&second.spool, 2, 10).await;
    // The very same bytes, but of another node: they count anew.
    let (mut connection, welcome) = second.greet().await.unwrap();
    assert_eq!(welcome.watermark, Sequence(0));
    assert_eq!(through(send_whole(&mut connection, &batch).await), 2);
    assert_eq!(parent.target.applies(), 2);
}
