//! Every column type of every server, with literals for its limits: the rows of the table in
//! `docs/types.md`.

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

fn mysql_9(flavor: Flavor) -> bool {
    flavor == Flavor::Mysql97
}

/// MariaDB 10.11 stores 0.0 for -0.0, whoever writes it.
fn signed_zeros(flavor: Flavor) -> bool {
    flavor != Flavor::Mariadb1011
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
    integers(&mut list);
    numbers(&mut list);
    temporal(&mut list);
    strings(&mut list);
    character_sets(&mut list);
    members(&mut list);
    documents(&mut list);
    geometries(&mut list);
    vectors(&mut list);
    of_mariadb(&mut list);
    list.0
}

fn integers(list: &mut List) {
    for (name, low, high, top) in [
        ("TINYINT", "-128", "127", "255"),
        ("SMALLINT", "-32768", "32767", "65535"),
        ("MEDIUMINT", "-8388608", "8388607", "16777215"),
        ("INT", "-2147483648", "2147483647", "4294967295"),
        ("BIGINT", "-9223372036854775808", "9223372036854775807", "18446744073709551615"),
    ] {
        list.add("integers", name, name, PRINTED, all, &[low, high, "0", "-1", "1"]);
        let unsigned = format!("{name} UNSIGNED");
        list.add("integers", &unsigned, &unsigned, PRINTED, all, &["0", top, high, "1"]);
    }
    list.add("integers", "BOOL", "BOOL", PRINTED, all, &["TRUE", "FALSE"]);
    list.add("integers", "INT ZEROFILL", "INT(9) ZEROFILL", PRINTED, all, &["7", "4294967295"]);
    list.add("integers", "YEAR", "YEAR", PRINTED, all, &["0", "1901", "2155", "2026"]);
    for bits in 1..=64_u32 {
        let ones = format!("b'{}'", "1".repeat(bits as usize));
        let high = format!("b'1{}'", "0".repeat(bits as usize - 1));
        let column = format!("BIT({bits})");
        list.add("bits", "BIT(1) to BIT(64)", &column, BYTES, all, &[&ones, &high, "b'0'", "1"]);
    }
}

fn numbers(list: &mut List) {
    let (nines, point_nines) = ("9".repeat(35), "9".repeat(30));
    let largest = format!("{nines}.{point_nines}");
    list.add(
        "numbers",
        "DECIMAL(65,30)",
        "DECIMAL(65,30)",
        PRINTED,
        all,
        &[&largest, &format!("-{largest}"), "-0.000000000000000000000000000001", "0", "-1"],
    );
    for column in
        ["DECIMAL(65,0)", "DECIMAL(10,2)", "DECIMAL(5,5)", "DECIMAL(1,0)", "DECIMAL(19,9)"]
    {
        list.add("numbers", "DECIMAL of other digits", column, PRINTED, all, &["0", "-0.0"]);
    }
    let long = "9".repeat(65);
    list.add("numbers", "DECIMAL of other digits", "DECIMAL(65,0)", PRINTED, all, &[&long, "-7"]);
    list.add(
        "numbers",
        "DECIMAL of other digits",
        "DECIMAL(10,2)",
        PRINTED,
        all,
        &["-12.34", "99999999.99", "-0.01"],
    );
    list.add(
        "numbers",
        "DECIMAL of other digits",
        "DECIMAL(5,5)",
        PRINTED,
        all,
        &["0.00001", "-0.99999"],
    );
    list.add(
        "numbers",
        "DECIMAL of other digits",
        "DECIMAL(9,0) UNSIGNED",
        PRINTED,
        all,
        &["999999999", "0"],
    );
    let fine = format!("0.{}", "9".repeat(38));
    list.add(
        "numbers",
        "DECIMAL(38,38)",
        "DECIMAL(38,38)",
        PRINTED,
        Flavor::is_mariadb,
        &[&fine, "-0.00000000000000000000000000000000000001", "0"],
    );
    list.add(
        "numbers",
        "FLOAT",
        "FLOAT",
        BITS,
        all,
        &[
            "1.5",
            "-3.4028234e38",
            "3.4028234e38",
            "1.17549435e-38",
            "1.4e-45",
            "-1e-40",
            "0.1",
            "16777217",
        ],
    );
    list.add(
        "numbers",
        "DOUBLE",
        "DOUBLE",
        BITS,
        all,
        &[
            "-1.7976931348623157e308",
            "1.7976931348623157e308",
            "2.2250738585072014e-308",
            "5e-324",
            "-5e-324",
            "0.1",
            "0.1e0 + 0.2e0",
            "9007199254740993",
            "1e23",
        ],
    );
    for column in ["FLOAT", "DOUBLE"] {
        list.add("numbers", "FLOAT and DOUBLE of -0.0", column, BITS, signed_zeros, &["-0.0e0"]);
    }
    list.add("numbers", "DOUBLE UNSIGNED", "DOUBLE UNSIGNED", BITS, all, &["0", "5e-324", "1e308"]);
    list.add(
        "numbers",
        "FLOAT(7,3), DOUBLE(15,5)",
        "FLOAT(7,3)",
        BITS,
        all,
        &["-1234.567", "0.001"],
    );
    list.add(
        "numbers",
        "FLOAT(7,3), DOUBLE(15,5)",
        "DOUBLE(15,5)",
        BITS,
        all,
        &["-1234567890.12345", "0.00001"],
    );
}

