//! Logging in: the server's greeting, TLS, and proof of the password.

use std::sync::Arc;
use std::time::Duration;

use mysql_async::consts::CapabilityFlags;
use mysql_async::{DriverError, Error};
use mysql_common::crypto;
use mysql_common::io::ParseBuf;
use mysql_common::packets::{
    AuthPlugin, AuthSwitchRequest, HandshakePacket, HandshakeResponse, SslRequest,
};
use mysql_common::proto::MySerialize as _;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::super::connect::{Options, PACKET_BYTES_MAX, Tls};
use super::packets::{FAILED, OK, Packets, Stream, lost, refused, unexpected};
use super::tls;

/// What this client can do, of what the server offers. Nothing that changes what a packet looks like.
const CAPABILITIES: CapabilityFlags = CapabilityFlags::CLIENT_PROTOCOL_41
    .union(CapabilityFlags::CLIENT_LONG_PASSWORD)
    .union(CapabilityFlags::CLIENT_LONG_FLAG)
    .union(CapabilityFlags::CLIENT_TRANSACTIONS)
    .union(CapabilityFlags::CLIENT_SECURE_CONNECTION)
    .union(CapabilityFlags::CLIENT_PLUGIN_AUTH)
    .union(CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA);
/// `utf8mb4_general_ci`, which every server has that logs rows.
const COLLATION: u8 = 45;
/// Any version that has [`COLLATION`].
const VERSION: (u16, u16, u16) = (5, 6, 0);
/// Bytes of the server's challenge.
const CHALLENGE_BYTES: usize = 20;

/// The server wants another proof.
const SWITCH: u8 = 0xFE;
/// The server says more of the proof that is going on.
const MORE: u8 = 1;
/// Of `caching_sha2_password`: the server knows the proof.
const KNOWN: u8 = 3;
/// It does not: it wants the password itself.
const WANTED: u8 = 4;
/// What asks for the key that a password is encrypted with.
const KEY_PLEASE: u8 = 2;

/// Reaches the server.
pub(super) async fn reach(options: &Options) -> Result<Box<dyn Stream>, Error> {
    if let Some(path) = &options.socket {
        return Ok(Box::new(UnixStream::connect(path).await.map_err(lost)?));
    }
    let host = (options.host.as_str(), options.port);
    let stream = TcpStream::connect(host).await.map_err(lost)?;
    stream.set_nodelay(true).map_err(lost)?;
    Ok(Box::new(stream))
}

/// Logs in over a connection just made.
pub(super) async fn log_in(
    stream: Box<dyn Stream>,
    options: &Options,
    silence_max: Duration,
) -> Result<Packets, Error> {
    let mut packets = Packets::new(stream, silence_max);
    let mut greeting = Vec::new();
    match packets.read(&mut greeting).await? {
        Some(FAILED) => return Err(refused(&greeting)),
        Some(version) => greeting.insert(0, version),
        None => return Err(unexpected(greeting)),
    }
    if !has_sound_length(&greeting) {
        return Err(unexpected(greeting));
    }
    let unreadable = |_error| unexpected(greeting.clone());
    let greeting = ParseBuf(&greeting).parse::<HandshakePacket<'_>>(()).map_err(unreadable)?;
    let offered = greeting.capabilities();
    let mut capabilities = CAPABILITIES & offered;
    let is_private = options.socket.is_some() || options.tls != Tls::Disabled;
    if options.socket.is_none() && options.tls != Tls::Disabled {
        if !offered.contains(CapabilityFlags::CLIENT_SSL) {
            return Err(Error::Driver(DriverError::NoClientSslFlagFromServer));
        }
        capabilities |= CapabilityFlags::CLIENT_SSL;
        packets = encrypted(packets, options, capabilities, silence_max).await?;
    }
    let mut challenge = greeting.scramble_1_ref().to_vec();
    challenge.extend_from_slice(greeting.scramble_2_ref().unwrap_or_default());
    challenge.resize(CHALLENGE_BYTES, 0);
    let plugin = match greeting.auth_plugin() {
        Some(AuthPlugin::CachingSha2Password) => AuthPlugin::CachingSha2Password,
        // Any other may still be asked for.
        _ => AuthPlugin::MysqlNativePassword,
    };
    let login = Login { password: options.password_now(), is_private, plugin, challenge };
    login.run(packets, options, capabilities).await
}

/// Whether the length of a greeting's challenge is one: the library subtracts from it, as a signed byte,
/// without looking.
fn has_sound_length(greeting: &[u8]) -> bool {
    /// What stands between the version's end and the length.
    const BETWEEN_BYTES: usize = 20;
    let version_bytes = greeting.iter().skip(1).position(|byte| *byte == 0);
    let length = version_bytes.and_then(|bytes| greeting.get(2 + bytes + BETWEEN_BYTES));
    length.is_none_or(|length| *length < 0x80)
}

