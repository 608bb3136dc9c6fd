//! Which types hold the values of which others.

use super::*;

fn column(kind: &str, more: impl FnOnce(&mut LiveColumn)) -> LiveColumn {
    let mut column = LiveColumn {
        name: "c".into(),
        data_type: kind.split(['(', ' ']).next().unwrap().to_owned(),
        column_type: kind.to_owned(),
        nullable: true,
        default: None,
        charset: None,
        collation: None,
        extra: String::new(),
        unsigned: kind.contains("unsigned"),
        generated: false,
        members: Vec::new(),
        characters_max: None,
        precision: None,
        scale: None,
    };
    more(&mut column);
    column
}

fn plain(kind: &str) -> LiveColumn {
    column(kind, |_| {})
}

fn text(length: u64, charset: &str) -> LiveColumn {
    column("varchar", |column| {
        column.characters_max = Some(length);
        column.charset = Some(charset.to_owned());
    })
}

#[test]
fn wider_integers_hold_narrower_ones() {
    assert_eq!(misfit(&plain("int"), &plain("bigint")), None);
    assert_eq!(misfit(&plain("tinyint unsigned"), &plain("smallint")), None);
    assert!(misfit(&plain("int unsigned"), &plain("int")).is_some());
    assert!(misfit(&plain("int"), &plain("int unsigned")).is_some());
}

#[test]
fn a_character_set_holds_itself_and_unicode_holds_all() {
    assert_eq!(misfit(&text(20, "sjis"), &text(20, "utf8mb4")), None);
    assert_eq!(misfit(&text(20, "utf8"), &text(20, "utf8mb3")), None);
    assert_eq!(misfit(&text(20, "ascii"), &text(30, "latin1")), None);
    let words = misfit(&text(20, "utf8mb4"), &text(20, "latin1")).unwrap();
    assert_eq!(words, "and latin1 does not hold every character of it");
    assert!(misfit(&text(21, "latin1"), &text(20, "latin1")).is_some());
}

#[test]
fn a_type_that_one_end_lacks_needs_one_that_holds_it() {
    let vector = plain("vector(3)");
    assert_eq!(misfit(&vector, &plain("varbinary(12)")), None);
    assert!(misfit(&vector, &plain("int")).is_some());
    assert!(misfit(&vector, &plain("vector(4)")).is_some());
    assert_eq!(misfit(&plain("uuid"), &text(36, "ascii")), None);
    assert!(misfit(&plain("uuid"), &text(32, "ascii")).is_some());
    assert_eq!(misfit(&plain("json"), &text(1 << 32, "utf8mb4")), None);
    assert!(misfit(&plain("json"), &text(1 << 32, "latin1")).is_some());
}

#[test]
fn members_fractions_and_years_that_are_not_there_are_named() {
    let with = |members: &[&str]| {
        column("enum", |column| {
            column.members = members.iter().map(|member| (*member).to_owned()).collect();
        })
    };
    assert_eq!(misfit(&with(&["a"]), &with(&["b", "a"])), None);
    let words = misfit(&with(&["a", "c"]), &with(&["a", "b"])).unwrap();
    assert!(words.contains("'c'"), "{words}");
    let fine = column("datetime", |column| column.scale = Some(6));
    assert!(misfit(&fine, &plain("datetime")).is_some());
    assert!(misfit(&plain("datetime"), &plain("timestamp")).is_some());
    assert_eq!(misfit(&plain("timestamp"), &plain("datetime")), None);
}

#[test]
fn numbers_fit_where_every_one_of_them_does() {
    let number = |kind: &str, precision: u32, scale: Option<u32>| {
        column(kind, |column| {
            column.precision = Some(precision);
            column.scale = scale;
        })
    };
    let fits = |here: &LiveColumn, there: &LiveColumn| {
        assert_eq!(misfit(here, there), None, "{} into {}", here.column_type, there.column_type);
    };
    let not = |here: &LiveColumn, there: &LiveColumn, words: &str| {
        let found = misfit(here, there).unwrap_or_default();
        assert!(found.contains(words), "{} into {}: {found}", here.column_type, there.column_type);
    };
    fits(&number("bit", 1, None), &plain("tinyint"));
    not(&number("bit", 8, None), &plain("tinyint"), "-128 to 127");
    fits(&plain("tinyint"), &number("bit", 1, None));
    assert!(doubt(&plain("tinyint"), &number("bit", 1, None)).unwrap().contains("0 to 1 only"));
    not(&plain("int"), &number("bit", 8, None), "0 to 255");
    fits(&plain("year"), &plain("smallint"));
    not(&plain("year"), &plain("tinyint"), "-128 to 127");
    not(&plain("smallint"), &plain("year"), "does not hold");
    fits(&plain("int"), &number("decimal", 20, Some(0)));
    fits(&plain("int"), &number("decimal", 12, Some(2)));
    not(&plain("int"), &number("decimal", 11, Some(2)), "fewer digits");
    fits(&number("decimal", 9, Some(0)), &plain("int"));
    not(&number("decimal", 10, Some(0)), &plain("int"), "only");
    not(&number("decimal", 5, Some(2)), &plain("int"), "fewer digits");
    fits(&plain("int"), &number("double", 22, None));
    not(&plain("bigint"), &number("double", 22, None), "fewer digits");
    not(&plain("int"), &number("float", 12, None), "fewer digits");
    for kind in ["decimal", "float", "double"] {
        let (signed, unsigned) = (kind.to_owned(), format!("{kind} unsigned"));
        not(&number(&signed, 9, Some(2)), &number(&unsigned, 9, Some(2)), "no negative");
        fits(&number(&unsigned, 9, Some(2)), &number(&signed, 9, Some(2)));
    }
    not(&number("double", 22, None), &number("double", 10, Some(2)), "fewer digits");
    not(&number("float", 12, None), &number("float", 7, Some(3)), "fewer digits");
    not(&number("double", 10, Some(2)), &number("double", 8, Some(2)), "fewer digits");
    fits(&number("double", 8, Some(2)), &number("double", 10, Some(2)));
    fits(&plain("date"), &plain("datetime"));
    not(&plain("date"), &plain("timestamp"), "1970 to 2038");
    not(&plain("datetime"), &plain("date"), "does not hold");
}

