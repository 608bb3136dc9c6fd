//! What a person copies by hand: a token, and a parent's address.

use headwater::transport::dial::ParentAddress;
use headwater::transport::token::Token;

pub fn run(bytes: &[u8]) {
    if let Some((content, _)) = bytes.split_first_chunk::<48>() {
        let (secret, authority) = content.split_at(16);
        let token = Token {
            secret: secret.try_into().expect("16 bytes"),
            authority: authority.try_into().expect("32 bytes"),
        };
        assert_eq!(token.to_string().parse(), Ok(token));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(token) = text.parse::<Token>() {
        assert_eq!(token.to_string().parse(), Ok(token));
    }
    if let Ok(address) = text.parse::<ParentAddress>() {
        assert_eq!(format!("https://{address}").parse(), Ok(address));
    }
}
