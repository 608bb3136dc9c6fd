//! The kinds of database server the rig knows, and where on this machine they are.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::edge;

/// A kind of database server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// MySQL 9.7, or another MySQL from 9.0 on that is on the path.
    Mysql97,
    /// MariaDB 10.11, or a later one that is on the path.
    Mariadb1011,
    /// MySQL 5.6.
    Mysql56,
    /// MariaDB 11.8.
    Mariadb118,
    /// MySQL 5.7. Tests run on this and the two below only where somebody has got them.
    Mysql57,
    /// MySQL 8.0.
    Mysql80,
    /// MySQL 8.4.
    Mysql84,
}

impl fmt::Display for Flavor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Flavor::Mysql97 => "mysql",
            Flavor::Mariadb1011 => "mariadb",
            Flavor::Mysql56 => "mysql-5.6",
            Flavor::Mariadb118 => "mariadb-11.8",
            Flavor::Mysql57 => "mysql-5.7",
            Flavor::Mysql80 => "mysql-8.0",
            Flavor::Mysql84 => "mysql-8.4",
        })
    }
}

impl std::str::FromStr for Flavor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Flavor::ALL.into_iter().find(|flavor| flavor.to_string() == text).ok_or_else(|| {
            let known = Flavor::ALL.map(|flavor| format!("`{flavor}`")).join(", ");
            format!("`{text}` is none of {known}")
        })
    }
}

/// An installed server, and how its programs are run.
#[derive(Debug, Clone)]
pub struct Installed {
    /// Its kind.
    pub flavor: Flavor,
    /// What its `--version` says, without the path.
    pub version: String,
    /// The unpacked system it lives in, when it isn't installed in this one.
    root: Option<PathBuf>,
    server: PathBuf,
}

impl Flavor {
    /// All kinds, the two that the whole suite runs on first.
    pub const ALL: [Flavor; 7] = [
        Flavor::Mysql97,
        Flavor::Mariadb1011,
        Flavor::Mysql56,
        Flavor::Mariadb118,
        Flavor::Mysql57,
        Flavor::Mysql80,
        Flavor::Mysql84,
    ];

    /// Whether it is a MariaDB.
    pub fn is_mariadb(self) -> bool {
        matches!(self, Flavor::Mariadb1011 | Flavor::Mariadb118)
    }

    /// Whether tests run on it only where somebody has got it, since `make test` does not.
    pub fn is_extra(self) -> bool {
        matches!(self, Flavor::Mysql57 | Flavor::Mysql80 | Flavor::Mysql84)
    }

    /// Whether it is a MySQL that takes what MySQL 8.0 takes.
    pub fn is_new_mysql(self) -> bool {
        self.is_mysql_from(8, 0)
    }

    /// Whether it is a MySQL of this release or a later one.
    pub fn is_mysql_from(self, major: u32, minor: u32) -> bool {
        let release = match self {
            Flavor::Mysql56 => (5, 6),
            Flavor::Mysql57 => (5, 7),
            Flavor::Mysql80 => (8, 0),
            Flavor::Mysql84 => (8, 4),
            Flavor::Mysql97 => (9, 7),
            Flavor::Mariadb1011 | Flavor::Mariadb118 => return false,
        };
        release >= (major, minor)
    }

    /// Whether its log can be told to name columns.
    pub fn names_columns(self) -> bool {
        self.is_mariadb() || self.is_new_mysql()
    }

    /// Whether a server of this kind can be started here.
    pub fn available(self) -> bool {
        self.installed().is_ok()
    }

    /// Those of all kinds that can be started here.
    pub fn found() -> Vec<Installed> {
        Flavor::ALL.iter().filter_map(|flavor| flavor.installed().ok()).collect()
    }

