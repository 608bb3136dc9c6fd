//! How to reach the node's database: the URL of the configuration, TLS, and a connection.

use std::fmt;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mysql_async::{Conn, Opts, OptsBuilder, SslOpts};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject as _};

use super::Error;

/// The largest packet the protocol can be asked for. The client's own default is the server's
/// `max_allowed_packet`, which a row of the binary log may exceed.
pub(super) const PACKET_BYTES_MAX: u32 = 1_073_741_824;
const CONNECT_SECONDS_MAX: u64 = 20;
/// How often an idle TCP connection is probed.
const KEEPALIVE_SECONDS: u64 = 30;
const PORT_DEFAULT: u16 = 3306;

/// The longest password file that is read, in bytes: a path can also name a device that never ends.
const PASSWORD_FILE_BYTES_MAX: u64 = 1 << 20;

/// The password that a file holds: its text without the end of the line.
pub fn password_in(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(PASSWORD_FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > PASSWORD_FILE_BYTES_MAX {
        let words = format!("it is larger than {PASSWORD_FILE_BYTES_MAX} bytes");
        return Err(std::io::Error::new(ErrorKind::FileTooLarge, words));
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// The first statement of every session, whatever the server's own settings are: a question must not
/// open a transaction that keeps locks and an old view until the session ends, texts come back as
/// they are stored (`PAD_CHAR_TO_FULL_LENGTH` adds spaces), and answers whole, with the key that MySQL
/// makes for tables without one: it is in the log.
const SESSION: &str = "SET SESSION autocommit = 1, sql_mode = '', \
                       sql_select_limit = 18446744073709551615, sql_big_selects = 1 \
                       /*!80030 , show_gipk_in_create_table_and_information_schema = 1 */";

/// Where a database is and how to get in.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// The host's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The path of a Unix socket, used in the place of host and port.
    pub socket: Option<PathBuf>,
    /// The account's user part.
    pub user: String,
    /// Its password.
    pub password: Option<String>,
    /// The file that the password stands in, read again at each connection: it may be changed while
    /// we run. A file that cannot be read leaves the password as it was.
    pub password_file: Option<PathBuf>,
    /// The database (schema) that is kept in step.
    pub database: String,
    /// Whether and how the connection is encrypted.
    pub tls: Tls,
    /// How long to wait for the connection, including authentication.
    pub connect_timeout: Duration,
}

/// Encryption of the connection to the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// None: for a server on the same machine.
    Disabled,
    /// Required, and the server's certificate is checked against this authority, or against the
    /// public ones.
    Required {
        /// A PEM file with the authority's certificate.
        ca: Option<PathBuf>,
    },
    /// Required, but anyone's certificate will do: keeps out who listens, not who impersonates.
    Unverified,
}

impl fmt::Debug for Options {
    /// Never shows the password.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}@{}/{}", self.user, self.address(), self.database)
    }
}

impl Options {
    /// Reads `mysql://user:password@host:port/database?tls=required&ca=FILE&socket=PATH`.
    ///
    /// Reserved characters in user and password are percent-encoded. Without `tls=`, a server on
    /// this machine is spoken to in the clear and any other with TLS.
    pub fn parse(url: &str) -> Result<Options, Error> {
        let rest = url
            .strip_prefix("mysql://")
            .or_else(|| url.strip_prefix("mariadb://"))
            .ok_or_else(|| wrong("it does not begin with mysql://"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (account, server) =
            authority.rsplit_once('@').ok_or_else(|| wrong("it names no user"))?;
        let (user, password) = match account.split_once(':') {
            Some((user, password)) => (user, Some(decoded(password)?)),
            None => (account, None),
        };
        if user.is_empty() {
            return Err(wrong("it names no user"));
        }
        if database.is_empty() {
            return Err(wrong("it names no database"));
        }
        let (host, port) = host_and_port(server)?;
        let mut options = Options {
            tls: if is_loopback(&host) { Tls::Disabled } else { Tls::Required { ca: None } },
            host,
            port,
            socket: None,
            user: decoded(user)?,
            password,
            password_file: None,
            database: decoded(database)?,
            connect_timeout: Duration::from_secs(CONNECT_SECONDS_MAX),
        };
        options.read_query(query)?;
        Ok(options)
    }

    fn read_query(&mut self, query: &str) -> Result<(), Error> {
        let mut ca = None;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value)?;
            match (key, value.as_str()) {
                ("socket", path) => {
                    self.socket = Some(PathBuf::from(path));
                    self.tls = Tls::Disabled;
                }
                ("ca", path) => ca = Some(PathBuf::from(path)),
                ("tls", "disabled") => self.tls = Tls::Disabled,
                ("tls", "required") => self.tls = Tls::Required { ca: None },
                ("tls", "unverified") => self.tls = Tls::Unverified,
                ("tls", _) => return Err(wrong("tls is disabled, required or unverified")),
                _ => return Err(wrong(&format!("it has no use for '{key}' after the '?'"))),
            }
        }
        if ca.is_some() {
            if !matches!(self.tls, Tls::Required { .. }) {
                return Err(wrong("ca=FILE needs tls=required"));
            }
            self.tls = Tls::Required { ca };
        }
        Ok(())
    }

