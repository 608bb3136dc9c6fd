//! The columns that are decoded, and the statements that fill them.

use std::fmt::Write as _;

use headwater_rig::Flavor;

/// Columns that both kinds of server have: a definition, and literals for its values.
const COMMON: &[(&str, &[&str])] = &[
    ("TINYINT", &["-128", "127", "0", "-1"]),
    ("TINYINT UNSIGNED", &["0", "255", "128"]),
    ("SMALLINT", &["-32768", "32767", "-1"]),
    ("SMALLINT UNSIGNED", &["65535", "0"]),
    ("YEAR", &["0", "1901", "2155"]),
    ("MEDIUMINT", &["-8388608", "8388607", "-1"]),
    ("MEDIUMINT UNSIGNED", &["16777215", "0"]),
    ("INT", &["-2147483648", "2147483647"]),
    ("INT UNSIGNED", &["4294967295", "0"]),
    ("BIGINT", &["-9223372036854775808", "9223372036854775807"]),
    ("BIGINT UNSIGNED", &["18446744073709551615", "0"]),
    ("FLOAT", &["1.5", "-3.4e38", "1e-38", "0.1"]),
    ("DOUBLE", &["-1.7976931348623157e308", "0.1", "-0.0", "5e-324"]),
    (
        "DECIMAL(65,30)",
        &[
            "99999999999999999999999999999999999.999999999999999999999999999999",
            "-0.000000000000000000000000000001",
            "-99999999999999999999999999999999999.999999999999999999999999999999",
            "0",
        ],
    ),
    ("DECIMAL(10,2)", &["-0.00", "-12.34", "99999999.99", "1"]),
    ("DECIMAL(5,5)", &["0.00001", "-0.99999"]),
    ("DECIMAL(9,0) UNSIGNED", &["999999999", "0"]),
    ("BIT(1)", &["b'1'", "b'0'"]),
    ("BIT(17)", &["b'10000000000000001'", "b'1'"]),
    ("BIT(64)", &["0xFFFFFFFFFFFFFFFF", "1"]),
    ("DATE", &["'0000-00-00'", "'9999-12-31'", "'2026-00-00'", "'1000-01-01'"]),
    ("TIME", &["'-838:59:59'", "'838:59:59'", "'00:00:00'", "'-00:00:01'"]),
    ("TIME(1)", &["'-00:00:00.1'", "'12:34:56.7'"]),
    ("TIME(3)", &["'-12:34:56.789'", "'-00:00:59.999'"]),
    ("TIME(6)", &["'-00:00:00.000001'", "'-838:59:58.999999'", "'01:02:03.000004'"]),
    ("DATETIME", &["'0000-00-00 00:00:00'", "'9999-12-31 23:59:59'", "'2026-11-00 01:02:03'"]),
    ("DATETIME(2)", &["'2026-11-22 01:02:03.04'", "'0000-00-00 00:00:00'"]),
    ("DATETIME(6)", &["'2026-02-28 23:59:59.999999'", "'1000-01-01 00:00:00.000001'"]),
    (
        "TIMESTAMP NULL",
        &["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", "'0000-00-00 00:00:00'"],
    ),
    ("TIMESTAMP(5) NULL", &["'2026-02-28 23:59:59.12345'", "'0000-00-00 00:00:00'"]),
    ("CHAR(36)", &["'162552AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'", "''", "'é'"]),
    ("CHAR(255) CHARACTER SET utf8mb4", &["'😀'", "REPEAT('😀', 255)"]),
    ("VARCHAR(50) CHARACTER SET latin1", &["'Zoë'", "_latin1 0x8081FF", "''"]),
    ("VARCHAR(300) CHARACTER SET utf8mb4", &["REPEAT('ж', 300)", "'a'"]),
    ("VARCHAR(20) CHARACTER SET cp1251", &["'Жук'"]),
    ("VARCHAR(20) CHARACTER SET latin7", &["'Žą'"]),
    ("VARCHAR(20) CHARACTER SET ucs2", &["'Ж1'", "''"]),
    ("VARCHAR(20) CHARACTER SET utf16le", &["'😀'"]),
    ("VARCHAR(20) CHARACTER SET utf32", &["'😀x'"]),
    ("CHAR(9) CHARACTER SET utf16", &["'x😀'"]),
    ("VARCHAR(20) CHARACTER SET sjis", &["'plain'"]),
    ("VARCHAR(20) CHARACTER SET tis620", &["'ก'"]),
    ("BINARY(16)", &["0x01020000000000000000000000000000", "0x00", "''"]),
    ("VARBINARY(300)", &["0x00FF00", "''"]),
    ("TINYTEXT", &["'a'", "''"]),
    ("TEXT CHARACTER SET latin1", &["'naïve'"]),
    ("MEDIUMTEXT", &["REPEAT('x', 70000)"]),
    ("LONGTEXT CHARACTER SET utf8mb4", &["'\\\\ \\' \\n 😀'"]),
    ("TINYBLOB", &["0x00"]),
    ("BLOB", &["REPEAT(0x00FF, 300)"]),
    ("MEDIUMBLOB", &["X''"]),
    ("LONGBLOB", &["0x4100"]),
    ("ENUM('a','é','c') CHARACTER SET latin1", &["'é'", "'c'", "''"]),
    ("SET('a','b','ж')", &["'a,ж'", "''", "'b'"]),
    ("GEOMETRY", &["ST_GeomFromText('POINT(1 2)')", "ST_GeomFromText('LINESTRING(0 0,1 1)')"]),
    // After the geometry: a list of character sets that counts it differently shifts these.
    ("VARCHAR(20) CHARACTER SET latin2", &["'Łódź'"]),
    ("POINT", &["ST_GeomFromText('POINT(-1 2.5)')"]),
    ("VARCHAR(20) CHARACTER SET greek", &["'αβγ'"]),
    ("TEXT CHARACTER SET cp1256", &["'سلام'"]),
];

