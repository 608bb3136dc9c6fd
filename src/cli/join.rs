//! `headwater join TOKEN`: the child makes a key, shows the token to the parent, and keeps the
//! certificate it gets.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use rcgen::PublicKeyData;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::clock::SharedClock;
use crate::spool::{self, Direction, Link, Spool, State};
use crate::transport::authority::new_key;
use crate::transport::credentials::{
    CredentialError, Credentials, REJOIN, child_file, folder, key_fingerprint, public_key, read,
    replace, write_first,
};
use crate::transport::dial::{Dial, LinkError, ParentAddress};
use crate::transport::tls::{self, TlsError};
use crate::transport::token::{Token, TokenError, sha256};
use crate::transport::wire::{JoinAnswer, JoinRequest, path};

const JOINING_FILE: &str = "joining.pem";

/// Why a child could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The word is not a token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The parent was not reached, or refused.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The keys and certificates cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] spool::Error),
    /// The parent's answer does not fit the token or the key.
    #[error("the parent's answer does not fit: {0}")]
    Answer(String),
}

/// What joining needs to know.
#[derive(Debug, Clone)]
pub struct JoinOptions {
    /// The node's folder.
    pub data_dir: PathBuf,
    /// The node's name.
    pub node_name: String,
    /// The parent.
    pub parent: ParentAddress,
    /// A silence of so long ends the try.
    pub patience: Duration,
}

/// Joins the parent that made the token; returns the name this node is known by there. The
/// node's own process must not be running: it holds the store.
pub async fn join(
    options: &JoinOptions,
    word: &str,
    spool: &Spool,
    clock: SharedClock,
) -> Result<String, JoinError> {
    let token: Token = word.parse()?;
    let key = joining_key(&options.data_dir)?;
    let dial = Dial {
        address: options.parent.clone(),
        patience: options.patience,
        clock: Arc::clone(&clock),
    };
    let request = JoinRequest {
        secret: BASE64.encode(token.secret),
        public_key: BASE64.encode(key.public_key),
        node: spool.node_id(),
        epoch: spool.epoch(),
        name: options.node_name.clone(),
    };
    let config = Arc::new(tls::joining(token.authority, clock)?);
    let mut connection = dial.connect(config).await?;
    let answer: JoinAnswer = connection.ask(path::JOIN, &request, "joining").await?;
    let credentials = accept(&token, key.private, &request, &answer)?;
    replace(&child_file(&options.data_dir), &credentials)?;
    remember(spool, &answer, &credentials).await?;
    forget_joining_key(&options.data_dir);
    Ok(answer.name)
}

struct JoiningKey {
    private: PrivatePkcs8KeyDer<'static>,
    public_key: Vec<u8>,
}

/// The key is kept before it is shown, so that a try whose answer was lost can be repeated with
/// the same one: the token works only once for any other.
fn joining_key(data_dir: &Path) -> Result<JoiningKey, CredentialError> {
    let path = folder(data_dir).join(JOINING_FILE);
    let kept = if let Some(kept) = read(&path, REJOIN)? {
        kept
    } else {
        let key = PrivatePkcs8KeyDer::from(new_key()?.serialize_der());
        write_first(&path, Credentials { key, chain: Vec::new() }, REJOIN)?
    };
    let pair = rcgen::KeyPair::try_from(&PrivateKeyDer::Pkcs8(kept.key.clone_key()));
    let pair = pair.map_err(|error| CredentialError::Damaged {
        path,
        reason: error.to_string(),
        remedy: REJOIN,
    })?;
    Ok(JoiningKey { private: kept.key, public_key: pair.subject_public_key_info() })
}

fn forget_joining_key(data_dir: &Path) {
    let path = folder(data_dir).join(JOINING_FILE);
    if let Err(error) = std::fs::remove_file(&path) {
        // It would only be used again for another invitation.
        tracing::warn!(path = %path.display(), %error, "could not be removed");
    }
}

/// Holds the answer against what was asked.
fn accept(
    token: &Token,
    key: PrivatePkcs8KeyDer<'static>,
    request: &JoinRequest,
    answer: &JoinAnswer,
) -> Result<Credentials, JoinError> {
    let decode = |what: &str, text: &str| {
        let bytes = BASE64.decode(text);
        bytes
            .map(CertificateDer::from)
            .map_err(|_error| JoinError::Answer(format!("{what} cannot be read")))
    };
    let certificate = decode("the certificate", &answer.certificate)?;
    let authority = decode("the authority's certificate", &answer.authority)?;
    if sha256(&authority) != token.authority {
        return Err(JoinError::Answer("its authority is not the token's".to_owned()));
    }
    let proved = public_key(&certificate).map_err(JoinError::Answer)?;
    if BASE64.encode(proved) != request.public_key {
        return Err(JoinError::Answer("the certificate is for another key".to_owned()));
    }
    Ok(Credentials { key, chain: vec![certificate, authority] })
}

/// Writes the link to the parent into the store, in the place of any other.
async fn remember(
    spool: &Spool,
    answer: &JoinAnswer,
    credentials: &Credentials,
) -> Result<(), JoinError> {
    for link in spool.links().await? {
        if link.direction == Direction::Up && link.name != answer.parent_name {
            spool.delete_link(&link.name).await?;
        }
    }
    let mut link = Link::new(answer.parent_name.clone(), Direction::Up, State::Active);
    link.node = Some(answer.parent);
    let authority = credentials.chain.last().map(key_fingerprint);
    link.certificate = authority.transpose().map_err(JoinError::Answer)?;
    spool.put_link(link).await?;
    Ok(())
}
