//! The connection that the log comes over, logged in to in every way that a server asks for.

use std::path::Path;
use std::time::Duration;

use headwater::database::Error;
use headwater::database::connect::Options;
use headwater::database::dump::Dump;
use headwater_rig::{Flavor, Server, ServerOptions};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::support::on_all;

const SILENCE_MAX: Duration = Duration::from_secs(10);

async fn connected(options: &Options) -> Result<Dump, Error> {
    Dump::connect(options, SILENCE_MAX).await
}

/// An authority, and a certificate of it for 127.0.0.1, as the server's options.
fn certificate(folder: &Path) -> Vec<String> {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let shown = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &issuer).unwrap();
    let files = [("ca", shown), ("cert", certificate.pem()), ("key", key.serialize_pem())];
    let option = |(name, text): (&str, String)| {
        let path = folder.join(format!("{name}.pem"));
        std::fs::write(&path, text).unwrap();
        format!("--ssl-{name}={}", path.display())
    };
    files.into_iter().map(option).collect()
}

async fn every_proof_lets_in(flavor: Flavor) {
    let folder = tempfile::tempdir().unwrap();
    let mut extra = certificate(folder.path());
    // Their TLS takes no key of an elliptic curve, and without a certificate they offer none.
    let has_tls = !matches!(flavor, Flavor::Mysql56 | Flavor::Mysql57);
    if !has_tls {
        extra.clear();
    }
    let server =
        Server::start(flavor, ServerOptions { extra, ..Default::default() }).await.unwrap();
    let ca = folder.path().join("ca.pem");
    let other = tempfile::tempdir().unwrap();
    certificate(other.path());
    let wrong_ca = other.path().join("ca.pem");
    let mut ways = vec![String::new(), format!("?socket={}", server.socket().display())];
    if has_tls {
        ways.push("?tls=unverified".to_owned());
        ways.push(format!("?tls=required&ca={}", ca.display()));
    }
    // A new account each, because a server remembers who has shown the password once.
    for (number, query) in ways.iter().enumerate() {
        for password in ["right", ""] {
            let user = format!("clinic{number}{password}");
            let sql = format!("CREATE USER '{user}'@'%' IDENTIFIED BY '{password}'");
            server.sql(&sql).await.unwrap();
            let port = server.port();
            let url = |password: &str| {
                let address = format!("{user}:{password}@127.0.0.1:{port}");
                Options::parse(&format!("mysql://{address}/information_schema{query}")).unwrap()
            };
            for time in ["first", "second"] {
                let mut dump = connected(&url(password)).await.unwrap_or_else(|error| {
                    panic!("{flavor} {query} '{password}', {time} time: {error}")
                });
                dump.run("SET @a = 1").await.unwrap();
                let error = Error::from(dump.run("SET nonsense").await.unwrap_err());
                assert!(matches!(error, Error::Refused { .. }), "{error}");
                dump.run("SET @a = 2").await.unwrap();
            }
            let error = connected(&url("wrong")).await.err().unwrap();
            assert!(matches!(error, Error::AccessDenied { .. }), "{error}");
        }
    }
    let nowhere = Options::parse(&server.url("nowhere")).unwrap();
    let error = connected(&nowhere).await.err().unwrap();
    assert!(matches!(error, Error::UnknownDatabase { .. }), "{error}");
    let query = format!("?tls=required&ca={}", wrong_ca.display());
    let distrusted = Options::parse(&(server.url("information_schema") + &query)).unwrap();
    let error = connected(&distrusted).await.err().unwrap();
    assert!(matches!(error, Error::Tls { .. }), "{error}");
}

on_all!(every_proof_lets_in);

/// Somebody who takes the connection and says nothing, and nobody.
#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut options = Options::parse(&format!("mysql://u@{address}/db")).unwrap();
    options.connect_timeout = Duration::from_millis(300);
    let error = connected(&options).await.err().unwrap();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    drop(listener);
    let error = connected(&options).await.err().unwrap();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}
