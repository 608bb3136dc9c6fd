//! Tables and rows made at random, for decoders to be compared on.

use headwater_rig::Flavor;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Rows of each table.
pub(super) const ROWS: usize = 4;

/// A column: its definition and a literal for each row.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) definition: String,
    pub(super) values: Vec<String>,
}

/// Tables of a seed: the same seed makes the same tables.
pub(super) fn tables(seed: u64, count: usize, flavor: Flavor) -> Vec<Vec<Column>> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let table = prop::collection::vec(column(flavor), 1..12);
    (0..count).map(|_| table.new_tree(&mut runner).unwrap().current()).collect()
}

fn with(definition: String, value: BoxedStrategy<String>) -> BoxedStrategy<Column> {
    let value = prop_oneof![1 => Just("NULL".to_owned()), 6 => value];
    prop::collection::vec(value, ROWS)
        .prop_map(move |values| Column { definition: definition.clone(), values })
        .boxed()
}

fn column(flavor: Flavor) -> BoxedStrategy<Column> {
    let mut all = vec![
        integer().boxed(),
        decimal().boxed(),
        with(
            "FLOAT".into(),
            any::<f32>()
                .prop_filter("finite", |n| n.is_finite())
                .prop_map(|n| format!("{n:e}"))
                .boxed(),
        ),
        with(
            "DOUBLE".into(),
            any::<f64>()
                .prop_filter("finite", |n| n.is_finite())
                .prop_map(|n| format!("{n:e}"))
                .boxed(),
        ),
        bit().boxed(),
        temporal().boxed(),
        text().boxed(),
        bytes().boxed(),
        members().boxed(),
        geometry().boxed(),
    ];
    if flavor.is_mysql_from(5, 7) {
        all.push(with("JSON".into(), json().prop_map(|text| literal(&text)).boxed()));
    }
    if flavor.is_mariadb() {
        all.push(address().boxed());
    }
    let of_vectors = match flavor {
        Flavor::Mysql97 => Some("STRING_TO_VECTOR"),
        Flavor::Mariadb118 => Some("VEC_FromText"),
        _ => None,
    };
    if let Some(made_by) = of_vectors {
        all.push(vector(made_by).boxed());
    }
    prop::strategy::Union::new(all).boxed()
}

/// A list of character sets that counts geometries would lead to those of other columns.
fn geometry() -> impl Strategy<Value = Column> {
    let point = || (-80..80_i32, -90..90_i32).prop_map(|(x, y)| format!("{x}.5 {y}"));
    let points = prop::collection::vec(point(), 2..5).prop_map(|all| all.join(","));
    let kinds = prop::sample::select(vec!["POINT", "LINESTRING", "GEOMETRY"]);
    (kinds, any::<bool>()).prop_flat_map(move |(kind, line)| {
        let shape = if kind == "LINESTRING" || (kind == "GEOMETRY" && line) {
            points.clone().prop_map(|all| format!("LINESTRING({all})")).boxed()
        } else {
            point().prop_map(|one| format!("POINT({one})")).boxed()
        };
        let system = prop::sample::select(vec!["", ", 4326"]);
        let value = (shape, system)
            .prop_map(|(shape, system)| format!("ST_GeomFromText('{shape}'{system})"));
        with(kind.to_owned(), value.boxed())
    })
}

fn vector(made_by: &'static str) -> impl Strategy<Value = Column> {
    (1..=40_usize).prop_flat_map(move |count| {
        // As every server reads it: without an exponent.
        let number = (-1_000_000..1_000_000_i32).prop_map(|eighths| f64::from(eighths) / 8.0);
        let value = prop::collection::vec(number, count).prop_map(move |numbers| {
            let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            format!("{made_by}('[{}]')", numbers.join(","))
        });
        with(format!("VECTOR({count})"), value.boxed())
    })
}

