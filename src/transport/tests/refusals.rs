//! Who is not let in, and what they are told.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::change::Epoch;
use crate::clock::Clock;
use crate::transport::credentials::{Credentials, replace};
use crate::transport::enrol;
use crate::transport::token::Token;
use crate::transport::wire::{Code, Hello, Welcome};

async fn refused(child: &Child) -> String {
    match child.greet().await.map(drop) {
        Err(error) => error.to_string(),
        Ok(()) => panic!("the child was let in"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_child_is_refused_with_words_and_a_new_invitation_lets_it_in_again() {
    let parent = Parent::start().await;
    let child = Child::joined(&parent, "clinic").await;
    capture(&child.spool, 2, 10).await;
    let (mut connection, _) = child.greet().await.unwrap();
    parent.revoke("clinic");
    crate::clock::sleep(Duration::from_millis(1100)).await;
    let batch = child.batch(0, 2, Codec::Lz4).await;
    let error = send_whole(&mut connection, &batch).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::Revoked));
    assert!(error.to_string().contains("revoked"), "{error}");
    assert!(refused(&child).await.contains("revoked"));
    assert!(parent.target.transactions().is_empty());
    let running = child.run(child.options());
    eventually("the link's words say so", || async {
        child.last_error().await.is_some_and(|words| words.contains("revoked"))
    })
    .await;
    child.join(&parent.invite("clinic")).await.unwrap();
    eventually("all is acknowledged", || async { child.acknowledged().await == 2 }).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_child_and_one_of_another_parent_are_refused_with_words() {
    let parent = Parent::start().await;
    let other_parent = Parent::start().await;
    // Joined elsewhere, but trusts this parent: only its own certificate is foreign.
    let stranger = Child::joined(&other_parent, "clinic").await;
    let known = Child::joined(&parent, "known").await;
    let mine = joined(stranger.data_dir.path()).unwrap().unwrap();
    let theirs = joined(known.data_dir.path()).unwrap().unwrap();
    let mixed = Credentials {
        key: mine.key.clone_key(),
        chain: vec![mine.chain[0].clone(), theirs.chain[1].clone()],
    };
    let file = crate::transport::credentials::child_file(stranger.data_dir.path());
    replace(&file, &mixed).unwrap();
    let stranger = Child { parent: parent.url(), ..stranger };
    let words = refused(&stranger).await;
    assert!(words.contains("another authority"), "{words}");
    // Trusts only its own parent.
    replace(&file, &mine).unwrap();
    let words = refused(&stranger).await;
    assert!(words.contains("is not the parent"), "{words}");
    // Known once, but its link is gone.
    parent.spool.delete_link("known").await.unwrap();
    crate::clock::sleep(Duration::from_millis(1100)).await;
    let words = refused(&known).await;
    assert!(words.contains("knows no child"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_only_joining_is_answered() {
    let parent = Parent::start().await;
    let child = Child::new(&parent);
    let token: Token = parent.invite("clinic").parse().unwrap();
    let config = tls::joining(token.authority, shared(&child.clock)).unwrap();
    let mut connection = child.dial().connect(Arc::new(config)).await.unwrap();
    for path in [path::HELLO, path::PIECE, path::RENEW] {
        let answer: Result<Welcome, _> = connection.ask(path, &child.hello(), "asking").await;
        let error = answer.unwrap_err();
        assert_eq!(error.code(), Some(Code::UnknownChild), "{path}");
        assert!(error.to_string().contains("headwater join"), "{error}");
    }
    let answer: Result<Welcome, _> = connection.ask("/v1/other", &child.hello(), "asking").await;
    assert_eq!(answer.unwrap_err().code(), Some(Code::NotFound));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_told_before_dialling_and_by_the_parent() {
    let parent = Parent::start().await;
    let child = Child::joined(&parent, "clinic").await;
    child.clock.move_years(11);
    let running = child.run(child.options());
    eventually("the link's words say so", || async {
        child.last_error().await.is_some_and(|words| words.contains("certificate ended at"))
    })
    .await;
    running.stop().await;
    child.clock.move_years(0);
    parent.clock.move_years(11);
    let words = refused(&child).await;
    assert!(words.contains("this node's certificate has expired"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ending_certificate_is_renewed_while_the_link_works() {
    let parent = Parent::start().await;
    let child = Child::joined(&parent, "clinic").await;
    let before = joined(child.data_dir.path()).unwrap().unwrap();
    child.clock.move_years(7);
    parent.clock.move_years(7);
    capture(&child.spool, 1, 10).await;
    let running = child.run(child.options());
    eventually("all is acknowledged", || async { child.acknowledged().await == 1 }).await;
    running.stop().await;
    let after = joined(child.data_dir.path()).unwrap().unwrap();
    assert_ne!(before.chain[0], after.chain[0]);
    assert_eq!(before.key.secret_pkcs8_der(), after.key.secret_pkcs8_der());
    // The first certificates would be over by now, the parent's own too: it has run all the time.
    child.clock.move_years(12);
    parent.clock.move_years(12);
    assert!(child.greet().await.is_ok());
}

/// It is made for longer than machines last; should one, its end ends no link.
#[tokio::test(flavor = "multi_thread")]
async fn children_are_let_in_after_the_end_of_the_authority() {
    let parent = Parent::start().await;
    let child = Child::new(&parent);
    child.clock.move_years(60);
    parent.clock.move_years(60);
    child.join(&parent.invite("clinic")).await.unwrap();
    assert!(child.greet().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_cannot_be_used_end_no_more_than_the_link() {
    let parent = Parent::start().await;
    let child = Child::joined(&parent, "clinic").await;
    let file = crate::transport::credentials::child_file(child.data_dir.path());
    let good = std::fs::read(&file).unwrap();
    let running = child.run(child.options());
    std::fs::write(&file, "rubbish").unwrap();
    parent.stop.send(true).unwrap();
    eventually("the link's words say so", || async {
        child.last_error().await.is_some_and(|words| words.contains("join again"))
    })
    .await;
    std::fs::remove_file(&file).unwrap();
    eventually("the link's words say so", || async {
        child.last_error().await.is_some_and(|words| words.contains("headwater join TOKEN"))
    })
    .await;
    std::fs::write(&file, good).unwrap();
    eventually("it dials again", || async {
        child.last_error().await.is_some_and(|words| words.contains("cannot be reached"))
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_epoch_another_map_and_another_version_are_refused_by_name() {
    let parent = Parent::start().await;
    let child = Child::joined(&parent, "clinic").await;
    let good = child.hello();
    let cases = [
        (Code::Epoch, Hello { epoch: Epoch(uuid::Uuid::new_v4()), ..good.clone() }, "epoch"),
        (Code::Map, Hello { map: "dead".to_owned(), ..good.clone() }, "dead"),
        (Code::Protocol, Hello { versions: vec![77], ..good.clone() }, "77"),
        (Code::UnknownChild, Hello { node: NodeId(uuid::Uuid::new_v4()), ..good }, "copied"),
    ];
    for (code, hello, word) in cases {
        let mut connection = child.connect().await.unwrap();
        let answer: Result<Welcome, _> = connection.ask(path::HELLO, &hello, "saying hello").await;
        let error = answer.unwrap_err();
        assert_eq!(error.code(), Some(code));
        assert!(error.to_string().contains(word), "{error}");
        // And a piece is not taken on such a connection.
        capture(&child.spool, 1, 10).await;
        let batch = child.batch(0, 1, Codec::Lz4).await;
        let error = send_whole(&mut connection, &batch).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::HelloFirst));
    }
    assert!(parent.target.transactions().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_or_a_batch_too_large_is_refused() {
    let data_dir = tempfile::tempdir().unwrap();
    let tune = |options: &mut ServerOptions| options.batch_bytes_max = 1000;
    let parent = Parent::start_in(data_dir, Arc::default(), 0, tune).await;
    let child = Child::joined(&parent, "clinic").await;
    capture(&child.spool, 1, 3_000_000).await;
    let batch = child.batch(0, 1, Codec::Plain).await;
    let (mut connection, _) = child.greet().await.unwrap();
    let error = send_whole(&mut connection, &batch).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::TooLarge), "{error}");
    let (mut connection, _) = child.greet().await.unwrap();
    let error = send(&mut connection, &batch, 0, vec![0; 100]).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::TooLarge));
    assert!(error.to_string().contains("batch_bytes_max"), "{error}");
    let junk: Result<PieceAnswer, _> =
        connection.post(path::PIECE, vec![0xff; 40].into(), "sending").await;
    assert_eq!(junk.unwrap_err().code(), Some(Code::Malformed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_works_once_but_a_lost_answer_can_be_asked_again() {
    let parent = Parent::start().await;
    let token = parent.invite("clinic");
    let child = Child::new(&parent);
    // The answer is lost: the parent has let the child in, the child knows nothing of it.
    let key = folder_of(&child).join("joining.pem");
    child.join(&token).await.unwrap();
    let joined = joined(child.data_dir.path()).unwrap().unwrap();
    replace(&key, &Credentials { key: joined.key.clone_key(), chain: Vec::new() }).unwrap();
    std::fs::remove_file(crate::transport::credentials::child_file(child.data_dir.path())).unwrap();
    assert_eq!(child.join(&token).await.unwrap(), "clinic");
    assert!(child.greet().await.is_ok());
    let thief = Child::new(&parent);
    let words = thief.join(&token).await.unwrap_err().to_string();
    assert!(words.contains("used already"), "{words}");
    assert!(child.greet().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_machines_made_from_one_image_cannot_join_under_two_names() {
    let parent = Parent::start().await;
    // Its store was made before the image was taken: a join that failed does that.
    let image = Child::new(&parent).close().await;
    let first = Child::copy_of(&image, &parent);
    let second = Child::copy_of(&image, &parent);
    assert_eq!(first.join(&parent.invite("clinic-1")).await.unwrap(), "clinic-1");
    let token = parent.invite("clinic-2");
    let words = second.join(&token).await.unwrap_err().to_string();
    assert!(words.contains("`clinic-1`") && words.contains("empty data_dir"), "{words}");
    // The invitation is still good for a machine of its own.
    assert_eq!(Child::new(&parent).join(&token).await.unwrap(), "clinic-2");
    // One that was revoked makes room.
    parent.revoke("clinic-1");
    assert_eq!(second.join(&parent.invite("clinic-3")).await.unwrap(), "clinic-3");
}

fn folder_of(child: &Child) -> std::path::PathBuf {
    crate::transport::credentials::folder(child.data_dir.path())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_mistyped_expired_withdrawn_or_of_another_parent_is_refused_with_words() {
    let parent = Parent::start().await;
    let child = Child::new(&parent);
    let token = parent.invite("clinic");
    let mut typo = token.clone().into_bytes();
    typo[10] = if typo[10] == b'A' { b'B' } else { b'A' };
    let typo = String::from_utf8(typo).unwrap();
    for (word, say) in [(typo.as_str(), "not copied exactly"), ("hello", "not a headwater token")] {
        let words = child.join(word).await.unwrap_err().to_string();
        assert!(words.contains(say), "{words}");
    }
    let other = Parent::start().await;
    let words = child.join(&other.invite("clinic")).await.unwrap_err().to_string();
    assert!(words.contains("is not the parent of the token"), "{words}");
    let newer = parent.invite("clinic");
    let words = child.join(&token).await.unwrap_err().to_string();
    assert!(words.contains("replaced by a newer one"), "{words}");
    parent.clock.move_years(1);
    let words = child.join(&newer).await.unwrap_err().to_string();
    assert!(words.contains("ended at"), "{words}");
    parent.clock.move_years(0);
    parent.revoke("clinic");
    assert!(child.join(&newer).await.is_err());
    assert!(enrol::revoke(parent.data_dir.path(), "nobody", parent.clock.now()).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_and_tls_1_2_get_nothing() {
    let parent = Parent::start().await;
    let mut plain = TcpStream::connect(parent.address).await.unwrap();
    plain.write_all(b"POST /v1/hello HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _reset = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let stream = TcpStream::connect(parent.address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let error = connector.connect(name, stream).await.unwrap_err().to_string();
    assert!(error.contains("ProtocolVersion"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_dialled_under_a_name_it_does_not_have_says_what_to_add() {
    let parent = Parent::start().await;
    let mut child = Child::joined(&parent, "clinic").await;
    child.parent = format!("https://127.0.0.2:{}", parent.address.port()).parse().unwrap();
    assert!(matches!(child.greet().await, Err(LinkError::Unreachable { .. })));
    let proxy = Proxy::start_at(Ipv4Addr::new(127, 0, 0, 2), parent.address).await;
    child.parent = format!("https://{}", proxy.address).parse().unwrap();
    match child.greet().await {
        Err(LinkError::Distrust(words)) => assert!(words.contains("[listen]"), "{words}"),
        other => panic!("{:?}", other.err()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_that_say_nothing_do_not_keep_a_child_out() {
    let data_dir = tempfile::tempdir().unwrap();
    let tune = |options: &mut ServerOptions| {
        options.connections_max = 8;
        options.strangers_max = 3;
    };
    let parent = Parent::start_in(data_dir, Arc::default(), 0, tune).await;
    let child = Child::joined(&parent, "clinic").await;
    let (mut kept, welcome) = child.greet().await.unwrap();
    assert_eq!(welcome.watermark, Sequence(0));
    // Half of them do not even shake hands.
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(parent.address).await.unwrap());
    }
    let token: Token = parent.invite("other").parse().unwrap();
    let config = Arc::new(tls::joining(token.authority, shared(&child.clock)).unwrap());
    let mut strangers = Vec::new();
    for _ in 0..20 {
        strangers.push(child.dial().connect(Arc::clone(&config)).await.unwrap());
    }
    eventually("three of the strangers are left", || async {
        strangers.iter().filter(|stranger| !stranger.is_closed()).count() <= 3
    })
    .await;
    let other = Child::new(&parent);
    assert_eq!(other.join(&parent.invite("other")).await.unwrap(), "other");
    other.greet().await.unwrap();
    // Whoever has said hello stays.
    capture(&child.spool, 1, 10).await;
    let batch = child.batch(0, 1, Codec::Lz4).await;
    assert_eq!(through(send_whole(&mut kept, &batch).await), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shakes_hands_keeps_the_last_place_until_another_needs_it() {
    let data_dir = tempfile::tempdir().unwrap();
    let tune = |options: &mut ServerOptions| options.connections_max = 2;
    let parent = Parent::start_in(data_dir, Arc::default(), 0, tune).await;
    let child = Child::joined(&parent, "clinic").await;
    eventually("the connection of joining has ended", || async {
        child.greet().await.is_ok_and(|(connection, _)| !connection.is_closed())
    })
    .await;
    let (greeted, _) = child.greet().await.unwrap();
    let slow = child.connect().await.unwrap();
    let pause = Duration::from_millis(300);
    assert!(tokio::time::timeout(pause, slow.closed()).await.is_err(), "nobody needs its place");
    let another = child.connect().await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), slow.closed()).await.expect("it makes way");
    assert!(!another.is_closed() && !greeted.is_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_never_says_hello_is_closed() {
    let data_dir = tempfile::tempdir().unwrap();
    let tune = |options: &mut ServerOptions| options.hello_within = Duration::from_secs(3);
    let parent = Parent::start_in(data_dir, Arc::default(), 0, tune).await;
    let child = Child::joined(&parent, "clinic").await;
    let (greeted, _) = child.greet().await.unwrap();
    let silent = child.connect().await.unwrap();
    let mut bare = TcpStream::connect(parent.address).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), async {
        silent.closed().await;
        assert_eq!(bare.read(&mut [0; 10]).await.unwrap_or(0), 0);
    })
    .await
    .expect("both are closed");
    assert!(!greeted.is_closed());
}
