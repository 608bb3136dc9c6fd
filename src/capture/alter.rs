//! What an `ALTER TABLE` can do to the reading of a table's rows: nothing (indexes, options),
//! something to what columns refer to, to what they hold, or to which columns there are; and whether
//! rows get other keys. Only this is read of it; what is not recognised can do anything.

use super::words::{Word, readings, words};

/// The most that a statement can do to how rows are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effect {
    /// Rows before and after it are read alike.
    Nothing,
    /// Columns stay as they are, but may refer to something else.
    Keys,
    /// Columns keep their names and places, but may hold something else.
    Contents,
    /// There may be other columns, or in another order.
    Columns,
}

/// The effect of a statement that defines a table.
pub(super) fn effect(sql: &str) -> Effect {
    let most = |all: Vec<Vec<String>>| all.iter().map(|one| specification(one)).max();
    specifications(sql).and_then(most).unwrap_or(Effect::Columns)
}

/// Whether columns that keep their names may hold something else after a statement. One that is
/// dropped may be added again under its name, in the same statement or a later one.
pub(super) fn recasts(sql: &str) -> bool {
    specifications(sql).is_none_or(|all| {
        all.iter().any(|one| match specification(one) {
            Effect::Nothing | Effect::Keys => false,
            Effect::Contents => true,
            Effect::Columns => one.first().is_none_or(|verb| verb != "ADD"),
        })
    })
}

/// Whether columns may refer to nothing after a statement, or to another table than before.
pub(super) fn unties(sql: &str) -> bool {
    let drops_key = |one: &Vec<String>| {
        let mut words = one.iter().map(String::as_str);
        words.next() == Some("DROP") && matches!(words.next(), Some("FOREIGN" | "CONSTRAINT"))
    };
    specifications(sql).is_none_or(|all| all.iter().any(drops_key))
}

/// Whether an `ALTER TABLE` may give the rows of a table other values in its key column: that is
/// made anew, or another column becomes the key.
pub(super) fn renumbers(sql: &str, key: &str) -> bool {
    readings(sql).any(|words| {
        let mut head = words.clone();
        let alters = head.next().is_some_and(|word| word.is("ALTER"))
            && head.take(3).any(|word| word.is("TABLE"));
        let has = |keyword: &str| words.clone().any(|word| word.is(keyword));
        // A foreign key that goes takes no column along.
        let drops = || {
            let behind = words.clone().skip(1).map(|word| word.is("FOREIGN")).chain([false]);
            words.clone().zip(behind).any(|(word, foreign)| word.is("DROP") && !foreign)
        };
        let takes_away = || drops() || has("CHANGE") || has("RENAME");
        alters && (has("PRIMARY") || words.clone().any(|word| word.names(key)) && takes_away())
    })
}

/// The words of each specification of an `ALTER TABLE`. `None` of anything else, and of what could
/// be read otherwise: in a comment, a string or a name in quotation marks could be anything.
fn specifications(sql: &str) -> Option<Vec<Vec<String>>> {
    let mut head = words(sql);
    let alters = head.next().is_some_and(|word| word.is("ALTER"))
        && head.next().is_some_and(|word| word.is("TABLE"));
    if !alters || ["/*", "--", "#", "\"", "\\"].iter().any(|part| sql.contains(part)) {
        return None;
    }
    let specifications = split(sql);
    let worded = specifications.iter().enumerate().map(|(place, text)| {
        let mut left = words(text);
        if place == 0 {
            // ALTER TABLE [database.]table comes before the first; blanks may stand around the dot.
            left.by_ref().take(3).for_each(drop);
            if left.rest().trim_start().starts_with('.') {
                left.next();
            }
        }
        let mut worded: Vec<String> = left.next().iter().map(keyword).collect();
        if left.rest().trim_start().starts_with('(') {
            worded.push("(".to_owned());
        }
        worded.extend(left.map(|word| keyword(&word)));
        worded
    });
    Some(worded.collect())
}

/// A word in capitals; a quoted one is a name, whatever it says.
fn keyword(word: &Word<'_>) -> String {
    if word.quoted { "`".to_owned() } else { word.text.to_ascii_uppercase() }
}

