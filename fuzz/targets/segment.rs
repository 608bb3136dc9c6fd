//! The records of a segment.

use headwater::record::{Malformed, Record, SegmentReader, SegmentWriter, fingerprint};

pub fn run(bytes: &[u8]) {
    let mut reader = SegmentReader::new(bytes);
    let mut writer = SegmentWriter::new();
    let mut records = Vec::new();
    loop {
        match reader.read() {
            Ok(Some(record)) => {
                if let Record::Change(change) = &record {
                    assert_eq!(change.shape.columns.len(), change.values.len());
                    assert_eq!(fingerprint(&change.values), fingerprint(&change.values));
                }
                writer.record(&record);
                records.push(record);
            }
            Ok(None) => break,
            Err(Malformed { offset, .. }) => {
                assert!(offset <= bytes.len());
                break;
            }
        }
    }
    let written = writer.finish();
    let mut again = SegmentReader::new(&written);
    for record in &records {
        assert_eq!(again.read().as_ref(), Ok(&Some(record.clone())));
    }
    assert_eq!(again.read(), Ok(None));
}