#[test]
fn bytes_and_documents_need_room() {
    let sized = |kind: &str, most: u64| column(kind, |column| column.characters_max = Some(most));
    let document = |kind: &str, most: u64| {
        column(kind, |column| {
            column.characters_max = Some(most);
            column.charset = Some("utf8mb4".to_owned());
        })
    };
    let json = plain("json");
    let longest = u64::from(u32::MAX);
    assert_eq!(doubt(&json, &document("longtext", longest)), None);
    assert_eq!(misfit(&json, &document("text", 65_535)), None);
    assert!(doubt(&json, &document("text", 65_535)).unwrap().contains("holds 65535 bytes"));
    assert!(misfit(&json, &document("varchar", 2000)).is_some());
    let vector = plain("vector(3)");
    assert!(misfit(&vector, &sized("varbinary", 11)).is_some());
    assert_eq!(misfit(&vector, &sized("binary", 12)), None);
    assert!(misfit(&vector, &sized("binary", 16)).is_some());
    assert_eq!(misfit(&plain("point"), &sized("varbinary", 25)), None);
    assert!(misfit(&plain("point"), &sized("varbinary", 24)).is_some());
    assert_eq!(misfit(&plain("polygon"), &sized("blob", 65_535)), None);
    assert!(doubt(&plain("polygon"), &sized("blob", 65_535)).is_some());
    assert_eq!(doubt(&plain("polygon"), &sized("longblob", longest)), None);
    // The log's zero bytes at the end are put back before anything travels.
    assert_eq!(misfit(&sized("binary", 16), &sized("varbinary", 16)), None);
    assert!(misfit(&sized("binary", 16), &sized("varbinary", 15)).is_some());
    assert!(misfit(&sized("binary", 16), &sized("binary", 20)).is_some());
    assert!(misfit(&sized("varbinary", 16), &sized("binary", 16)).is_some());
}

#[test]
fn texts_need_letters_and_bytes() {
    let long = |kind: &str, most: u64, charset: &str| {
        column(kind, |column| {
            column.characters_max = Some(most);
            column.charset = Some(charset.to_owned());
        })
    };
    // All but what holds everything lies within the basic plane.
    for charset in ["latin1", "latin2", "cp1251", "sjis", "gbk", "ucs2", "utf8mb3"] {
        assert_eq!(misfit(&text(20, charset), &text(20, "utf8")), None, "{charset}");
    }
    for charset in ["utf8mb4", "utf16", "utf32", "gb18030"] {
        assert!(misfit(&text(20, charset), &text(20, "utf8mb3")).is_some(), "{charset}");
    }
    let enumeration = |kind: &str| {
        column(kind, |column| {
            column.members = ["a", "four"].map(str::to_owned).to_vec();
            column.charset = Some("latin1".to_owned());
        })
    };
    assert_eq!(misfit(&enumeration("enum"), &text(4, "latin1")), None);
    assert!(misfit(&enumeration("enum"), &text(3, "latin1")).is_some());
    assert_eq!(misfit(&enumeration("set"), &text(6, "latin1")), None);
    assert!(misfit(&enumeration("set"), &text(5, "latin1")).is_some());
    assert!(doubt(&text(20, "latin1"), &long("char", 20, "latin1")).unwrap().contains("blanks"));
    assert_eq!(doubt(&long("char", 20, "latin1"), &long("char", 20, "latin1")), None);
    let of = |charset: &str| long("text", 65_535, charset);
    assert!(doubt(&of("latin1"), &of("utf8mb4")).unwrap().contains("65535 bytes"));
    for (from, into) in [("utf8mb3", "utf8mb4"), ("ascii", "utf8mb4"), ("latin1", "latin1")] {
        assert_eq!(doubt(&of(from), &of(into)), None, "{from} into {into}");
    }
    assert_eq!(doubt(&of("latin1"), &long("mediumtext", 16_777_215, "utf8mb4")), None);
    assert!(doubt(&text(255, "utf8mb4"), &long("tinytext", 255, "utf8mb4")).is_some());
    assert_eq!(doubt(&text(255, "ascii"), &long("tinytext", 255, "utf8mb4")), None);
    assert_eq!(doubt(&text(500, "utf8mb4"), &of("utf8mb4")), None);
}
