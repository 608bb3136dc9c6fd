//! The bytes of one batch while it is cut or received: in memory while they are few, in a file
//! without a name once they are many, so that a transaction of a million rows passes in bounded
//! memory and a crash leaves nothing behind.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

/// Where the bytes of batches may be put.
#[derive(Debug, Clone)]
pub struct Room {
    /// The folder for what is too large for memory; the node's `data_dir`.
    pub directory: PathBuf,
    /// More bytes than this go to a file.
    pub memory_bytes_max: u64,
}

impl Room {
    /// Nothing yet, to be appended to.
    pub fn empty(&self) -> Content {
        Content { room: self.clone(), place: Place::Memory(Vec::new()) }
    }
}

/// A growing run of bytes that can be read at any offset.
#[derive(Debug)]
pub struct Content {
    room: Room,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Memory(Vec<u8>),
    File { file: File, length: u64 },
}

impl Content {
    /// How many bytes there are.
    pub fn len(&self) -> u64 {
        match &self.place {
            Place::Memory(bytes) => bytes.len() as u64,
            Place::File { length, .. } => *length,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds bytes at the end.
    pub fn append(&mut self, added: &[u8]) -> io::Result<()> {
        if let Place::Memory(bytes) = &self.place
            && bytes.len() as u64 + added.len() as u64 > self.room.memory_bytes_max
        {
            let file = unnamed(&self.room)?;
            file.write_all_at(bytes, 0)?;
            self.place = Place::File { file, length: bytes.len() as u64 };
        }
        match &mut self.place {
            Place::Memory(bytes) => bytes.extend_from_slice(added),
            Place::File { file, length } => {
                file.write_all_at(added, *length)?;
                *length += added.len() as u64;
            }
        }
        Ok(())
    }

    /// Forgets everything from `length` on.
    pub fn truncate(&mut self, length: u64) -> io::Result<()> {
        match &mut self.place {
            Place::Memory(bytes) => bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX)),
            Place::File { file, length: old } if length < *old => {
                file.set_len(length)?;
                *old = length;
            }
            Place::File { .. } => {}
        }
        Ok(())
    }

    /// The bytes from `offset` on, at most `count`; fewer only at the end.
    pub fn read_at(&self, offset: u64, count: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = count.min(left);
        match &self.place {
            Place::Memory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                Ok(bytes.get(start..start.saturating_add(count)).unwrap_or_default().to_vec())
            }
            Place::File { file, .. } => {
                let mut read = vec![0; count];
                file.read_exact_at(&mut read, offset)?;
                Ok(read)
            }
        }
    }
}

/// A file that has no name any more: the system frees it when it is closed, even by a crash.
fn unnamed(room: &Room) -> io::Result<File> {
    let path = room.directory.join(format!("batch-{}.tmp", uuid::Uuid::new_v4().simple()));
    let file =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_reads_the_same_in_memory_and_in_a_file() {
        let directory = tempfile::tempdir().unwrap();
        for memory_bytes_max in [0, 5, 1000] {
            let room = Room { directory: directory.path().to_owned(), memory_bytes_max };
            let mut content = room.empty();
            content.append(b"hello ").unwrap();
            content.append(b"world and more").unwrap();
            content.truncate(11).unwrap();
            assert_eq!(content.len(), 11);
            assert_eq!(content.read_at(6, 100).unwrap(), b"world");
            assert_eq!(content.read_at(2, 3).unwrap(), b"llo");
            assert_eq!(content.read_at(50, 3).unwrap(), b"");
            content.append(b"!").unwrap();
            assert_eq!(content.read_at(0, 100).unwrap(), b"hello world!");
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
