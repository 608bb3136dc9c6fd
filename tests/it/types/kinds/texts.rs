//! Texts, bytes, enumerations and sets.

use super::*;

pub(super) fn strings(list: &mut List) {
    let uuid = "'162552AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'";
    list.add("strings", "CHAR", "CHAR(36)", BYTES, all, &[uuid, "''", "'é'", "' a'"]);
    list.add(
        "strings",
        "CHAR",
        "CHAR(255) CHARACTER SET utf8mb4",
        BYTES,
        all,
        &["REPEAT('😀', 255)", "'x'"],
    );
    list.add("strings", "CHAR", "CHAR(0)", BYTES, all, &["''"]);
    list.add("strings", "CHAR", "CHAR(64) CHARACTER SET utf8mb4", BYTES, all, &["REPEAT('ж', 64)"]);
    list.add(
        "strings",
        "VARCHAR",
        "VARCHAR(255) CHARACTER SET ascii",
        BYTES,
        all,
        &["REPEAT('x', 255)", "''", "'a '"],
    );
    list.add(
        "strings",
        "VARCHAR",
        "VARCHAR(256) CHARACTER SET ascii",
        BYTES,
        all,
        &["REPEAT('x', 256)", "'\\\\ \\' \\n \\0 \\Z'"],
    );
    list.add("strings", "VARCHAR", "VARCHAR(0)", BYTES, all, &["''"]);
    list.add(
        "long_varchar",
        "VARCHAR",
        "VARCHAR(16000) CHARACTER SET utf8mb4",
        BYTES,
        all,
        &["REPEAT('😀', 16000)", "'z'"],
    );
    list.add(
        "strings",
        "BINARY",
        "BINARY(16)",
        BYTES,
        all,
        &["0x01020000000000000000000000000000", "0x00", "''", "0xFF"],
    );
    list.add("strings", "BINARY", "BINARY(255)", BYTES, all, &["REPEAT(0xFF00, 127)", "0x20"]);
    list.add(
        "strings",
        "VARBINARY",
        "VARBINARY(300)",
        BYTES,
        all,
        &["0x00FF00", "''", "REPEAT(0x00, 300)", "0x5C27220A"],
    );
    list.add(
        "long_varbinary",
        "VARBINARY",
        "VARBINARY(65000)",
        BYTES,
        all,
        &["REPEAT(0xC328, 32500)", "0x00"],
    );
    for (text, blob, length) in [
        ("TINYTEXT", "TINYBLOB", 255),
        ("TEXT", "BLOB", 65_535),
        ("MEDIUMTEXT", "MEDIUMBLOB", 200_000),
        ("LONGTEXT", "LONGBLOB", 300_000),
    ] {
        let characters = format!("REPEAT('x', {length})");
        let wide = format!("REPEAT('😀', {})", length / 4);
        let column = format!("{text} CHARACTER SET utf8mb4");
        list.add("texts", text, &column, BYTES, all, &[&characters, &wide, "''", "'a'"]);
        let bytes = format!("CONCAT(REPEAT(0x00FF, {}), 0x00)", length / 2);
        list.add("texts", blob, blob, BYTES, all, &[&bytes, "0x00", "''", "0xC328"]);
    }
}

