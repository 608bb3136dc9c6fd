//! What a parent makes of certificates and batches that are not as they should be: a child's keys in
//! the hand of a test, which speaks with a node on a real server.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use headwater::change::Sequence;
use headwater::clock::SystemClock;
use headwater::spool::{Limits, Spool};
use headwater::transport::batch::Batch;
use headwater::transport::codec::Codec;
use headwater::transport::content::Room;
use headwater::transport::credentials::{
    Credentials, child_file, folder, joined, public_key, read, replace,
};
use headwater::transport::cut::{Cut, Cutter};
use headwater::transport::dial::{Connection, Dial, LinkError, ParentAddress};
use headwater::transport::offers::{OFFERED, Offers};
use headwater::transport::tls;
use headwater::transport::wire::{
    Code, Hello, PROTOCOL_VERSIONS, PieceAnswer, PieceHeader, Refusal, Welcome, hex, path,
};
use headwater_rig::Flavor;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SubjectPublicKeyInfo};
use rustls::pki_types::PrivateKeyDer;

use crate::nodes::{Node, Pair};
use crate::standing::until;
use crate::support::{on_both, openmrs_map};

fn data_dir(node: &Node) -> PathBuf {
    node.config.with_file_name("data")
}

/// Whoever speaks with a child's parent in its place.
struct Hand {
    dial: Dial,
    hello: Hello,
}

impl Hand {
    fn of(pair: &Pair) -> Hand {
        let known = Spool::peek(&data_dir(&pair.child)).unwrap();
        let clock = SystemClock::shared();
        let address = pair.link.conditions().target;
        let address = ParentAddress { host: Ipv4Addr::LOCALHOST.to_string(), port: address.port() };
        let hello = Hello {
            versions: PROTOCOL_VERSIONS.to_vec(),
            node: known.node_id().unwrap(),
            name: "by hand".to_owned(),
            epoch: known.epoch().unwrap(),
            map: hex(&openmrs_map().digest()),
            clock: clock.now(),
            patience_seconds: 10,
        };
        Hand { dial: Dial { address, patience: Duration::from_secs(10), clock }, hello }
    }

    /// Shakes hands and says hello.
    async fn greets(&self, credentials: &Credentials) -> Result<(Connection, Welcome), LinkError> {
        let config = tls::child(credentials, SystemClock::shared()).unwrap();
        let mut connection = self.dial.connect(Arc::new(config)).await?;
        let welcome = connection.ask(path::HELLO, &self.hello, "saying hello").await?;
        Ok((connection, welcome))
    }
}

/// The child's credentials with a certificate of its parent's authority that ends in this year.
fn ending_in(year: i32, own: &Credentials, parent: &Path) -> Credentials {
    ending(year, own, parent, &[])
}

/// The same for a server of these names, or for a child.
fn ending(year: i32, own: &Credentials, parent: &Path, names: &[String]) -> Credentials {
    let authority = read(&folder(parent).join("authority.pem"), "").unwrap().unwrap();
    let key = KeyPair::try_from(&PrivateKeyDer::Pkcs8(authority.key)).unwrap();
    let issuer = Issuer::from_ca_cert_der(&authority.chain[0], key).unwrap();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(2010, 1, 1);
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    params.extended_key_usages = vec![match names {
        [] => ExtendedKeyUsagePurpose::ClientAuth,
        [..] => ExtendedKeyUsagePurpose::ServerAuth,
    }];
    let public = SubjectPublicKeyInfo::from_der(&public_key(&own.chain[0]).unwrap()).unwrap();
    let mut credentials = own.clone();
    credentials.chain[0] = params.signed_by(&public, &issuer).unwrap().der().clone();
    credentials
}

/// All that the parent has of this child's, as far as these stories change it.
async fn written(pair: &Pair) -> Option<String> {
    let all = "SELECT CONCAT_WS(' ', (SELECT COUNT(*) FROM location WHERE description LIKE 'by hand%'), \
               (SELECT GROUP_CONCAT(sequence, ' ', applied_at) FROM headwater.watermark), \
               (SELECT COUNT(*) FROM headwater.held))";
    pair.parent_says(all).await
}

