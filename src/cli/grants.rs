//! `headwater grants`: the least an account needs, as SQL for the server there is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream};

use super::arguments::Grants;
use super::{Error, Outcome, Output};
use crate::config::Config;
use crate::database::connect::Options;
use crate::database::name::Granting;
use crate::database::server::{Flavor, Server, parse_version};
use crate::doctor::{Duties, locks_to_read, to_ask_for_positions};

/// What a kind of server is asked for, and from which version on it knows `IF NOT EXISTS`.
const IF_NOT_EXISTS_FROM: [(Flavor, Version); 2] =
    [(Flavor::Mysql, (5, 7, 8)), (Flavor::Mariadb, (10, 1, 3))];

/// MySQL has the variable from here on.
const PARTIAL_REVOKES_FROM: Version = (8, 0, 16);

/// The three numbers of a server's version.
type Version = (u16, u16, u16);

pub(super) async fn run(
    config: &Config,
    grants: &Grants,
    out: &mut Output,
) -> Result<Outcome, Error> {
    let options = &config.database.options;
    let password = password(options.password.as_deref(), Reader::of_stdout())?;
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
    let servers = match &found {
        Ok(server) => {
            out.line(format!("-- for {server} at {}", options.address()))?;
            vec![(server.flavor, Some(server.version))]
        }
        Err(error) => {
            for line in error.lines() {
                out.line(format!("-- {line}"))?;
            }
            // The account is not there yet: the server says what it is to anybody.
            if let Some((flavor, version)) = greeting(options).await {
                vec![(flavor, Some(version))]
            } else {
                out.line("-- so here is what either kind of server wants; run one of the two")?;
                vec![(Flavor::Mysql, None), (Flavor::Mariadb, None)]
            }
        }
    };
    let granting = found.as_ref().ok().map(Granting::of);
    for (flavor, version) in servers {
        let account = Account {
            flavor,
            version,
            granting,
            user: &options.user,
            host: &host,
            password: password.as_deref(),
            database: &options.database,
            state_schema: &config.database.state_schema,
            duties: duties(config, grants.all),
        };
        out.line(account.statements())?;
    }
    Ok(Outcome::Well)
}

/// What the account is for. A node that is to have neither a parent nor children yet may get both.
fn duties(config: &Config, all: bool) -> Duties {
    let duties = Duties::of(config);
    let all = all || !(duties.capture || duties.apply);
    Duties { capture: duties.capture || all, apply: duties.apply || all }
}

/// What kind of server answers, by its first words, which come before anybody says who they are.
async fn greeting(options: &Options) -> Option<(Flavor, Version)> {
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
fn greeted_by(words: &[u8]) -> Option<(Flavor, Version)> {
    let (protocol, version) = words.get(4..)?.split_first()?;
    let version = version.split(|byte| *byte == 0).next()?;
    let version = std::str::from_utf8(version).ok().filter(|_| *protocol == 10)?;
    Some(parse_version(version))
}

/// Who reads what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// Another program, which runs it and forgets it.
    Program,
    /// A terminal or a file, where it stays for others to read.
    Others,
}

impl Reader {
    fn of_stdout() -> Reader {
        let kind = rustix::fs::fstat(std::io::stdout())
            .map(|found| rustix::fs::FileType::from_raw_mode(found.st_mode));
        match kind {
            Ok(kind) if kind.is_fifo() || kind.is_socket() => Reader::Program,
            Ok(_) | Err(_) => Reader::Others,
        }
    }
}

/// What the account is made with. Only a program is told the password; others are shown where to put
/// it. A pipe leads to a server, which would take what is shown for everybody's password.
fn password(configured: Option<&str>, reader: Reader) -> Result<Option<String>, Error> {
    match (configured, reader) {
        (_, Reader::Others) => Ok(None),
        (Some(password), Reader::Program) if !password.is_empty() => Ok(Some(password.to_owned())),
        (_, Reader::Program) => Err(Error::Usage(
            "there is no password for the account yet, and a pipe is given none of its own\n  remedy: write one to the file of database.password_file (mode 0600) or set HEADWATER_DATABASE_PASSWORD, or run it at a terminal and put one in by hand".to_owned(),
        )),
    }
}

