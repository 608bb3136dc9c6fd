//! The tables in the docs that say what was tried on which server, and how it went. A test settles
//! its cells here: each is noted in a file under the build folder, and must be what the committed
//! table says. `HEADWATER_LEDGER=write` writes the committed table instead.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use headwater_rig::Flavor;

/// It arrives exactly, or happens as it should.
pub(crate) const EXACT: &str = "exact";
/// It is refused by name, before anything is lost.
pub(crate) const REFUSED: &str = "refused";
/// Nothing in the log tells of it.
pub(crate) const NOT_NOTICED: &str = "not noticed";
/// Work waits, says for what, and goes on by itself once that is mended.
pub(crate) const WAITS: &str = "waits";
/// The installed server lacks what it takes.
pub(crate) const NOT_TRIED: &str = "not tried";
/// This server does not have it.
pub(crate) const NOT_THERE: &str = "not there";

/// One table: a Markdown file, and the head of its first column, by which it is found there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ledger {
    /// A file in `docs/`.
    pub(crate) file: &'static str,
    /// The head of the column that names the rows.
    pub(crate) head: &'static str,
}

/// What a server is called in the head of its column.
pub(crate) fn column(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::Mysql97 => "MySQL 9.7",
        Flavor::Mysql56 => "MySQL 5.6",
        Flavor::Mariadb1011 => "MariaDB 10.11",
        Flavor::Mariadb118 => "MariaDB 11.8",
        Flavor::Mysql57 => "MySQL 5.7",
        Flavor::Mysql80 => "MySQL 8.0",
        Flavor::Mysql84 => "MySQL 8.4",
    }
}

impl Ledger {
    /// Settles the cell of one row on one server.
    pub(crate) fn settle(self, row: &str, flavor: Flavor, cell: &str) {
        self.settle_all(column(flavor), &[(row.to_owned(), cell.to_owned())]);
    }

    /// Settles the cells of one column. New rows are written in the order given.
    ///
    /// # Panics
    ///
    /// If the committed table says something else.
    pub(crate) fn settle_all(self, column: &str, cells: &[(String, String)]) {
        let noted = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("ledger");
        fs::create_dir_all(&noted).unwrap();
        self.write(&noted.join(self.file), column, cells);
        let committed = self.path();
        if std::env::var("HEADWATER_LEDGER").is_ok_and(|value| value == "write") {
            self.write(&committed, column, cells);
            return;
        }
        let table = self.committed();
        let wrong: Vec<String> = cells
            .iter()
            .filter(|(row, cell)| table.cell(row, column) != Some(cell))
            .map(|(row, cell)| {
                let said = table.cell(row, column).map_or("nothing", String::as_str);
                format!("docs/{} says {said} of {row} on {column}; it is {cell}", self.file)
            })
            .collect();
        assert!(
            wrong.is_empty(),
            "{}\nRun this test with HEADWATER_LEDGER=write to write the table anew.",
            wrong.join("\n")
        );
    }

    /// What the committed table says of a row on one server.
    pub(crate) fn cell(self, row: &str, flavor: Flavor) -> String {
        let table = self.committed();
        table.cell(row, column(flavor)).cloned().unwrap_or_default()
    }

    /// Rows of the committed table that none of these sources names: nothing stands behind them.
    pub(crate) fn untold(self, known: impl Fn(&str) -> bool, sources: &[&str]) -> Vec<String> {
        let table = self.committed();
        let named = |row: &str| sources.iter().any(|source| source.contains(&format!("\"{row}\"")));
        let rows = table.rows.into_iter().map(|mut row| row.swap_remove(0));
        rows.filter(|row| !known(row) && !named(row)).collect()
    }

    /// Rows of the committed table that do not say of every server what became of them.
    pub(crate) fn empty(self) -> Vec<String> {
        let table = self.committed();
        let columns = table.head.len();
        let whole = |row: &Vec<String>| row.len() == columns && row.iter().all(|it| !it.is_empty());
        table.rows.into_iter().filter(|row| !whole(row)).map(|mut row| row.swap_remove(0)).collect()
    }

    fn path(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(self.file)
    }

    /// The table in the docs, which another test may be writing.
    fn committed(self) -> Table {
        let mut file = File::open(self.path()).unwrap();
        file.lock_shared().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        Table::read(&text, self.head)
    }

    fn write(self, path: &Path, column: &str, cells: &[(String, String)]) {
        let mut file =
            File::options().create(true).truncate(false).read(true).write(true).open(path).unwrap();
        // Several tests write into one table, each from a process of its own.
        file.lock().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let mut table = Table::read(&text, self.head);
        let mut after = None;
        for (row, cell) in cells {
            after = Some(table.put(row, column, cell, after));
        }
        let text = table.written_into(&text);
        file.rewind().unwrap();
        file.set_len(0).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
}

/// A Markdown table, the head's cells first.
struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

fn cells(line: &str) -> Vec<String> {
    line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

impl Table {
    fn read(text: &str, head: &str) -> Table {
        let mut lines =
            text.lines().skip_while(|line| cells(line).first().is_none_or(|first| first != head));
        let head = lines.next().map_or_else(|| vec![head.to_owned()], cells);
        let rows = lines.skip(1).take_while(|line| line.starts_with('|')).map(cells).collect();
        Table { head, rows }
    }

    fn place(&self, column: &str) -> Option<usize> {
        self.head.iter().position(|known| known == column)
    }

    fn cell(&self, row: &str, column: &str) -> Option<&String> {
        let place = self.place(column)?;
        self.rows.iter().find(|known| known[0] == row)?.get(place)
    }

    /// Puts a cell; gives the row's place. A new row goes behind the row `after`, or to the end.
    fn put(&mut self, row: &str, column: &str, cell: &str, after: Option<usize>) -> usize {
        let place = self.place(column).unwrap_or_else(|| {
            self.head.push(column.to_owned());
            self.head.len() - 1
        });
        let known = self.rows.iter().position(|known| known[0] == row);
        let at = known.unwrap_or_else(|| {
            let at = after.map_or(self.rows.len(), |after| after + 1);
            self.rows.insert(at, vec![row.to_owned()]);
            at
        });
        let cells = &mut self.rows[at];
        cells.resize(cells.len().max(place + 1), String::new());
        cell.clone_into(&mut cells[place]);
        at
    }

    fn lines(&self) -> Vec<String> {
        let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
        let mut lines = vec![line(&self.head), format!("|{}", "---|".repeat(self.head.len()))];
        for row in &self.rows {
            let mut row = row.clone();
            row.resize(self.head.len(), String::new());
            lines.push(line(&row));
        }
        lines
    }

    /// The text with this table in the place of its former self, or at its end.
    fn written_into(&self, text: &str) -> String {
        let old: Vec<&str> = text.lines().collect();
        let is_head = |line: &&str| cells(line).first() == self.head.first();
        let start = old.iter().position(is_head).unwrap_or(old.len());
        let length = old[start..].iter().take_while(|line| line.starts_with('|')).count();
        let mut lines: Vec<String> = old[..start].iter().map(|line| (*line).to_owned()).collect();
        lines.extend(self.lines());
        lines.extend(old[start + length..].iter().map(|line| (*line).to_owned()));
        lines.join("\n") + "\n"
    }
}
