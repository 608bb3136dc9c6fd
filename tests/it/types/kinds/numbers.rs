//! Whole, exact and floating numbers, and bits.

use super::*;

pub(super) fn integers(list: &mut List) {
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

pub(super) fn numbers(list: &mut List) {
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