    /// The same, with the password of a file or of the environment in the place of the URL's.
    #[must_use]
    pub fn with_password(mut self, password: Option<String>) -> Options {
        if password.is_some() {
            self.password = password;
        }
        self
    }

    /// The same, for another database of the server.
    #[must_use]
    pub fn with_database(mut self, database: &str) -> Options {
        database.clone_into(&mut self.database);
        self
    }

    /// Host and port, or the socket's path: what messages name.
    pub fn address(&self) -> String {
        match &self.socket {
            Some(path) => path.display().to_string(),
            None if self.host.contains(':') => format!("[{}]:{}", self.host, self.port),
            None => format!("{}:{}", self.host, self.port),
        }
    }

    /// Connects. The statements of `setup` run first on the new connection, which commits by itself
    /// and has no `sql_mode`.
    pub async fn connect(&self, setup: &[&str]) -> Result<Conn, Error> {
        self.check_authority()?;
        let attempt = tokio::time::timeout(self.connect_timeout, Conn::new(self.driver(setup)));
        match attempt.await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(self.not_connected(error)),
            Err(_elapsed) => Err(self.not_answered()),
        }
    }

    /// What kept us from connecting, told with where and who.
    pub(super) fn not_connected(&self, error: mysql_async::Error) -> Error {
        Error::connecting(error, self.address(), &self.user, &self.database)
    }

    /// Nothing came within the time there is for connecting.
    pub(super) fn not_answered(&self) -> Error {
        Error::Unreachable {
            address: self.address(),
            reason: format!("no answer within {} s", self.connect_timeout.as_secs()),
        }
    }

    /// A file that is missing or no certificate would be told as if the server were at fault.
    pub(super) fn check_authority(&self) -> Result<(), Error> {
        let Tls::Required { ca: Some(path) } = &self.tls else { return Ok(()) };
        let unusable = |reason: String| Error::Authority { path: path.clone(), reason };
        let found = CertificateDer::pem_file_iter(path).map_err(|error| match error {
            pem::Error::Io(error) => unusable(error.to_string()),
            other => unusable(other.to_string()),
        })?;
        match found.into_iter().next() {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(unusable(error.to_string())),
            None => Err(unusable("there is no certificate in it".to_owned())),
        }
    }

    /// The password as it is now.
    pub(super) fn password_now(&self) -> Option<String> {
        let file = self.password_file.as_ref();
        let anew = file.and_then(|file| password_in(file).ok());
        anew.or_else(|| self.password.clone())
    }

    /// The options as the driver wants them.
    pub fn driver(&self, setup: &[&str]) -> Opts {
        install_crypto();
        let builder = OptsBuilder::default()
            .ip_or_hostname(self.host.clone())
            .tcp_port(self.port)
            .socket(self.socket.as_ref().map(|path| path.display().to_string()))
            // A connection to 127.0.0.1 would otherwise move to the path in the server's
            // `@@socket`, which can be another server's, without TLS and as another user.
            .prefer_socket(Some(self.socket.is_some()))
            .user(Some(self.user.clone()))
            .pass(self.password_now())
            .db_name(Some(self.database.clone()))
            .max_allowed_packet(Some(PACKET_BYTES_MAX as usize))
            .tcp_keepalive(Some(Duration::from_secs(KEEPALIVE_SECONDS)))
            .tcp_nodelay(true)
            .init([&[SESSION], setup].concat());
        let ssl = match &self.tls {
            Tls::Disabled => None,
            Tls::Required { ca: None } => Some(SslOpts::default()),
            Tls::Required { ca: Some(path) } => Some(
                SslOpts::default()
                    .with_root_certs(vec![path.clone().into()])
                    .with_disable_built_in_roots(true),
            ),
            Tls::Unverified => Some(SslOpts::default().with_danger_accept_invalid_certs(true)),
        };
        builder.ssl_opts(ssl).into()
    }
}