fn specification(words: &[String]) -> Effect {
    let word = |place: usize| words.get(place).map_or("", String::as_str);
    let moves = words.iter().any(|word| word == "FIRST" || word == "AFTER");
    match word(0) {
        "ADD" => match word(1) {
            "CONSTRAINT" | "PRIMARY" | "FOREIGN" => Effect::Keys,
            "UNIQUE" | "INDEX" | "KEY" | "FULLTEXT" | "SPATIAL" | "CHECK" | "PARTITION" => {
                Effect::Nothing
            }
            _ => Effect::Columns,
        },
        "DROP" => match word(1) {
            "CONSTRAINT" | "PRIMARY" | "FOREIGN" => Effect::Keys,
            "INDEX" | "KEY" | "CHECK" => Effect::Nothing,
            _ => Effect::Columns,
        },
        "RENAME" if matches!(word(1), "INDEX" | "KEY") => Effect::Nothing,
        "MODIFY" if !moves => Effect::Contents,
        // Of another engine it is read alike, but one without transactions does not travel.
        "CONVERT" | "ENGINE" => Effect::Contents,
        // Options may follow one another without a comma.
        _ if words.iter().any(|word| word == "ENGINE") => Effect::Columns,
        "ALTER" | "AUTO_INCREMENT" | "COMMENT" | "ROW_FORMAT" | "ENABLE" | "DISABLE"
        | "ALGORITHM" | "LOCK" | "FORCE" | "DEFAULT" | "COLLATE" | "CHARACTER"
        // Partitions: which rows they take or bring, if any, is another question.
        | "PARTITION" | "REORGANIZE" | "COALESCE" | "REBUILD" | "OPTIMIZE" | "ANALYZE" | "CHECK"
        | "REPAIR" => Effect::Nothing,
        "REMOVE" if word(1) == "PARTITIONING" => Effect::Nothing,
        _ => Effect::Columns,
    }
}

