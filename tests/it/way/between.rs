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
);
