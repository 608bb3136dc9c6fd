//! Standard output, written line by line, so that what a command prints can be tested.

use std::fmt::Display;
use std::io::{self, Write};

/// Where a command prints what it was asked for.
pub(crate) struct Output {
    to: Box<dyn Write + Send>,
}

impl Output {
    /// The program's standard output.
    pub(crate) fn stdout() -> Output {
        Output { to: Box::new(io::stdout()) }
    }

    /// Prints one line, or several in one text.
    pub(crate) fn line(&mut self, line: impl Display) -> io::Result<()> {
        writeln!(self.to, "{line}")?;
        self.to.flush()
    }

    /// For those who write by themselves.
    pub(crate) fn writer(&mut self) -> &mut (dyn Write + Send) {
        &mut *self.to
    }

    /// Prints a value as indented JSON.
    pub(crate) fn json(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut self.to, value)?;
        writeln!(self.to)?;
        self.to.flush()
    }
}
