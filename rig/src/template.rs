//! Initialising a server's data folder takes seconds, so it is done once for each version and kept in
//! the cache; every server starts from a copy.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::edge;
use crate::flavor::{Flavor, Installed};

/// Counts up when what a template holds changes.
const TEMPLATE_VERSION: u32 = 2;

/// Root without a password from anywhere: the servers listen on 127.0.0.1 only and live as long
/// as a test.
const ROOT_FROM_ANYWHERE: &str = "CREATE USER IF NOT EXISTS root@'%';\n\
    GRANT ALL PRIVILEGES ON *.* TO root@'%' WITH GRANT OPTION;\n";

/// Makes `target` a fresh data folder for this server.
pub(crate) fn copy_to(installed: &Installed, target: &Path) -> Result<()> {
    copy_template(&ready(installed)?, target)
}

/// Makes `target` a copy of a data folder whose server was stopped cleanly.
pub(crate) fn copy_template(template: &Path, target: &Path) -> Result<()> {
    copy_folder(template, target)
        .with_context(|| format!("cannot copy {} to {}", template.display(), target.display()))
}

/// The folder of templates, and this server's name in it.
pub(crate) fn place(installed: &Installed) -> Result<(PathBuf, String)> {
    let folder = edge::cache_folder().join("templates");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let name = format!("{}-{}", installed.flavor, installed.version)
        .chars()
        .take_while(|c| *c != ' ')
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' })
        .collect();
    Ok((folder, name))
}

/// The template's folder; makes it first if it isn't there. Several test processes may come here
/// at once: one makes it, the others wait.
fn ready(installed: &Installed) -> Result<PathBuf> {
    let (folder, name) = place(installed)?;
    let template = folder.join(format!("{name}-v{TEMPLATE_VERSION}"));
    if template.is_dir() {
        return Ok(template);
    }
    let lock = File::create(folder.join(format!("{name}.lock")))?;
    lock.lock().context("cannot lock the templates' folder")?;
    if template.is_dir() {
        return Ok(template);
    }
    let making = folder.join(format!("{name}.making"));
    if making.exists() {
        fs::remove_dir_all(&making)?;
    }
    fs::create_dir_all(&making)?;
    let data = making.join("data");
    match installed.flavor {
        Flavor::Mysql97 | Flavor::Mysql84 | Flavor::Mysql80 | Flavor::Mysql57 => {
            initialise_mysql(installed, &making, &data)
        }
        Flavor::Mariadb1011 | Flavor::Mariadb118 => initialise_mariadb(installed, &data),
        Flavor::Mysql56 => initialise_mysql_56(installed, &data),
    }
    .with_context(|| format!("cannot initialise a data folder for {}", installed.version))?;
    fs::rename(&data, &template)?;
    fs::remove_dir_all(&making)?;
    drop(lock);
    Ok(template)
}

fn initialise_mysql(installed: &Installed, making: &Path, data: &Path) -> Result<()> {
    let statements = making.join("init.sql");
    fs::write(&statements, ROOT_FROM_ANYWHERE)?;
    let redo_log = if installed.flavor.is_mysql_from(8, 4) {
        "--innodb-redo-log-capacity=48M"
    } else {
        "--innodb-log-file-size=48M"
    };
    let mut command = server_command(installed, data);
    command
        .args(["--initialize-insecure", "--skip-log-bin", redo_log])
        .args(["--innodb-flush-log-at-trx-commit=0", "--performance-schema=OFF"])
        .arg(option("--init-file=", &statements));
    run(&mut command, None)?;
    // Without it every server makes up a uuid of its own, as two servers must have.
    fs::remove_file(data.join("auto.cnf")).context("no auto.cnf was made")?;
    Ok(())
}

