//! The whole way between servers of two kinds: all pairs.

use headwater_rig::{Clinic, Flavor};

use crate::nodes::Pair;
use crate::support::is_there;

async fn a_clinic_s_work_arrives(child: Flavor, parent: Flavor, name: &str) {
    if !(is_there(child, name) && is_there(parent, name)) {
        return;
    }
    let pair = Pair::start_between(child, parent).await;
    let mut conn = pair.child_server.conn("openmrs").await.unwrap();
    Clinic::new(1).work(&mut conn, 150).await.unwrap();
    pair.must_be_equal().await;
    let status = pair.parent.status();
    assert_eq!((&status["parked"], &status["quarantined"]), (&0.into(), &0.into()), "{status}");
    the_doctor_names_what_the_parent_s_server_lacks(&pair, child, parent).await;
}

async fn the_doctor_names_what_the_parent_s_server_lacks(
    pair: &Pair,
    child: Flavor,
    parent: Flavor,
) {
    let vectors = parent.is_mysql_from(9, 0) || parent == Flavor::Mariadb118;
    let (kind, is_there) = match child {
        _ if child.is_mariadb() => ("INET6", parent.is_mariadb()),
        _ if child.is_mysql_from(9, 0) => ("VECTOR(3)", vectors),
        _ if child.is_mysql_from(5, 7) => ("JSON", parent != Flavor::Mysql56),
        _ => return,
    };
    pair.at_child(&format!("ALTER TABLE location ADD COLUMN place {kind} NULL")).await;
    let output = pair.child.command(&["doctor", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let types = checks.iter().find(|check| check["name"] == "types");
    if is_there {
        assert!(types.is_none(), "{types:?}");
        return;
    }
    let types = types.unwrap_or_else(|| panic!("{report:#}"));
    let version = pair.parent_says("SELECT VERSION()").await.unwrap();
    let (found, told) = (&types["found"], format!("the parent's server is {version}"));
    assert!(found.as_str().unwrap().starts_with("location.place is "), "{found}");
    assert!(found.as_str().unwrap().ends_with(&told), "{found}");
    assert_eq!(types["verdict"], "doubtful");
}

macro_rules! between {
    ($($name:ident: $child:ident to $parent:ident,)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let name = concat!(module_path!(), "::", stringify!($name));
            a_clinic_s_work_arrives(Flavor::$child, Flavor::$parent, name).await;
        })*
    };
}

between!(
    mariadb_to_mysql: Mariadb1011 to Mysql97,
    mariadb_to_mysql_56: Mariadb1011 to Mysql56,
    mariadb_to_mariadb_11_8: Mariadb1011 to Mariadb118,
    mysql_to_mariadb: Mysql97 to Mariadb1011,
    mysql_to_mysql_56: Mysql97 to Mysql56,
    mysql_to_mariadb_11_8: Mysql97 to Mariadb118,
    mysql_56_to_mysql: Mysql56 to Mysql97,
    mysql_56_to_mariadb: Mysql56 to Mariadb1011,
    mysql_56_to_mariadb_11_8: Mysql56 to Mariadb118,
    mariadb_11_8_to_mysql: Mariadb118 to Mysql97,
    mariadb_11_8_to_mysql_56: Mariadb118 to Mysql56,
    mariadb_11_8_to_mariadb: Mariadb118 to Mariadb1011,
    mysql_to_mysql_57: Mysql97 to Mysql57,
    mysql_to_mysql_80: Mysql97 to Mysql80,
    mysql_to_mysql_84: Mysql97 to Mysql84,
    mariadb_to_mysql_57: Mariadb1011 to Mysql57,
    mariadb_to_mysql_80: Mariadb1011 to Mysql80,
    mariadb_to_mysql_84: Mariadb1011 to Mysql84,
    mysql_56_to_mysql_57: Mysql56 to Mysql57,
    mysql_56_to_mysql_80: Mysql56 to Mysql80,
    mysql_56_to_mysql_84: Mysql56 to Mysql84,
    mariadb_11_8_to_mysql_57: Mariadb118 to Mysql57,
    mariadb_11_8_to_mysql_80: Mariadb118 to Mysql80,
    mariadb_11_8_to_mysql_84: Mariadb118 to Mysql84,
    mysql_57_to_mysql: Mysql57 to Mysql97,
    mysql_57_to_mariadb: Mysql57 to Mariadb1011,
    mysql_57_to_mysql_56: Mysql57 to Mysql56,
    mysql_57_to_mariadb_11_8: Mysql57 to Mariadb118,
    mysql_57_to_mysql_80: Mysql57 to Mysql80,
    mysql_57_to_mysql_84: Mysql57 to Mysql84,
    mysql_80_to_mysql: Mysql80 to Mysql97,
    mysql_80_to_mariadb: Mysql80 to Mariadb1011,
    mysql_80_to_mysql_56: Mysql80 to Mysql56,
    mysql_80_to_mariadb_11_8: Mysql80 to Mariadb118,
    mysql_80_to_mysql_57: Mysql80 to Mysql57,
    mysql_80_to_mysql_84: Mysql80 to Mysql84,
    mysql_84_to_mysql: Mysql84 to Mysql97,
    mysql_84_to_mariadb: Mysql84 to Mariadb1011,
    mysql_84_to_mysql_56: Mysql84 to Mysql56,
    mysql_84_to_mariadb_11_8: Mysql84 to Mariadb118,
    mysql_84_to_mysql_57: Mysql84 to Mysql57,
    mysql_84_to_mysql_80: Mysql84 to Mysql80,
);
