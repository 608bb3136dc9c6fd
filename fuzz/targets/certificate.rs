//! Certificates and keys that came from the other end, in DER.

use headwater::transport::credentials::{Validity, key_fingerprint, public_key};
use headwater::transport::token::sha256;
use rustls_pki_types::CertificateDer;

pub fn run(bytes: &[u8]) {
    let certificate = CertificateDer::from(bytes);
    if let Ok(validity) = Validity::of(&certificate) {
        drop(format!("{validity:?}"));
    }
    match (key_fingerprint(&certificate), public_key(&certificate)) {
        (Ok(fingerprint), Ok(key)) => assert_eq!(fingerprint, sha256(&key)),
        (Err(_), Err(_)) => {}
        (fingerprint, key) => panic!("{fingerprint:?}, but {key:?}"),
    }
}
