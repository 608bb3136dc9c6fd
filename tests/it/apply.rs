//! Batches built by hand, applied to real servers that hold the OpenMRS tables: each trap of that
//! data model has a test named for it, on MySQL and on MariaDB.

mod again;
mod exactly_once;
mod hazards;
mod pinned;
mod set_aside;
mod speed;
mod spelling;
mod stage;
mod target_tables;
mod values;

/// Runs each story on one kind of server.
macro_rules! on {
    ($module:ident, $flavor:ident, $($story:ident),*) => {
        mod $module {
            $(#[tokio::test]
            async fn $story() {
                let flavor = headwater_rig::Flavor::$flavor;
                if crate::support::is_there(flavor, concat!(module_path!(), "::", stringify!($story))) {
                    super::$story(crate::apply::stage::Stage::on(flavor).await).await;
                }
            })*
        }
    };
}
use on;

/// Runs each story on the two servers that everything runs on, and on what else is there beside the four
/// that `make test` gets.
macro_rules! on_both {
    ($($story:ident),* $(,)?) => {
        $crate::apply::on!(mysql, Mysql97, $($story),*);
        $crate::apply::on!(mariadb, Mariadb1011, $($story),*);
        $crate::apply::on!(mysql_57, Mysql57, $($story),*);
        $crate::apply::on!(mysql_80, Mysql80, $($story),*);
        $crate::apply::on!(mysql_84, Mysql84, $($story),*);
    };
}
use on_both;

/// Runs each story on the two others of the four.
macro_rules! on_others {
    ($($story:ident),* $(,)?) => {
        $crate::apply::on!(mysql_56, Mysql56, $($story),*);
        $crate::apply::on!(mariadb_11_8, Mariadb118, $($story),*);
    };
}
use on_others;