/// What is kept as bytes, without the zeros at their end in the log.
fn address() -> impl Strategy<Value = Column> {
    let bytes = |count: usize| {
        let byte = prop_oneof![2 => any::<u8>(), 1 => Just(0_u8)];
        (prop::collection::vec(byte, count), 0..=count).prop_map(move |(mut bytes, zeros)| {
            bytes[count - zeros / 2..].fill(0);
            bytes
        })
    };
    // Of any other version MariaDB refuses some.
    let uuid = bytes(16).prop_map(|it| {
        uuid::Builder::from_random_bytes(it.try_into().unwrap()).into_uuid().to_string()
    });
    let four = bytes(4).prop_map(|it| format!("{}.{}.{}.{}", it[0], it[1], it[2], it[3]));
    let six = bytes(16)
        .prop_map(|it| std::net::Ipv6Addr::from(<[u8; 16]>::try_from(it).unwrap()).to_string());
    let quoted = |text: String| format!("'{text}'");
    prop_oneof![
        with("UUID".into(), uuid.prop_map(quoted).boxed()),
        with("INET4".into(), four.prop_map(quoted).boxed()),
        with("INET6".into(), six.prop_map(quoted).boxed()),
    ]
}

fn integer() -> impl Strategy<Value = Column> {
    let kinds = [("TINYINT", 8), ("SMALLINT", 16), ("MEDIUMINT", 24), ("INT", 32), ("BIGINT", 64)];
    (prop::sample::select(kinds.to_vec()), any::<bool>()).prop_flat_map(
        |((name, bits), unsigned)| {
            let (low, high) = if unsigned {
                (0, (1_i128 << bits) - 1)
            } else {
                (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1)
            };
            let value =
                prop_oneof![Just(low), Just(high), low..=high, low.max(-200)..=high.min(200)];
            let sign = if unsigned { " UNSIGNED" } else { "" };
            with(format!("{name}{sign}"), value.prop_map(|number| number.to_string()).boxed())
        },
    )
}

fn decimal() -> impl Strategy<Value = Column> {
    (1_usize..=65)
        .prop_flat_map(|precision| (Just(precision), 0..=precision.min(30)))
        .prop_flat_map(|(precision, scale)| {
            let digits = |count: usize| prop::collection::vec(0_u8..10, count);
            let value = (any::<bool>(), digits(precision - scale), digits(scale)).prop_map(
                |(negative, whole, fraction)| {
                    let text =
                        |digits: &[u8]| digits.iter().map(ToString::to_string).collect::<String>();
                    let sign = if negative { "-" } else { "" };
                    format!("{sign}0{}.{}0", text(&whole), text(&fraction))
                },
            );
            with(format!("DECIMAL({precision},{scale})"), value.boxed())
        })
}

fn bit() -> impl Strategy<Value = Column> {
    (1_u32..=64).prop_flat_map(|bits| {
        let value = any::<u64>().prop_map(move |number| (number >> (64 - bits)).to_string());
        with(format!("BIT({bits})"), value.boxed())
    })
}

fn temporal() -> impl Strategy<Value = Column> {
    let clock = (0..24_u32, 0..60_u32, 0..60_u32);
    let fraction = |digits: usize| {
        (0..10_u32.pow(u32::try_from(digits).unwrap())).prop_map(move |number| match digits {
            0 => String::new(),
            _ => format!(".{number:0digits$}"),
        })
    };
    let date = prop_oneof![
        8 => (1000..=9999_u32, 1..=12_u32, 1..=28_u32),
        1 => Just((0, 0, 0)),
        1 => (2000..2030_u32, 0..=12_u32, Just(0)),
    ]
    .prop_map(|(year, month, day)| format!("{year:04}-{month:02}-{day:02}"));
    (0..5_usize, 0..=6_usize).prop_flat_map(move |(kind, digits)| {
        let date = date.clone().boxed();
        match kind {
            0 => with("DATE".into(), date.prop_map(|date| format!("'{date}'")).boxed()),
            1 => with(
                format!("TIME({digits})"),
                (any::<bool>(), 0..838_u32, clock.1.clone(), clock.2.clone(), fraction(digits))
                    .prop_map(|(negative, h, m, s, fraction)| {
                        let sign = if negative { "-" } else { "" };
                        format!("'{sign}{h:02}:{m:02}:{s:02}{fraction}'")
                    })
                    .boxed(),
            ),
            2 => with(
                format!("DATETIME({digits})"),
                (date, clock.clone(), fraction(digits))
                    .prop_map(|(date, (h, m, s), fraction)| {
                        format!("'{date} {h:02}:{m:02}:{s:02}{fraction}'")
                    })
                    .boxed(),
            ),
            3 => with(
                format!("TIMESTAMP({digits}) NULL"),
                (1971..2038_u32, 1..=12_u32, 1..=28_u32, clock.clone(), fraction(digits))
                    .prop_map(|(y, month, d, (h, m, s), fraction)| {
                        format!("'{y}-{month:02}-{d:02} {h:02}:{m:02}:{s:02}{fraction}'")
                    })
                    .boxed(),
            ),
            _ => with(
                "YEAR".into(),
                prop_oneof![Just(0), 1901..=2155_u32].prop_map(|year| year.to_string()).boxed(),
            ),
        }
    })
}

