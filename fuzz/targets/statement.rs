//! The text of a statement in the log: the default schema in its first line, then the statement.

use headwater::capture::{Statement, mentions};

pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (schema, sql) = text.split_once('\n').unwrap_or(("", &text));
    drop(format!("{:?}", Statement::read(sql)));
    if mentions(sql, schema, "openmrs", "obs") {
        assert!(sql.to_ascii_lowercase().contains("obs"));
    }
}
