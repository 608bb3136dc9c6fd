//! The server's packets as they come: read in large pieces, and copied once, to where they are wanted.

use std::io;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use mysql_async::{DriverError, Error, IoError, ServerError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt as _};

use super::super::connect::PACKET_BYTES_MAX;

/// What one read may bring; larger packets are read to their place at once.
const READ_BYTES: usize = 128 << 10;
/// Memory is taken for a large packet by steps of this many bytes, or of as many as have come, not by
/// what its length claims.
const STEP_BYTES: usize = 1 << 20;
/// A packet of this many bytes goes on in the next one.
const CHUNK_BYTES: usize = 0xFF_FFFF;

/// The first byte of a packet that says what went wrong.
pub(super) const FAILED: u8 = 0xFF;
/// The first byte of a packet that says that it is done, and of one of an event.
pub(super) const OK: u8 = 0;

/// What packets come and go over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection, packet by packet.
pub(super) struct Packets {
    stream: Box<dyn Stream>,
    buffer: BytesMut,
    /// The number that the next packet has, either way.
    sequence: u8,
    /// How long the server may say nothing.
    silence_max: Duration,
}

impl Packets {
    /// A connection just made. Whoever waits for a word longer than `silence_max` gets
    /// [`io::ErrorKind::TimedOut`].
    pub(super) fn new(stream: Box<dyn Stream>, silence_max: Duration) -> Packets {
        let buffer = BytesMut::with_capacity(READ_BYTES);
        Packets { stream, buffer, sequence: 0, silence_max }
    }

    /// Reads one packet to the end of `target`, without its first byte, which is given back: it says
    /// what the packet is. An empty packet has none.
    pub(super) async fn read(&mut self, target: &mut Vec<u8>) -> Result<Option<u8>, Error> {
        let (mut first, mut read) = (None, 0);
        loop {
            let length = self.header().await?;
            read += length;
            if read > PACKET_BYTES_MAX as usize {
                return Err(Error::Driver(DriverError::PacketTooLarge));
            }
            let mut left = length;
            if first.is_none() && left > 0 {
                self.gather(1).await?;
                first = Some(self.buffer.get_u8());
                left -= 1;
            }
            self.body(left, target).await?;
            if length < CHUNK_BYTES {
                return Ok(first);
            }
        }
    }

    /// Whether the next packet has come as a whole, so that reading it does not wait.
    pub(super) fn is_next_here(&self) -> bool {
        let Some((header, body)) = self.buffer.split_first_chunk() else { return false };
        let length = length(*header);
        length < CHUNK_BYTES && body.len() >= length
    }

    /// Sends one packet, as the answer to what was read last.
    pub(super) async fn write(&mut self, payload: &[u8]) -> Result<(), Error> {
        let length = u32::try_from(payload.len()).ok().filter(|length| *length < 0xFF_FFFF);
        let length = length.ok_or(Error::Driver(DriverError::PacketTooLarge))?;
        let header = length | u32::from(self.sequence) << 24;
        self.sequence = self.sequence.wrapping_add(1);
        let packet = [&header.to_le_bytes(), payload].concat();
        self.stream.write_all(&packet).await.map_err(lost)?;
        self.stream.flush().await.map_err(lost)
    }

    /// Sends a command, whose packet is the first of its numbering.
    pub(super) async fn command(&mut self, command: &[u8]) -> Result<(), Error> {
        self.sequence = 0;
        self.write(command).await
    }

    /// Sends a command and waits until the server says that it is done.
    pub(super) async fn ask(&mut self, command: &[u8]) -> Result<(), Error> {
        self.command(command).await?;
        let mut answer = Vec::new();
        match self.read(&mut answer).await? {
            Some(OK) => Ok(()),
            Some(FAILED) => Err(refused(&answer)),
            _ => Err(unexpected(answer)),
        }
    }

    /// The connection below, to go on with in another way. What the server said before its time
    /// would be taken for what it says later.
    pub(super) fn into_stream(self) -> Result<Box<dyn Stream>, Error> {
        if self.buffer.is_empty() { Ok(self.stream) } else { Err(unexpected(self.buffer.to_vec())) }
    }

    /// Goes on over another stream, where packets are numbered on.
    pub(super) fn continued(
        stream: Box<dyn Stream>,
        sequence: u8,
        silence_max: Duration,
    ) -> Packets {
        Packets { sequence, ..Packets::new(stream, silence_max) }
    }

    /// The number of the next packet.
    pub(super) fn sequence(&self) -> u8 {
        self.sequence
    }

