//! The servers' character sets: their names, and the collation ids by which the log refers to them.

use super::error::{DecodeError, Refusal};

macro_rules! charsets {
    ($($variant:ident = $name:literal,)*) => {
        /// A character set of MySQL or `MariaDB`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Charset {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Charset {
            /// The server's name for it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Charset::$variant => $name,)*
                }
            }

            /// The character set of that name; `utf8` is `utf8mb3`, as it is to the servers.
            pub fn of_name(name: &str) -> Result<Charset, DecodeError> {
                match name {
                    $($name => Ok(Charset::$variant),)*
                    "utf8" => Ok(Charset::Utf8mb3),
                    _ => Err(Refusal::Charset(name.to_owned()).into()),
                }
            }
        }
    };
}

charsets! {
    Armscii8 = "armscii8",
    Ascii = "ascii",
    Big5 = "big5",
    Binary = "binary",
    Cp1250 = "cp1250",
    Cp1251 = "cp1251",
    Cp1256 = "cp1256",
    Cp1257 = "cp1257",
    Cp850 = "cp850",
    Cp852 = "cp852",
    Cp866 = "cp866",
    Cp932 = "cp932",
    Dec8 = "dec8",
    Eucjpms = "eucjpms",
    Euckr = "euckr",
    Gb18030 = "gb18030",
    Gb2312 = "gb2312",
    Gbk = "gbk",
    Geostd8 = "geostd8",
    Greek = "greek",
    Hebrew = "hebrew",
    Hp8 = "hp8",
    Keybcs2 = "keybcs2",
    Koi8r = "koi8r",
    Koi8u = "koi8u",
    Latin1 = "latin1",
    Latin2 = "latin2",
    Latin5 = "latin5",
    Latin7 = "latin7",
    Macce = "macce",
    Macroman = "macroman",
    Sjis = "sjis",
    Swe7 = "swe7",
    Tis620 = "tis620",
    Ucs2 = "ucs2",
    Ujis = "ujis",
    Utf16 = "utf16",
    Utf16le = "utf16le",
    Utf32 = "utf32",
    Utf8mb3 = "utf8mb3",
    Utf8mb4 = "utf8mb4",
}

/// `MariaDB` gives the id of a collation plus this to its form that doesn't pad with spaces. MySQL leaves
/// these numbers to whoever defines collations of their own.
const NO_PAD: u64 = 1024;
/// From here on `MariaDB` numbers the UCA 14.0.0 collations, 256 to a character set: `utf8mb3`,
/// `utf8mb4`, `ucs2`, `utf16`, `utf32`.
const UCA_1400: u64 = 2048;

impl Charset {
    /// The character set of the collation with that id, of MySQL 5.6 to 9.7 or of `MariaDB` 10 to
    /// 11.8 (from `information_schema` of MySQL 9.7 and `MariaDB` 10.11 and 11.8).
    pub fn of_collation(id: u64, mariadb: bool) -> Result<Charset, DecodeError> {
        let no_pad = mariadb && (NO_PAD..UCA_1400).contains(&id);
        let plain = if no_pad { id - NO_PAD } else { id };
        Ok(match plain {
            32 | 64 => Charset::Armscii8,
            11 | 65 => Charset::Ascii,
            1 | 84 => Charset::Big5,
            63 => Charset::Binary,
            26 | 34 | 44 | 66 | 99 => Charset::Cp1250,
            14 | 23 | 50..=52 => Charset::Cp1251,
            57 | 67 => Charset::Cp1256,
            29 | 58 | 59 => Charset::Cp1257,
            4 | 80 => Charset::Cp850,
            40 | 81 => Charset::Cp852,
            36 | 68 => Charset::Cp866,
            95 | 96 => Charset::Cp932,
            3 | 69 => Charset::Dec8,
            97 | 98 => Charset::Eucjpms,
            19 | 85 => Charset::Euckr,
            248..=250 => Charset::Gb18030,
            24 | 86 => Charset::Gb2312,
            28 | 87 => Charset::Gbk,
            92 | 93 => Charset::Geostd8,
            25 | 70 => Charset::Greek,
            16 | 71 => Charset::Hebrew,
            6 | 72 => Charset::Hp8,
            37 | 73 => Charset::Keybcs2,
            7 | 74 => Charset::Koi8r,
            22 | 75 => Charset::Koi8u,
            5 | 8 | 15 | 31 | 47..=49 | 94 => Charset::Latin1,
            2 | 9 | 21 | 27 | 77 => Charset::Latin2,
            30 | 78 => Charset::Latin5,
            20 | 41 | 42 | 79 => Charset::Latin7,
            38 | 43 => Charset::Macce,
            39 | 53 => Charset::Macroman,
            13 | 88 => Charset::Sjis,
            10 | 82 => Charset::Swe7,
            18 | 89 => Charset::Tis620,
            35 | 90 | 128..=151 | 159 | 640..=642 | 2560..=2815 => Charset::Ucs2,
            12 | 91 => Charset::Ujis,
            54 | 55 | 101..=124 | 672..=674 | 2816..=3071 => Charset::Utf16,
            56 | 62 => Charset::Utf16le,
            60 | 61 | 160..=183 | 736..=738 | 3072..=3327 => Charset::Utf32,
            33 | 76 | 83 | 192..=215 | 223 | 576..=579 | 2048..=2303 => Charset::Utf8mb3,
            45 | 46 | 224..=247 | 255..=323 | 608..=611 | 2304..=2559 => Charset::Utf8mb4,
            _ => return Err(Refusal::Collation(id).into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collations_of_both_servers() {
        let of = |id| Charset::of_collation(id, true).unwrap().name();
        assert_eq!(of(255), "utf8mb4", "utf8mb4_0900_ai_ci");
        assert_eq!(of(323), "utf8mb4", "the last of MySQL 9");
        assert_eq!(of(8), "latin1");
        assert_eq!(of(63), "binary");
        assert_eq!(of(2304), "utf8mb4", "utf8mb4_uca1400_ai_ci");
        assert_eq!(of(1057), "utf8mb3", "utf8mb3_general_nopad_ci");
        assert_eq!(of(611), "utf8mb4", "utf8mb4_general1400_as_ci");
        for id in [0, u64::MAX] {
            assert!(Charset::of_collation(id, true).is_err(), "{id}");
        }
    }

    #[test]
    fn what_mysql_leaves_to_others_is_no_collation_of_mariadb() {
        let of = |id| Charset::of_collation(id, false);
        assert_eq!(of(255).unwrap().name(), "utf8mb4");
        // `utf8mb4_phone_ci` of the manual, and what else Index.xml may define.
        for id in [1024, 1029, 2047] {
            assert_eq!(of(id), Err(Refusal::Collation(id).into()));
        }
    }

    #[test]
    fn names_come_back() {
        assert_eq!(Charset::of_name("latin7").unwrap().name(), "latin7");
        assert_eq!(Charset::of_name("utf8").unwrap(), Charset::Utf8mb3);
        assert!(Charset::of_name("klingon").is_err());
    }
}
