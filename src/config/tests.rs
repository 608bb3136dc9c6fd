use super::*;

const CHILD: &str = r#"
[node]
name = "clinic-12"
data_dir = "data"

[database]
url = "mysql://headwater@127.0.0.1:3306/openmrs"
maps = ["schema-maps/openmrs-2.x.toml"]

[parent]
url = "https://parent.example.org:8443"
"#;

fn read(text: &str) -> Result<Config, ConfigError> {
    let path = Path::new("/etc/headwater/headwater.toml");
    meant::config(path, file::parse(path, text)?, None)
}

/// What the operator sees, for a configuration in which one thing is replaced.
fn complaint(find: &str, replacement: &str) -> String {
    assert!(CHILD.contains(find), "{find}");
    let error = read(&CHILD.replace(find, replacement)).expect_err("is wrong");
    error.to_string()
}

#[test]
fn the_files_of_the_issue_are_understood() {
    let text = r#"
[node]
name = "clinic-12"
data_dir = "/var/lib/headwater"

[database]
url = "mysql://headwater@127.0.0.1:3306/openmrs"
maps = ["schema-maps/openmrs-2.x.toml"]

[parent]
url = "https://parent.example.org:8443"
schedule = "every 5m"
compression = "auto"
timeout = "30s"

[listen]
address = "0.0.0.0:8443"
names = ["parent.example.org"]

[status]
address = "127.0.0.1:9464"
"#;
    let config = read(text).expect("a middle tier");
    assert_eq!(config.database.options.database, "openmrs");
    assert_eq!(
        config.database.maps,
        [PathBuf::from("/etc/headwater/schema-maps/openmrs-2.x.toml")],
        "relative to the file"
    );
    let parent = config.parent.expect("a parent");
    assert_eq!(parent.schedule, Schedule::Every(Duration::from_mins(5)));
    assert_eq!(parent.timeout, Duration::from_secs(30));
    assert!(config.listen.is_some() && config.status.is_some());
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_known_key() {
    assert_eq!(
        complaint("data_dir", "data_dirr"),
        "/etc/headwater/headwater.toml:4:1: unknown key `data_dirr`; did you mean `data_dir`?"
    );
    assert_eq!(
        complaint("[parent]", "[parents]"),
        "/etc/headwater/headwater.toml:10:2: unknown key `parents`; did you mean `parent`?"
    );
    assert_eq!(
        complaint("[parent]", "[parent]\n  zeitplan = 1"),
        "/etc/headwater/headwater.toml:11:3: unknown key `zeitplan`; the keys here are: url, \
         schedule, compression, timeout, hello_every, backoff_min, backoff_max, batch_bytes_max, \
         piece_bytes_max"
    );
}

#[test]
fn each_wrong_value_has_one_clear_message() {
    let parent = "url = \"https://parent.example.org:8443\"";
    let with = |line: &str| format!("{parent}\n{line}");
    for (find, replacement, expected) in [
        ("name = \"clinic-12\"", "", "missing key `name`"),
        ("\"clinic-12\"", "\"a b\"", "node.name = \"a b\" is no name"),
        ("\"clinic-12\"", "12", ":3:8: invalid type: integer `12`, expected a string"),
        (
            "mysql://headwater@",
            "postgres://headwater@",
            "It looks like mysql://USER@HOST:3306/DATABASE",
        ),
        ("/openmrs\"", "\"", "it names no database"),
        ("headwater@", "", "it names no user"),
        ("[\"schema-maps/openmrs-2.x.toml\"]", "[]", "database.maps is empty"),
        ("https://", "http://", "write https://HOST:8443, without a path"),
        (
            parent,
            &with("hello_every = \"5ms\""),
            "parent.hello_every is 5 ms: it must be at least 1s",
        ),
        (parent, &with("timeout = 30"), ":12:11: `30` has no unit: expected a duration"),
        (parent, &with("timeout = \"soon\""), ":12:11: `soon` is not a duration"),
        (parent, &with("schedule = \"often\""), ":12:12: `often` is not a schedule"),
        (parent, &with("compression = \"zip\""), "expected one of `auto`, `none`, `lz4`"),
        (parent, &with("piece_bytes_max = \"1GiB\""), "must be between 1024 and 1048576"),
        (parent, &with("backoff_min = \"1h\""), "parent.backoff_min is longer than"),
        (parent, &with("[listen]\naddress = \"8443\"\nnames = [\"p\"]"), "invalid socket address"),
        (
            parent,
            &with("[listen]\naddress = \"0.0.0.0:8443\"\nnames = []"),
            "listen.names is empty",
        ),
        (parent, &with("[capture]\nserver_id = 0"), "capture.server_id is 0"),
        ("[parent]", "[parent", ":10:8: "),
    ] {
        let message = complaint(find, replacement);
        assert!(message.starts_with("/etc/headwater/headwater.toml:"), "{message}");
        assert!(message.contains(expected), "{message} does not say {expected}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn the_state_schema_is_not_the_database_itself() {
    let message = complaint("[parent]", "state_schema = \"OpenMRS\"\n[parent]");
    assert!(message.contains("a schema of their own"), "{message}");
}

#[test]
fn the_password_is_never_printed_and_the_file_wins_over_the_environment() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("headwater.toml");
    std::fs::write(folder.path().join("password"), "from the file\n").expect("written");
    let text = CHILD.replace("[parent]", "password_file = \"password\"\n[parent]");
    let file = file::parse(&path, &text).expect("parsed");
    let config = meant::config(&path, file, Some("from outside".to_owned())).expect("understood");
    assert_eq!(config.database.options.password.as_deref(), Some("from the file"));
    assert!(!format!("{config:?}").contains("from the file"));
    assert!(config.warnings.iter().any(|warning| warning.contains("chmod 600")));

    let file = file::parse(&path, CHILD).expect("parsed");
    let config = meant::config(&path, file, Some("from outside".to_owned())).expect("understood");
    assert_eq!(config.database.options.password.as_deref(), Some("from outside"));
}

#[test]
fn every_node_gets_a_server_id_of_its_own_that_stays() {
    let id =
        |name: &str| read(&CHILD.replace("clinic-12", name)).expect("understood").capture.server_id;
    assert_eq!(id("clinic-12"), id("clinic-12"));
    assert_ne!(id("clinic-12"), id("clinic-13"));
    assert!(id("clinic-12") > 0x8000_0000);
}

#[test]
fn the_written_configuration_states_every_key_and_its_true_default() {
    let written = template::write("clinic-12", "/var/lib/headwater", template::For::Both);
    let plain = read(&written).expect("the template is understood");
    // With every commented default switched on, apart from the files it names, nothing changes.
    let stated: String = written
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') && !rest.contains("_file") => rest,
            Some(_) | None => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut all = read(&stated).expect("the defaults are understood");
    assert_ne!(all.capture.server_id, 0);
    all.capture.server_id = plain.capture.server_id;
    assert_eq!(format!("{plain:?}"), format!("{all:?}"));
    for key in keys() {
        let stands = written.lines().any(|line| {
            line.trim_start_matches('#')
                .strip_prefix(key.as_str())
                .is_some_and(|rest| rest.starts_with(" = "))
        });
        assert!(stands, "{key} does not stand in the template");
    }
}

/// Every key there is, as the parser itself lists them when it meets one that is none.
fn keys() -> Vec<String> {
    let needed = [
        ("node", "name = \"n\"\ndata_dir = \"d\""),
        ("database", "url = \"mysql://u@h/d\"\nmaps = [\"m\"]"),
        ("parent", "url = \"https://h\""),
        ("listen", "address = \"[::]:1\"\nnames = [\"n\"]"),
        ("status", "address = \"[::]:1\""),
        ("capture", ""),
        ("spool", ""),
        ("apply", ""),
    ];
    let mut keys = Vec::new();
    for (wrong, _) in needed {
        let mut text = String::new();
        for (section, lines) in needed {
            let extra = if section == wrong { "qqqqqqqqqqqqqqqqqqqqqqqq = 1" } else { "" };
            text.push_str(&format!("[{section}]\n{lines}\n{extra}\n"));
        }
        let message = read(&text).expect_err("has an unknown key").to_string();
        let (_, list) = message.split_once("the keys here are: ").expect("a list");
        keys.extend(list.split(", ").map(str::to_owned));
    }
    assert!(keys.len() > 35, "{keys:?}");
    keys
}