    /// The length of the packet that comes next.
    async fn header(&mut self) -> Result<usize, Error> {
        self.gather(4).await?;
        let [low, middle, high, sequence] = self.buffer.get_u32_le().to_le_bytes();
        if sequence != self.sequence {
            return Err(Error::Driver(DriverError::PacketOutOfOrder));
        }
        self.sequence = sequence.wrapping_add(1);
        Ok(length([low, middle, high, sequence]))
    }

    /// Reads `left` bytes to the end of `target`.
    async fn body(&mut self, mut left: usize, target: &mut Vec<u8>) -> Result<(), Error> {
        if left < READ_BYTES {
            self.gather(left).await?;
        }
        let here = self.buffer.split_to(left.min(self.buffer.len()));
        make_room(target, here.len(), left);
        target.extend_from_slice(&here);
        left -= here.len();
        while left > 0 {
            make_room(target, 1, left);
            let mut rest = AsyncReadExt::take(&mut self.stream, left as u64);
            left -= patiently(self.silence_max, rest.read_buf(target)).await?;
        }
        Ok(())
    }

    /// Reads until at least `count` bytes are in the buffer; less than [`READ_BYTES`] are asked for.
    async fn gather(&mut self, count: usize) -> Result<(), Error> {
        while self.buffer.len() < count {
            // What is left of a packet moves to the front, so that the next read can be a large one.
            self.buffer.reserve(READ_BYTES.saturating_sub(self.buffer.len()));
            patiently(self.silence_max, self.stream.read_buf(&mut self.buffer)).await?;
        }
        Ok(())
    }
}

/// Takes memory for the next bytes of a packet, of which `left` are to come: as many as have come, not
/// more than are to come. A vector by itself would double beyond that, which matters of large ones only.
fn make_room(target: &mut Vec<u8>, next: usize, left: usize) {
    let is_large = target.len() >= STEP_BYTES || left >= READ_BYTES;
    if is_large && target.capacity() - target.len() < next {
        target.reserve_exact(left.min(target.len().max(STEP_BYTES)));
    }
}

/// Reads at least one byte, or tells why not.
async fn patiently(
    silence_max: Duration,
    read: impl Future<Output = io::Result<usize>>,
) -> Result<usize, Error> {
    match tokio::time::timeout(silence_max, read).await {
        Ok(Ok(0)) => Err(Error::Driver(DriverError::ConnectionClosed)),
        Ok(read) => read.map_err(lost),
        Err(_elapsed) => Err(lost(io::ErrorKind::TimedOut.into())),
    }
}

fn length([low, middle, high, _]: [u8; 4]) -> usize {
    usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16
}

/// The connection broke.
pub(super) fn lost(error: io::Error) -> Error {
    Error::Io(IoError::Io(error))
}

/// The server sent what has no place here.
pub(super) fn unexpected(payload: Vec<u8>) -> Error {
    Error::Driver(DriverError::UnexpectedPacket { payload })
}