async fn a_certificate_that_is_over_is_refused(flavor: Flavor) {
    let mut pair = Pair::start(flavor).await;
    pair.at_child("UPDATE location SET description = 'before' LIMIT 1").await;
    pair.in_step().await;
    pair.link.refuse();
    let (data, parent) = (data_dir(&pair.child), data_dir(&pair.parent));
    let own = joined(&data).unwrap().unwrap();
    let over = ending_in(2020, &own, &parent);
    let before = written(&pair).await;

    // By the parent, at once: but for its time it would do.
    let hand = Hand::of(&pair);
    let Err(error) = hand.greets(&over).await else { panic!("it was let in") };
    assert!(matches!(error, LinkError::Distrust(_)), "{error:?}");
    let words = error.to_string();
    assert!(words.contains("certificate has expired") && words.contains("join TOKEN"), "{words}");
    assert!(hand.greets(&ending_in(2090, &own, &parent)).await.is_ok());

    // By the child itself, which does not even dial; what is captured waits.
    replace(&child_file(&data), &over).unwrap();
    pair.at_child("UPDATE location SET description = 'by hand' LIMIT 1").await;
    pair.link.allow();
    until(&pair.child, "captured and refused", |status| {
        let link = &status["links"][0];
        let words = link["last_error"].as_str().unwrap_or_default();
        let told = ["ended at 2020-01-01", "invite clinic-12", "join TOKEN"];
        told.iter().all(|told| words.contains(told)) && link["waiting_transactions"] == 1
    })
    .await;
    // It starts with it too, because the log does not wait: only the link does.
    assert_eq!(pair.child.terminate(), Some(0), "{}", pair.child.log());
    pair.at_child("UPDATE location SET description = 'by hand again' LIMIT 1").await;
    pair.child.start();
    until(&pair.child, "captured", |status| status["links"][0]["waiting_transactions"] == 2).await;
    let told = pair.child.command(&["doctor"]);
    let words = String::from_utf8_lossy(&told.stdout).into_owned();
    assert_eq!(told.status.code(), Some(1), "{words}");
    assert!(words.contains("✗ certificate: this node's has expired at 2020-01-01"), "{words}");
    let said = pair.child.says(&["status"]);
    assert!(said.contains("last error: this node's certificate ended at 2020-01-01"), "{said}");
    let log = pair.child.whole_log();
    for told in ["certificate: this node's has expired at", "certificate ended at 2020-01-01"] {
        assert!(log.contains(told), "{told}\nin {log}");
    }
    assert_eq!(written(&pair).await, before);

    // As the doctor says: nothing is lost, and nothing comes twice.
    let line = words.lines().find(|line| line.contains("headwater revoke")).unwrap();
    assert!(line.contains("revoke clinic-12, then headwater invite clinic-12"), "{words}");
    pair.parent.says(&["revoke", "clinic-12"]);
    let token = pair.parent.says(&["invite", "clinic-12"]);
    assert_eq!(pair.child.terminate(), Some(0), "{}", pair.child.log());
    pair.child.says(&["join", token.lines().last().unwrap()]);
    pair.child.start();
    pair.must_be_equal().await;
    let rows = "SELECT COUNT(*) FROM location WHERE description = 'by hand again'";
    assert_eq!(pair.parent_says(rows).await.as_deref(), Some("1"));
}

/// The parent is its own authority: it makes itself a new one.
async fn a_parent_whose_own_certificate_is_over_renews_it(flavor: Flavor) {
    let mut pair = Pair::start(flavor).await;
    pair.in_step().await;
    assert_eq!(pair.parent.terminate(), Some(0), "{}", pair.parent.log());
    let data = data_dir(&pair.parent);
    let file = folder(&data).join("server.pem");
    let own = read(&file, "").unwrap().unwrap();
    // But for its time it would do.
    let name = [Ipv4Addr::LOCALHOST.to_string()];
    let over = ending(2020, &own, &data, &name);
    replace(&file, &over).unwrap();
    let told = pair.parent.command(&["doctor"]);
    let words = String::from_utf8_lossy(&told.stdout).into_owned();
    assert_eq!(told.status.code(), Some(0), "{words}");
    let expected = "✓ certificate: the one shown to children has expired at 2020-01-01";
    assert!(words.contains(expected) && words.contains("makes a new one"), "{words}");
    pair.at_child("UPDATE location SET description = 'by hand' LIMIT 1").await;
    pair.parent.start();
    pair.must_be_equal().await;
    assert_ne!(read(&file, "").unwrap().unwrap().chain[0], over.chain[0]);
}

/// Cuts `(from, through]` of a child that does not run.
async fn cut(spool: &Spool, from: u64, through: u64, codec: Codec, room: &Path) -> Batch {
    let room = Room { directory: room.to_owned(), memory_bytes_max: 1 << 20 };
    let cut = Cut {
        from: Sequence(from),
        through: Some(Sequence(through)),
        raw_bytes_max: u64::MAX,
        codec,
        to: None,
    };
    let mut cutter = Cutter::new(cut, room.empty()).unwrap();
    cutter.take_all(&spool.segments(Sequence(from), u64::MAX).await.unwrap()).unwrap();
    let batch = cutter.finish().unwrap().unwrap();
    assert_eq!((batch.key.from, batch.key.through), (Sequence(from), Sequence(through)));
    // As the child does before the first byte leaves.
    let noted = spool.note(OFFERED).await.unwrap().unwrap_or_default();
    let mut offers = Offers::read(&noted);
    offers.add(&batch.key, Sequence(0));
    spool.set_note(OFFERED, offers.bytes()).await.unwrap();
    batch
}

async fn send(
    connection: &mut Connection,
    batch: &Batch,
    offset: usize,
    bytes: &[u8],
) -> Result<PieceAnswer, LinkError> {
    let header = PieceHeader { key: batch.key, offset: offset as u64 };
    let mut piece = postcard::to_stdvec(&header).unwrap();
    piece.extend_from_slice(bytes);
    connection.post(path::PIECE, piece.into(), "sending").await
}

