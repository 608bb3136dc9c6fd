//! How a child comes to belong to a parent: `invite` makes a one-time secret, `join` turns it into
//! a certificate, `revoke` ends it. This is the parent's part; the child's is in
//! [`crate::cli::join`].

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;

use super::Peer;
use super::authority::Authority;
use super::credentials::CredentialError;
use super::token::{Token, secret_hash, sha256};
use super::wire::{Code, JoinAnswer, JoinRequest, Refusal};
use crate::change::NodeId;
use crate::clock::Timestamp;
use crate::spool::{self, Beside, Direction, Link, Spool, State};

/// How long an invitation is good for, unless said otherwise.
pub const INVITATION_LIFE: Duration = Duration::from_hours(7 * 24);
/// The longest name of a child.
const NAME_BYTES_MAX: usize = 64;
/// An Ed25519 or P-256 key has far less.
const PUBLIC_KEY_BYTES_MAX: usize = 1024;

/// Why somebody was not invited or revoked.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The name cannot be one.
    #[error("`{0}` cannot be a child's name: use up to 64 letters, digits, `-`, `_` and `.`")]
    Name(String),
    /// The name is in use.
    #[error(
        "`{0}` has joined already; to let another machine take its place, run `headwater revoke {0}` first"
    )]
    InUse(String),
    /// It is this node's own link to its parent.
    #[error("`{0}` is this node's own parent, not a child of it")]
    Parent(String),
    /// There is no such child.
    #[error("there is no child named `{0}`; `headwater status` lists the links")]
    Unknown(String),
    /// The keys and certificates cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] spool::Error),
}

/// Invites a child, beside the node that runs on this `data_dir` or without one.
pub fn invite(
    data_dir: &Path,
    node_name: &str,
    child: &str,
    life: Duration,
    now: Timestamp,
) -> Result<Token, EnrolError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if child.is_empty() || child.len() > NAME_BYTES_MAX || !child.chars().all(allowed) {
        return Err(EnrolError::Name(child.to_owned()));
    }
    let mut beside = Beside::open(data_dir, now)?;
    let token = Token::new(Authority::open(data_dir, node_name, now)?.fingerprint());
    let (hash, expires) = (token.secret_hash(), now.after(life));
    beside.change_link(child, |found| {
        match found.map(|link| (link.direction, link.state)) {
            Some((Direction::Up, _)) => return Err(EnrolError::Parent(child.to_owned())),
            Some((Direction::Down, State::Active)) => {
                return Err(EnrolError::InUse(child.to_owned()));
            }
            Some((Direction::Down, State::Invited | State::Revoked)) | None => {}
        }
        let mut link = Link::new(child, Direction::Down, State::Invited);
        link.invited_token_hash = Some(hash);
        link.invited_expires = Some(expires);
        Ok(link)
    })?;
    Ok(token)
}

/// Ends a child's link, beside the node that runs on this `data_dir` or without one.
pub fn revoke(data_dir: &Path, child: &str, now: Timestamp) -> Result<(), EnrolError> {
    Beside::open(data_dir, now)?.change_link(child, |found| {
        let link = found.ok_or_else(|| EnrolError::Unknown(child.to_owned()))?;
        if link.direction == Direction::Up {
            return Err(EnrolError::Parent(child.to_owned()));
        }
        let mut link = link.clone();
        link.state = State::Revoked;
        link.invited_token_hash = None;
        link.invited_expires = None;
        Ok(link)
    })
}

/// What joining needs of the parent.
pub(super) struct Enrolment<'a> {
    pub(super) spool: &'a Spool,
    pub(super) authority: &'a Authority,
    pub(super) node_name: &'a str,
    pub(super) now: Timestamp,
}

/// What a child asks with, read.
struct Applicant {
    secret_hash: [u8; 32],
    public_key: Vec<u8>,
    fingerprint: [u8; 32],
}

fn refuse(code: Code, message: impl Into<String>) -> Refusal {
    Refusal { code, message: message.into(), expected: None }
}