/// `digits` of a fraction after a point.
fn fraction(digits: usize, text: &str) -> String {
    if digits == 0 { String::new() } else { format!(".{}", &text[..digits]) }
}

fn temporal(list: &mut List) {
    list.add(
        "temporal",
        "DATE",
        "DATE",
        PRINTED,
        all,
        &["'1000-01-01'", "'9999-12-31'", "'2024-02-29'"],
    );
    list.add(
        "temporal",
        "DATE, zero and partly zero",
        "DATE",
        PRINTED,
        all,
        &["'0000-00-00'", "'2026-00-00'", "'2026-11-00'", "'2026-02-31'", "'0001-01-01'"],
    );
    for digits in 0..=6_usize {
        let (nines, one) = (fraction(digits, "999999"), fraction(digits, "100000"));
        let last =
            if digits == 0 { "0".to_owned() } else { format!("0.{}1", "0".repeat(digits - 1)) };
        let column = format!("TIME({digits})");
        list.add(
            "temporal",
            "TIME(0) to TIME(6)",
            &column,
            PRINTED,
            all,
            &[
                "'-838:59:59'",
                "'838:59:59'",
                "'00:00:00'",
                "'-00:00:01'",
                &format!("'-838:59:58{nines}'"),
                &format!("'-00:00:00{one}'"),
                &format!("'-00:00:0{last}'"),
                &format!("'12:34:56{nines}'"),
                &format!("'-12:34:56{nines}'"),
            ],
        );
        let column = format!("DATETIME({digits})");
        list.add(
            "temporal",
            "DATETIME(0) to DATETIME(6)",
            &column,
            PRINTED,
            all,
            &[
                "'1000-01-01 00:00:00'",
                &format!("'9999-12-31 23:59:59{nines}'"),
                &format!("'2024-02-29 23:59:59{one}'"),
                &format!("'2026-11-22 01:02:0{last}'"),
            ],
        );
        list.add(
            "temporal",
            "DATETIME, zero and partly zero",
            &column,
            PRINTED,
            all,
            &[
                "'0000-00-00 00:00:00'",
                "'2026-00-00 01:02:03'",
                &format!("'2026-11-00 23:59:59{nines}'"),
            ],
        );
        let column = format!("TIMESTAMP({digits}) NULL");
        list.add(
            "temporal",
            "TIMESTAMP(0) to TIMESTAMP(6)",
            &column,
            PRINTED,
            all,
            &[
                "'1970-01-01 00:00:01'",
                &format!("'2038-01-19 03:14:07{}'", fraction(digits, "000000")),
                &format!("'2026-03-29 02:30:00{nines}'"),
                "'0000-00-00 00:00:00'",
            ],
        );
        list.add(
            "temporal",
            "TIMESTAMP after 2038",
            &column,
            PRINTED,
            vectors_of_mariadb,
            &[&format!("'2106-02-07 06:28:15{nines}'"), "'2038-01-19 03:14:08'"],
        );
    }
}

fn strings(list: &mut List) {
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

fn character_sets(list: &mut List) {
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
            mysql_9,
            &["'汉字 😀'", "_gb18030 0x81308130"],
        );
    }
}

fn members(list: &mut List) {
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

fn documents(list: &mut List) {
    list.add("documents", "JSON of MySQL", "JSON", PRINTED, mysql_9, &[
        r#"'{"a": [1, -1, 65536, 18446744073709551615, -9223372036854775808, 1.0, 0.1, null, true]}'"#,
        r#"'"quote \\" and \\\\ and \\u0001 and 😀"'"#,
        "CAST(CONCAT('[', REPEAT('123456789, ', 20000), '\"end\"]') AS JSON)",
        "CAST(CONCAT('{\"k\": \"', REPEAT('x', 70000), '\", \"l\": {}}') AS JSON)",
        "'[]'", "'{}'", "'null'", "'\"\"'", "'1e308'", "'-0.0'", "'5e-324'", "'0.1'", "'1e22'", "'123456789012345680000'",
    ]);
    list.add(
        "documents",
        "JSON of MySQL, 99 levels deep",
        "JSON",
        PRINTED,
        mysql_9,
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
        mysql_9,
        &["JSON_ARRAY(CAST(-1.5 AS DECIMAL(10,1)))", "JSON_ARRAY(CAST(0.1 AS DECIMAL(65,1)))"],
    );
    list.add(
        "documents",
        "JSON of MySQL holding dates, times and bytes, which become text",
        "JSON",
        PRINTED,
        mysql_9,
        &[
            "JSON_OBJECT('d', CAST('2026-11-22' AS DATE), 't', CAST('-01:02:03.5' AS TIME(6)))",
            "JSON_ARRAY(CAST('2026-11-22 01:02:03.000004' AS DATETIME(6)))",
            "JSON_ARRAY(b'101', 0x00FF)",
        ],
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

fn geometries(list: &mut List) {
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

fn vectors(list: &mut List) {
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

fn of_mariadb(list: &mut List) {
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
