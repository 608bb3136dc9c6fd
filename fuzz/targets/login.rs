//! What a server says to somebody who logs in and asks for its log, or for who reads it, packet by packet. Not the key that a
//! password is encrypted with: the library panics at one that is none, which ends that login only.

use std::io::Cursor;
use std::time::Duration;

use headwater::database::connect::Options;
use headwater::database::dump::{Dump, Start};

/// A way on which nobody can listen.
const URL: &str = "mysql://somebody:secret@localhost/clinic?socket=/run/db.sock";

pub fn run(bytes: &[u8]) {
    let options = Options::parse(URL).expect("a valid URL");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(async {
        let log_in = async || {
            let stream = tokio::io::join(Cursor::new(bytes.to_vec()), tokio::io::sink());
            Dump::over(stream, &options, Duration::from_mins(1)).await.ok()
        };
        if let Some(mut asking) = log_in().await {
            let readers = asking.readers("SHOW REPLICAS").await.unwrap_or_default();
            assert!(readers.len() <= bytes.len());
        }
        let Some(mut dump) = log_in().await else { return };
        if dump.begin(7, Start::AsSet).await.is_err() {
            return;
        }
        let mut events = Vec::new();
        while dump.read(&mut events).await.is_ok() {
            assert!(events.len() <= bytes.len());
        }
    });
}
