//! Killed at any moment: what is there afterwards is whole, and position, log and index agree.

use std::process::{Command, Stdio};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::failing::FOLDER;
use super::*;
use crate::spool::{Direction, Link, State};

const SEED: &str = "HEADWATER_TEST_SEED";
const ROUNDS: u64 = 12;

#[test]
#[expect(clippy::print_stdout, reason = "a random test prints its seed")]
fn a_store_killed_at_random_moments_is_whole_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let seed = rand::rng().random::<u64>() >> 1;
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut before = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "spool::tests::surviving::child_that_is_killed"])
            .env(FOLDER, folder.path())
            .env(SEED, seed.wrapping_add(round).to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Until it writes at all, then for a while that ends anywhere.
        let wait = Duration::from_millis(10);
        while Spool::peek(folder.path()).map_or(0, |peek| peek.usage().unwrap().head.0) == before {
            assert!(child.try_wait().unwrap().is_none(), "seed {seed}: the child ended by itself");
            std::thread::sleep(wait);
        }
        std::thread::sleep(Duration::from_micros(random.random_range(0..150_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let head = check(folder.path());
        assert!(head > before, "seed {seed}: round {round} wrote nothing");
        before = head;
    }
}

/// Opens the store, compares everything in it with everything else, and returns its head.
fn check(folder: &Path) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let spool = open(folder);
        let head = spool.head().0;
        assert_eq!(spool.position().await.unwrap(), Some(position(head * 100)));
        let usage = spool.usage().await.unwrap();
        let segments = spool.segments(usage.released, u64::MAX).await.unwrap();
        assert_eq!(segments.iter().map(|it| it.compressed.len() as u64).sum::<u64>(), usage.bytes);
        let (mut expected, mut number) = (usage.released.0 + 1, 0);
        for segment in &segments {
            assert_eq!((segment.first.0, segment.part), (expected, number));
            (expected, number) =
                if segment.complete { (segment.last.0 + 1, 0) } else { (expected, number + 1) };
        }
        assert_eq!(expected, head + 1);
        assert_eq!(spool.index_counts().await.unwrap(), [("t".into(), head)]);
        let mut reader = spool.index_reader().unwrap();
        for local in 1..=head {
            let known = reader.get(&"t".into(), i64::try_from(local).unwrap()).unwrap();
            assert_eq!(known, Some(local.to_string().into_bytes()));
        }
        spool.close().await.unwrap();
        head
    })
}

#[tokio::test]
#[ignore = "run by the test above, which kills it"]
async fn child_that_is_killed() {
    let folder = std::env::var_os(FOLDER).expect("the test that runs this names the folder");
    let seed = std::env::var_os(SEED).unwrap().into_string().unwrap().parse().unwrap();
    let mut random = StdRng::seed_from_u64(seed);
    let spool = open(Path::new(&folder));
    spool.put_link(Link::new("parent", Direction::Up, State::Active)).await.unwrap();
    loop {
        let next = spool.head().0 + 1;
        let last = next + random.random_range(0..5);
        let known = |n: u64| put("t", i64::try_from(n).unwrap(), &n.to_string());
        match random.random_range(0..4) {
            0 => {
                for number in 0..random.random_range(1..6) {
                    let segments = vec![part(next, number, false)];
                    let index = vec![known(next), put("t", 999_999_999, "x")];
                    spool.append(Append { segments, index, ..Append::default() }).await.unwrap();
                    if random.random_ratio(1, 8) {
                        spool.discard_unfinished().await.unwrap();
                        break;
                    }
                }
                let parts = spool
                    .call(|store| {
                        Ok(store.connection().query_row(
                            "SELECT count(*) FROM segment, node WHERE last > head",
                            [],
                            |row| row.get(0),
                        )?)
                    })
                    .await
                    .unwrap();
                let mut append = captured(vec![part(next, parts, true)]);
                append.index = vec![remove("t", 999_999_999), known(next)];
                spool.append(append).await.unwrap();
            }
            1 => {
                spool.acknowledge("parent", Sequence(next - 1)).await.unwrap();
                spool.release(Duration::ZERO).await.unwrap();
            }
            _ => {
                let large = random.random_range(0..200_000);
                let segment = Segment { compressed: vec![1; large], ..whole(next, last) };
                let mut append = captured(vec![segment]);
                append.index = (next..=last).map(known).collect();
                spool.append(append).await.unwrap();
            }
        }
    }
}
