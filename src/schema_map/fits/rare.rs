//! Types that many servers do not have.

use crate::database::schema::LiveColumn;
use crate::database::server::Flavor;

/// A type that many servers do not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rare {
    /// Those that have it, in words.
    pub servers: &'static str,
    mysql: Option<(u16, u16, u16)>,
    mariadb: Option<(u16, u16, u16)>,
}

impl Rare {
    /// Whether a server has it.
    pub fn is_on(&self, flavor: Flavor, version: (u16, u16, u16)) -> bool {
        let first = match flavor {
            Flavor::Mysql => self.mysql,
            Flavor::Mariadb => self.mariadb,
        };
        first.is_some_and(|first| version >= first)
    }
}

/// Which servers have a column's type, if many do not.
pub fn rare(column: &LiveColumn) -> Option<Rare> {
    let rare = |servers, mysql, mariadb| Some(Rare { servers, mysql, mariadb });
    match column.data_type.as_str() {
        "vector" => rare("MySQL from 9.0 and MariaDB from 11.7", Some((9, 0, 0)), Some((11, 7, 0))),
        "uuid" => rare("MariaDB from 10.7", None, Some((10, 7, 0))),
        "inet4" => rare("MariaDB from 10.10", None, Some((10, 10, 0))),
        "inet6" => rare("MariaDB from 10.5", None, Some((10, 5, 0))),
        "json" => rare("MySQL from 5.7 and, as text, MariaDB", Some((5, 7, 0)), Some((10, 2, 0))),
        _ if is_compressed(column) => rare("MariaDB from 10.3", None, Some((10, 3, 0))),
        "decimal" if column.scale.is_some_and(|scale| scale > 30) => {
            rare("MariaDB", None, Some((10, 2, 0)))
        }
        _ if column.charset.as_deref() == Some("gb18030") => {
            rare("MySQL from 5.7", Some((5, 7, 0)), None)
        }
        _ => None,
    }
}

/// `MariaDB` writes it into the type. A member of an ENUM or SET may be called so, too.
fn is_compressed(column: &LiveColumn) -> bool {
    column.members.is_empty() && column.column_type.to_ascii_lowercase().contains("compressed")
}
