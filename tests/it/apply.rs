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

/// Runs each story on both kinds of server.
macro_rules! on_both {
    ($($story:ident),* $(,)?) => {
        mod mysql {
            $(#[tokio::test]
            async fn $story() {
                let flavor = headwater_rig::Flavor::Mysql97;
                if crate::support::is_there(flavor, concat!(module_path!(), "::", stringify!($story))) {
                    super::$story(crate::apply::stage::Stage::on(flavor).await).await;
                }
            })*
        }
        mod mariadb {
            $(#[tokio::test]
            async fn $story() {
                let flavor = headwater_rig::Flavor::Mariadb1011;
                if crate::support::is_there(flavor, concat!(module_path!(), "::", stringify!($story))) {
                    super::$story(crate::apply::stage::Stage::on(flavor).await).await;
                }
            })*
        }
    };
}
use on_both;
