//! What is in the way of a person at the keyboard: a disk that is full or cannot be written, a host
//! that is not there, TLS that does not come about, a map of tables that are elsewhere. One message each,
//! with the thing and the remedy, and nothing half done left behind.

use std::path::Path;

use headwater_rig::{Flavor, Server, ServerOptions};

use crate::cli::{CHILD, Desk, complaint, headwater, printed};
use crate::servers_fail::Disk;
use crate::support::on_all;

const URL: &str = "mysql://root@127.0.0.1:1/openmrs";

/// Puts other lines in the place of the configuration's `data_dir`.
fn with_data_dir(config: &Path, data_dir: &Path) {
    let text = std::fs::read_to_string(config).unwrap();
    let line = text.lines().find(|line| line.starts_with("data_dir")).unwrap();
    let other = format!("data_dir = \"{}\"", data_dir.display());
    std::fs::write(config, text.replace(line, &other)).unwrap();
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing_half_done() {
    let desk = Desk::new();
    let full = desk.folder.path().join("full");
    std::fs::create_dir(&full).unwrap();
    let Some(disk) = Disk::mount(&full, 1) else { return };
    let ballast = full.join("ballast");
    std::fs::write(&ballast, vec![0; 2 << 20]).unwrap_err();

    let config = full.join("headwater.toml");
    let data = desk.folder.path().join("data").display().to_string();
    let init = ["init", "--child", "--name", "clinic-12", "--data-dir", &data];
    let text = complaint(&headwater(&config, &init), 4);
    assert!(text.contains("headwater.toml") && text.contains("make room on its disk"), "{text}");
    assert!(!config.exists(), "nothing is in the way of the next try");

    let child = desk.configuration("child", URL, CHILD);
    with_data_dir(&child, &full.join("data"));
    for command in [&["join", "token"][..], &["run"]] {
        let text = complaint(&headwater(&child, command), 4);
        let words = text.rsplit("headwater: ").next().unwrap();
        assert!(words.contains("full/data") && words.contains("make room on"), "{text}");
    }

    // Nor does a file that is there already come to harm.
    std::fs::remove_file(&ballast).unwrap();
    std::fs::write(&config, "former").unwrap();
    std::fs::write(&ballast, vec![0; 2 << 20]).unwrap_err();
    let text = complaint(&headwater(&config, &[&init[..], &["--force"]].concat()), 4);
    assert!(text.contains("make room on its disk"), "{text}");
    assert_eq!(std::fs::read_to_string(&config).unwrap(), "former");
    std::fs::remove_file(&config).unwrap();

    std::fs::remove_file(ballast).unwrap();
    let done = headwater(&config, &init);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = complaint(&headwater(&child, &["join", "token"]), 2);
    assert!(text.contains("token"), "{text}");
    drop(disk);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let desk = Desk::new();
    let file = desk.folder.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let inside = file.join("data").display().to_string();
    let config = desk.folder.path().join("headwater.toml");
    let init = ["init", "--child", "--name", "clinic-12", "--data-dir", &inside];
    let text = complaint(&headwater(&config, &init), 4);
    assert!(text.contains("a-file/data") && text.contains("--data-dir"), "{text}");
    assert!(!config.exists(), "nothing is in the way of the next try");
    let elsewhere = desk.folder.path().join("elsewhere").display().to_string();
    let init = ["init", "--child", "--name", "clinic-12", "--data-dir", &elsewhere];
    let done = headwater(&config, &init);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));

    let text = complaint(&headwater(&file.join("headwater.toml"), &init), 4);
    assert!(text.contains("a-file/headwater.toml") && text.contains("--config FILE"), "{text}");

    let child = desk.configuration("child", URL, CHILD);
    with_data_dir(&child, &file.join("data"));
    for command in [&["join", "token"][..], &["run"]] {
        let text = complaint(&headwater(&child, command), 4);
        let words = text.rsplit("headwater: ").next().unwrap();
        assert!(words.contains("a-file/data") && words.contains("`data_dir`"), "{text}");
    }
}

