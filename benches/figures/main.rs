//! The figures of the whole product on the work of a clinic, each beside a peer that does the same
//! job in the same run. `make bench` runs all of them; the environment chooses:
//!
//! ```text
//! FIGURES=a,c       only these                              (all but g, which takes its time)
//! ROWS=50000        row changes of the clinic's work        (500000; g: 1000000)
//! SERVER=mariadb    the kind of server                      (mysql)
//! ```
//!
//! Both ends, the servers and this program share one machine: compare figures of one run with
//! each other, not with those of another.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints its figures")]

mod capture;
mod decode;
mod encounter;
mod idle;
mod million;
mod node;
mod peers;
mod process;
mod report;
mod site;
mod start;
mod whole_way;

use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use headwater_rig::{Flavor, edge};
use report::Report;
use site::Site;

/// What is asked for.
#[derive(Debug, Clone)]
struct Wanted {
    figures: String,
    rows: Option<u64>,
    flavor: Flavor,
}

impl Wanted {
    fn read() -> Result<Wanted> {
        let figures = edge::environment("FIGURES").unwrap_or_else(|| "a,b,c,d,e,f".to_owned());
        let figures: String =
            figures.chars().filter(|letter| !matches!(letter, ',' | ' ')).collect();
        ensure!(
            figures.chars().all(|letter| ('a'..='g').contains(&letter)),
            "FIGURES takes letters from a to g, such as FIGURES=a,c"
        );
        let rows = edge::environment("ROWS").map(|rows| rows.parse()).transpose();
        let flavor = edge::environment("SERVER").unwrap_or_else(|| "mysql".to_owned());
        Ok(Wanted {
            figures,
            rows: rows.context("ROWS takes a number")?,
            flavor: flavor.parse().map_err(anyhow::Error::msg)?,
        })
    }

    fn wants(&self, figure: char) -> bool {
        self.figures.contains(figure)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match measure().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("figures: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure() -> Result<()> {
    let wanted = Wanted::read()?;
    let mut report = Report::default();
    if wanted.figures.chars().any(|letter| letter != 'g') {
        measure_clinic(&wanted, &mut report).await?;
    }
    if wanted.wants('g') {
        million::measure(&wanted, &mut report).await?;
    }
    report.print();
    Ok(())
}

/// The figures that share one site and the work of one clinic.
async fn measure_clinic(wanted: &Wanted, report: &mut Report) -> Result<()> {
    let mut site = Site::set_up(wanted).await?;
    report.heading(&site);
    if wanted.wants('a') {
        decode::measure(&site, report).await?;
    }
    if wanted.wants('b') {
        capture::measure(&mut site, report).await?;
    }
    if wanted.wants('c') {
        whole_way::measure(&mut site, report).await?;
    }
    if wanted.wants('d') {
        encounter::measure(&mut site, report).await?;
    }
    if wanted.wants('e') {
        idle::measure(&mut site, report).await?;
    }
    if wanted.wants('f') {
        start::measure(&mut site, report).await?;
    }
    Ok(())
}