/// What the rest of a packet says that begins with [`FAILED`]: a number, a state unless nobody has
/// logged in yet, and words.
pub(super) fn refused(packet: &[u8]) -> Error {
    let Some((code, words)) = packet.split_first_chunk() else {
        return unexpected(packet.to_vec());
    };
    let (state, words) = match words.split_first_chunk::<6>() {
        Some(([b'#', state @ ..], words)) => (state.as_slice(), words),
        _ => (&[][..], words),
    };
    Error::Server(ServerError {
        code: u16::from_le_bytes(*code),
        state: String::from_utf8_lossy(state).into_owned(),
        message: String::from_utf8_lossy(words).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE_MAX: Duration = Duration::from_secs(2);

    fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
        let header = u32::try_from(payload.len()).unwrap() | u32::from(sequence) << 24;
        [&header.to_le_bytes(), payload].concat()
    }

    /// What comes over a stream that gives `piece` bytes at a time, and then ends.
    fn packets(bytes: Vec<u8>, piece: usize) -> Packets {
        let (near, mut far) = tokio::io::duplex(piece);
        tokio::spawn(async move { far.write_all(&bytes).await });
        Packets::new(Box::new(near), SILENCE_MAX)
    }

    #[tokio::test]
    async fn packets_of_all_sizes_come_as_they_were_sent() {
        let sizes = [0, 1, 2, 300, READ_BYTES - 1, READ_BYTES, READ_BYTES + 1, 3 * READ_BYTES, 5];
        let sent: Vec<Vec<u8>> = sizes.iter().map(|size| vec![7; *size]).collect();
        let numbered = (0..).zip(&sent).flat_map(|(number, payload)| packet(number, payload));
        let bytes: Vec<u8> = numbered.collect();
        for piece in [1000, 64 << 10, 1 << 20] {
            let mut packets = packets(bytes.clone(), piece);
            for payload in &sent {
                let mut target = vec![1, 2, 3];
                let first = packets.read(&mut target).await.unwrap();
                assert_eq!(first, payload.first().copied());
                assert_eq!(target[..3], [1, 2, 3]);
                assert_eq!(target[3..], payload[payload.len().min(1)..]);
            }
            let end = packets.read(&mut Vec::new()).await.unwrap_err();
            assert!(matches!(end, Error::Driver(DriverError::ConnectionClosed)), "{end}");
        }
    }

    #[tokio::test]
    async fn memory_goes_with_what_has_come_and_ends_with_the_packet() {
        let size = (9 << 20) + 1;
        let mut packets = packets(packet(0, &vec![7; size]), 1 << 20);
        let mut target = Vec::new();
        packets.read(&mut target).await.unwrap();
        assert!(target.len() == size - 1 && target.capacity() < size + STEP_BYTES);
        // One that claims more than it has takes no more than twice of that.
        let claimed =
            [u32::try_from(CHUNK_BYTES - 1).unwrap().to_le_bytes().to_vec(), vec![7; 3 << 20]];
        let mut packets = self::packets(claimed.concat(), 1 << 20);
        let mut target = Vec::new();
        packets.read(&mut target).await.unwrap_err();
        assert!(target.capacity() <= 2 * target.len(), "{}", target.capacity());
    }

    #[tokio::test]
    async fn a_packet_goes_on_in_the_next_chunk() {
        let long = vec![9; CHUNK_BYTES];
        let bytes = [packet(0, &long), packet(1, &long), packet(2, b"end"), packet(3, b"\0x")];
        let mut packets = packets(bytes.concat(), 1 << 20);
        let mut target = Vec::new();
        assert_eq!(packets.read(&mut target).await.unwrap(), Some(9));
        assert_eq!(target.len(), 2 * CHUNK_BYTES + 2);
        assert!(target.ends_with(b"end"));
        target.clear();
        assert_eq!(packets.read(&mut target).await.unwrap(), Some(OK));
        assert_eq!(target, b"x");
        // One that fills its chunks says so with an empty one.
        let bytes = [packet(0, &long), packet(1, b""), packet(2, b"\0y")];
        let mut packets = self::packets(bytes.concat(), 1 << 20);
        target.clear();
        assert_eq!(packets.read(&mut target).await.unwrap(), Some(9));
        assert_eq!(target.len(), CHUNK_BYTES - 1);
        target.clear();
        assert_eq!(packets.read(&mut target).await.unwrap(), Some(OK));
        assert_eq!(target, b"y");
    }

    #[tokio::test]
    async fn the_next_packet_is_here_when_all_of_it_is() {
        let (near, mut far) = tokio::io::duplex(1000);
        let mut packets = Packets::new(Box::new(near), SILENCE_MAX);
        far.write_all(&packet(0, b"one")).await.unwrap();
        far.write_all(&packet(1, b"two")).await.unwrap();
        far.write_all(&packet(2, b"three")[..6]).await.unwrap();
        packets.read(&mut Vec::new()).await.unwrap();
        assert!(packets.is_next_here());
        packets.read(&mut Vec::new()).await.unwrap();
        assert!(!packets.is_next_here());
    }

    #[tokio::test]
    async fn a_wrong_number_silence_and_an_early_word_are_noticed() {
        let mut packets = packets(packet(1, b"one"), 100);
        let error = packets.read(&mut Vec::new()).await.unwrap_err();
        assert!(matches!(error, Error::Driver(DriverError::PacketOutOfOrder)), "{error}");
        let (near, mut far) = tokio::io::duplex(1000);
        let mut packets = Packets::new(Box::new(near), Duration::from_millis(10));
        let error = packets.read(&mut Vec::new()).await.unwrap_err();
        assert!(
            matches!(&error, Error::Io(IoError::Io(error))
            if error.kind() == io::ErrorKind::TimedOut),
            "{error}"
        );
        far.write_all(&[packet(0, b"one"), packet(1, b"two")].concat()).await.unwrap();
        packets.read(&mut Vec::new()).await.unwrap();
        assert!(packets.into_stream().is_err());
    }

    #[test]
    fn what_the_server_refuses_is_told_in_its_words() {
        let told = |packet: &[u8]| match refused(packet) {
            Error::Server(error) => (error.code, error.state, error.message),
            other => (0, String::new(), other.to_string()),
        };
        let full = (1236, "HY000".to_owned(), "gone".to_owned());
        assert_eq!(told(b"\xd4\x04#HY000gone"), full);
        assert_eq!(told(b"\x10\x04Too many"), (1040, String::new(), "Too many".to_owned()));
        assert_eq!(told(b"\x10").0, 0);
    }
}