/// Each character set with text it can hold. Its bytes are compared, so what looks alike does not
/// pass for the same.
const TEXTS: &[(&str, &[&str])] = &[
    ("utf8mb4", &["'Zoë 😀 ж 漢字'", "_utf8mb4 0xF48FBFBF", "'\\0'"]),
    ("utf8mb3", &["'Zoë ж 漢字'", "_utf8mb4 0xEFBFBF"]),
    ("latin1", &["'Zoë €'", "_latin1 0x8081FF", "_latin1 0x808D8F909DA0"]),
    ("latin2", &["'Łódź'"]),
    ("latin5", &["'ğış'"]),
    ("latin7", &["'Žą'"]),
    ("cp1250", &["'Łódź Čeština'", "_cp1250 0x8CFF"]),
    ("cp1251", &["'Жук'"]),
    ("cp1256", &["'سلام'"]),
    ("greek", &["'αβγ'"]),
    ("hebrew", &["'שלום'"]),
    ("koi8r", &["'Жук'"]),
    ("tis620", &["'กขค'"]),
    ("sjis", &["'日本語 ソ表'", "_sjis 0x5C7E", "_sjis 0x8160", "_sjis 0xB1B2", "_sjis 0x815C"]),
    ("cp932", &["'日本語 ①～'", "_cp932 0x8160", "_cp932 0xFA40", "_cp932 0x879C"]),
    ("ujis", &["'日本語'", "_ujis 0x8EB1", "_ujis 0x8FA2B7"]),
    ("eucjpms", &["'日本語 ①'", "_eucjpms 0xA1C1"]),
    ("gbk", &["'汉字 中文'", "_gbk 0x8140", "_gbk 0xA1A4", "_gbk 0xD55C"]),
    ("gb2312", &["'汉字'", "_gb2312 0xA1A4"]),
    ("big5", &["'漢字 許功蓋'", "_big5 0xA15A", "_big5 0xF9FE"]),
    ("euckr", &["'한국어'", "_euckr 0xA1AD"]),
    ("ucs2", &["'Zoë ж 漢字'", "''"]),
    ("utf16", &["'Zoë 😀 漢字'"]),
    ("utf16le", &["'Zoë 😀 漢字'"]),
    ("utf32", &["'Zoë 😀 漢字'"]),
    ("ascii", &["'plain'", "0x7F"]),
    ("swe7", &["'plain'", "_swe7 0x5B5C"]),
    ("binary", &["0x00FF80", "'plain'"]),
];

pub(super) fn character_sets(list: &mut List) {
    for (set, texts) in TEXTS {
        let row = format!("CHAR, VARCHAR and TEXT in {set}");
        for column in ["CHAR(20)", "VARCHAR(40)", "TEXT"] {
            let column = format!("{column} CHARACTER SET {set}");
            list.add("character_sets", &row, &column, BYTES, all, texts);
        }
    }
    for column in ["CHAR(20)", "VARCHAR(40)", "TEXT"] {
        let column = format!("{column} CHARACTER SET gb18030");
        list.add(
            "character_sets",
            "CHAR, VARCHAR and TEXT in gb18030",
            &column,
            BYTES,
            mysql_5_7,
            &["'汉字 😀'", "_gb18030 0x81308130"],
        );
    }
}

pub(super) fn members(list: &mut List) {
    let many: Vec<String> = (1..=300).map(|number| format!("'m{number}'")).collect();
    let column = format!("ENUM({})", many.join(","));
    list.add(
        "members",
        "ENUM of 300 members",
        &column,
        MEMBER,
        all,
        &["'m1'", "'m127'", "'m128'", "'m255'", "'m256'", "'m300'"],
    );
    let many: Vec<String> = (1..=255).map(|number| format!("'m{number}'")).collect();
    let column = format!("ENUM({})", many.join(","));
    list.add("members", "ENUM of 255 members", &column, MEMBER, all, &["'m128'", "'m255'"]);
    list.add(
        "members",
        "ENUM in latin1, with quotes and an empty member",
        "ENUM('a','é','it''s','','x,y','\\\\') CHARACTER SET latin1",
        MEMBER,
        all,
        &["'é'", "'it''s'", "''", "'x,y'", "'\\\\'"],
    );
    list.add(
        "members",
        "ENUM in sjis and ucs2",
        "ENUM('a','日','ソ') CHARACTER SET sjis",
        MEMBER,
        all,
        &["'日'", "'ソ'"],
    );
    list.add(
        "members",
        "ENUM in sjis and ucs2",
        "ENUM('a','日') CHARACTER SET ucs2",
        MEMBER,
        all,
        &["'日'", "'a'"],
    );
    let many: Vec<String> = (1..=64).map(|number| format!("'s{number}'")).collect();
    let column = format!("SET({})", many.join(","));
    let every = format!("'{}'", many.join(",").replace('\'', ""));
    list.add(
        "members",
        "SET of 64 members",
        &column,
        MEMBER,
        all,
        &["'s1'", "'s64'", "'s1,s32,s33,s64'", "''", &every],
    );
    for count in [8, 9, 24, 25, 32, 33] {
        let column = format!("SET({})", many[..count].join(","));
        let last = format!("'s1,s{count}'");
        list.add("members", "SET of 8 to 33 members", &column, MEMBER, all, &[&last, "''"]);
    }
    list.add(
        "members",
        "SET in cp1251",
        "SET('a','ж','б') CHARACTER SET cp1251",
        MEMBER,
        all,
        &["'a,ж'", "'б'"],
    );
}
