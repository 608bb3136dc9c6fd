//! Writes batches into the target database, exactly once: the watermark commits with the rows.