/// rustls wants to be told once per process which cryptography it uses; a second telling is
/// refused and changes nothing.
fn install_crypto() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        drop(rustls::crypto::ring::default_provider().install_default());
    }
}

fn wrong(problem: &str) -> Error {
    Error::Url { problem: problem.to_owned() }
}

fn host_and_port(server: &str) -> Result<(String, u16), Error> {
    let (host, port) = match server.strip_prefix('[') {
        Some(rest) => {
            let (host, after) =
                rest.split_once(']').ok_or_else(|| wrong("an address in [] is not closed"))?;
            (host, after.strip_prefix(':'))
        }
        None => match server.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (server, None),
        },
    };
    let port = match port {
        None => PORT_DEFAULT,
        Some(digits) => {
            digits.parse().ok().ok_or_else(|| wrong(&format!("'{digits}' is not a port")))?
        }
    };
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    Ok((host.to_owned(), port))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Percent-decodes one part of a URL.
fn decoded(part: &str) -> Result<String, Error> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let pair = digit(rest.next()).zip(digit(rest.next()));
        let (high, low) = pair.ok_or_else(|| wrong("a % is not followed by two digits"))?;
        bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
    }
    String::from_utf8(bytes).ok().ok_or_else(|| wrong("a part of it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(url: &str) -> String {
        Options::parse(url).unwrap_err().to_string()
    }

    #[test]
    fn a_url_gives_every_part() {
        let options =
            Options::parse("mysql://head%40water:p%3Aw%2f@db.example.org:3307/open%20mrs").unwrap();
        assert_eq!(options.user, "head@water");
        assert_eq!(options.password.as_deref(), Some("p:w/"));
        assert_eq!(options.address(), "db.example.org:3307");
        assert_eq!(options.database, "open mrs");
        assert_eq!(options.tls, Tls::Required { ca: None });
    }

    #[test]
    fn a_server_on_this_machine_is_spoken_to_in_the_clear_unless_told() {
        let plain = Options::parse("mysql://u@127.0.0.1/db").unwrap();
        assert_eq!((plain.port, plain.tls), (3306, Tls::Disabled));
        assert_eq!(Options::parse("mysql://u@[::1]:1/db").unwrap().address(), "[::1]:1");
        let told = Options::parse("mysql://u@localhost/db?tls=required&ca=/etc/ca.pem").unwrap();
        assert_eq!(told.tls, Tls::Required { ca: Some(PathBuf::from("/etc/ca.pem")) });
        let socket = Options::parse("mysql://u@localhost/db?socket=/run/mysqld.sock").unwrap();
        assert_eq!(socket.address(), "/run/mysqld.sock");
    }

    #[test]
    fn a_wrong_url_is_named_without_its_password() {
        assert!(problem("postgres://u@h/db").contains("mysql://"));
        assert!(problem("mysql://h/db").contains("no user"));
        assert!(problem("mysql://u:secret@h").contains("no database"));
        assert!(problem("mysql://u:secret@h:x/db").contains("'x' is not a port"));
        assert!(problem("mysql://u:sec%zzret@h/db").contains("two digits"));
        assert!(problem("mysql://u@h/db?tls=maybe").contains("tls is"));
        assert!(problem("mysql://u@h/db?sll=1").contains("'sll'"));
        assert!(!problem("mysql://u:secret@h").contains("secret"));
    }

    #[test]
    fn debug_output_never_shows_the_password() {
        let options = Options::parse("mysql://u:secret@127.0.0.1/db").unwrap();
        assert_eq!(format!("{options:?}"), "u@127.0.0.1:3306/db");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named_and_may_be_tried_again() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let options = Options::parse(&format!("mysql://u@127.0.0.1:{port}/db")).unwrap();
        let error = options.connect(&[]).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
    }
}
