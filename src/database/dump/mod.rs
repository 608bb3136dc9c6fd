//! A connection that the server's log comes over. Questions go through the client library; the log
//! does not, because the library inflates compressed transactions to whatever size they claim, and
//! takes events apart before their checksums are looked at (`docs/decisions.md`). Here an event is
//! bytes.

mod login;
mod packets;
mod tls;

use std::io::ErrorKind;
use std::time::Duration;

use mysql_async::{DriverError, Error, IoError, Sid};
use mysql_common::constants::Command;
use mysql_common::packets::ComRegisterSlave;
use mysql_common::packets::binlog_request::BinlogRequest;
use mysql_common::proto::MySerialize as _;
use tokio::io::{AsyncRead, AsyncWrite};

use super::connect::Options;
use packets::{FAILED, OK, Packets, refused, unexpected};

/// What ends a dump that the server has nothing more for, and rows: a short packet of this kind.
const ENDED: u8 = 0xFE;
/// Larger numbers of columns are written in another way; an answer has a handful.
const COLUMNS_MAX: u8 = 250;
/// More readers are not listed.
const READERS_MAX: usize = 4096;

/// Where a dump begins.
#[derive(Debug)]
pub enum Start<'p> {
    /// At a file's byte.
    At {
        /// The file's name.
        file: &'p str,
        /// The byte.
        offset: u32,
    },
    /// After all transactions of a set.
    After(Vec<Sid<'static>>),
    /// Where the session's variables say.
    AsSet,
}

/// A connection for a dump, before it is asked for and after.
pub struct Dump {
    packets: Packets,
}

impl Dump {
    /// Connects. A server that then says nothing for `silence_max` is given up, with
    /// [`is_silence`].
    ///
    /// # Errors
    ///
    /// As [`Options::connect`].
    pub async fn connect(options: &Options, silence_max: Duration) -> Result<Dump, super::Error> {
        options.check_authority()?;
        let attempt = async {
            let stream = login::reach(options).await?;
            login::log_in(stream, options, silence_max).await
        };
        match tokio::time::timeout(options.connect_timeout, attempt).await {
            Ok(Ok(packets)) => Ok(Dump { packets }),
            Ok(Err(error)) => Err(options.not_connected(error)),
            Err(_elapsed) => Err(options.not_answered()),
        }
    }

    /// The same over a connection that is there already.
    ///
    /// # Errors
    ///
    /// What the server says against it, and what cannot be read.
    pub async fn over<S>(stream: S, options: &Options, silence_max: Duration) -> Result<Dump, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Ok(Dump { packets: login::log_in(Box::new(stream), options, silence_max).await? })
    }

    /// Runs a statement that gives no rows.
    pub async fn run(&mut self, statement: &str) -> Result<(), Error> {
        self.packets.ask(&query(statement)).await
    }

    /// The server ids that `question` answers with, in its first column: `SHOW REPLICAS`, or `SHOW
    /// SLAVE HOSTS` before MySQL 8.0.22.
    ///
    /// MySQL before 8.0 leaves a row's last column out where a reader has told it no uuid, as we do
    /// not. The client library takes such a row for a broken connection.
    pub async fn readers(&mut self, question: &str) -> Result<Vec<u32>, Error> {
        self.packets.command(&query(question)).await?;
        let mut packet = Vec::new();
        let columns = match self.packets.read(&mut packet).await? {
            Some(FAILED) => return Err(refused(&packet)),
            Some(count @ 1..=COLUMNS_MAX) => count,
            _ => return Err(unexpected(packet)),
        };
        // Their names, and what ends them.
        for _ in 0..=columns {
            packet.clear();
            self.packets.read(&mut packet).await?;
        }
        let mut readers = Vec::new();
        while readers.len() < READERS_MAX {
            packet.clear();
            match self.packets.read(&mut packet).await? {
                Some(ENDED) => break,
                Some(FAILED) => return Err(refused(&packet)),
                Some(digits) => readers.extend(number(&packet, digits)),
                None => return Err(unexpected(packet)),
            }
        }
        Ok(readers)
    }

    /// Asks for the log. The server sees a replica called `server_id`.
    pub async fn begin(&mut self, server_id: u32, start: Start<'_>) -> Result<(), Error> {
        // Otherwise servers send events without their checksums.
        self.run("SET @master_binlog_checksum = 'ALL'").await?;
        let mut command = Vec::new();
        ComRegisterSlave::new(server_id).serialize(&mut command);
        self.packets.ask(&command).await?;
        let request = BinlogRequest::new(server_id);
        let request = match start {
            Start::At { file, offset } => {
                request.with_filename(file.as_bytes()).with_pos(u64::from(offset))
            }
            Start::After(gtids) => request.with_use_gtid(true).with_sids(gtids).with_pos(4_u64),
            Start::AsSet => request.with_pos(4_u64),
        };
        command.clear();
        request.as_cmd().serialize(&mut command);
        self.packets.command(&command).await
    }

    /// Waits for the next event and writes it behind what is in `target`, as it stands in the log:
    /// header and checksum included. After an error, `target` may end with a part of one.
    pub async fn read(&mut self, target: &mut Vec<u8>) -> Result<(), Error> {
        let before = target.len();
        match self.packets.read(target).await? {
            Some(OK) => Ok(()),
            Some(FAILED) => Err(refused(&target.split_off(before))),
            Some(ENDED) if target.len() < before + 8 => {
                Err(Error::Driver(DriverError::ConnectionClosed))
            }
            _ => Err(unexpected(target.split_off(before))),
        }
    }

    /// Whether the next event has come, so that reading it does not wait.
    pub fn is_next_here(&self) -> bool {
        self.packets.is_next_here()
    }
}

fn query(statement: &str) -> Vec<u8> {
    [&[Command::COM_QUERY as u8], statement.as_bytes()].concat()
}

/// The number that a row begins with, written in so many digits.
fn number(row: &[u8], digits: u8) -> Option<u32> {
    std::str::from_utf8(row.get(..usize::from(digits))?).ok()?.parse().ok()
}

/// Whether a connection was given up because nothing came.
pub fn is_silence(error: &Error) -> bool {
    matches!(error, Error::Io(IoError::Io(error)) if error.kind() == ErrorKind::TimedOut)
}