impl Enrolment<'_> {
    /// Turns an invitation into a certificate. The same child with the same key may ask twice,
    /// because the first answer may have been lost; anybody else finds the invitation used up.
    pub(super) async fn join(&self, request: &JoinRequest) -> Result<JoinAnswer, Refusal> {
        let store = |error: spool::Error| super::receive::store_refusal(&error);
        let applicant = read(request)?;
        let links = self.spool.links().await.map_err(store)?;
        let name = links
            .iter()
            .filter(|link| link.direction == Direction::Down)
            .find(|link| link.invited_token_hash == Some(applicant.secret_hash))
            .map(|link| link.name.clone())
            .ok_or_else(|| {
                refuse(
                    Code::Invitation,
                    "this invitation is not known here: it was replaced by a newer one or \
                     revoked, or it belongs to another parent; ask for a new token",
                )
            })?;
        alone(&links, &name, request.node)?;
        let certificate = self.issue(&applicant.public_key, &name, request.node)?;
        let (node, epoch, now) = (request.node, request.epoch, self.now);
        let Applicant { secret_hash, fingerprint, .. } = applicant;
        let joined = self.spool.update_link(&name, move |link| {
            if link.invited_token_hash != Some(secret_hash) {
                return Err(refuse(Code::Invitation, "this invitation was just withdrawn"));
            }
            admit(link, node, fingerprint, now)?;
            link.state = State::Active;
            link.node = Some(node);
            link.epoch = Some(epoch);
            link.certificate = Some(fingerprint);
            link.last_error = None;
            Ok(())
        });
        joined.await.map_err(store)??;
        self.spool.incoming_clear(&name).await.map_err(store)?;
        tracing::info!(link = %name, node = %request.node, "a child has joined");
        Ok(self.answer(name, &certificate))
    }

    /// Makes a child's certificate out anew, for the same key.
    pub(super) fn renew(&self, peer: &Peer, public_key: &[u8]) -> Result<JoinAnswer, Refusal> {
        let certificate = self.issue(public_key, &peer.name, peer.node)?;
        Ok(self.answer(peer.name.clone(), &certificate))
    }

    fn issue(&self, public_key: &[u8], name: &str, node: NodeId) -> Result<Vec<u8>, Refusal> {
        let issued = self.authority.issue_child(public_key, name, node, self.now);
        let certificate = issued.map_err(|error| refuse(Code::Malformed, error.to_string()))?;
        Ok(certificate.to_vec())
    }

    fn answer(&self, name: String, certificate: &[u8]) -> JoinAnswer {
        JoinAnswer {
            name,
            certificate: BASE64.encode(certificate),
            authority: BASE64.encode(self.authority.certificate()),
            parent: self.spool.node_id(),
            parent_name: self.node_name.to_owned(),
        }
    }
}

/// Refuses a node that is in under another name: what is applied is counted by node, so two of them
/// would each be told that the other's transactions are its own.
fn alone(links: &[Link], name: &str, node: NodeId) -> Result<(), Refusal> {
    let twin = links
        .iter()
        .find(|link| link.state == State::Active && link.node == Some(node) && link.name != name);
    twin.map_or(Ok(()), |twin| {
        let words = format!(
            "this node is a child of this parent already, as `{}`: its data_dir was copied from \
             that machine, or both from one image; start with an empty data_dir (or, if it is the \
             same machine, run `headwater revoke {0}` at the parent first)",
            twin.name
        );
        Err(refuse(Code::Invitation, words))
    })
}

/// Whether the invitation on this link lets this key in.
fn admit(link: &Link, node: NodeId, key: [u8; 32], now: Timestamp) -> Result<(), Refusal> {
    match link.state {
        State::Invited => match link.invited_expires {
            Some(expires) if now > expires => Err(refuse(
                Code::Invitation,
                format!("this invitation ended at {expires}; ask for a new token"),
            )),
            Some(_) | None => Ok(()),
        },
        State::Active if link.certificate == Some(key) && link.node == Some(node) => Ok(()),
        State::Active => Err(refuse(
            Code::Invitation,
            "this invitation has been used already: a token works once; ask for a new one",
        )),
        State::Revoked => Err(refuse(Code::Revoked, "this invitation was revoked at the parent")),
    }
}

fn read(request: &JoinRequest) -> Result<Applicant, Refusal> {
    let malformed = |what: &str| refuse(Code::Malformed, format!("{what} cannot be read"));
    let secret = BASE64.decode(&request.secret).map_err(|_error| malformed("the secret"))?;
    let public_key = BASE64.decode(&request.public_key).map_err(|_error| malformed("the key"))?;
    if public_key.len() > PUBLIC_KEY_BYTES_MAX {
        return Err(malformed("the key"));
    }
    let fingerprint = sha256(&public_key);
    Ok(Applicant { secret_hash: secret_hash(&secret), public_key, fingerprint })
}
