//! Names of schemas, tables and columns as SQL takes them, whatever letters they are made of.

/// A name in backticks.
pub fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A table of a schema.
pub fn table_of(schema: &str, table: &str) -> String {
    format!("{}.{}", quoted(schema), quoted(table))
}

/// A whole schema in a GRANT, where `_` and `%` would be wildcards.
pub fn all_of(schema: &str) -> String {
    let plain = schema.replace('\\', "\\\\").replace('_', "\\_").replace('%', "\\%");
    format!("{}.*", quoted(&plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_themselves_whatever_is_in_them() {
        assert_eq!(table_of("o`p", "obs"), "`o``p`.`obs`");
        assert_eq!(all_of("open_mrs"), "`open\\_mrs`.*");
    }
}
