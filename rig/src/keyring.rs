//! Keys for a server that encrypts its log: MySQL's component looks for its settings beside the server
//! program, so the program is copied; MariaDB's plugin reads a file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::edge;
use crate::flavor::{Flavor, Installed};
use crate::options::ServerOptions;

/// Puts keys into a server's folder: what to start, with the arguments added to `options`. `None` if
/// this server is installed without its plugin.
pub(crate) fn prepare(
    installed: &Installed,
    folder: &Path,
    options: &mut ServerOptions,
) -> Result<Option<Installed>> {
    match installed.flavor {
        Flavor::Mysql97 | Flavor::Mysql84 | Flavor::Mysql80 => {
            component(installed, folder, options)
        }
        Flavor::Mysql56 | Flavor::Mysql57 => Ok(None),
        Flavor::Mariadb1011 | Flavor::Mariadb118 => plugin(installed, folder, options),
    }
}

fn component(
    installed: &Installed,
    folder: &Path,
    options: &mut ServerOptions,
) -> Result<Option<Installed>> {
    const NAME: &str = "component_keyring_file";
    let found = plugins(installed).into_iter().find(|it| it.join(format!("{NAME}.so")).is_file());
    let Some(plugins) = found else { return Ok(None) };
    let place = folder.join("keyring");
    fs::create_dir_all(&place)?;
    let server = place.join("mysqld");
    fs::copy(installed.server_file(), &server).context("cannot copy the server program")?;
    fs::copy(plugins.join(format!("{NAME}.so")), place.join(format!("{NAME}.so")))?;
    fs::write(place.join("mysqld.my"), format!("{{\"components\": \"file://{NAME}\"}}"))?;
    let keys = place.join("keys");
    let settings = format!("{{\"path\": \"{}\", \"read_only\": false}}", keys.display());
    fs::write(place.join(format!("{NAME}.cnf")), settings)?;
    options.extra.push(format!("--plugin-dir={}", place.display()));
    options.extra.push("--binlog-encryption=ON".to_owned());
    Ok(Some(installed.with_server(server)))
}

fn plugin(
    installed: &Installed,
    folder: &Path,
    options: &mut ServerOptions,
) -> Result<Option<Installed>> {
    const FILE: &str = "file_key_management.so";
    let found = plugins(installed).into_iter().find(|it| it.join(FILE).is_file());
    let Some(plugins) = found else { return Ok(None) };
    let keys = folder.join("keys");
    fs::write(&keys, "1;000102030405060708090a0b0c0d0e0f\n")?;
    for argument in [
        format!("--plugin-dir={}", plugins.display()),
        format!("--plugin-load-add={FILE}"),
        format!("--file-key-management-filename={}", keys.display()),
        "--encrypt-binlog=ON".to_owned(),
    ] {
        options.extra.push(argument);
    }
    Ok(Some(installed.clone()))
}

/// Where a server's plugins may be: in its own system, fetched into the cache, or in this system.
fn plugins(installed: &Installed) -> Vec<PathBuf> {
    let fetched = edge::cache_folder().join(format!("plugins-{}", installed.flavor));
    let mut folders: Vec<PathBuf> = installed.plugins().into_iter().collect();
    folders.push(fetched);
    folders.push(PathBuf::from("/usr/lib/mysql/plugin"));
    folders
}