/// Quoted, with what a server reads as an escape escaped.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Character sets with letters that each of them has.
const ALPHABETS: [(&str, &str); 7] = [
    ("utf8mb4", "aB \\'ëж漢😀"),
    ("utf8mb3", "aB \\'ëж漢"),
    ("latin1", "aB \\'ëÿ€"),
    ("cp1251", "aB \\'жЯ"),
    ("ucs2", "aB\\'ëж漢"),
    ("gbk", "aB汉字中文"),
    ("ascii", "aB \\'~"),
];

fn text() -> impl Strategy<Value = Column> {
    let kinds = ["CHAR", "VARCHAR", "TEXT"].to_vec();
    (prop::sample::select(ALPHABETS.to_vec()), prop::sample::select(kinds), 1..=255_usize)
        .prop_flat_map(|((set, letters), kind, length)| {
            let letters: Vec<char> = letters.chars().collect();
            let letters = prop::collection::vec(prop::sample::select(letters), 0..=length.min(40));
            // The server takes spaces off the end of a CHAR.
            let value = letters
                .prop_map(|letters| literal(letters.into_iter().collect::<String>().trim_end()));
            let size = if kind == "TEXT" { String::new() } else { format!("({length})") };
            with(format!("{kind}{size} CHARACTER SET {set}"), value.boxed())
        })
}

fn bytes() -> impl Strategy<Value = Column> {
    let kinds = ["BINARY", "VARBINARY", "BLOB"].to_vec();
    (prop::sample::select(kinds), 1..=255_usize).prop_flat_map(|(kind, length)| {
        let byte = prop_oneof![2 => any::<u8>(), 1 => Just(0_u8), 2 => 0x20..0x7f_u8];
        let value = prop::collection::vec(byte, 0..=length).prop_map(|bytes| {
            let hex = bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02X}"));
            format!("X'{hex}'")
        });
        let size = if kind == "BLOB" { String::new() } else { format!("({length})") };
        with(format!("{kind}{size}"), value.boxed())
    })
}

fn members() -> impl Strategy<Value = Column> {
    let named = |count: usize| {
        (1..=count).map(|number| format!("'m{number}'")).collect::<Vec<_>>().join(",")
    };
    let one = (1..=300_usize).prop_flat_map(move |count| {
        let value = (1..=count).prop_map(|number| format!("'m{number}'"));
        with(format!("ENUM({})", named(count)), value.boxed())
    });
    let several = (1..=64_usize).prop_flat_map(move |count| {
        let value = prop::collection::btree_set(1..=count, 0..=count.min(9)).prop_map(|chosen| {
            let names: Vec<String> = chosen.iter().map(|number| format!("m{number}")).collect();
            format!("'{}'", names.join(","))
        });
        with(format!("SET({})", named(count)), value.boxed())
    });
    prop_oneof![one, several]
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|flag| flag.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        (-70_000..70_000_i32).prop_map(|number| number.to_string()),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| format!("{n:?}")),
        "[a-z ë😀]{0,20}".prop_map(|text| format!("\"{text}\"")),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6)
                .prop_map(|all| format!("[{}]", all.join(","))),
            prop::collection::btree_map("[a-z]{1,8}", inner, 0..6).prop_map(|all| {
                let all: Vec<String> =
                    all.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", all.join(","))
            }),
        ]
    })
}