/// The specifications of an ALTER, which commas separate outside of parentheses and quotes.
fn split(sql: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut depth, mut quote, mut escaped) = (0, 0_u32, None, false);
    for (place, letter) in sql.char_indices() {
        if let Some(open) = quote {
            if escaped {
                escaped = false;
            } else if letter == '\\' && open != '`' {
                escaped = true;
            } else if letter == open {
                quote = None;
            }
            continue;
        }
        match letter {
            '\'' | '"' | '`' => quote = Some(letter),
            '(' => depth = depth.saturating_add(1),
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(sql.get(start..place).unwrap_or_default());
                start = place + 1;
            }
            _ => {}
        }
    }
    parts.push(sql.get(start..).unwrap_or_default());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alter_does_the_most_of_what_it_says() {
        for (sql, expected) in [
            ("ALTER TABLE obs ADD INDEX i (a, b)", Effect::Nothing),
            (
                "alter table `my-db`.`a.b` add constraint c foreign key (a) references t (b)",
                Effect::Keys,
            ),
            ("ALTER TABLE obs DROP FOREIGN KEY f, DROP INDEX f", Effect::Keys),
            ("ALTER TABLE obs DROP PRIMARY KEY, ADD PRIMARY KEY (a)", Effect::Keys),
            ("ALTER TABLE obs ADD FOREIGN KEY (a) REFERENCES t (b), DROP c", Effect::Columns),
            ("ALTER TABLE obs ENGINE = InnoDB", Effect::Contents),
            ("ALTER TABLE openmrs.obs AUTO_INCREMENT = 7", Effect::Nothing),
            ("ALTER TABLE obs ALTER COLUMN a SET DEFAULT ', ADD b INT'", Effect::Nothing),
            ("ALTER TABLE obs MODIFY uuid CHAR(38) NOT NULL", Effect::Contents),
            ("ALTER TABLE obs ADD UNIQUE (uuid), MODIFY uuid CHAR(38) NOT NULL", Effect::Contents),
            ("ALTER TABLE obs CONVERT TO CHARACTER SET utf8mb4", Effect::Contents),
            ("ALTER TABLE obs MODIFY uuid CHAR(38) AFTER a", Effect::Columns),
            ("ALTER TABLE obs ADD uuid CHAR(38)", Effect::Columns),
            ("ALTER TABLE obs ADD COLUMN `index` INT", Effect::Columns),
            ("ALTER TABLE obs ADD `index` INT", Effect::Columns),
            ("ALTER TABLE obs DROP `key`", Effect::Columns),
            ("ALTER TABLE obs ADD INDEX i (a), ADD (b INT, c INT)", Effect::Columns),
            ("ALTER TABLE obs ADD (INDEX i (a), b INT)", Effect::Columns),
            ("ALTER TABLE openmrs . comment DROP a", Effect::Columns),
            ("ALTER TABLE openmrs. `comment` COMMENT 'x'", Effect::Nothing),
            ("ALTER TABLE obs DROP a", Effect::Columns),
            ("ALTER TABLE obs CHANGE a b INT", Effect::Columns),
            ("ALTER TABLE obs RENAME TO old", Effect::Columns),
            ("ALTER TABLE obs COMMENT = 'x' ENGINE = MyISAM", Effect::Columns),
            ("ALTER TABLE obs ADD PARTITION (PARTITION p VALUES LESS THAN (9))", Effect::Nothing),
            ("ALTER TABLE obs PARTITION BY HASH (obs_id) PARTITIONS 3", Effect::Nothing),
            ("ALTER TABLE obs ADD a INT PARTITION BY HASH (a)", Effect::Columns),
            ("ALTER TABLE obs ADD `partition` INT", Effect::Columns),
            ("ALTER TABLE obs REMOVE PARTITIONING", Effect::Nothing),
            ("ALTER TABLE obs REMOVE SYSTEM VERSIONING", Effect::Columns),
            ("ALTER TABLE obs /*!50000 ADD a INT */", Effect::Columns),
            (r#"ALTER TABLE "obs" CHANGE comment remark TEXT"#, Effect::Columns),
            (r"ALTER TABLE obs COMMENT 'C:\', CHANGE a b INT, COMMENT 'x'", Effect::Columns),
            ("ALTER IGNORE TABLE obs ADD INDEX i (a)", Effect::Columns),
            ("CREATE TABLE obs (a INT)", Effect::Columns),
            ("RENAME TABLE a TO obs", Effect::Columns),
            ("ALTER TABLE", Effect::Columns),
        ] {
            assert_eq!(effect(sql), expected, "{sql}");
        }
    }

    #[test]
    fn columns_that_come_leave_the_others_as_they_are() {
        for sql in [
            "ALTER TABLE obs ADD a INT",
            "ALTER TABLE obs ADD FOREIGN KEY (a) REFERENCES t (b)",
            "ALTER TABLE obs ADD INDEX (a)",
        ] {
            assert!(!recasts(sql), "{sql}");
        }
        for sql in [
            "ALTER TABLE obs ADD a INT, DROP COLUMN b",
            "ALTER TABLE obs DROP a, ADD a TEXT",
            "ALTER TABLE obs ADD a INT, MODIFY b TEXT",
            "ALTER TABLE obs MODIFY a TEXT FIRST",
            "ALTER TABLE obs CHANGE a a TEXT",
            "ALTER TABLE obs CONVERT TO CHARACTER SET latin1",
            "CREATE TABLE obs (a INT)",
            "RENAME TABLE a TO obs",
            "ALTER TABLE obs ADD a INT COMMENT \"x\"",
        ] {
            assert!(recasts(sql), "{sql}");
        }
    }

    #[test]
    fn a_foreign_key_that_goes_may_come_back_with_another_table() {
        for sql in [
            "ALTER TABLE obs DROP FOREIGN KEY f, ADD FOREIGN KEY (a) REFERENCES t (b)",
            "ALTER TABLE obs ADD INDEX (a), DROP CONSTRAINT f",
            "RENAME TABLE a TO obs",
        ] {
            assert!(unties(sql), "{sql}");
        }
        for sql in [
            "ALTER TABLE obs ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES t (b)",
            "ALTER TABLE obs DROP COLUMN a",
        ] {
            assert!(!unties(sql), "{sql}");
        }
    }

    #[test]
    fn a_key_made_anew_numbers_the_rows_anew() {
        for sql in [
            "ALTER TABLE visit DROP COLUMN `visit_id`, ADD `visit_id` INT AUTO_INCREMENT KEY FIRST",
            "alter table openmrs.visit drop primary key, add primary key (other_id)",
            "ALTER TABLE visit CHANGE visit_id was INT, ADD visit_id INT",
            "ALTER TABLE visit /* anew */ DROP VISIT_ID",
            "ALTER TABLE visit DROP FOREIGN KEY f, DROP COLUMN visit_id",
        ] {
            assert!(renumbers(sql, "visit_id"), "{sql}");
        }
        for sql in [
            "ALTER TABLE visit DROP COLUMN other",
            "ALTER TABLE visit MODIFY visit_id BIGINT AUTO_INCREMENT",
            "ALTER TABLE visit ADD INDEX (visit_id)",
            "ALTER TABLE visit DROP FOREIGN KEY f, ADD FOREIGN KEY (visit_id) REFERENCES a (b)",
            "DROP TABLE visit_id",
        ] {
            assert!(!renumbers(sql, "visit_id"), "{sql}");
        }
    }
}
