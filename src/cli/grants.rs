//! `headwater grants`: the least an account needs, as SQL for the server there is.

use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream};

use super::arguments::Grants;
use super::{Error, Outcome, Output};
use crate::config::Config;
use crate::database::connect::Options;
use crate::database::server::{Flavor, Server};

pub(super) async fn run(
    config: &Config,
    grants: &Grants,
    out: &mut Output,
) -> Result<Outcome, Error> {
    let options = &config.database.options;
    let password = password(options.password.as_deref(), std::io::stdout().is_terminal())?;
    let host = match &grants.host {
        Some(host) => host.clone(),
        None => seen_from(options)?,
    };
    let found = match options.connect(&[]).await {
        Ok(mut connection) => {
            let server = Server::read(&mut connection).await;
            connection.disconnect().await.ok();
            server.map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    let flavors = match &found {
        Ok(server) => {
            out.line(format!("-- for {server} at {}", options.address()))?;
            vec![server.flavor]
        }
        Err(error) => {
            for line in error.lines() {
                out.line(format!("-- {line}"))?;
            }
            // The account is not there yet: the server says what it is to anybody.
            if let Some(flavor) = greeting(options).await {
                vec![flavor]
            } else {
                out.line("-- so here is what either kind of server wants; run one of the two")?;
                vec![Flavor::Mysql, Flavor::Mariadb]
            }
        }
    };
    for flavor in flavors {
        let account = Account {
            flavor,
            user: &options.user,
            host: &host,
            password: &password,
            database: &options.database,
            state_schema: &config.database.state_schema,
        };
        out.line(account.statements())?;
    }
    Ok(Outcome::Well)
}

/// What kind of server answers, by its first words, which come before anybody says who they are.
async fn greeting(options: &Options) -> Option<Flavor> {
    let mut words = [0; 64];
    let reading = async {
        if let Some(path) = &options.socket {
            UnixStream::connect(path).await.ok()?.read_exact(&mut words).await.ok()
        } else {
            let server = (options.host.as_str(), options.port);
            TcpStream::connect(server).await.ok()?.read_exact(&mut words).await.ok()
        }
    };
    tokio::time::timeout(options.connect_timeout, reading).await.ok()??;
    greeted_by(&words)
}

/// A packet's header, the protocol's version (10), and the server's own as text.
fn greeted_by(words: &[u8]) -> Option<Flavor> {
    let (protocol, version) = words.get(4..)?.split_first()?;
    let version = version.split(|byte| *byte == 0).next()?;
    let version = std::str::from_utf8(version).ok().filter(|_| *protocol == 10)?;
    Some(if version.contains("MariaDB") { Flavor::Mariadb } else { Flavor::Mysql })
}

/// What the account is made with. A terminal is not shown the password, but what to put in its place;
/// a pipe leads to a server, where that would be everybody's password.
fn password(configured: Option<&str>, terminal: bool) -> Result<String, Error> {
    match configured {
        _ if terminal => Ok("choose a password".to_owned()),
        Some(password) if !password.is_empty() => Ok(password.to_owned()),
        Some(_) | None => Err(Error::Usage(
            "there is no password for the account yet, and a pipe or a file is given none of its own\n  remedy: write one to the file of database.password_file (mode 0600) or set HEADWATER_DATABASE_PASSWORD, or run it at a terminal and put one in by hand".to_owned(),
        )),
    }
}

/// The host that the server sees headwater come from, which is nobody else's to come from. Nothing
/// is sent to find out.
fn seen_from(options: &Options) -> Result<String, Error> {
    if options.socket.is_some() || options.host == "localhost" {
        return Ok("localhost".to_owned());
    }
    let server = (options.host.as_str(), options.port);
    let towards = |any: IpAddr| {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(server)?;
        Ok(socket.local_addr()?.ip().to_string())
    };
    towards(Ipv4Addr::UNSPECIFIED.into())
        .or_else(|_| towards(Ipv6Addr::UNSPECIFIED.into()))
        .map_err(|error: std::io::Error| {
            Error::Usage(format!(
                "cannot tell which address {} will see headwater come from: {error}\n  remedy: say it with --host",
                options.host
            ))
        })
}

/// Whose rights, on what.
pub(crate) struct Account<'a> {
    /// MySQL and `MariaDB` name some rights differently.
    pub(crate) flavor: Flavor,
    /// The account's user part.
    pub(crate) user: &'a str,
    /// The account's host part.
    pub(crate) host: &'a str,
    /// Its password.
    pub(crate) password: &'a str,
    /// The database that is kept in step.
    pub(crate) database: &'a str,
    /// The schema of headwater's own tables.
    pub(crate) state_schema: &'a str,
}

impl Account<'_> {
    /// Statements that make the account and give it what capture and apply need, and no more.
    pub(crate) fn statements(&self) -> String {
        let name = match self.flavor {
            Flavor::Mysql => "MySQL",
            Flavor::Mariadb => "MariaDB",
        };
        let old = match self.flavor {
            Flavor::Mysql => " (before 5.7: without IF NOT EXISTS)",
            Flavor::Mariadb => "",
        };
        let account = self.account();
        let (database, state) = (on(self.database), on(self.state_schema));
        let positions = self.positions();
        let password = quoted(self.password);
        format!(
            "\
-- {name}: run as an administrator{old}
CREATE USER IF NOT EXISTS {account} IDENTIFIED BY {password};
-- capture: be sent the binary log, ask where it ends, read tables and identities
GRANT REPLICATION SLAVE, {positions} ON *.* TO {account};
GRANT SELECT ON {database} TO {account};
-- apply: write rows, and keep watermarks and what is set aside in a schema of its own
GRANT INSERT, UPDATE, DELETE ON {database} TO {account};
GRANT CREATE, ALTER, SELECT, INSERT, UPDATE, DELETE ON {state} TO {account};"
        )
    }

    /// The right to ask where the log ends, by its name here.
    pub(crate) fn positions(&self) -> &'static str {
        match self.flavor {
            Flavor::Mysql => "REPLICATION CLIENT",
            Flavor::Mariadb => "BINLOG MONITOR",
        }
    }

    /// The account as SQL writes it.
    pub(crate) fn account(&self) -> String {
        format!("{}@{}", quoted(self.user), quoted(self.host))
    }
}

