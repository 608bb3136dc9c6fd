//! Which texts a column of another length or character set holds.

use crate::database::schema::LiveColumn;

/// Character sets that hold every character.
const UNICODE: [&str; 5] = ["utf8mb4", "utf16", "utf16le", "utf32", "gb18030"];

pub(super) fn holds_unicode(column: &LiveColumn) -> bool {
    column.charset_now().is_some_and(|name| UNICODE.contains(&name))
}

/// Why a character set does not hold every text of another.
pub(super) fn charsets(here: &LiveColumn, there: &LiveColumn) -> Option<String> {
    let (from, into) = (here.charset_now(), there.charset_now());
    let narrow = from == Some("ascii");
    // All that other character sets hold lies in the basic plane, which these hold.
    let basic = matches!(into, Some("utf8mb3" | "ucs2")) && !holds_unicode(here);
    if from == into || narrow || holds_unicode(there) || basic {
        return None;
    }
    Some(charset_words(there))
}

pub(super) fn charset_words(there: &LiveColumn) -> String {
    let charset = there.charset.as_deref().unwrap_or("binary");
    format!("and {charset} does not hold every character of it")
}

/// Why a column is too short for the texts of another, letter by letter.
pub(super) fn lengths(here: &LiveColumn, there: &LiveColumn) -> Option<String> {
    (here.characters_max.unwrap_or(0) > there.characters_max.unwrap_or(u64::MAX))
        .then(|| "which is shorter".to_owned())
}

/// Why a column is too short for the members of an ENUM or SET.
pub(super) fn members(here: &LiveColumn, there: &LiveColumn) -> Option<String> {
    let lengths = here.members.iter().map(|member| member.chars().count() as u64);
    let longest = if here.data_type == "set" {
        let commas = here.members.len().saturating_sub(1) as u64;
        lengths.sum::<u64>().saturating_add(commas)
    } else {
        lengths.max().unwrap_or(0)
    };
    (longest > there.characters_max.unwrap_or(u64::MAX))
        .then(|| format!("which is shorter than the {longest} characters that it may hold"))
}

/// Why some texts do not go into a column that is long enough and of a character set that holds them.
pub(super) fn doubt(here: &LiveColumn, there: &LiveColumn) -> Option<String> {
    if there.data_type == "char" && here.data_type != "char" {
        return Some("which loses blanks at the end of a text".to_owned());
    }
    let most = here.characters_max.unwrap_or(0);
    if !is_counted_in_bytes(there) {
        return None;
    }
    let (from, into) = (here.charset_now(), there.charset_now());
    let room = there.characters_max.unwrap_or(u64::MAX).saturating_mul(least_bytes(into));
    let alike =
        from == into || from == Some("ascii") || (from, into) == (Some("utf8mb3"), Some("utf8mb4"));
    let needed = if !is_counted_in_bytes(here) {
        most.saturating_mul(if from == Some("ascii") {
            least_bytes(into)
        } else {
            most_bytes(into)
        })
    } else if alike {
        most
    } else {
        // What one set writes in a byte another writes in up to three.
        most.saturating_mul(most_bytes(into).min(3))
    };
    (needed > room).then(|| {
        format!("which holds {room} bytes, and a text may take more of them than it takes here")
    })
}

fn is_counted_in_bytes(column: &LiveColumn) -> bool {
    column.data_type.ends_with("text")
}

/// What a character takes at least.
fn least_bytes(charset: Option<&str>) -> u64 {
    match charset {
        Some("ucs2" | "utf16" | "utf16le") => 2,
        Some("utf32") => 4,
        _ => 1,
    }
}

/// What a character takes at most.
fn most_bytes(charset: Option<&str>) -> u64 {
    match charset {
        Some("utf8mb4" | "utf16" | "utf16le" | "utf32" | "gb18030") => 4,
        Some("utf8mb3" | "ujis" | "eucjpms") => 3,
        Some("ucs2" | "sjis" | "cp932" | "gbk" | "gb2312" | "big5" | "euckr") => 2,
        _ => 1,
    }
}