/// The same connection inside TLS.
async fn encrypted(
    mut packets: Packets,
    options: &Options,
    capabilities: CapabilityFlags,
    silence_max: Duration,
) -> Result<Packets, Error> {
    let mut request = Vec::new();
    SslRequest::new(capabilities, PACKET_BYTES_MAX, COLLATION).serialize(&mut request);
    packets.write(&request).await?;
    let sequence = packets.sequence();
    let server = ServerName::try_from(options.host.clone()).map_err(|error| {
        let words = format!("'{}' is no name that a certificate can have: {error}", options.host);
        lost(tls::failure(words))
    })?;
    let connector = TlsConnector::from(Arc::new(tls::client(&options.tls).map_err(lost)?));
    let stream = connector.connect(server, packets.into_stream()?).await.map_err(lost)?;
    Ok(Packets::continued(Box::new(stream), sequence, silence_max))
}

/// Proving the password.
struct Login {
    password: Option<String>,
    /// Nobody can listen.
    is_private: bool,
    plugin: AuthPlugin<'static>,
    challenge: Vec<u8>,
}

impl Login {
    async fn run(
        mut self,
        mut packets: Packets,
        options: &Options,
        capabilities: CapabilityFlags,
    ) -> Result<Packets, Error> {
        let proof = self.proof();
        let response = HandshakeResponse::new(
            Some(proof.as_slice()),
            VERSION,
            Some(options.user.as_bytes()),
            Some(options.database.as_bytes()),
            Some(self.plugin.borrow()),
            capabilities,
            None,
            PACKET_BYTES_MAX,
        );
        let mut bytes = Vec::new();
        response.serialize(&mut bytes);
        packets.write(&bytes).await?;
        let mut may_switch = true;
        loop {
            let mut answer = Vec::new();
            match packets.read(&mut answer).await? {
                Some(OK) => return Ok(packets),
                Some(FAILED) => return Err(refused(&answer)),
                Some(SWITCH) if may_switch => {
                    may_switch = false;
                    self.switch(&answer)?;
                    packets.write(&self.proof()).await?;
                }
                Some(MORE) if self.plugin == AuthPlugin::CachingSha2Password => {
                    match answer.as_slice() {
                        [KNOWN] => {}
                        [WANTED] => self.give_password(&mut packets).await?,
                        _ => return Err(unexpected(answer)),
                    }
                }
                _ => return Err(unexpected(answer)),
            }
        }
    }

    /// What shows that the password is known, without it; nothing for an empty one.
    fn proof(&self) -> Vec<u8> {
        let proof = self.plugin.gen_data(self.password.as_deref(), &self.challenge);
        proof.as_deref().map(<[u8]>::to_vec).unwrap_or_default()
    }

    /// Takes up the proof that the server asks for, and its new challenge.
    fn switch(&mut self, request: &[u8]) -> Result<(), Error> {
        if request.is_empty() {
            return Err(Error::Driver(DriverError::MysqlOldPasswordDisabled));
        }
        let bytes = [&[SWITCH], request].concat();
        let asked = ParseBuf(&bytes).parse::<AuthSwitchRequest<'_>>(());
        let asked = asked.map_err(|_unreadable| unexpected(bytes.clone()))?;
        match asked.auth_plugin() {
            plugin @ (AuthPlugin::CachingSha2Password
            | AuthPlugin::MysqlNativePassword
            | AuthPlugin::Ed25519) => {
                self.plugin = plugin.into_owned();
                self.challenge = asked.plugin_data().to_vec();
                Ok(())
            }
            other => {
                let name = String::from_utf8_lossy(other.as_bytes()).into_owned();
                Err(Error::Driver(DriverError::UnknownAuthPlugin { name }))
            }
        }
    }

