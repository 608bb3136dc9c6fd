//! Dates and times.

use super::*;

/// `digits` of a fraction after a point.
fn fraction(digits: usize, text: &str) -> String {
    if digits == 0 { String::new() } else { format!(".{}", &text[..digits]) }
}

pub(super) fn temporal(list: &mut List) {
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