/// What `mysql_install_db` does, which the package leaves out.
fn initialise_mysql_56(installed: &Installed, data: &Path) -> Result<()> {
    let mut statements = String::from("CREATE DATABASE mysql;\nUSE mysql;\n");
    for name in ["mysql_system_tables.sql", "mysql_system_tables_data.sql"] {
        let file = installed.share().join(name);
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        for line in text.lines().filter(|line| !line.contains("@current_hostname")) {
            statements.push_str(line);
            statements.push('\n');
        }
    }
    // Privileges cannot be granted while there are none.
    statements.push_str(
        "DELETE FROM mysql.user WHERE user <> 'root' OR host NOT IN ('localhost', '127.0.0.1');\n\
         UPDATE mysql.user SET host = '%' WHERE host = '127.0.0.1';\nDELETE FROM mysql.db;\n",
    );
    fs::create_dir_all(data)?;
    let mut command = server_command(installed, data);
    command.args(["--bootstrap", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0"]).args([
        "--explicit-defaults-for-timestamp=ON",
        "--innodb-log-file-size=48M",
        "--max-allowed-packet=8M",
    ]);
    run(&mut command, Some(statements))
}

/// What `mariadb-install-db` does, without that script: it looks for its parts in this system
/// only, and the server may live in an unpacked one.
fn initialise_mariadb(installed: &Installed, data: &Path) -> Result<()> {
    let mut statements = String::from(
        "CREATE DATABASE IF NOT EXISTS mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n\
         SET @skip_auth_anonymous_user=1;\n",
    );
    for name in [
        "mysql_system_tables.sql",
        "mysql_performance_tables.sql",
        "mysql_system_tables_data.sql",
        "maria_add_gis_sp_bootstrap.sql",
    ] {
        // MariaDB 11 gave the files new names.
        let files = [name.to_owned(), name.replacen("mysql_", "mariadb_", 1)];
        let share = installed.share();
        let file = files
            .iter()
            .map(|name| share.join(name))
            .find(|file| file.is_file())
            .with_context(|| format!("{} has no {name}", share.display()))?;
        for line in fs::read_to_string(&file)?.lines().filter(|l| !l.contains("@current_hostname"))
        {
            statements.push_str(line);
            statements.push('\n');
        }
    }
    statements.push_str("FLUSH PRIVILEGES;\n");
    statements.push_str(ROOT_FROM_ANYWHERE);
    fs::create_dir_all(data.join("mysql"))?;
    let mut command = server_command(installed, data);
    command.args(["--bootstrap", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0"]).args([
        "--enforce-storage-engine=",
        "--loose-innodb-log-file-size=48M",
        "--max-allowed-packet=8M",
        "--net-buffer-length=16K",
    ]);
    run(&mut command, Some(statements))
}

/// The server program with the options that every way of running it needs.
pub(crate) fn server_command(installed: &Installed, data: &Path) -> Command {
    let (program, first) = installed.server();
    let mut command = Command::new(program);
    command.args(first);
    add_common_options(&mut command, installed, data);
    command
}

/// Where the data and the server's own files are, and whom to run as.
pub(crate) fn add_common_options(command: &mut Command, installed: &Installed, data: &Path) {
    let share = installed.share();
    command
        .arg("--no-defaults")
        .arg(option("--datadir=", data))
        .arg(option("--lc-messages-dir=", &share))
        .arg(option("--character-sets-dir=", &share.join("charsets")));
    if let Some(plugins) = installed.plugins() {
        command.arg(option("--plugin-dir=", &plugins));
    }
    if runs_as_root() {
        command.arg("--user=root");
    }
}

pub(crate) fn option(name: &str, path: &Path) -> std::ffi::OsString {
    let mut option = std::ffi::OsString::from(name);
    option.push(path);
    option
}

/// Servers refuse to run as root unless told to.
fn runs_as_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn run(command: &mut Command, input: Option<String>) -> Result<()> {
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // Fed from a thread of its own: the server may fill its output's pipe before it has read all.
    let feeder = child
        .stdin
        .take()
        .zip(input)
        .map(|(mut pipe, text)| std::thread::spawn(move || pipe.write_all(text.as_bytes())));
    let output = child.wait_with_output()?;
    if let Some(feeder) = feeder {
        // A broken pipe says less than what the server printed.
        drop(feeder.join());
    }
    if !output.status.success() {
        bail!(
            "{}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    ensure!(
        !String::from_utf8_lossy(&output.stderr).contains("[ERROR]"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
