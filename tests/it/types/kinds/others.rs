//! Documents, shapes, vectors, and what only MariaDB has.

use super::*;

pub(super) fn documents(list: &mut List) {
    list.add("documents", "JSON of MySQL", "JSON", PRINTED, mysql_5_7, &[
        r#"'{"a": [1, -1, 65536, 18446744073709551615, -9223372036854775808, 1.5, 0.1, null, true]}'"#,
        r#"'"quote \\" and \\\\ and \\u0001 and 😀"'"#,
        "CAST(CONCAT('[', REPEAT('123456789, ', 20000), '\"end\"]') AS JSON)",
        "CAST(CONCAT('{\"k\": \"', REPEAT('x', 70000), '\", \"l\": {}}') AS JSON)",
        "'[]'", "'{}'", "'null'", "'\"\"'", "'5e-324'", "'0.1'",
    ]);
    list.add(
        "documents",
        "JSON of MySQL holding doubles without a fraction",
        "JSON",
        PRINTED,
        mysql_5_7,
        &["'[1.0, -2.0]'", "'1e308'", "'-0.0'", "'1e22'", "'123456789012345680000'"],
    );
    list.add(
        "documents",
        "JSON of MySQL, 99 levels deep",
        "JSON",
        PRINTED,
        mysql_5_7,
        &[
            "CAST(CONCAT(REPEAT('[', 99), REPEAT(']', 99)) AS JSON)",
            "CAST(CONCAT(REPEAT('{\"a\":', 99), '1', REPEAT('}', 99)) AS JSON)",
        ],
    );
    list.add(
        "documents",
        "JSON of MySQL holding decimals that a double keeps",
        "JSON",
        PRINTED,
        mysql_5_7,
        &["JSON_ARRAY(CAST(-1.5 AS DECIMAL(10,1)))", "JSON_ARRAY(CAST(0.1 AS DECIMAL(65,1)))"],
    );
    list.add(
        "documents",
        "JSON of MySQL holding dates, times and bytes, which become text",
        "JSON",
        PRINTED,
        mysql_5_7,
        &[
            "JSON_OBJECT('d', CAST('2026-11-22' AS DATE), 't', CAST('-01:02:03.5' AS TIME(6)))",
            "JSON_ARRAY(CAST('2026-11-22 01:02:03.000004' AS DATETIME(6)))",
            "JSON_ARRAY(b'101', 0x00FF)",
        ],
    );
    let bytes = |count| format!("JSON_ARRAY(CAST(REPEAT('a', {count}) AS BINARY), 1)");
    list.add(
        "documents",
        "JSON of MySQL holding long bytes, which become text",
        "JSON",
        ONE_LINE,
        mysql_5_7,
        &[&bytes(57), &bytes(58), &bytes(114), &bytes(200)],
    );
    list.add(
        "documents",
        "JSON of MariaDB",
        "JSON",
        BYTES,
        Flavor::is_mariadb,
        &[r#"'{"a":  1.0, "a": 2}'"#, "'[ ]'", r#"'"\\u0041 😀"'"#],
    );
}

const SHAPES: &[(&str, &[&str])] = &[
    ("POINT", &["POINT(1 2)", "POINT(-1e300 2.5)"]),
    ("LINESTRING", &["LINESTRING(0 0,1 1,2.5 -3)"]),
    ("POLYGON", &["POLYGON((0 0,10 0,10 10,0 0),(1 1,2 1,2 2,1 1))"]),
    ("MULTIPOINT", &["MULTIPOINT(1 1,2 2)"]),
    ("MULTILINESTRING", &["MULTILINESTRING((0 0,1 1),(2 2,3 3))"]),
    ("MULTIPOLYGON", &["MULTIPOLYGON(((0 0,1 0,1 1,0 0)),((5 5,6 5,6 6,5 5)))"]),
    ("GEOMETRYCOLLECTION", &["GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))"]),
    ("GEOMETRY", &["POINT(1 2)", "POLYGON((0 0,1 0,1 1,0 0))", "GEOMETRYCOLLECTION(POINT(1 1))"]),
];

pub(super) fn geometries(list: &mut List) {
    for (column, texts) in SHAPES {
        let mut values: Vec<String> =
            texts.iter().map(|text| format!("ST_GeomFromText('{text}')")).collect();
        values.extend(
            texts
                .iter()
                .take(1)
                .map(|text| format!("ST_GeomFromText('{}', 4326)", text.replace("-1e300", "1"))),
        );
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        list.add("geometries", column, column, BYTES, all, &values);
    }
    // A list of character sets that counts the geometries before it shifts this one's.
    list.add(
        "geometries",
        "CHAR, VARCHAR and TEXT in latin2",
        "VARCHAR(20) CHARACTER SET latin2",
        BYTES,
        all,
        &["'Łódź'"],
    );
}

pub(super) fn vectors(list: &mut List) {
    let mysql = |values: &str| format!("STRING_TO_VECTOR('[{values}]')");
    let mariadb = |values: &str| format!("VEC_FromText('[{values}]')");
    let long = vec!["0.125"; 500].join(",");
    for (has, made) in [
        (mysql_9 as fn(Flavor) -> bool, &mysql as &dyn Fn(&str) -> String),
        (vectors_of_mariadb, &mariadb),
    ] {
        list.add(
            "vectors",
            "VECTOR",
            "VECTOR(3)",
            BYTES,
            has,
            &[&made("1,-2.5,3e10"), &made("0,0,0"), &made("1e-37,-0.5,0")],
        );
        list.add("vectors", "VECTOR", "VECTOR(500)", BYTES, has, &[&made(&long)]);
        // MariaDB keeps them within a row's 65,535 bytes.
        let most = if has(Flavor::Mysql97) { 16_383 } else { 16_000 };
        let (column, values) = (format!("VECTOR({most})"), vec!["-0.125"; most].join(","));
        list.add("vectors_large", "VECTOR", &column, BYTES, has, &[&made(&values)]);
    }
}

pub(super) fn of_mariadb(list: &mut List) {
    let is = Flavor::is_mariadb;
    list.add(
        "of_mariadb",
        "UUID",
        "UUID",
        PRINTED,
        is,
        &[
            "'123e4567-e89b-12d3-a456-426614174000'",
            "'01890a5d-ac96-774b-bcce-b302099a8057'",
            "'00000000-0000-0000-0000-000000000000'",
            "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
        ],
    );
    list.add(
        "of_mariadb",
        "INET4",
        "INET4",
        PRINTED,
        is,
        &["'1.2.0.0'", "'255.255.255.255'", "'0.0.0.0'"],
    );
    list.add(
        "of_mariadb",
        "INET6",
        "INET6",
        PRINTED,
        is,
        &["'::ffff:1.2.3.0'", "'2001:db8::'", "'::'", "'1:2:3:4:5:6:7::'", "'::1.2.3.4'"],
    );
    list.add(
        "of_mariadb",
        "VARCHAR COMPRESSED",
        "VARCHAR(2000) COMPRESSED CHARACTER SET latin1",
        BYTES,
        is,
        &["REPEAT('é', 1000)", "'x'", "''"],
    );
    list.add(
        "of_mariadb",
        "VARCHAR COMPRESSED",
        "VARBINARY(2000) COMPRESSED",
        BYTES,
        is,
        &["REPEAT(0x00, 1000)", "0x00", "''"],
    );
    list.add(
        "of_mariadb",
        "TEXT and BLOB COMPRESSED",
        "TEXT COMPRESSED",
        BYTES,
        is,
        &["REPEAT('ж', 5000)", "''"],
    );
    list.add(
        "of_mariadb",
        "TEXT and BLOB COMPRESSED",
        "BLOB COMPRESSED",
        BYTES,
        is,
        &["REPEAT(0x00, 5000)", "''"],
    );
    list.add(
        "of_mariadb",
        "TEXT and BLOB COMPRESSED",
        "LONGTEXT COMPRESSED",
        BYTES,
        is,
        &["REPEAT('abc', 100000)", "'a'"],
    );
    list.add(
        "of_mariadb",
        "TEXT and BLOB COMPRESSED",
        "TINYBLOB COMPRESSED",
        BYTES,
        is,
        &["REPEAT(0x41, 200)"],
    );
}
