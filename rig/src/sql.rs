//! SQL text for the rig's own statements. Multi-row inserts in one round trip are what makes half a million row changes a matter
//! of minutes.

/// A string literal.
pub(crate) fn text(value: &str) -> String {
    let mut literal = String::with_capacity(value.len() + 2);
    literal.push('\'');
    for character in value.chars() {
        match character {
            '\'' => literal.push_str("''"),
            '\\' => literal.push_str("\\\\"),
            '\0' => literal.push_str("\\0"),
            other => literal.push(other),
        }
    }
    literal.push('\'');
    literal
}

/// A string literal, or NULL.
pub(crate) fn text_or_null(value: Option<&str>) -> String {
    value.map_or_else(|| "NULL".to_owned(), text)
}

/// One INSERT of many rows.
#[derive(Debug)]
pub(crate) struct Insert {
    head: String,
    rows: Vec<String>,
}

impl Insert {
    /// Into these columns of this table.
    pub(crate) fn into(table: &str, columns: &str) -> Insert {
        Insert { head: format!("INSERT INTO `{table}` ({columns}) VALUES "), rows: Vec::new() }
    }

    /// Adds a row of literals.
    pub(crate) fn row(&mut self, literals: &[String]) {
        self.rows.push(format!("({})", literals.join(", ")));
    }

    /// The statement with its semicolon; empty if there are no rows.
    pub(crate) fn statement(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        format!("{}{};\n", self.head, self.rows.join(",\n"))
    }
}