    /// The server of this kind on this machine: first in the cache folder, then on the path.
    pub fn installed(self) -> Result<Installed> {
        let (folder, program) = match self {
            Flavor::Mysql97 => ("mysql-9.7", "mysqld"),
            Flavor::Mariadb1011 => ("mariadb-10.11", "mariadbd"),
            Flavor::Mysql56 => ("mysql-5.6", "mysqld"),
            Flavor::Mariadb118 => ("mariadb-11.8", "mariadbd"),
            Flavor::Mysql57 => ("mysql-5.7", "mysqld"),
            Flavor::Mysql80 => ("mysql-8.0", "mysqld"),
            Flavor::Mysql84 => ("mysql-8.4", "mysqld"),
        };
        let root = edge::cache_folder().join(folder);
        // MySQL 5.6 is a folder of its own files, the others are systems.
        let inside = if self == Flavor::Mysql56 { "" } else { "usr/sbin" };
        let unpacked = root.join(inside).join(program);
        let mut tried = Vec::new();
        let here = unpacked.is_file().then_some((Some(root), unpacked));
        for (root, server) in
            here.into_iter().chain(edge::on_path(program).map(|server| (None, server)))
        {
            let mut installed = Installed { flavor: self, version: String::new(), root, server };
            match installed.ask_version() {
                Ok(version) => {
                    installed.version = version;
                    return Ok(installed);
                }
                Err(error) => tried.push(format!("{error:#}")),
            }
        }
        let tried =
            if tried.is_empty() { String::new() } else { format!(" ({})", tried.join("; ")) };
        bail!("no {self} server on this machine{tried}: run scripts/get-servers {self}")
    }
}

/// The servers that tests run on, told once on standard error. What is missing is told in
/// capitals. A MySQL from 8.0 on and one MariaDB are the least: without them it is a failure
/// unless `HEADWATER_SERVERS_OPTIONAL` is set, because a test that silently runs on half of the
/// servers promises what it does not keep.
///
/// # Panics
///
/// If a server is missing and that isn't allowed.
#[expect(clippy::print_stderr, reason = "for tests, which speak so")]
pub fn found_servers() -> Vec<Flavor> {
    static FOUND: std::sync::OnceLock<Vec<Flavor>> = std::sync::OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let found = Flavor::found();
        for installed in &found {
            eprintln!("testing on {} {}", installed.flavor, installed.version);
        }
        let found: Vec<Flavor> = found.iter().map(|installed| installed.flavor).collect();
        let missing = |flavor: &&Flavor| !flavor.is_extra() && !found.contains(flavor);
        for flavor in Flavor::ALL.iter().filter(missing) {
            eprintln!("NOT TESTING ON {}", flavor.to_string().to_uppercase());
        }
        found
    });
    let least = found.iter().any(|flavor| flavor.is_new_mysql())
        && found.iter().any(|flavor| flavor.is_mariadb());
    assert!(
        least || edge::environment("HEADWATER_SERVERS_OPTIONAL").is_some(),
        "MISSING: A MYSQL FROM 8.0 ON, OR A MARIADB. Run scripts/get-servers, or set \
         HEADWATER_SERVERS_OPTIONAL=1 to test without"
    );
    found.clone()
}

/// Whether a test is to run on this kind of server: see [`found_servers`].
pub fn tested_on(flavor: Flavor) -> bool {
    // The others need not be asked what they are.
    if flavor.is_extra() { flavor.available() } else { found_servers().contains(&flavor) }
}

impl Installed {
    /// The server program: what to execute, and the arguments that have to come first.
    pub fn server(&self) -> (OsString, Vec<OsString>) {
        self.program_at(&self.server)
    }

    /// Another program of the same package, such as `mysqlbinlog`, if it is there.
    pub fn tool(&self, name: &str) -> Option<(OsString, Vec<OsString>)> {
        let file = match &self.root {
            Some(root) => Some(root.join("usr/bin").join(name)).filter(|file| file.is_file()),
            None => edge::on_path(name),
        }?;
        Some(self.program_at(&file))
    }

