//! Text is read as the servers read it: every code of every character set for Chinese, Japanese and
//! Korean, and of every set of one byte a character, is asked of them, there and back.

use headwater::capture::decode::{Charset, ColumnFacts, ColumnType, RawColumn};
use headwater::value::Value;
use headwater_rig::{Flavor, Server, ServerOptions};
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

use crate::support::on_all;

/// The character sets that are asked code by code.
const SETS: [Charset; 8] = [
    Charset::Sjis,
    Charset::Cp932,
    Charset::Ujis,
    Charset::Eucjpms,
    Charset::Gbk,
    Charset::Gb2312,
    Charset::Big5,
    Charset::Euckr,
];

/// Those of one byte a character, but for swe7, whose text travels as bytes.
const OF_ONE_BYTE: [Charset; 24] = [
    Charset::Armscii8,
    Charset::Ascii,
    Charset::Cp1250,
    Charset::Cp1251,
    Charset::Cp1256,
    Charset::Cp1257,
    Charset::Cp850,
    Charset::Cp852,
    Charset::Cp866,
    Charset::Dec8,
    Charset::Geostd8,
    Charset::Greek,
    Charset::Hebrew,
    Charset::Hp8,
    Charset::Keybcs2,
    Charset::Koi8r,
    Charset::Koi8u,
    Charset::Latin1,
    Charset::Latin2,
    Charset::Latin5,
    Charset::Latin7,
    Charset::Macce,
    Charset::Macroman,
    Charset::Tis620,
];

/// Everything of one, two or, in the sets of Unix, three bytes that could be a character.
fn codes(charset: Charset) -> Vec<Vec<u8>> {
    let mut codes: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    let more = if OF_ONE_BYTE.contains(&charset) { 0..0 } else { 0x80..256_u16 };
    for first in more.map(|byte| byte as u8) {
        codes.extend((0x30..=255).map(|second| vec![first, second]));
    }
    if matches!(charset, Charset::Ujis | Charset::Eucjpms) {
        for second in 0xa0..=255 {
            codes.extend((0xa0..=255).map(|third| vec![0x8f, second, third]));
        }
    }
    codes
}

/// Bytes, what the server makes of them in UTF-8, and the bytes it makes of that.
type Asked = (Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>);

async fn asked(conn: &mut Conn, charset: Charset) -> Vec<Asked> {
    let name = charset.name();
    conn.query_drop("CREATE TEMPORARY TABLE codes (b VARBINARY(4) PRIMARY KEY)").await.unwrap();
    for some in codes(charset).chunks(2000) {
        let list: Vec<String> = some
            .iter()
            .map(|code| {
                code.iter().fold("(0x".to_owned(), |hex, byte| format!("{hex}{byte:02x}")) + ")"
            })
            .collect();
        conn.query_drop(format!("INSERT INTO codes VALUES {}", list.join(","))).await.unwrap();
    }
    let text = format!("CONVERT(CONVERT(b USING {name}) USING utf8mb4)");
    let sql = format!(
        "SELECT b, CAST({text} AS BINARY), CAST(CONVERT({text} USING {name}) AS BINARY) FROM codes"
    );
    let rows = conn.exec(sql, ()).await.unwrap();
    conn.query_drop("DROP TEMPORARY TABLE codes").await.unwrap();
    rows
}

fn ours(bytes: &[u8], charset: Charset) -> Option<String> {
    let facts = ColumnFacts { unsigned: false, charset, members: Vec::new(), special: None };
    match RawColumn::Bytes(bytes).value(ColumnType::VarChar { bytes_max: 20 }, &facts).unwrap() {
        Value::Text(text) => Some(text.into_owned()),
        Value::Encoded { .. } => None,
        other => panic!("{other:?}"),
    }
}

async fn every_code_is_read_as_the_server_reads_it(flavor: Flavor) {
    let server = Server::start(flavor, ServerOptions::default()).await.unwrap();
    let mut conn = server.conn("mysql").await.unwrap();
    let mut wrong = Vec::new();
    for (charset, least) in
        SETS.map(|it| (it, 6_000)).into_iter().chain(OF_ONE_BYTE.map(|it| (it, 127)))
    {
        let mut exact = 0;
        for (bytes, text, back) in asked(&mut conn, charset).await {
            let text = text.filter(|_| back.as_ref() == Some(&bytes));
            // One set has a code for the character that stands for no character.
            let theirs =
                text.map(|text| String::from_utf8(text).unwrap()).filter(|text| text != "\u{fffd}");
            let ours = ours(&bytes, charset);
            exact += usize::from(ours.is_some());
            if ours != theirs {
                wrong.push(format!(
                    "{} {bytes:02x?}: {ours:?}, and {theirs:?} to the server",
                    charset.name()
                ));
            }
        }
        assert!(exact > least, "{}: {exact}", charset.name());
    }
    assert!(wrong.is_empty(), "{} differ: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
}

on_all!(every_code_is_read_as_the_server_reads_it);

/// `gb18030` holds all of Unicode, so it is asked from there.
async fn every_character_is_read_back_out_of_gb18030(flavor: Flavor) {
    let server = Server::start(flavor, ServerOptions::default()).await.unwrap();
    let mut conn = server.conn("mysql").await.unwrap();
    conn.query_drop(
        "CREATE TEMPORARY TABLE characters (u VARCHAR(1) CHARACTER SET utf8mb4) ENGINE=InnoDB",
    )
    .await
    .unwrap();
    let all: Vec<char> = ('\u{80}'..='\u{10ffff}')
        .filter(|c| u32::from(*c) % 7 == 0 || u32::from(*c) < 0x10000)
        .collect();
    let mut wrong = Vec::new();
    for some in all.chunks(20_000) {
        let list: Vec<String> =
            some.iter().map(|c| format!("(_utf32 0x{:08x})", u32::from(*c))).collect();
        conn.query_drop(format!("INSERT INTO characters VALUES {}", list.join(","))).await.unwrap();
    }
    let rows: Vec<(Vec<u8>, Vec<u8>)> = conn
        .exec(
            "SELECT CAST(u AS BINARY), CAST(CONVERT(u USING gb18030) AS BINARY) FROM characters",
            (),
        )
        .await
        .unwrap();
    assert_eq!(rows.len(), all.len());
    for (text, bytes) in rows {
        let text = String::from_utf8(text).unwrap();
        let ours = ours(&bytes, Charset::Gb18030);
        if ours.as_ref() != Some(&text) {
            wrong.push(format!("{bytes:02x?}: {ours:?}, and {text:?} to the server"));
        }
    }
    assert!(wrong.is_empty(), "{} differ: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
}

crate::support::on!(gb18030, Mysql97, every_character_is_read_back_out_of_gb18030);