const MYSQL: &[(&str, &[&str])] = &[
    (
        "JSON",
        &[
            r#"'{"a": [1, -1, 65536, 18446744073709551615, -9223372036854775808, 1.5, 0.1, null, true]}'"#,
            r#"'"quote \\" and \\\\ and \\u0001 and 😀"'"#,
            "JSON_OBJECT('d', CAST('2026-11-22' AS DATE), 't', CAST('-01:02:03.5' AS TIME(6)))",
            "JSON_ARRAY(CAST('2026-11-22 01:02:03.000004' AS DATETIME(6)), CAST(-1.50 AS DECIMAL(10,2)))",
            "JSON_ARRAY(b'101', 0x00FF, CAST(1 AS UNSIGNED))",
            "CAST(CONCAT('[', REPEAT('123456789, ', 20000), '\"end\"]') AS JSON)",
            "CAST(CONCAT('{\"k\": \"', REPEAT('x', 70000), '\", \"l\": {}}') AS JSON)",
            "'[]'",
            "'null'",
        ],
    ),
    // MySQL 5.7 prints these without their fraction.
    ("JSON", &["'[1.0, -0.0]'"]),
    ("VARCHAR(20) CHARACTER SET latin5", &["'ğış'"]),
    ("VECTOR(3)", &["STRING_TO_VECTOR('[1,-2.5,3e10]')"]),
];

const MARIADB: &[(&str, &[&str])] = &[
    ("UUID", &["'123e4567-e89b-12d3-a456-426614174000'", "'01890a5d-ac96-774b-bcce-b302099a8057'"]),
    ("INET6", &["'::ffff:1.2.3.0'", "'2001:db8::'", "'::'"]),
    ("INET4", &["'1.2.0.0'", "'255.255.255.255'"]),
    ("JSON", &[r#"'{"a":  1.0}'"#]),
    ("VARCHAR(2000) COMPRESSED CHARACTER SET latin1", &["REPEAT('é', 1000)", "'x'", "''"]),
    ("TEXT COMPRESSED", &["REPEAT('ж', 5000)"]),
    ("BLOB COMPRESSED", &["REPEAT(0x00, 5000)", "''"]),
    ("DECIMAL(38,38)", &["-0.00000000000000000000000000000000000001"]),
];

pub(super) fn columns(flavor: Flavor) -> Vec<(&'static str, &'static [&'static str])> {
    let own = match flavor {
        Flavor::Mysql97 => MYSQL,
        // They have no vectors.
        Flavor::Mysql84 | Flavor::Mysql80 => &MYSQL[..3],
        Flavor::Mysql57 => &MYSQL[..1],
        Flavor::Mysql56 => &[],
        Flavor::Mariadb1011 | Flavor::Mariadb118 => MARIADB,
    };
    COMMON.iter().chain(own).copied().collect()
}

/// Fills ten rows; `turn` shifts which of its values a column has in which row.
pub(super) fn statements(flavor: Flavor, turn: usize) -> Vec<String> {
    let columns = columns(flavor);
    let literal = |row: usize, values: &[&str]| match (row + turn) % (values.len() + 1) {
        0 => "NULL".to_owned(),
        place => values[place - 1].to_owned(),
    };
    (0..10)
        .map(|row| {
            let mut sql = format!("REPLACE INTO k SET id = {row}");
            for (index, (_, values)) in columns.iter().enumerate() {
                write!(sql, ", c{index} = {}", literal(row, values)).unwrap();
            }
            sql
        })
        .collect()
}

pub(super) fn updates(flavor: Flavor) -> Vec<String> {
    statements(flavor, 1)
        .into_iter()
        .enumerate()
        .map(|(row, sql)| {
            let assignments = sql.split_once(", ").unwrap().1.to_owned();
            format!("UPDATE k SET {assignments} WHERE id = {row}")
        })
        .collect()
}
