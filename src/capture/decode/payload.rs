//! What servers compress: MySQL whole transactions (zstd), `MariaDB` the tails of its statements
//! and rows (zlib). Nothing is allocated for a size that is only claimed.

use std::fmt;
use std::io::{BufReader, Read};

use super::cursor::{Cursor, big};
use super::error::{Damage, DecodeError, Refusal};

/// zlib cannot shrink anything further than this, so a larger claim is a lie.
const ZLIB_RATIO_MAX: u64 = 1032;
const HEADER_BYTES: usize = 19;
/// Where an event's size stands in its header.
const SIZE_AT: usize = 9;

const ZSTD: u64 = 0;
const UNCOMPRESSED: u64 = 255;

/// The events of a MySQL transaction written with `binlog_transaction_compression=ON`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionPayload<'a> {
    /// 0 is zstd, 255 none.
    pub algorithm: u64,
    /// How many bytes the events take.
    pub declared_bytes: u64,
    /// The events, compressed.
    pub compressed: &'a [u8],
}

impl<'a> TransactionPayload<'a> {
    pub(super) fn read(body: &'a [u8]) -> Result<TransactionPayload<'a>, DecodeError> {
        let mut cursor = Cursor::new(body, "compressed transaction");
        let (mut size, mut algorithm, mut declared) = (None, None, None);
        loop {
            let field = cursor.packed()?;
            if field == 0 {
                break;
            }
            let content = cursor.packed_bytes()?;
            let mut number = Cursor::new(content, "compressed transaction's header");
            match field {
                1 => size = Some(number.packed()?),
                2 => algorithm = Some(number.packed()?),
                3 => declared = Some(number.packed()?),
                _ => continue,
            }
            if !number.is_empty() {
                return Err(DecodeError::malformed(
                    "a compressed transaction's field of two numbers",
                ));
            }
        }
        let missing = DecodeError::malformed("a compressed transaction without its size or method");
        let (Some(size), Some(algorithm)) = (size, algorithm) else { return Err(missing) };
        let compressed = cursor.take_u64(size)?;
        let declared_bytes = match (algorithm, declared) {
            (_, Some(declared)) => declared,
            (UNCOMPRESSED, None) => size,
            (_, None) => return Err(missing),
        };
        Ok(TransactionPayload { algorithm, declared_bytes, compressed })
    }

    /// Reads the events one after the other, in memory for one event. A transaction that declares
    /// more than `bytes_max` is refused.
    pub fn reader(&self, bytes_max: u64) -> Result<PayloadReader<'a>, DecodeError> {
        let what = "the compressed transaction";
        if self.declared_bytes > bytes_max {
            let (bytes, limit) = (self.declared_bytes, bytes_max);
            return Err(Refusal::TooLarge { what, bytes, limit }.into());
        }
        let source = match self.algorithm {
            UNCOMPRESSED => Source::Plain(self.compressed),
            ZSTD => Source::Zstd(Box::new(
                zstd::stream::read::Decoder::with_buffer(self.compressed)
                    .map(|decoder| BufReader::with_capacity(1 << 16, decoder))
                    .map_err(|error| broken(&error))?,
            )),
            method => return Err(Refusal::CompressionMethod { what, method }.into()),
        };
        Ok(PayloadReader { source, left: self.declared_bytes })
    }
}

/// Reads the events of a compressed transaction.
pub struct PayloadReader<'a> {
    source: Source<'a>,
    left: u64,
}

enum Source<'a> {
    Plain(&'a [u8]),
    Zstd(Box<BufReader<zstd::stream::read::Decoder<'a, &'a [u8]>>>),
}

impl fmt::Debug for PayloadReader<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PayloadReader").field("left", &self.left).finish_non_exhaustive()
    }
}

impl PayloadReader<'_> {
    /// Reads the next event's bytes into `event`, for [`super::Decoder::event`] with
    /// `inside_payload`. False, and nothing read, at the end of the transaction.
    pub fn read(&mut self, event: &mut Vec<u8>) -> Result<bool, DecodeError> {
        event.clear();
        if self.left == 0 {
            let mut probe = [0];
            return match self.source.read(&mut probe).map_err(|error| broken(&error))? {
                0 => Ok(false),
                _ => Err(Damage::Compression {
                    what: "the transaction",
                    reason: "it is longer than it declares".to_owned(),
                }
                .into()),
            };
        }
        self.fill(event, HEADER_BYTES as u64)?;
        let size = Cursor::new(event.get(SIZE_AT..).unwrap_or_default(), "event header").u32()?;
        let rest = u64::from(size).checked_sub(HEADER_BYTES as u64).ok_or_else(|| {
            DecodeError::malformed("an event smaller than its header in a compressed transaction")
        })?;
        self.fill(event, rest)?;
        Ok(true)
    }

    fn fill(&mut self, event: &mut Vec<u8>, count: u64) -> Result<(), DecodeError> {
        let what = "compressed transaction";
        if count > self.left {
            return Err(Damage::CutShort { what, wanted: count, left: self.left }.into());
        }
        // `read_to_end` grows with what is really there, not with what is claimed.
        let read =
            (&mut self.source).take(count).read_to_end(event).map_err(|error| broken(&error))?
                as u64;
        if read < count {
            return Err(Damage::CutShort { what, wanted: count, left: read }.into());
        }
        self.left -= count;
        Ok(())
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Source::Plain(bytes) => bytes.read(buffer),
            Source::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

fn broken(error: &std::io::Error) -> DecodeError {
    Damage::Compression { what: "the transaction", reason: error.to_string() }.into()
}

/// `0x80 | method << 4 | n`, the size in `n` bytes, highest first, and a zlib stream.
pub(super) fn inflate_tail(
    bytes: &[u8],
    what: &'static str,
    bytes_max: u64,
) -> Result<Vec<u8>, DecodeError> {
    let mut cursor = Cursor::new(bytes, what);
    let head = cursor.u8()?;
    let method = u64::from((head & 0x70) >> 4);
    if head & 0x80 == 0 || method != 0 {
        return Err(Refusal::CompressionMethod { what, method }.into());
    }
    let size_bytes = usize::from(head & 0x07);
    if size_bytes == 0 || size_bytes > 4 {
        return Err(DecodeError::malformed("a compressed event without its size"));
    }
    let size = big(cursor.take(size_bytes)?);
    inflate(cursor.rest(), size, true, what, bytes_max)
}

/// Inflates to exactly `size` bytes.
pub(super) fn inflate(
    compressed: &[u8],
    size: u64,
    zlib_header: bool,
    what: &'static str,
    bytes_max: u64,
) -> Result<Vec<u8>, DecodeError> {
    if size > bytes_max {
        return Err(Refusal::TooLarge { what, bytes: size, limit: bytes_max }.into());
    }
    if size > (compressed.len() as u64).saturating_mul(ZLIB_RATIO_MAX) {
        let reason = "it declares more bytes than its compression can hold".to_owned();
        return Err(Damage::Compression { what, reason }.into());
    }
    let mut inflated = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    let limit = size.saturating_add(1);
    let read = if zlib_header {
        flate2::read::ZlibDecoder::new(compressed).take(limit).read_to_end(&mut inflated)
    } else {
        flate2::read::DeflateDecoder::new(compressed).take(limit).read_to_end(&mut inflated)
    };
    read.map_err(|error| Damage::Compression { what, reason: error.to_string() })?;
    if inflated.len() as u64 != size {
        let reason = format!("{} bytes came out instead of {size}", inflated.len());
        return Err(Damage::Compression { what, reason }.into());
    }
    Ok(inflated)
}