/// A whole schema in a GRANT, where `_` and `%` would be wildcards.
fn on(schema: &str) -> String {
    let plain = schema.replace('`', "``").replace('\\', "\\\\");
    format!("`{}`.*", plain.replace('_', "\\_").replace('%', "\\%"))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_gets_the_password_there_is_or_nothing() {
        assert_eq!(password(Some("s3cret"), false).unwrap(), "s3cret");
        for none in [None, Some("")] {
            let words = password(none, false).unwrap_err().to_string();
            assert!(words.contains("password_file"), "{words}");
        }
        assert_eq!(password(Some("s3cret"), true).unwrap(), "choose a password");
    }

    #[test]
    fn a_server_says_what_it_is_before_anybody_logs_in() {
        let greet = |text: &str| greeted_by(&[b"J\0\0\0\x0a", text.as_bytes(), b"\0\x08"].concat());
        assert_eq!(greet("9.7.0"), Some(Flavor::Mysql));
        assert_eq!(greet("5.5.5-10.11.14-MariaDB-0+deb12u2"), Some(Flavor::Mariadb));
        // An error, such as a host that may not connect.
        assert_eq!(greeted_by(b"J\0\0\0\xff\x6a\x04Host is not allowed"), None);
        assert_eq!(greeted_by(b"HT"), None);
    }

    #[test]
    fn the_account_is_for_where_headwater_is() {
        let from = |url: &str| seen_from(&Options::parse(url).unwrap()).ok();
        let from = |server: &str| from(&format!("mysql://u@{server}/d"));
        assert_eq!(from("localhost").as_deref(), Some("localhost"));
        assert_eq!(from("127.0.0.1:3307").as_deref(), Some("127.0.0.1"));
        let socket = Options::parse("mysql://u@db.example/d?socket=/run/s.sock").unwrap();
        assert_eq!(seen_from(&socket).unwrap(), "localhost");
        let words = seen_from(&Options::parse("mysql://u@no.such.invalid/d").unwrap());
        assert!(words.unwrap_err().to_string().contains("--host"));
    }
}
