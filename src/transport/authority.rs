//! The parent is its own certificate authority: it makes one key and one certificate for itself,
//! and signs its own server certificate and those of its children with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SerialNumber, SubjectPublicKeyInfo,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use time::OffsetDateTime;

use super::credentials::{
    CredentialError, Credentials, Validity, folder, read, replace, write_first,
};
use super::token::sha256;
use crate::change::NodeId;
use crate::clock::Timestamp;

const YEAR_SECONDS: u64 = 365 * 86_400;
/// How long the authority lives. Its end is the end of every link, so it outlives the machines.
const AUTHORITY_YEARS: u64 = 50;
/// How long a certificate lives. Ten years: what ends a link is `revoke`, which works at once; a
/// certificate's end would only ever hit a clinic that was away for long, and renewal starts when
/// a third of it is left.
pub const CERTIFICATE_LIFE: Duration = Duration::from_secs(10 * YEAR_SECONDS);
/// 2026-01-01. A clock that says less is wrong (a dead battery says 1970), and a certificate made
/// by it must not be over when the clock is right again.
const NO_CLOCK_BEFORE: Timestamp = Timestamp(1_767_225_600_000_000);

const AUTHORITY_FILE: &str = "authority.pem";
const SERVER_FILE: &str = "server.pem";
/// What a parent does whose authority cannot be used.
pub(crate) const AUTHORITY_REMEDY: &str = "invite every child again";
/// What a parent does whose server certificate cannot be used.
pub(crate) const SERVER_REMEDY: &str = "start headwater again, which makes a new one";

/// Where a parent's authority is.
pub fn authority_file(data_dir: &Path) -> PathBuf {
    folder(data_dir).join(AUTHORITY_FILE)
}

/// Where the key and certificate are that a parent shows its children.
pub fn server_file(data_dir: &Path) -> PathBuf {
    folder(data_dir).join(SERVER_FILE)
}

/// A parent's authority.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// The authority of this `data_dir`; makes it if there is none yet.
    pub fn open(data_dir: &Path, name: &str, now: Timestamp) -> Result<Authority, CredentialError> {
        let path = authority_file(data_dir);
        let credentials = match read(&path, AUTHORITY_REMEDY)? {
            Some(credentials) => credentials,
            None => write_first(&path, make(name, now)?, AUTHORITY_REMEDY)?,
        };
        let damaged = |reason: String| CredentialError::Damaged {
            path: path.clone(),
            reason,
            remedy: AUTHORITY_REMEDY,
        };
        let certificate = credentials.chain.into_iter().next();
        let certificate = certificate.ok_or_else(|| damaged("no certificate in it".to_owned()))?;
        let key = KeyPair::try_from(&PrivateKeyDer::Pkcs8(credentials.key))
            .map_err(|error| damaged(error.to_string()))?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|error| damaged(error.to_string()))?;
        Ok(Authority { certificate, issuer })
    }

    /// Its certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// SHA-256 of its certificate, which tokens carry.
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(&self.certificate)
    }

    /// The server's key and certificate for these names; made, and made again when the names
    /// change or its end comes near.
    pub fn server(
        &self,
        data_dir: &Path,
        names: &[String],
        now: Timestamp,
    ) -> Result<Credentials, CredentialError> {
        let path = server_file(data_dir);
        let mut wanted = names.to_vec();
        wanted.sort();
        wanted.dedup();
        if let Some(found) = read(&path, SERVER_REMEDY)?
            && let [certificate, authority] = found.chain.as_slice()
            && *authority == self.certificate
            && Validity::of(certificate)
                .is_ok_and(|v| v.names == wanted && !v.is_ending(now, CERTIFICATE_LIFE))
        {
            return Ok(found);
        }
        let key = new_key()?;
        let mut params = CertificateParams::new(Vec::new()).map_err(|error| issue(&error))?;
        for name in &wanted {
            let wrong = || CredentialError::Name { name: name.clone() };
            ServerName::try_from(name.as_str()).map_err(|_error| wrong())?;
            let one = CertificateParams::new(vec![name.clone()]).map_err(|_error| wrong())?;
            params.subject_alt_names.extend(one.subject_alt_names);
        }
        shape(&mut params, "headwater parent", now, CERTIFICATE_LIFE);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer).map_err(|error| issue(&error))?;
        let chain = vec![certificate.der().clone(), self.certificate.clone()];
        let made = Credentials { key: PrivatePkcs8KeyDer::from(key.serialize_der()), chain };
        replace(&path, &made)?;
        Ok(made)
    }

    /// A certificate for a child's public key (`SubjectPublicKeyInfo`, DER).
    pub fn issue_child(
        &self,
        public_key: &[u8],
        name: &str,
        node: NodeId,
        now: Timestamp,
    ) -> Result<CertificateDer<'static>, CredentialError> {
        let public_key = SubjectPublicKeyInfo::from_der(public_key)
            .map_err(|error| CredentialError::Foreign(error.to_string()))?;
        let mut params = CertificateParams::default();
        shape(&mut params, name, now, CERTIFICATE_LIFE);
        params.distinguished_name.push(DnType::OrganizationalUnitName, node.to_string());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate =
            params.signed_by(&public_key, &self.issuer).map_err(|error| issue(&error))?;
        Ok(certificate.der().clone())
    }
}