/// Sends all of a batch in two pieces, with one bit of it the other way round if one is named.
async fn send_whole(
    connection: &mut Connection,
    batch: &Batch,
    flipped: Option<usize>,
) -> Result<u64, Refusal> {
    let mut bytes = batch.content.read_at(0, usize::MAX).unwrap();
    if let Some(at) = flipped {
        bytes[at] ^= 1 << (at % 8);
    }
    let middle = bytes.len() / 2;
    for (offset, piece) in [(0, &bytes[..middle]), (middle, &bytes[middle..])] {
        match send(connection, batch, offset, piece).await {
            Ok(PieceAnswer::Held { held }) => assert_eq!(held, middle as u64),
            Ok(PieceAnswer::Applied { through, parked, quarantined, .. }) => {
                assert_eq!((parked, quarantined), (0, 0));
                return Ok(through.0);
            }
            Err(LinkError::Refused(refusal)) => return Err(refusal),
            other => panic!("{other:?}"),
        }
    }
    panic!("all was sent, and there was no answer");
}

async fn a_batch_damaged_out_of_order_or_sent_twice_writes_nothing(flavor: Flavor) {
    let mut pair = Pair::start(flavor).await;
    pair.at_child("UPDATE location SET description = 'before' LIMIT 1").await;
    pair.in_step().await;
    pair.link.refuse();
    for number in 1..=6 {
        let sql = format!(
            "INSERT INTO location (name, description, address1, creator, date_created, uuid) SELECT \
             'hand-{number}', 'by hand {number}', CONCAT(SHA2('{number}', 512), SHA2('a{number}', 256)), \
             MIN(user_id), '2026-01-01', UUID() FROM users"
        );
        pair.at_child(&sql).await;
    }
    until(&pair.child, "captured", |status| status["links"][0]["waiting_transactions"] == 6).await;
    let status = pair.child.status();
    let done = status["links"][0]["acknowledged"].as_u64().unwrap();
    assert_eq!(pair.child.terminate(), Some(0), "{}", pair.child.log());
    let hand = Hand::of(&pair);
    let data = data_dir(&pair.child);
    let own = joined(&data).unwrap().unwrap();
    let spool = Spool::open(&data, SystemClock::shared(), Limits::default()).unwrap();
    let first = cut(&spool, done, done + 3, Codec::Plain, &data).await;
    let later = cut(&spool, done + 3, done + 6, Codec::Lz4, &data).await;
    let before = written(&pair).await;
    let (mut connection, welcome) = hand.greets(&own).await.unwrap();
    assert_eq!(welcome.watermark, Sequence(done));

    let refused = send_whole(&mut connection, &later, None).await.unwrap_err();
    assert_eq!((refused.code, refused.expected), (Code::Gap, Some(done)));
    assert!(refused.message.contains(&format!("starts after {}", done + 3)), "{refused:?}");
    for batch in [&first, &later] {
        let bytes = usize::try_from(batch.key.bytes).unwrap();
        assert!(bytes > 400, "{bytes}");
        // In the first piece and in the last, which ends with the checksum itself.
        for flipped in [20, bytes / 3, bytes / 2 + 100, bytes - 1] {
            let refused = send_whole(&mut connection, batch, Some(flipped)).await.unwrap_err();
            if batch.key == first.key {
                assert_eq!(refused.code, Code::Checksum, "{flipped}: {refused:?}");
                assert!(refused.message.contains("damaged on its way"), "{refused:?}");
            } else {
                assert_eq!(refused.code, Code::Gap, "{flipped}: {refused:?}");
            }
        }
    }
    assert_eq!(written(&pair).await, before, "something was written");

    assert_eq!(send_whole(&mut connection, &first, None).await.unwrap(), done + 3);
    let half = written(&pair).await;
    assert_ne!(half, before);
    for _ in 0..2 {
        assert_eq!(send_whole(&mut connection, &first, None).await.unwrap(), done + 3);
    }
    // From another connection, which the parent knows nothing of but its watermark.
    let (mut connection, welcome) = hand.greets(&own).await.unwrap();
    assert_eq!(welcome.watermark, Sequence(done + 3));
    assert_eq!(send_whole(&mut connection, &first, None).await.unwrap(), done + 3);
    let refused = send_whole(&mut connection, &later, Some(30)).await.unwrap_err();
    assert_eq!(refused.code, Code::Checksum);
    assert_eq!(written(&pair).await, half, "something was written");
    assert_eq!(send_whole(&mut connection, &later, None).await.unwrap(), done + 6);
    let rows = "SELECT COUNT(*) FROM location WHERE description LIKE 'by hand%'";
    assert_eq!(pair.parent_says(rows).await.as_deref(), Some("6"));
    spool.close().await.unwrap();
    pair.link.allow();
    pair.child.start();
    pair.must_be_equal().await;
}

on_both!(
    a_certificate_that_is_over_is_refused,
    a_parent_whose_own_certificate_is_over_renews_it,
    a_batch_damaged_out_of_order_or_sent_twice_writes_nothing,
);
