//! Where capture resumes: a position as the store keeps it, and both vendors' notations of what a
//! server has executed.

use headwater::capture::{canonical, reaches};
use headwater::position::{Position, ServerIdentity};

pub fn run(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let server = match choice % 3 {
        0 => return stored(text),
        1 => ServerIdentity::Mysql { server_uuid: "3e11fa47-71ca-11e1-9e33-c80aa9429562".into() },
        _ => ServerIdentity::Mariadb { server_id: 1, domain_id: 0 },
    };
    let (file, gtids) = ("log.000001".to_owned(), Some(text.to_owned()));
    read(&Position { server, file, offset: 4, gtids });
}

fn stored(text: &str) {
    let Ok(position) = serde_json::from_str::<Position>(text) else { return };
    let written = serde_json::to_string(&position).expect("a position");
    assert_eq!(serde_json::from_str::<Position>(&written).ok().as_ref(), Some(&position));
    drop(position.to_string());
    read(&position);
}

fn read(position: &Position) {
    let Ok(same) = canonical(position) else { return };
    let again = canonical(&same).expect("what was written here");
    assert_eq!(again, same);
    assert!(reaches(position, &same) && reaches(&same, position));
}