/// A new Ed25519 key, whose certificates are the smallest there are.
pub(crate) fn new_key() -> Result<KeyPair, CredentialError> {
    KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(|error| issue(&error))
}

fn make(name: &str, now: Timestamp) -> Result<Credentials, CredentialError> {
    let key = new_key()?;
    let mut params = CertificateParams::default();
    let life = Duration::from_secs(AUTHORITY_YEARS * YEAR_SECONDS);
    shape(&mut params, &format!("headwater authority of {name}"), now, life);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).map_err(|error| issue(&error))?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    Ok(Credentials { key, chain: vec![certificate.der().clone()] })
}

/// What all certificates have in common. They begin in 1970, because the clock of a clinic's
/// laptop with a dead battery does too.
fn shape(params: &mut CertificateParams, name: &str, now: Timestamp, life: Duration) {
    params.not_before = OffsetDateTime::UNIX_EPOCH;
    let ends = now.max(NO_CLOCK_BEFORE).after(life);
    params.not_after = OffsetDateTime::from_unix_timestamp(ends.0.div_euclid(1_000_000))
        .unwrap_or(params.not_after);
    let mut serial: [u8; 16] = rand::random();
    // Positive, as a serial number has to be.
    if let Some(first) = serial.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
}

fn issue(error: &rcgen::Error) -> CredentialError {
    CredentialError::Issue(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_authority_is_made_once_and_its_key_is_nobody_elses() {
        let data_dir = tempfile::tempdir().unwrap();
        let first = Authority::open(data_dir.path(), "parent", NOW).unwrap();
        let second = Authority::open(data_dir.path(), "parent", NOW).unwrap();
        assert_eq!(first.fingerprint(), second.fingerprint());
        for file in std::fs::read_dir(folder(data_dir.path())).unwrap() {
            let mode = file.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        std::fs::write(folder(data_dir.path()).join(AUTHORITY_FILE), "rubbish").unwrap();
        let words = Authority::open(data_dir.path(), "parent", NOW).err().unwrap().to_string();
        assert!(words.contains("authority.pem"), "{words}");
    }

    #[test]
    fn the_server_certificate_follows_the_names_and_is_renewed_in_time() {
        let data_dir = tempfile::tempdir().unwrap();
        let authority = Authority::open(data_dir.path(), "parent", NOW).unwrap();
        let serve = |wanted: &[&str], now| {
            authority.server(data_dir.path(), &names(wanted), now).unwrap().chain[0].clone()
        };
        let first = serve(&["parent.example.org", "10.0.0.1"], NOW);
        assert_eq!(first, serve(&["10.0.0.1", "parent.example.org"], NOW));
        assert_eq!(Validity::of(&first).unwrap().names, ["10.0.0.1", "parent.example.org"]);
        assert_ne!(first, serve(&["parent.example.org", "::1"], NOW));
        let second = serve(&["::1"], NOW);
        let six_years = NOW.after(Duration::from_secs(6 * YEAR_SECONDS));
        let seven_years = NOW.after(Duration::from_secs(7 * YEAR_SECONDS));
        assert_eq!(second, serve(&["::1"], six_years));
        assert_ne!(second, serve(&["::1"], seven_years));
        let error = authority.server(data_dir.path(), &names(&["not a name"]), NOW).unwrap_err();
        assert!(error.to_string().contains("not a name"), "{error}");
    }

    #[test]
    fn a_dead_clock_battery_makes_no_certificate_that_is_over() {
        let data_dir = tempfile::tempdir().unwrap();
        let authority = Authority::open(data_dir.path(), "parent", Timestamp(0)).unwrap();
        let key = new_key().unwrap();
        let public = rcgen::PublicKeyData::subject_public_key_info(&key);
        let node = NodeId(uuid::Uuid::new_v4());
        let child = authority.issue_child(&public, "clinic-1", node, Timestamp(0)).unwrap();
        for certificate in [authority.certificate(), &child] {
            let validity = Validity::of(certificate).unwrap();
            assert_eq!(validity.begins, Timestamp(0));
            assert!(!validity.is_over(NOW));
        }
        assert!(authority.issue_child(b"rubbish", "clinic-1", node, NOW).is_err());
    }
}
