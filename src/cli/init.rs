//! `headwater init`: writes a configuration to start from, and makes the data folder.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::arguments::Init;
use super::{Error, Outcome, Output};
use crate::config::template::{self, For};

pub(super) fn run(path: &Path, init: &Init, out: &mut Output) -> Result<Outcome, Error> {
    let name = match &init.name {
        Some(name) => name.clone(),
        None => machine_name(),
    };
    let sections = match (init.child, init.parent) {
        (true, true) => For::Both,
        (false, true) => For::Parent,
        (_, false) => For::Child,
    };
    // In the configuration it would be taken from where that is, not from here.
    let data_dir = std::path::absolute(&init.data_dir)
        .map_err(|error| Error::Usage(format!("--data-dir is no folder's name: {error}")))?;
    let text = template::write(&name, &data_dir.display().to_string(), sections);
    if path.exists() && !init.force {
        return Err(is_there(path));
    }
    // The folder first: a configuration that is there is in the way of the next try.
    make_data_dir(&data_dir)?;
    write_new(path, &text, init.force)?;
    out.line(format!("wrote {}", path.display()))?;
    out.line(format!("made  {} (mode 0700)", data_dir.display()))?;
    let config = format!("headwater --config {}", path.display());
    out.line(format!(
        "next: edit the database's url and map in it, then\n  {config} grants\n  {config} doctor"
    ))?;
    match sections {
        For::Child => out.line(format!("  {config} join TOKEN"))?,
        For::Parent => out.line(format!("  {config} invite NAME"))?,
        For::Both => out.line(format!("  {config} join TOKEN\n  {config} invite NAME"))?,
    }
    out.line(format!("  {config} run"))?;
    Ok(Outcome::Well)
}

fn is_there(path: &Path) -> Error {
    Error::Usage(format!(
        "{} is there already and stays as it is\n  remedy: name another with --config FILE, or say init --force",
        path.display()
    ))
}

fn write_new(path: &Path, text: &str, force: bool) -> Result<(), Error> {
    let failed = |error: std::io::Error| {
        // One of its folders may be a file, too.
        if error.kind() == ErrorKind::AlreadyExists && path.exists() {
            is_there(path)
        } else {
            let remedy = match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room on its disk",
                _ => "name another with --config FILE, or run it as a user that may write there",
            };
            Error::Failed(format!("cannot write {}: {error}\n  remedy: {remedy}", path.display()))
        }
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    // What is there stays as it is until the other is whole.
    let beside = path.with_extension("toml.new");
    let target = if force { beside.as_path() } else { path };
    let mut options = OpenOptions::new();
    options.write(true).mode(0o640);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let mut file = options.open(target).map_err(failed)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a file would be in the way of the next try; what is wrong is told below.
        std::fs::remove_file(target).ok();
    }
    written.map_err(failed)?;
    if force { std::fs::rename(target, path).map_err(failed) } else { Ok(()) }
}

/// The store and the keys live there: nobody else has any business in it.
fn make_data_dir(folder: &Path) -> Result<(), Error> {
    let failed = |error: std::io::Error| {
        Error::Failed(format!(
            "cannot make the data folder {}: {error}\n  remedy: choose another with --data-dir, or make it as root and give it to the user that runs headwater",
            folder.display()
        ))
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let mut permissions = std::fs::metadata(folder).map_err(failed)?.permissions();
    permissions.set_mode(0o700);
    std::fs::set_permissions(folder, permissions).map_err(failed)
}

/// This machine's name, as far as it can serve as a node's name.
fn machine_name() -> String {
    let name = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let fit: String = name
        .trim()
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(*letter))
        .take(64)
        .collect();
    if fit.is_empty() { "node-1".to_owned() } else { fit }
}
