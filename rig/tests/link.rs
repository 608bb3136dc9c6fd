//! The link does what it is told, to the byte.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::Ipv4Addr;
use std::time::Duration;

use headwater_rig::{Direction, Link};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A target that tells every caller's address in a line, then sends back what it gets.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, peer)) = listener.accept().await {
            tokio::spawn(async move {
                stream.write_all(format!("{}\n", peer.ip()).as_bytes()).await.unwrap();
                let (mut read, mut write) = stream.split();
                drop(tokio::io::copy(&mut read, &mut write).await);
            });
        }
    });
    port
}

async fn greeting(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    loop {
        match stream.read_u8().await {
            Ok(b'\n') | Err(_) => return String::from_utf8(line).unwrap(),
            Ok(byte) => line.push(byte),
        }
    }
}

#[tokio::test]
async fn bytes_pass_and_are_counted() {
    let link = Link::to_port(echo().await).await.unwrap();
    let mut stream = TcpStream::connect(link.address()).await.unwrap();
    assert_eq!(greeting(&mut stream).await, "127.0.0.1");
    stream.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");
    assert_eq!((link.passed(Direction::Up), link.passed(Direction::Down)), (5, 15));
    assert_eq!(link.connections(), 1);
}

#[tokio::test]
async fn a_cut_comes_after_exactly_so_many_bytes() {
    let link = Link::to_port(echo().await).await.unwrap();
    let mut stream = TcpStream::connect(link.address()).await.unwrap();
    greeting(&mut stream).await;
    link.cut_after(Direction::Down, 1000);
    stream.write_all(&vec![7; 50_000]).await.unwrap();
    let mut got = Vec::new();
    drop(stream.read_to_end(&mut got).await);
    assert_eq!(got.len(), 1000);
    assert_eq!(link.passed(Direction::Down), 10 + 1000);
    assert!(!link.cut_pending(Direction::Down));
    let mut again = TcpStream::connect(link.address()).await.unwrap();
    assert_eq!(greeting(&mut again).await, "127.0.0.1");
}

#[tokio::test]
async fn a_link_that_is_cut_every_so_many_bytes_passes_no_more_on_any_connection() {
    let link = Link::to_port(echo().await).await.unwrap();
    link.cut_every(Direction::Up, Some(1000));
    for cuts in 1..=5 {
        let mut stream = TcpStream::connect(link.address()).await.unwrap();
        drop(stream.write_all(&[7; 1500]).await);
        while stream.read_u8().await.is_ok() {}
        assert_eq!((link.cuts(), link.passed(Direction::Up)), (cuts, cuts * 1000));
    }
    link.cut_every(Direction::Up, None);
    let mut stream = TcpStream::connect(link.address()).await.unwrap();
    assert_eq!(greeting(&mut stream).await, "127.0.0.1");
    let (mut read, mut write) = stream.split();
    let mut back = vec![0; 5000];
    let (sent, got) = tokio::join!(write.write_all(&[7; 5000]), read.read_exact(&mut back));
    sent.unwrap();
    got.unwrap();
    assert_eq!(link.cuts(), 5);
}

#[tokio::test]
async fn a_new_address_is_seen_at_the_other_end() {
    let link = Link::to_port(echo().await).await.unwrap();
    let mut stream = TcpStream::connect(link.address()).await.unwrap();
    assert_eq!(greeting(&mut stream).await, "127.0.0.1");
    link.come_from(Ipv4Addr::new(127, 0, 0, 9));
    assert!(stream.read_u8().await.is_err());
    let mut stream = TcpStream::connect(link.address()).await.unwrap();
    assert_eq!(greeting(&mut stream).await, "127.0.0.9");
}

#[tokio::test]
async fn a_refused_link_drops_and_an_allowed_one_carries() {
    let link = Link::to_port(echo().await).await.unwrap();
    link.refuse();
    let mut stream = TcpStream::connect(link.address()).await.unwrap();
    assert!(stream.read_u8().await.is_err());
    link.allow();
    let mut stream = TcpStream::connect(link.address()).await.unwrap();
    assert_eq!(greeting(&mut stream).await, "127.0.0.1");
}

#[tokio::test]
async fn a_frozen_link_holds_what_it_gets() {
    let link = Link::to_port(echo().await).await.unwrap();
    let mut stream = TcpStream::connect(link.address()).await.unwrap();
    greeting(&mut stream).await;
    link.freeze();
    stream.write_all(b"x").await.unwrap();
    let silence = tokio::time::timeout(Duration::from_millis(300), stream.read_u8()).await;
    assert!(silence.is_err());
    link.thaw();
    assert_eq!(stream.read_u8().await.unwrap(), b'x');
}

#[tokio::test]
async fn a_throttled_link_takes_its_time() {
    let link = Link::to_port(echo().await).await.unwrap();
    let mut stream = TcpStream::connect(link.address()).await.unwrap();
    greeting(&mut stream).await;
    link.throttle(Some(20_000));
    let start = tokio::time::Instant::now();
    stream.write_all(&[1; 10_000]).await.unwrap();
    let mut back = vec![0; 10_000];
    stream.read_exact(&mut back).await.unwrap();
    assert!(start.elapsed() > Duration::from_millis(450), "{:?}", start.elapsed());
}
