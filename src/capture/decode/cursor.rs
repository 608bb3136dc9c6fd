//! Reads numbers and slices off the front of bytes that nobody vouches for.

use super::error::{Damage, DecodeError};

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Cursor<'a> {
    /// Reads `bytes`; errors call them `what`.
    pub(super) fn new(bytes: &'a [u8], what: &'static str) -> Cursor<'a> {
        Cursor { rest: bytes, what }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[cold]
    fn cut(&self, wanted: u64) -> DecodeError {
        let left = self.rest.len() as u64;
        DecodeError::Damaged(Damage::CutShort { what: self.what, wanted, left })
    }

    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.cut(count as u64)),
        }
    }

    pub(super) fn take_u64(&mut self, count: u64) -> Result<&'a [u8], DecodeError> {
        match usize::try_from(count) {
            Ok(count) => self.take(count),
            Err(_) => Err(self.cut(count)),
        }
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(self.cut(N as u64)),
        }
    }

    #[inline]
    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    #[inline]
    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    #[inline]
    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A little-endian number of up to 8 bytes.
    #[inline]
    pub(super) fn little(&mut self, count: usize) -> Result<u64, DecodeError> {
        self.take(count).map(little)
    }

    /// A length-encoded integer.
    pub(super) fn packed(&mut self) -> Result<u64, DecodeError> {
        match self.u8()? {
            0xfc => self.little(2),
            0xfd => self.little(3),
            0xfe => self.little(8),
            251 | 255 => Err(DecodeError::malformed("a length that starts with 0xfb or 0xff")),
            small => Ok(u64::from(small)),
        }
    }

    /// Bytes after their length-encoded length.
    pub(super) fn packed_bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let count = self.packed()?;
        self.take_u64(count)
    }

    /// A variable-length integer of MySQL's serialization format: the number of one bits at the
    /// low end of the first byte is the number of bytes that follow.
    pub(super) fn serialized(&mut self) -> Result<u64, DecodeError> {
        let follow = self.rest.first().ok_or_else(|| self.cut(1))?.trailing_ones();
        if follow == 8 {
            self.take(1)?;
            return self.u64();
        }
        let count = follow + 1;
        let raw = self.little(count as usize)?;
        Ok(raw >> count)
    }

    /// A signed integer of MySQL's serialization format, its sign in the lowest bit.
    pub(super) fn serialized_signed(&mut self) -> Result<i64, DecodeError> {
        let raw = self.serialized()?;
        let magnitude = (raw >> 1).cast_signed();
        Ok(if raw & 1 == 1 { !magnitude } else { magnitude })
    }
}

/// Up to 8 bytes, the lowest first.
#[inline]
pub(super) fn little(bytes: &[u8]) -> u64 {
    if let [a, b, c, d] = *bytes {
        return u64::from(u32::from_le_bytes([a, b, c, d]));
    }
    bytes.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// Up to 8 bytes, the highest first.
#[inline]
pub(super) fn big(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_width() {
        let mut cursor = Cursor::new(&[1, 2, 0, 3, 0, 0, 0xfc, 1, 1, 0xfd, 1, 1, 1, 7], "test");
        assert_eq!(cursor.u8().unwrap(), 1);
        assert_eq!(cursor.u16().unwrap(), 2);
        assert_eq!(cursor.little(3).unwrap(), 3);
        assert_eq!(cursor.packed().unwrap(), 0x101);
        assert_eq!(cursor.packed().unwrap(), 0x01_0101);
        assert_eq!(cursor.packed().unwrap(), 7);
        assert!(cursor.u8().is_err());
    }

    #[test]
    fn serialized_numbers() {
        assert_eq!(Cursor::new(&[0b0000_0010], "test").serialized().unwrap(), 1);
        assert_eq!(Cursor::new(&[0x01, 0x04], "test").serialized().unwrap(), 256);
        let all = [0xff, 1, 0, 0, 0, 0, 0, 0, 0x80];
        assert_eq!(Cursor::new(&all, "test").serialized().unwrap(), (1 << 63) | 1);
        assert_eq!(Cursor::new(&[0b0000_0110], "test").serialized_signed().unwrap(), -2);
        let seven = [0x7f, 1, 2, 3, 4, 5, 6, 7];
        assert_eq!(Cursor::new(&seven, "test").serialized().unwrap(), 0x0007_0605_0403_0201);
    }
}