/// The host that the server sees headwater come from, which is nobody else's to come from. Nothing
/// is sent to find out.
fn seen_from(options: &Options) -> Result<String, Error> {
    // Over TCP a server that looks up no names sees 127.0.0.1; the one that does takes that too.
    if options.socket.is_some() {
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
struct Account<'a> {
    /// MySQL and `MariaDB` name some rights differently.
    flavor: Flavor,
    /// `None` if it is not known.
    version: Option<Version>,
    /// What it takes for the name of a schema; `None` if it is not known.
    granting: Option<Granting>,
    /// The account's user part.
    user: &'a str,
    /// The account's host part.
    host: &'a str,
    /// Its password; `None` where it is not to be seen.
    password: Option<&'a str>,
    /// The database that is kept in step.
    database: &'a str,
    /// The schema of headwater's own tables.
    state_schema: &'a str,
    /// What the node does.
    duties: Duties,
}

impl Account<'_> {
    /// Statements that make the account and give it what the node needs, and no more.
    fn statements(&self) -> String {
        let account = format!("{}@{}", quoted(self.user), quoted(self.host));
        let mut lines = self.made(&account);
        let granting = self.granting.unwrap_or(Granting::Patterns);
        let (database, state) =
            (granting.all_of(self.database), granting.all_of(self.state_schema));
        if self.duties.capture {
            let newest = (u16::MAX, 0, 0);
            let positions = to_ask_for_positions(self.flavor, self.version.unwrap_or(newest));
            if self.version.is_none() && self.flavor == Flavor::Mariadb {
                lines.push(
                    "-- (MariaDB before 10.5: REPLICATION CLIENT for BINLOG MONITOR)".to_owned(),
                );
            }
            lines.extend([
                "-- capture: be sent the binary log, ask where it ends, read tables and identities"
                    .to_owned(),
                format!("GRANT REPLICATION SLAVE, {positions} ON *.* TO {account};"),
                format!("GRANT SELECT ON {database} TO {account};"),
            ]);
            let locks = self.version.is_some_and(|version| locks_to_read(self.flavor, version));
            // Who may change rows may lock them.
            if locks && !self.duties.apply {
                lines.push(format!("GRANT LOCK TABLES ON {database} TO {account};"));
            }
        }
        if self.duties.apply {
            lines.extend([
                "-- apply: write rows, and keep watermarks and what is set aside in a schema of its own"
                    .to_owned(),
                format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {database} TO {account};"),
                format!(
                    "GRANT CREATE, ALTER, SELECT, INSERT, UPDATE, DELETE ON {state} TO {account};"
                ),
            ]);
        }
        lines.join("\n")
    }

    /// The statements that make the account.
    fn made(&self, account: &str) -> Vec<String> {
        let name = match self.flavor {
            Flavor::Mysql => "MySQL",
            Flavor::Mariadb => "MariaDB",
        };
        let mut lines = vec![format!("-- {name}: run as an administrator")];
        let needed = IF_NOT_EXISTS_FROM.iter().find(|(flavor, _)| *flavor == self.flavor);
        let is_old = match (self.version, needed) {
            (Some(version), Some((_, from))) => version < *from,
            (None, _) | (_, None) => false,
        };
        if is_old {
            lines.push("-- (where the account is there already: mysql --force)".to_owned());
            // Or a GRANT that is run by itself would make an account without a password.
            lines.push(
                "SET SESSION sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_CREATE_USER');".to_owned(),
            );
        } else if self.version.is_none() {
            lines.push(
                "-- (MySQL before 5.7, MariaDB before 10.1: without IF NOT EXISTS)".to_owned(),
            );
        }
        let may_take_names = self.version.is_none_or(|version| version >= PARTIAL_REVOKES_FROM);
        if self.flavor == Flavor::Mysql && self.granting.is_none() && may_take_names {
            lines.push(r"-- (with partial_revokes = ON: without \ in names)".to_owned());
        }
        let password = if let Some(password) = self.password {
            quoted(password)
        } else {
            lines.push("-- put the password, in quotes, in the place of <password>".to_owned());
            // No server takes it as it stands.
            "<password>".to_owned()
        };
        let unless = if is_old { "" } else { "IF NOT EXISTS " };
        lines.push(format!("CREATE USER {unless}{account} IDENTIFIED BY {password};"));
        lines
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_gets_the_password_there_is_or_nothing() {
        let told = password(Some("s3cret"), Reader::Program).unwrap();
        assert_eq!(told.as_deref(), Some("s3cret"));
        for none in [None, Some("")] {
            let words = password(none, Reader::Program).unwrap_err().to_string();
            assert!(words.contains("password_file"), "{words}");
        }
        assert_eq!(password(Some("s3cret"), Reader::Others).unwrap(), None);
    }

    #[test]
    fn a_server_says_what_it_is_before_anybody_logs_in() {
        let greet = |text: &str| greeted_by(&[b"J\0\0\0\x0a", text.as_bytes(), b"\0\x08"].concat());
        assert_eq!(greet("9.7.0"), Some((Flavor::Mysql, (9, 7, 0))));
        assert_eq!(
            greet("5.5.5-10.11.14-MariaDB-0+deb12u2"),
            Some((Flavor::Mariadb, (10, 11, 14)))
        );
        // An error, such as a host that may not connect.
        assert_eq!(greeted_by(b"J\0\0\0\xff\x6a\x04Host is not allowed"), None);
        assert_eq!(greeted_by(b"HT"), None);
    }

    fn told(flavor: Flavor, version: Option<Version>, capture: bool, apply: bool) -> String {
        let duties = Duties { capture, apply };
        let (user, host, password) = ("h", "10.0.0.1", Some("it's"));
        let (database, state_schema) = ("open_mrs", "headwater");
        let granting = Some(Granting::Patterns);
        Account { flavor, version, granting, user, host, password, database, state_schema, duties }
            .statements()
    }

    #[test]
    fn a_node_asks_for_what_it_does_and_no_more() {
        let version = Some((9, 7, 0));
        let child = told(Flavor::Mysql, version, true, false);
        assert!(child.contains("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.*"), "{child}");
        assert!(!child.contains("INSERT") && !child.contains("headwater"), "{child}");
        let parent = told(Flavor::Mysql, version, false, true);
        assert!(
            parent.contains("GRANT SELECT, INSERT, UPDATE, DELETE ON `open\\_mrs`.*"),
            "{parent}"
        );
        assert!(parent.contains("ALTER") && !parent.contains("REPLICATION"), "{parent}");
        let tier = told(Flavor::Mysql, version, true, true);
        assert!(child.lines().chain(parent.lines()).all(|line| tier.contains(line)), "{tier}");
    }

    #[test]
    fn no_server_is_given_words_that_it_does_not_know() {
        for (flavor, version, knows) in [
            (Flavor::Mysql, (5, 6, 24), false),
            (Flavor::Mysql, (5, 7, 8), true),
            (Flavor::Mysql, (9, 7, 0), true),
            (Flavor::Mariadb, (10, 0, 38), false),
            (Flavor::Mariadb, (10, 11, 14), true),
        ] {
            let sql = told(flavor, Some(version), true, true);
            assert_eq!(sql.contains("IF NOT EXISTS"), knows, "{version:?}: {sql}");
            assert_eq!(sql.contains("NO_AUTO_CREATE_USER"), !knows, "{version:?}: {sql}");
        }
        let unknown = told(Flavor::Mysql, None, true, true);
        assert!(unknown.contains("before 5.7"), "{unknown}");
    }

    #[test]
    fn a_server_is_asked_for_a_right_by_the_name_that_it_has_there() {
        for (version, name) in [
            (Some((10, 4, 34)), "REPLICATION CLIENT"),
            (Some((10, 5, 2)), "BINLOG MONITOR"),
            (Some((11, 8, 3)), "BINLOG MONITOR"),
            (None, "BINLOG MONITOR"),
        ] {
            let sql = told(Flavor::Mariadb, version, true, false);
            assert!(
                sql.contains(&format!("REPLICATION SLAVE, {name} ON *.*")),
                "{version:?}: {sql}"
            );
        }
    }

    #[test]
    fn to_lock_tables_is_granted_where_reading_behind_locks_takes_it() {
        let locks = |version, apply| {
            told(Flavor::Mysql, Some(version), true, apply)
                .contains("LOCK TABLES ON `open\\_mrs`.*")
        };
        assert!(locks((8, 0, 21), false));
        assert!(!locks((8, 0, 21), true) && !locks((8, 0, 22), false) && !locks((5, 7, 44), false));
    }

    #[test]
    fn what_is_shown_to_others_makes_no_account() {
        let account = Account {
            flavor: Flavor::Mariadb,
            version: None,
            granting: None,
            user: "h",
            host: "%",
            password: None,
            database: "d",
            state_schema: "s",
            duties: Duties { capture: true, apply: false },
        };
        let sql = account.statements();
        assert!(sql.contains("'h'@'%' IDENTIFIED BY <password>;"), "{sql}");
    }

    #[test]
    fn a_server_that_takes_names_for_what_they_are_is_given_them_so() {
        let told = |granting| {
            let account = Account {
                flavor: Flavor::Mysql,
                version: Some((8, 4, 8)),
                granting,
                user: "h",
                host: "%",
                password: None,
                database: "open_mrs",
                state_schema: "s",
                duties: Duties { capture: true, apply: false },
            };
            account.statements()
        };
        let (names, patterns) = (told(Some(Granting::Names)), told(Some(Granting::Patterns)));
        assert!(names.contains("GRANT SELECT ON `open_mrs`.*"), "{names}");
        assert!(patterns.contains(r"GRANT SELECT ON `open\_mrs`.*"), "{patterns}");
        assert!(!names.contains("partial_revokes") && !patterns.contains("partial_revokes"));
        assert!(told(None).contains("partial_revokes = ON"));
    }

    #[test]
    fn the_account_is_for_where_headwater_is() {
        let from = |url: &str| seen_from(&Options::parse(url).unwrap()).ok();
        let from = |server: &str| from(&format!("mysql://u@{server}/d"));
        assert_eq!(from("localhost").as_deref(), Some("127.0.0.1"));
        assert_eq!(from("127.0.0.1:3307").as_deref(), Some("127.0.0.1"));
        let socket = Options::parse("mysql://u@db.example/d?socket=/run/s.sock").unwrap();
        assert_eq!(seen_from(&socket).unwrap(), "localhost");
        let words = seen_from(&Options::parse("mysql://u@no.such.invalid/d").unwrap());
        assert!(words.unwrap_err().to_string().contains("--host"));
    }
}
