//! An identity as the index keeps it.

use headwater::record::IdentityBytes;

pub fn run(bytes: &[u8]) {
    let stored = IdentityBytes::from_slice(bytes);
    let Ok(identity) = stored.identity() else { return };
    let written = IdentityBytes::new(&identity);
    assert_eq!(written.identity().as_ref(), Ok(&identity));
    assert!(stored.nameless().is_some() || stored.as_slice().len() > 2);
    drop(identity.to_string());
    assert_eq!(identity.clone().into_owned(), identity);
}
