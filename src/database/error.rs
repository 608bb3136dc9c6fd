//! What can go wrong with a database server, sorted by whether trying again can help.

use mysql_async::{DriverError, IoError};

/// An error of a database server, or on the way to it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL of the configuration cannot be used.
    #[error("the database url is wrong: {problem}. It looks like mysql://user@host:3306/database")]
    Url {
        /// What is wrong with it; never contains the password.
        problem: String,
    },
    /// Nothing answers at the address.
    #[error(
        "cannot reach the database at {address}: {reason}. Is the server running, and is the address right?"
    )]
    Unreachable {
        /// Host and port, or the socket's path.
        address: String,
        /// As the system puts it.
        reason: String,
    },
    /// The server knows no such user, or the password is wrong.
    #[error(
        "the database at {address} refuses user '{user}': {message}. Check the user, the password \
         file, and the host part of the account; `headwater grants` prints the statements that create it"
    )]
    AccessDenied {
        /// Host and port, or the socket's path.
        address: String,
        /// The user of the URL.
        user: String,
        /// The server's own words.
        message: String,
    },
    /// There is no such database on the server.
    #[error(
        "the server at {address} has no database '{database}'. Check the last part of the database url"
    )]
    UnknownDatabase {
        /// Host and port, or the socket's path.
        address: String,
        /// The name of the URL.
        database: String,
    },
    /// TLS with the server could not be agreed on.
    #[error(
        "no TLS with the database at {address}: {reason}. Give the server's authority with \
         ?tls=required&ca=FILE, or, for a server whose certificate cannot be checked, ?tls=unverified"
    )]
    Tls {
        /// Host and port.
        address: String,
        /// What TLS says.
        reason: String,
    },
    /// The authority that the server's certificate is to be checked against is no use.
    #[error(
        "the authority {} cannot be used: {reason}. It is the PEM file that ?ca=FILE in the \
         database url names", path.display()
    )]
    Authority {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The connection was there and is gone.
    #[error("lost the connection to the database: {reason}")]
    Lost {
        /// As the system or the server puts it.
        reason: String,
    },
    /// The server is there but cannot serve now: it stops, or has too many connections.
    #[error("the database is busy: {message} (error {code}){}", busy(*code))]
    Busy {
        /// The server's error number.
        code: u16,
        /// The server's own words.
        message: String,
    },
    /// The user may not do what was asked.
    #[error(
        "the database user lacks a privilege: {message} (error {code}). `headwater grants` prints \
         the statements that give it"
    )]
    Privilege {
        /// The server's error number.
        code: u16,
        /// The server's own words.
        message: String,
    },
    /// The server refused a statement for another reason.
    #[error("the database refused a statement: {message} (error {code})")]
    Refused {
        /// The server's error number.
        code: u16,
        /// The server's own words.
        message: String,
    },
    /// Its log is not one that can be read, or followed.
    #[error(
        "the database server is {version}: headwater works with MySQL from 5.6 and MariaDB from 10.0.10 on"
    )]
    TooOld {
        /// As it prints its version.
        version: String,
    },
    /// The server answered with something that this program cannot read.
    #[error("the database's answer cannot be used: {reason}")]
    Answer {
        /// What is strange about it.
        reason: String,
    },
}

/// Servers that are starting, stopping or full, or were told to leave a statement or everybody, say
/// one of these.
pub(crate) const BUSY: [u16; 9] = [1040, 1053, 1203, 1205, 1213, 1226, 1317, 3032, 3168];
/// A server that closes the connection says one of these.
pub(crate) const LOST: [u16; 6] = [1077, 1079, 1152, 1158, 1159, 1927];
/// The account lacks something.
const PRIVILEGE: [u16; 7] = [1044, 1142, 1143, 1227, 1370, 1410, 1419];
/// The account itself is refused.
const DENIED: [u16; 8] = [1045, 1129, 1130, 1251, 1524, 1698, 3118, 4151];
const UNKNOWN_DATABASE: u16 = 1049;
const PASSWORD_EXPIRED: [u16; 2] = [1820, 1862];

