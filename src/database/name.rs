//! Names of schemas, tables and columns as SQL takes them, whatever letters they are made of.

use super::server::Server;

/// A name in backticks.
pub fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A table of a schema.
pub fn table_of(schema: &str, table: &str) -> String {
    format!("{}.{}", quoted(schema), quoted(table))
}

/// What stands for a schema in a GRANT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granting {
    /// A pattern, in which `_` and `%` are wildcards.
    Patterns,
    /// Its name: so a MySQL with `partial_revokes` takes them.
    Names,
}

impl Granting {
    /// What this server takes.
    pub fn of(server: &Server) -> Granting {
        if server.is_on("partial_revokes") { Granting::Names } else { Granting::Patterns }
    }

    /// A whole schema.
    pub fn all_of(self, schema: &str) -> String {
        let plain = || schema.replace('\\', "\\\\").replace('_', "\\_").replace('%', "\\%");
        match self {
            Granting::Patterns => format!("{}.*", quoted(&plain())),
            Granting::Names => format!("{}.*", quoted(schema)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_themselves_whatever_is_in_them() {
        assert_eq!(table_of("o`p", "obs"), "`o``p`.`obs`");
        assert_eq!(Granting::Patterns.all_of("open_mrs"), "`open\\_mrs`.*");
        assert_eq!(Granting::Names.all_of("open_mrs"), "`open_mrs`.*");
    }
}
