//! The word that `invite` prints and `join` takes: a one-time secret, and what the parent's
//! authority is recognised by, so that a child needs to be told nothing else.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;

const PREFIX: &str = "hw1_";
const SECRET_BYTES: usize = 16;
const FINGERPRINT_BYTES: usize = 32;
const CRC_BYTES: usize = 4;

/// What an invitation is made of.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Known to the parent only as a hash.
    pub secret: [u8; SECRET_BYTES],
    /// SHA-256 of the certificate of the parent's authority.
    pub authority: [u8; FINGERPRINT_BYTES],
}

/// Why a word is not a token; never repeats the word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not one of ours at all.
    #[error(
        "this is not a headwater token: a token starts with {PREFIX} and is printed by `headwater invite NAME` at the parent"
    )]
    NotAToken,
    /// One of ours, but damaged.
    #[error(
        "the token was not copied exactly: a letter is wrong or missing; copy the whole word again from the parent"
    )]
    Mistyped,
}

impl Token {
    /// A new invitation by the authority with this certificate fingerprint.
    pub fn new(authority: [u8; FINGERPRINT_BYTES]) -> Token {
        Token { secret: rand::random(), authority }
    }

    /// What the parent keeps of the secret. The secret is 128 random bits, so a plain hash is
    /// as hard to turn back as a slow one.
    pub fn secret_hash(&self) -> [u8; 32] {
        secret_hash(&self.secret)
    }
}

/// The hash under which a secret is kept.
pub fn secret_hash(secret: &[u8]) -> [u8; 32] {
    sha256(secret)
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().first_chunk::<32>().copied().unwrap_or_default()
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token(secret)")
    }
}

impl fmt::Display for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.secret.to_vec();
        bytes.extend_from_slice(&self.authority);
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        write!(out, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(word: &str) -> Result<Token, TokenError> {
        let word = word.trim().strip_prefix(PREFIX).ok_or(TokenError::NotAToken)?;
        let bytes = URL_SAFE_NO_PAD.decode(word).map_err(|_error| TokenError::Mistyped)?;
        let (content, crc) = bytes.split_last_chunk::<CRC_BYTES>().ok_or(TokenError::Mistyped)?;
        let (secret, authority) =
            content.split_first_chunk::<SECRET_BYTES>().ok_or(TokenError::Mistyped)?;
        let authority = authority.try_into().map_err(|_error| TokenError::Mistyped)?;
        if crc32fast::hash(content) != u32::from_le_bytes(*crc) {
            return Err(TokenError::Mistyped);
        }
        Ok(Token { secret: *secret, authority })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_printable_word_that_reads_back() {
        let token = Token::new([7; 32]);
        let word = token.to_string();
        assert!(word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'), "{word}");
        assert_eq!(format!(" {word}\n").parse(), Ok(token));
    }

    #[test]
    fn every_single_typo_is_told() {
        let word = Token::new([7; 32]).to_string();
        for at in PREFIX.len()..word.len() {
            let mut typo = word.clone().into_bytes();
            typo[at] = if typo[at] == b'A' { b'B' } else { b'A' };
            let typo = String::from_utf8(typo).unwrap();
            assert_eq!(typo.parse::<Token>(), Err(TokenError::Mistyped), "{typo}");
            let mut short = word.clone();
            short.remove(at);
            assert_eq!(short.parse::<Token>(), Err(TokenError::Mistyped), "{short}");
        }
        assert_eq!("hello".parse::<Token>(), Err(TokenError::NotAToken));
        assert_eq!("hw1_".parse::<Token>(), Err(TokenError::Mistyped));
    }

    #[test]
    fn a_token_never_shows_in_logs() {
        let token = Token::new([7; 32]);
        assert_eq!(format!("{token:?}"), "Token(secret)");
    }
}
