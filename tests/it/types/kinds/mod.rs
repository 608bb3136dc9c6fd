//! Every column type of every server, with literals for its limits: the rows of the table in
//! `docs/types.md`.

mod moments;
mod numbers;
mod others;
mod texts;

use headwater_rig::Flavor;

/// A column type, as one column of a table.
pub(super) struct Kind {
    /// The table it stands in: types that go together.
    pub(super) group: &'static str,
    /// The row of the docs that it belongs to; several columns may share one.
    pub(super) row: String,
    /// Its definition, without NULL or a default.
    pub(super) column: String,
    /// Literals, as SQL.
    pub(super) values: Vec<String>,
    /// How its values are shown for comparison; `{}` stands for the column.
    pub(super) show: &'static str,
    has: fn(Flavor) -> bool,
}

/// Text that both ends print alike.
const PRINTED: &str = "CAST({} AS CHAR)";
/// Text whose new lines MySQL 5.7 prints as they are, where they belong to bytes in base64.
const ONE_LINE: &str = "REPLACE(CAST({} AS CHAR), '\\n', '\\\\n')";
/// The bytes as they are stored.
const BYTES: &str = "HEX({})";
/// Through the binary protocol, which carries the bits.
const BITS: &str = "{}";
/// The number of the member, and its name.
const MEMBER: &str = "CONCAT({} | 0, ' ', HEX({}))";

impl Kind {
    /// Whether a server has the type.
    pub(super) fn is_on(&self, flavor: Flavor) -> bool {
        (self.has)(flavor)
    }
}

fn all(_: Flavor) -> bool {
    true
}

fn mysql_5_7(flavor: Flavor) -> bool {
    flavor.is_mysql_from(5, 7)
}

fn mysql_9(flavor: Flavor) -> bool {
    flavor.is_mysql_from(9, 0)
}

/// MariaDB stores 0.0 for -0.0, whoever writes it: 10.11.19 and 11.8.9 do. 11.8.6 kept the sign.
fn signed_zeros(flavor: Flavor) -> bool {
    !flavor.is_mariadb()
}

fn vectors_of_mariadb(flavor: Flavor) -> bool {
    flavor == Flavor::Mariadb118
}

#[derive(Default)]
struct List(Vec<Kind>);

impl List {
    fn add(
        &mut self,
        group: &'static str,
        row: &str,
        column: &str,
        show: &'static str,
        has: fn(Flavor) -> bool,
        values: &[&str],
    ) {
        self.0.push(Kind {
            group,
            row: row.to_owned(),
            column: column.to_owned(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
            show,
            has,
        });
    }
}

/// All of them, in the order of the docs.
pub(super) fn kinds() -> Vec<Kind> {
    let mut list = List::default();
    numbers::integers(&mut list);
    numbers::numbers(&mut list);
    moments::temporal(&mut list);
    texts::strings(&mut list);
    texts::character_sets(&mut list);
    texts::members(&mut list);
    others::documents(&mut list);
    others::geometries(&mut list);
    others::vectors(&mut list);
    others::of_mariadb(&mut list);
    list.0
}
