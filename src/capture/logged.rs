//! What the log says of a table's columns, held against a definition. Pure.

use super::decode::{Charset, ColumnFacts, ColumnType, MapColumn};
use crate::database::schema::LiveTable;

/// Whether the log may show one type for another: `MariaDB`'s `UUID`, `INET4` and `INET6` are
/// `BINARY` there, whatever else it says of its columns.
pub(super) fn is_disguised(logged: &MapColumn) -> bool {
    matches!(logged.column, ColumnType::Char { bytes_max: 4 | 16 })
        && matches!(logged.charset, None | Some(Charset::Binary))
}

/// Whether rows that the log describes so can be those of a table defined like this.
pub(super) fn fits(logged: &[MapColumn], table: &LiveTable) -> bool {
    let Some((own, more)) = logged.split_at_checked(table.columns.len()) else { return false };
    are_hashes(more, table)
        && own.iter().zip(&table.columns).all(|(logged, live)| {
            logged.name.as_ref().is_none_or(|name| **name == *live.name)
                && ColumnFacts::new(logged, live).is_ok()
        })
}

/// The first column whose character set is another in the log than in the table's definition, where both
/// say one: told as an operator is.
pub(super) fn other_charset(logged: &[MapColumn], table: &LiveTable) -> Option<String> {
    logged.iter().zip(&table.columns).find_map(|(logged, live)| {
        let (logged, known) = (logged.charset?, live.charset_now()?);
        let differs = logged.name() != known;
        let (name, logged) = (&live.name, logged.name());
        differs.then(|| format!("column {name} is {logged} in the log and {known} in the schema"))
    })
}

/// Whether what the log shows beyond a table's own columns are only hashes of its keys: where they
/// have no names, at most one for each such key, of which some may have been made later.
fn are_hashes(more: &[MapColumn], table: &LiveTable) -> bool {
    let named = more.iter().all(|column| column.name.is_some());
    more.iter().all(|column| column.may_be_hash) && (named || more.len() <= table.hashed_keys)
}

