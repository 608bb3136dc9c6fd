//! `headwater grants`: the least an account needs, as SQL for the server there is.

use super::arguments::Grants;
use super::{Error, Outcome, Output};
use crate::config::Config;
use crate::database::server::{Flavor, Server};

pub(super) async fn run(
    config: &Config,
    grants: &Grants,
    out: &mut Output,
) -> Result<Outcome, Error> {
    let options = &config.database.options;
    let found = match options.connect(&[]).await {
        Ok(mut connection) => {
            let server = Server::read(&mut connection).await;
            connection.disconnect().await.ok();
            server.map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    let flavors = match &found {
        Ok(server) => {
            out.line(format!("-- for {server} at {}", options.address()))?;
            vec![server.flavor]
        }
        Err(error) => {
            for line in error.lines() {
                out.line(format!("-- {line}"))?;
            }
            out.line("-- so here is what either kind of server wants; run one of the two")?;
            vec![Flavor::Mysql, Flavor::Mariadb]
        }
    };
    for flavor in flavors {
        let account = Account {
            flavor,
            user: &options.user,
            host: &grants.host,
            database: &options.database,
            state_schema: &config.database.state_schema,
        };
        out.line(account.statements())?;
    }
    Ok(Outcome::Well)
}

/// Whose rights, on what.
pub(crate) struct Account<'a> {
    /// MySQL and `MariaDB` name some rights differently.
    pub(crate) flavor: Flavor,
    /// The account's user part.
    pub(crate) user: &'a str,
    /// The account's host part.
    pub(crate) host: &'a str,
    /// The database that is kept in step.
    pub(crate) database: &'a str,
    /// The schema of headwater's own tables.
    pub(crate) state_schema: &'a str,
}

impl Account<'_> {
    /// Statements that make the account and give it what capture and apply need, and no more.
    pub(crate) fn statements(&self) -> String {
        let name = match self.flavor {
            Flavor::Mysql => "MySQL",
            Flavor::Mariadb => "MariaDB",
        };
        let old = match self.flavor {
            Flavor::Mysql => " (before 5.7: without IF NOT EXISTS)",
            Flavor::Mariadb => "",
        };
        let account = self.account();
        let (database, state) = (on(self.database), on(self.state_schema));
        let positions = self.positions();
        format!(
            "\
-- {name}: run as an administrator, with a password of your own{old}
CREATE USER IF NOT EXISTS {account} IDENTIFIED BY 'choose a password';
-- capture: be sent the binary log, ask where it ends, read tables and identities
GRANT REPLICATION SLAVE, {positions} ON *.* TO {account};
GRANT SELECT ON {database} TO {account};
-- apply: write rows, and keep watermarks and what is set aside in a schema of its own
GRANT INSERT, UPDATE, DELETE ON {database} TO {account};
GRANT CREATE, ALTER, SELECT, INSERT, UPDATE, DELETE ON {state} TO {account};"
        )
    }

    /// The right to ask where the log ends, by its name here.
    pub(crate) fn positions(&self) -> &'static str {
        match self.flavor {
            Flavor::Mysql => "REPLICATION CLIENT",
            Flavor::Mariadb => "BINLOG MONITOR",
        }
    }

    /// The account as SQL writes it.
    pub(crate) fn account(&self) -> String {
        format!("{}@{}", quoted(self.user), quoted(self.host))
    }
}

/// A whole schema in a GRANT, where `_` and `%` would be wildcards.
fn on(schema: &str) -> String {
    let plain = schema.replace('`', "``").replace('\\', "\\\\");
    format!("`{}`.*", plain.replace('_', "\\_").replace('%', "\\%"))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}