/// What helps a server that is busy, where it is known.
fn busy(code: u16) -> &'static str {
    match code {
        1040 => "; raise max_connections, or lower what else connects",
        1203 | 1226 => "; raise the account's limit of connections, or lower what else uses it",
        3032 => "; SET GLOBAL offline_mode = OFF",
        _ => "",
    }
}

impl Error {
    /// Whether the same attempt may succeed later without anyone doing anything here.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Unreachable { .. } | Error::Lost { .. } | Error::Busy { .. } => true,
            Error::Url { .. }
            | Error::AccessDenied { .. }
            | Error::UnknownDatabase { .. }
            | Error::Tls { .. }
            | Error::Authority { .. }
            | Error::Privilege { .. }
            | Error::Refused { .. }
            | Error::TooOld { .. }
            | Error::Answer { .. } => false,
        }
    }

    /// An error while connecting, told with where and who.
    pub(super) fn connecting(
        error: mysql_async::Error,
        address: String,
        user: &str,
        database: &str,
    ) -> Error {
        match error {
            mysql_async::Error::Io(IoError::Io(error)) if is_tls(&error) => {
                Error::Tls { address, reason: error.to_string() }
            }
            mysql_async::Error::Io(IoError::Io(error)) => {
                Error::Unreachable { address, reason: error.to_string() }
            }
            mysql_async::Error::Io(IoError::Tls(error)) => {
                Error::Tls { address, reason: error.to_string() }
            }
            mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer) => {
                Error::Tls { address, reason: "the server offers none".to_owned() }
            }
            mysql_async::Error::Driver(DriverError::ConnectionClosed) => {
                let reason = "the server closed the connection at once".to_owned();
                Error::Unreachable { address, reason }
            }
            mysql_async::Error::Server(error) if error.code == UNKNOWN_DATABASE => {
                Error::UnknownDatabase { address, database: database.to_owned() }
            }
            mysql_async::Error::Server(error)
                if DENIED.contains(&error.code)
                    || PASSWORD_EXPIRED.contains(&error.code)
                    || error.code == 1044 =>
            {
                Error::AccessDenied { address, user: user.to_owned(), message: error.message }
            }
            error @ (mysql_async::Error::Driver(_)
            | mysql_async::Error::Other(_)
            | mysql_async::Error::Server(_)
            | mysql_async::Error::Url(_)) => error.into(),
        }
    }
}

/// A handshake that fails arrives as a failure to read.
fn is_tls(error: &std::io::Error) -> bool {
    matches!(error.get_ref(), Some(inner) if inner.is::<rustls::Error>())
}

impl From<mysql_async::Error> for Error {
    /// An error on a connection that was already there.
    fn from(error: mysql_async::Error) -> Error {
        match error {
            mysql_async::Error::Io(error) => Error::Lost { reason: error.to_string() },
            mysql_async::Error::Driver(
                error @ (DriverError::ConnectionClosed
                | DriverError::PacketOutOfOrder
                | DriverError::PoolDisconnected),
            ) => Error::Lost { reason: error.to_string() },
            mysql_async::Error::Driver(error) => Error::Answer { reason: error.to_string() },
            mysql_async::Error::Other(error) => Error::Answer { reason: error.to_string() },
            mysql_async::Error::Url(error) => Error::Url { problem: error.to_string() },
            mysql_async::Error::Server(error) => {
                let (code, message) = (error.code, error.message);
                if BUSY.contains(&code) {
                    Error::Busy { code, message }
                } else if LOST.contains(&code) {
                    Error::Lost { reason: message }
                } else if PRIVILEGE.contains(&code) {
                    Error::Privilege { code, message }
                } else {
                    Error::Refused { code, message }
                }
            }
        }
    }
}