/// The columns that the log names without the hashes of keys at their end, which no definition has.
pub(super) fn without_hashes<'l>(logged: &'l [MapColumn], known: &[&LiveTable]) -> &'l [MapColumn] {
    let is_own = |column: &MapColumn| {
        let mut known = known.iter().flat_map(|table| &table.columns);
        !column.may_be_hash || known.any(|known| column.name.as_deref() == Some(&*known.name))
    };
    let own = logged.iter().rposition(is_own).map_or(0, |last| last + 1);
    logged.get(..own).unwrap_or(logged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::decode::{DecodeError, Refusal};
    use crate::database::schema::LiveColumn;

    fn logged(name: Option<&str>, column: ColumnType) -> MapColumn {
        MapColumn {
            column,
            nullable: true,
            unsigned: None,
            charset: None,
            strange_collation: None,
            name: name.map(ToOwned::to_owned),
            members: None,
            key_place: None,
            geometry: None,
            visible: None,
            dimension: None,
            may_be_hash: false,
        }
    }

    fn live(name: &str, data_type: &str, charset: Option<&str>) -> LiveColumn {
        LiveColumn {
            name: name.into(),
            data_type: data_type.to_owned(),
            column_type: data_type.to_owned(),
            nullable: true,
            default: None,
            charset: charset.map(ToOwned::to_owned),
            collation: None,
            extra: String::new(),
            unsigned: false,
            generated: false,
            members: Vec::new(),
            characters_max: None,
            precision: None,
            scale: None,
        }
    }

    fn table(columns: Vec<LiveColumn>, hashed_keys: usize) -> LiveTable {
        LiveTable {
            name: "note".into(),
            engine: "InnoDB".to_owned(),
            columns,
            indexes: Vec::new(),
            foreign_keys: Vec::new(),
            rows_estimate: 0,
            triggers: Vec::new(),
            system_versioned: false,
            hashed_keys,
        }
    }

    const TEXT: ColumnType = ColumnType::Blob { length_bytes: 2 };
    const HASH: ColumnType = ColumnType::Integer { bytes: 8 };

    #[test]
    fn hashes_of_keys_are_no_columns_of_the_table() {
        let hash = |name| MapColumn { may_be_hash: true, ..logged(name, HASH) };
        let text = || live("a", "text", Some("latin1"));
        let nameless = [logged(None, TEXT), hash(None)];
        assert!(fits(&nameless, &table(vec![text()], 1)));
        assert!(!fits(&nameless, &table(vec![text()], 0)));
        assert!(fits(&nameless[..1], &table(vec![text()], 1)), "a key that was made later");
        let named = [logged(Some("a"), TEXT), hash(Some("DB_ROW_HASH_1"))];
        assert!(fits(&named, &table(vec![text()], 0)));
        assert_eq!(without_hashes(&named, &[&table(vec![text()], 1)]).len(), 1);
        // Somebody's own column of that name.
        let own = table(vec![text(), live("DB_ROW_HASH_1", "bigint", None)], 0);
        assert_eq!(without_hashes(&named, &[&own]).len(), 2);
        assert!(fits(&named, &own));
        let other = [logged(Some("a"), TEXT), logged(Some("b"), HASH)];
        assert!(!fits(&other, &table(vec![text()], 1)));
    }

    #[test]
    fn a_collation_that_is_not_known_is_what_the_definition_says() {
        let strange = MapColumn { strange_collation: Some(1029), ..logged(Some("a"), TEXT) };
        let facts = ColumnFacts::new(&strange, &live("a", "text", Some("utf8mb4"))).unwrap();
        assert_eq!(facts.charset, Charset::Utf8mb4);
        // But never by the log alone.
        assert_eq!(strange.definition([&live("a", "text", Some("utf8mb4"))]), None);
        let error = ColumnFacts::new(&strange, &live("a", "text", None)).unwrap_err();
        assert_eq!(error, DecodeError::Refused(Refusal::Collation(1029)));
    }

    #[test]
    fn two_known_character_sets_are_the_same_or_told() {
        let known = |charset| table(vec![live("a", "text", Some(charset))], 0);
        let logged = [MapColumn { charset: Some(Charset::Utf8mb3), ..logged(None, TEXT) }];
        assert_eq!(other_charset(&logged, &known("utf8")), None);
        let told = other_charset(&logged, &known("latin1")).unwrap();
        assert_eq!(told, "column a is utf8mb3 in the log and latin1 in the schema");
    }

    #[test]
    fn members_that_cannot_be_read_are_what_the_schema_calls_them() {
        let members = Some(vec![b"[".to_vec(), b"b".to_vec()]);
        let column = ColumnType::Enum { bytes: 1 };
        let charset = Some(Charset::Swe7);
        let logged = MapColumn { charset, members, ..logged(Some("a"), column) };
        let of = |members: &[&str]| LiveColumn {
            members: members.iter().map(|member| (*member).to_owned()).collect(),
            ..live("a", "enum", Some("swe7"))
        };
        let known = ColumnFacts::new(&logged, &of(&["Ä", "b"])).unwrap();
        assert_eq!(known.members, ["Ä", "b"]);
        assert!(ColumnFacts::new(&logged, &of(&["Ä"])).is_err());
        assert!(ColumnFacts::new(&logged, &of(&["", ""])).is_err());
        assert_eq!(logged.definition([&of(&["Ä", "b"])]), None);
    }

    #[test]
    fn an_old_temporal_type_that_only_the_log_describes_is_refused() {
        for column in [ColumnType::OldTime, ColumnType::OldDateTime, ColumnType::OldTimestamp] {
            let logged = logged(Some("a"), column);
            let bare = logged.definition([]).unwrap();
            let error = ColumnFacts::new(&logged, &bare).unwrap_err();
            assert_eq!(error, DecodeError::Refused(Refusal::OldFraction));
        }
    }
}
