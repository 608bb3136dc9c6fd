//! Keys and certificates as they lie in `data_dir/tls`: one PEM file each, readable by nobody
//! else, replaced whole or not at all.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::token::sha256;
use crate::clock::Timestamp;

const CHILD_FILE: &str = "child.pem";
/// What a child does whose key or certificate cannot be used.
pub(crate) const REJOIN: &str = "join again with a new token";
/// Certificates are renewed when less than this part of their time remains.
const RENEW_PART: i64 = 3;

/// What went wrong with keys and certificates.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CredentialError {
    /// A file of `data_dir/tls` could not be read or written.
    #[error("{} cannot be used: {reason}; check data_dir and who owns it", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A file of `data_dir/tls` does not hold what it should.
    #[error("{} is damaged ({reason}); restore it from a backup of data_dir, or remove it and {remedy}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// What makes a new one.
        remedy: &'static str,
    },
    /// A certificate could not be made.
    #[error("a certificate cannot be made: {0}")]
    Issue(String),
    /// A name that the parent listens under is neither a DNS name nor an address.
    #[error("`{name}` in [listen] names is neither a host name nor an IP address")]
    Name {
        /// The name.
        name: String,
    },
    /// A certificate or key that came from the other end cannot be read.
    #[error("the other end sent a key or certificate that cannot be read: {0}")]
    Foreign(String),
}

/// A private key and the certificates that go with it, the owner's first.
#[derive(Debug)]
pub struct Credentials {
    /// PKCS #8.
    pub key: PrivatePkcs8KeyDer<'static>,
    /// The owner's certificate, then its authority's.
    pub chain: Vec<CertificateDer<'static>>,
}

impl Clone for Credentials {
    fn clone(&self) -> Credentials {
        Credentials { key: self.key.clone_key(), chain: self.chain.clone() }
    }
}

/// What a certificate says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validity {
    /// When its time begins.
    pub begins: Timestamp,
    /// When it ends.
    pub ends: Timestamp,
    /// The host names and addresses it is for, sorted.
    pub names: Vec<String>,
}

impl Validity {
    /// Reads a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Validity, String> {
        let (_, parsed) =
            X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
        let moment = |seconds: i64| Timestamp(seconds.saturating_mul(1_000_000));
        let alternative = parsed.subject_alternative_name().map_err(|error| error.to_string())?;
        let names = alternative.map(|found| found.value.general_names.as_slice());
        let mut names: Vec<String> =
            names.unwrap_or_default().iter().filter_map(host_name).collect();
        names.sort();
        Ok(Validity {
            begins: moment(parsed.validity().not_before.timestamp()),
            ends: moment(parsed.validity().not_after.timestamp()),
            names,
        })
    }

    /// Whether its time is over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        now > self.ends
    }

    /// Whether it is time to renew it. Its beginning lies far in the past on purpose, so what
    /// counts is what is left of the time it was `issued_for`.
    pub fn is_ending(&self, now: Timestamp, issued_for: std::time::Duration) -> bool {
        let left = self.ends.0.saturating_sub(now.0);
        let whole = i64::try_from(issued_for.as_micros()).unwrap_or(i64::MAX);
        left < whole / RENEW_PART
    }
}

fn host_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(Into::into));
            address.ok().map(|address| address.to_string())
        }
        GeneralName::OtherName(..)
        | GeneralName::RFC822Name(_)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::URI(_)
        | GeneralName::RegisteredID(_)
        | GeneralName::Invalid(..) => None,
    }
}

/// What a child is recognised by: SHA-256 of its public key, which outlives renewed certificates.
pub fn key_fingerprint(certificate: &CertificateDer<'_>) -> Result<[u8; 32], String> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    Ok(sha256(parsed.public_key().raw))
}

/// The public key of a certificate (`SubjectPublicKeyInfo`, DER).
pub fn public_key(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, String> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    Ok(parsed.public_key().raw.to_vec())
}

/// The folder of keys and certificates.
pub fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("tls")
}

/// Reads a key and its certificates; `None` if there is no such file.
pub fn read(path: &Path, remedy: &'static str) -> Result<Option<Credentials>, CredentialError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file_error(path, &error)),
    };
    let damaged =
        |reason: String| CredentialError::Damaged { path: path.to_path_buf(), reason, remedy };
    let key = match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(PrivateKeyDer::Pkcs8(key)) => key,
        Ok(_) => return Err(damaged("its key is of an unknown kind".to_owned())),
        Err(error) => return Err(damaged(error.to_string())),
    };
    let chain = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| damaged(error.to_string()))?;
    for certificate in &chain {
        Validity::of(certificate).map_err(damaged)?;
    }
    Ok(Some(Credentials { key, chain }))
}

/// Where a child's key and certificate are.
pub fn child_file(data_dir: &Path) -> PathBuf {
    folder(data_dir).join(CHILD_FILE)
}

/// A child's key and certificate, and its parent's authority; `None` before it has joined.
pub fn joined(data_dir: &Path) -> Result<Option<Credentials>, CredentialError> {
    read(&child_file(data_dir), REJOIN)
}

/// Writes a key and its certificates in the place of what was there.
pub fn replace(path: &Path, credentials: &Credentials) -> Result<(), CredentialError> {
    write(path, credentials, |from, to| std::fs::rename(from, to))
}

/// Writes a key and its certificates unless another process was quicker, and returns what is
/// there then.
pub fn write_first(
    path: &Path,
    credentials: Credentials,
    remedy: &'static str,
) -> Result<Credentials, CredentialError> {
    let link = |from: &Path, to: &Path| match std::fs::hard_link(from, to) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => std::fs::remove_file(from),
    };
    write(path, &credentials, link)?;
    Ok(read(path, remedy)?.unwrap_or(credentials))
}

fn write(
    path: &Path,
    credentials: &Credentials,
    place: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> Result<(), CredentialError> {
    let written = || -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let temporary = path.with_extension(format!("{}.tmp", uuid::Uuid::new_v4().simple()));
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(pem("PRIVATE KEY", credentials.key.secret_pkcs8_der()).as_bytes())?;
        for certificate in &credentials.chain {
            file.write_all(pem("CERTIFICATE", certificate).as_bytes())?;
        }
        file.sync_all()?;
        place(&temporary, path)?;
        File::open(folder)?.sync_all()
    };
    written().map_err(|error| file_error(path, &error))
}

fn file_error(path: &Path, error: &io::Error) -> CredentialError {
    CredentialError::File { path: path.to_path_buf(), reason: error.to_string() }
}

fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for (index, letter) in STANDARD.encode(der).chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            text.push('\n');
        }
        text.push(letter);
    }
    text + "\n-----END " + label + "-----\n"
}
