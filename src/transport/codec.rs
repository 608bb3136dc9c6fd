//! How the frames of a batch are compressed. The codec is a byte of the batch's header, so each
//! batch can have its own.

use serde::{Deserialize, Serialize};

/// LZ4 never makes more than this many bytes of one: what claims more is damaged, and is refused
/// before memory is taken for it.
const LZ4_RATIO_MAX: u64 = 255;

/// What compresses a batch's frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Nothing.
    Plain,
    /// LZ4 blocks.
    Lz4,
}

/// What the configuration asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Chosen by headwater: LZ4.
    #[default]
    Auto,
    /// None.
    None,
    /// LZ4.
    Lz4,
}

impl Compression {
    /// The codec for the next batch.
    pub fn codec(self) -> Codec {
        match self {
            Compression::None => Codec::Plain,
            Compression::Auto | Compression::Lz4 => Codec::Lz4,
        }
    }
}

impl Codec {
    /// Its byte in a batch's header. 2 and above are reserved for codecs for thin links.
    pub fn byte(self) -> u8 {
        match self {
            Codec::Plain => 0,
            Codec::Lz4 => 1,
        }
    }

    /// The codec of a header's byte; `None` for one this version does not know.
    pub fn from_byte(byte: u8) -> Option<Codec> {
        match byte {
            0 => Some(Codec::Plain),
            1 => Some(Codec::Lz4),
            _ => None,
        }
    }

    /// Compresses one frame.
    pub fn compress(self, raw: Vec<u8>) -> Vec<u8> {
        match self {
            Codec::Plain => raw,
            Codec::Lz4 => lz4_flex::block::compress(&raw),
        }
    }

    /// Restores one frame of exactly `raw_bytes` bytes.
    pub fn restore(self, stored: Vec<u8>, raw_bytes: u64) -> Result<Vec<u8>, String> {
        let plausible = match self {
            Codec::Plain => raw_bytes == stored.len() as u64,
            Codec::Lz4 => raw_bytes <= (stored.len() as u64).saturating_mul(LZ4_RATIO_MAX),
        };
        let raw_length = usize::try_from(raw_bytes).unwrap_or(usize::MAX);
        if !plausible {
            return Err(format!("{} bytes cannot hold {raw_bytes}", stored.len()));
        }
        match self {
            Codec::Plain => Ok(stored),
            Codec::Lz4 => {
                let raw = lz4_flex::block::decompress(&stored, raw_length)
                    .map_err(|error| error.to_string())?;
                if raw.len() == raw_length {
                    Ok(raw)
                } else {
                    Err(format!("{} bytes came out in the place of {raw_bytes}", raw.len()))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_codec_gives_back_what_it_took() {
        let raw = b"patient patient patient patient patient".repeat(100);
        for codec in [Codec::Plain, Codec::Lz4] {
            let stored = codec.compress(raw.clone());
            assert_eq!(codec.restore(stored, raw.len() as u64).unwrap(), raw);
            assert_eq!(Codec::from_byte(codec.byte()), Some(codec));
        }
    }

    #[test]
    fn a_frame_that_claims_more_than_it_can_hold_takes_no_memory() {
        assert!(Codec::Lz4.restore(vec![0; 10], 1 << 40).is_err());
        assert!(Codec::Plain.restore(vec![0; 10], 11).is_err());
        assert!(Codec::Lz4.restore(b"garbage".to_vec(), 100).is_err());
    }
}
