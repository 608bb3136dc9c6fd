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

crate::support::each_pair!(between);