    /// Gives the password itself: as it is where nobody can listen, otherwise encrypted with the
    /// server's key.
    async fn give_password(&self, packets: &mut Packets) -> Result<(), Error> {
        let mut password = self.password.clone().unwrap_or_default().into_bytes();
        password.push(0);
        if self.is_private {
            return packets.write(&password).await;
        }
        packets.write(&[KEY_PLEASE]).await?;
        let mut key = Vec::new();
        match packets.read(&mut key).await? {
            Some(MORE) => {}
            Some(FAILED) => return Err(refused(&key)),
            _ => return Err(unexpected(key)),
        }
        for (byte, mask) in password.iter_mut().zip(self.challenge.iter().cycle()) {
            *byte ^= mask;
        }
        // The library panics at a key that is none.
        let (words, shown) = (password, key.clone());
        let encrypted = tokio::task::spawn_blocking(move || crypto::encrypt(&words, &shown));
        packets.write(&encrypted.await.map_err(|_panicked| unexpected(key))?).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const SILENCE_MAX: Duration = Duration::from_secs(2);

    /// How a MySQL 9.7 greets that knows `plugin`, with a challenge of twenty bytes.
    fn greeting(plugin: &str) -> Vec<u8> {
        let capabilities = (CAPABILITIES | CapabilityFlags::CLIENT_CONNECT_WITH_DB).bits();
        let [a, b, c, d] = capabilities.to_le_bytes();
        let mut greeting = b"\x0a9.7.4\0\x07\0\0\x0012345678\0".to_vec();
        greeting.extend([a, b, 45, 2, 0, c, d, 21]);
        greeting.extend([0; 10]);
        greeting.extend_from_slice(b"abcdefghijkl\0");
        greeting.extend_from_slice(plugin.as_bytes());
        greeting.push(0);
        greeting
    }

    /// What comes of logging in to a server that says `answers`, each after a word of ours but the
    /// first.
    async fn logged_in(answers: Vec<Vec<u8>>) -> Result<(), Error> {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let server = tokio::spawn(async move {
            let mut number = 0_u8;
            for answer in answers {
                let length = u32::try_from(answer.len()).unwrap() | u32::from(number) << 24;
                far.write_all(&[&length.to_le_bytes(), answer.as_slice()].concat()).await.ok();
                let mut word = vec![0; 4096];
                if far.read(&mut word).await.unwrap_or_default() == 0 {
                    return;
                }
                number = number.wrapping_add(2);
            }
        });
        let options = Options::parse("mysql://u:secret@127.0.0.1/db").unwrap();
        let result = log_in(Box::new(near), &options, SILENCE_MAX).await.map(drop);
        server.await.unwrap();
        result
    }

    fn ok() -> Vec<u8> {
        vec![OK, 0, 0, 2, 0, 0, 0]
    }

    #[tokio::test]
    async fn a_known_proof_lets_in_and_an_unknown_one_is_refused_in_the_servers_words() {
        for plugin in ["caching_sha2_password", "mysql_native_password", "sha256_password"] {
            logged_in(vec![greeting(plugin), ok()]).await.unwrap();
        }
        let switch = [b"\xfemysql_native_password\0".as_slice(), &[b'x'; 20], b"\0"].concat();
        logged_in(vec![greeting("caching_sha2_password"), switch.clone(), ok()]).await.unwrap();
        let endless = vec![greeting("mysql_native_password"), switch.clone(), switch];
        assert!(matches!(
            logged_in(endless).await.unwrap_err(),
            Error::Driver(DriverError::UnexpectedPacket { .. })
        ));
        let denied = b"\xff\x15\x04#28000Access denied".to_vec();
        let error = logged_in(vec![greeting("mysql_native_password"), denied]).await.unwrap_err();
        assert!(matches!(error, Error::Server(error) if error.code == 1045));
        let other = b"\xfeauthentication_ldap\0abc\0".to_vec();
        let error = logged_in(vec![greeting("mysql_native_password"), other]).await.unwrap_err();
        assert!(error.to_string().contains("authentication_ldap"), "{error}");
    }

    #[tokio::test]
    async fn a_password_is_not_given_to_who_shows_no_key() {
        let key = |text: &[u8]| [&[MORE], text].concat();
        for text in ["", "nonsense", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"]
        {
            let asked = vec![MORE, WANTED];
            let answers =
                vec![greeting("caching_sha2_password"), asked, key(text.as_bytes()), ok()];
            logged_in(answers).await.unwrap_err();
        }
    }

    #[tokio::test]
    async fn whatever_a_server_says_ends_in_words() {
        for end in 0..greeting("caching_sha2_password").len() {
            let mut cut = greeting("caching_sha2_password");
            cut.truncate(end);
            // Short greetings are those of old servers, which may let in.
            drop(logged_in(vec![cut, ok()]).await);
        }
        let switch = b"\xfecaching_sha2_password\0abcdefghijklmnopqrst\0".to_vec();
        for byte in 0..=u8::MAX {
            for answer in [vec![byte], vec![MORE, byte], vec![SWITCH, byte], vec![FAILED, byte]] {
                let answers =
                    vec![greeting("mysql_native_password"), switch.clone(), answer.clone()];
                assert_eq!(logged_in(answers).await.is_ok(), answer == [OK], "{answer:?}");
            }
        }
    }
}
