//! What was measured, in lines: told on standard error at once, printed together at the end.

use std::time::Duration;

use headwater::clock::SystemClock;

use crate::site::Site;

#[derive(Debug, Default)]
pub(crate) struct Report {
    lines: Vec<String>,
}

impl Report {
    pub(crate) fn heading(&mut self, site: &Site) {
        let load = &site.load;
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        self.line(format!(
            "{}, {}, {cores} cores shared by both ends, their servers and this program",
            SystemClock::shared().now(),
            site.child_server.installed().version,
        ));
        self.line(format!(
            "load: {} row changes of a clinic in {} transactions, {} bytes of log",
            load.rows, load.transactions, load.bytes
        ));
    }

    /// A figure's name and what it found.
    pub(crate) fn figure(&mut self, letter: char, name: &str, found: &[String], bound_by: &str) {
        self.line(format!("({letter}) {name}"));
        for line in found {
            self.line(format!("    {line}"));
        }
        self.line(format!("    bound by: {bound_by}"));
    }

    pub(crate) fn print(&self) {
        println!("{}", self.lines.join("\n"));
    }

    fn line(&mut self, line: String) {
        tell(&line);
        self.lines.push(line);
    }
}

/// Says how far the bench is.
pub(crate) fn tell(words: &str) {
    eprintln!("figures: {words}");
}

/// Rows per second.
#[expect(clippy::cast_precision_loss, reason = "a figure, not a count")]
pub(crate) fn rate(rows: u64, took: Duration) -> f64 {
    rows as f64 / took.as_secs_f64().max(1e-9)
}

/// The value in the middle, and the one that `hundredths` of all are not above.
pub(crate) fn percentile(times: &[Duration], hundredths: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    let place = (sorted.len() * hundredths).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

pub(crate) fn median(times: &[Duration]) -> Duration {
    percentile(times, 50)
}

/// Milliseconds, to a tenth.
pub(crate) fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// Mebibytes, to a tenth.
#[expect(clippy::cast_precision_loss, reason = "a figure, not a count")]
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}