    /// The folder with the server's messages, character sets and system tables.
    pub fn share(&self) -> PathBuf {
        if let (Flavor::Mysql56, Some(root)) = (self.flavor, &self.root) {
            return root.join("share");
        }
        let usr = self.root.as_ref().map_or_else(|| PathBuf::from("/usr"), |root| root.join("usr"));
        let share = usr.join("share/mysql");
        if share.is_dir() {
            return share;
        }
        // Not a Debian: the share folder stands beside the folder of the program.
        let beside = self.server.parent().and_then(Path::parent).map(|usr| usr.join("share"));
        ["mysql", "mariadb"]
            .iter()
            .filter_map(|name| beside.as_ref().map(|beside| beside.join(name)))
            .find(|folder| folder.is_dir())
            .unwrap_or(share)
    }

    /// The plugins' folder, where the server's built-in path would point outside its own system.
    pub(crate) fn plugins(&self) -> Option<PathBuf> {
        let root = self.root.as_ref()?;
        let lib = library_folder(root)?;
        ["mysql/plugin", "mysql/plugins"]
            .iter()
            .map(|name| lib.join(name))
            .chain([root.join("usr/lib/mysql/plugin")])
            .find(|folder| folder.is_dir())
    }

    /// The same, with another copy of the server program.
    pub(crate) fn with_server(&self, server: PathBuf) -> Installed {
        Installed { server, ..self.clone() }
    }

    /// The server program's file.
    pub(crate) fn server_file(&self) -> &Path {
        &self.server
    }

    /// A program in an unpacked system is started with that system's own loader and libraries, so
    /// that it runs on an older libc without chroot.
    fn program_at(&self, file: &Path) -> (OsString, Vec<OsString>) {
        let parts = self.root.as_ref().and_then(|root| match self.flavor {
            // Brings one library of its own.
            Flavor::Mysql56 => Some((loader(Path::new("/"))?, root.clone())),
            _ => Some((loader(root)?, library_folder(root)?)),
        });
        match parts {
            Some((loader, libraries)) => {
                let mut path = OsString::from(&libraries);
                path.push(":");
                path.push(libraries.join("mysql/private"));
                (loader.into_os_string(), vec!["--library-path".into(), path, file.into()])
            }
            None => (file.into(), Vec::new()),
        }
    }

    fn ask_version(&self) -> Result<String> {
        let (program, first) = self.server();
        let output = Command::new(&program)
            .args(first)
            .args(["--no-defaults", "--version"])
            .output()
            .with_context(|| format!("cannot run {}", self.server.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let version = text.split_once("Ver ").map_or(text.as_str(), |(_, version)| version).trim();
        let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
        let (major, minor) = (numbers.next().flatten(), numbers.next().flatten());
        let is = |wanted: bool| if wanted { Ok(version.to_owned()) } else { Err(()) };
        let right = match (self.flavor, major.zip(minor)) {
            (_, None) => bail!("{} does not tell its version", self.server.display()),
            (flavor, _) if flavor.is_mariadb() != version.contains("MariaDB") => is(false),
            (Flavor::Mysql97, Some((major, _))) => is(major >= 9),
            (Flavor::Mysql56, Some(release)) => is(release == (5, 6)),
            (Flavor::Mariadb1011, Some(release)) => is(release >= (10, 11)),
            (Flavor::Mariadb118, Some(release)) => is(release == (11, 8)),
            (Flavor::Mysql57, Some(release)) => is(release == (5, 7)),
            (Flavor::Mysql80, Some(release)) => is(release == (8, 0)),
            (Flavor::Mysql84, Some(release)) => is(release == (8, 4)),
        };
        right.map_err(|()| anyhow::anyhow!("{} is {version}", self.server.display()))
    }
}

fn loader(root: &Path) -> Option<PathBuf> {
    ["lib64/ld-linux-x86-64.so.2", "lib/ld-linux-aarch64.so.1"]
        .iter()
        .map(|name| root.join(name))
        .find(|file| file.exists())
}

fn library_folder(root: &Path) -> Option<PathBuf> {
    ["usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu"]
        .iter()
        .map(|name| root.join(name))
        .find(|folder| folder.is_dir())
}