#[test]
fn a_host_that_has_no_address_is_named() {
    let desk = Desk::new();
    let url = "mysql://root@nowhere.invalid:3306/openmrs";
    let child = desk.configuration("child", url, CHILD);
    let text = complaint(&headwater(&child, &["map", "check"]), 3);
    for part in ["nowhere.invalid:3306", "is the address right?"] {
        assert!(text.contains(part), "{text}");
    }
}

async fn tls_that_does_not_come_about_is_told(flavor: Flavor) {
    let mut server = Server::start(flavor, ServerOptions::default()).await.unwrap();
    server.sql("CREATE DATABASE openmrs").await.unwrap();
    let desk = Desk::new();
    let check = |query: &str, code: i32| {
        let url = format!("{}?{query}", server.url("openmrs"));
        let child = desk.configuration("child", &url, CHILD);
        complaint(&headwater(&child, &["map", "check"]), code)
    };
    // A certificate of the server's own making, or none.
    let text = check("tls=required", 4);
    let address = format!("127.0.0.1:{}", server.port());
    for part in ["no TLS with the database at", &address, "tls=required&ca=FILE"] {
        assert!(text.contains(part), "{text}");
    }
    let missing = desk.folder.path().join("no-authority.pem");
    let text = check(&format!("tls=required&ca={}", missing.display()), 4);
    assert!(text.contains("no-authority.pem") && text.contains("No such file"), "{text}");
    let nonsense = desk.folder.path().join("nonsense.pem");
    std::fs::write(&nonsense, "nothing\n").unwrap();
    let text = check(&format!("tls=required&ca={}", nonsense.display()), 4);
    assert!(text.contains("nonsense.pem"), "{text}");
    if flavor.is_mysql_from(9, 0) {
        server
            .restart_with(|options| options.extra.push("--tls-version=".to_owned()))
            .await
            .unwrap();
        let url = format!("{}?tls=unverified", server.url("openmrs"));
        let child = desk.configuration("child", &url, CHILD);
        let text = complaint(&headwater(&child, &["map", "check"]), 4);
        assert!(text.contains("the server offers none"), "{text}");
    }
}

async fn a_map_of_what_is_not_there_is_told(flavor: Flavor) {
    let server = Server::start(flavor, ServerOptions::default()).await.unwrap();
    server.sql("CREATE DATABASE openmrs").await.unwrap();
    let table = "CREATE TABLE note (note_id INT AUTO_INCREMENT PRIMARY KEY, uuid CHAR(36) UNIQUE)";
    server.sql_in("openmrs", table).await.unwrap();
    server.sql_in("openmrs", "CREATE TABLE ward (ward_id INT PRIMARY KEY)").await.unwrap();
    let desk = Desk::new();
    let child = desk.configuration("child", &server.url("openmrs"), CHILD);
    let map = desk.folder.path().join("map.toml");
    std::fs::write(
        &map,
        "version = 1\n[defaults]\nidentity = \"uuid\"\n[classes.all]\ndirection = \"up\"\n[tables]\n\
         note = { class = \"all\", left_out = [\"secret\"] }\nelsewhere = { class = \"all\" }\n\
         ward = { class = \"all\", identity = \"guid\" }\n",
    )
    .unwrap();
    let text = std::fs::read_to_string(&child).unwrap();
    let line = text.lines().find(|line| line.starts_with("maps")).unwrap();
    std::fs::write(&child, text.replace(line, &format!("maps = [\"{}\"]", map.display()))).unwrap();
    let found = headwater(&child, &["map", "check"]);
    let said = printed(&found);
    assert_eq!(found.status.code(), Some(1), "{said}");
    for part in ["elsewhere", "secret", "identity column guid is not there"] {
        assert!(said.contains(part), "{said}");
    }
    let refused = complaint(&headwater(&child, &["run"]), 4);
    for part in ["does not start", "ward: its identity column guid is not there", "mend: "] {
        assert!(refused.contains(part), "{refused}");
    }
}

on_all!(tls_that_does_not_come_about_is_told, a_map_of_what_is_not_there_is_told);
