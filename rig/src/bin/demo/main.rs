//! The demo: a clinic at work, a parent far away, a link that is cut, processes that are killed, and at
//! the end the same rows on both sides, under different local ids.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a demo tells its story")]
#![expect(clippy::indexing_slicing, reason = "a JSON value answers null for what is not there")]

mod node;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use headwater_rig::clinic::AtWork;
use headwater_rig::{Clinic, Direction, Flavor, Link, Server, ServerOptions, edge, openmrs};
use node::Node;
use rand::RngExt as _;
use serde_json::Value;
use tokio::time::Instant;

/// The database on both servers.
const DATABASE: &str = "openmrs";
/// How many of the tables of OpenMRS travel at least.
const TABLES_MIN: u64 = 100;
/// Rows of tables that a clinic's work is in.
const ROWS: &str = "SELECT (SELECT COUNT(*) FROM person) + (SELECT COUNT(*) FROM obs)
    + (SELECT COUNT(*) FROM encounter) + (SELECT COUNT(*) FROM visit)
    + (SELECT COUNT(*) FROM orders) + (SELECT COUNT(*) FROM concept)";
/// How long nothing may move before the demo gives up.
const STALL_SECONDS_MAX: u64 = 90;

/// A clinic and its parent on this machine, over a link that fails.
#[derive(Debug, Parser)]
struct Arguments {
    /// The kind of server: mariadb or mysql
    #[arg(long, default_value = "mariadb")]
    server: Flavor,
    /// Row changes that the clinic makes
    #[arg(long, default_value_t = 20_000)]
    rows: u64,
    /// The clinic's transactions per second
    #[arg(long, default_value_t = 90.0)]
    rate: f64,
    /// The seed of the clinic's work; random unless given
    #[arg(long)]
    seed: Option<u64>,
    /// The headwater program; the one beside this program unless given
    #[arg(long)]
    headwater: Option<PathBuf>,
    /// The schema map
    #[arg(long, default_value = "schema-maps/openmrs-2.x.toml")]
    map: PathBuf,
    /// Keep the folder with configurations and logs
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match Demo::set_up(&arguments).await {
        Ok(mut demo) => {
            let outcome = demo.play(&arguments).await;
            demo.conclude(outcome, arguments.keep)
        }
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

struct Demo {
    start: Instant,
    /// What was told, beside the configurations and logs.
    story: File,
    seed: u64,
    child: Node,
    parent: Node,
    link: Link,
    child_server: Server,
    parent_server: Server,
    folder: tempfile::TempDir,
}

/// What the demo does to the link and the processes, in this order, spread over the clinic's work.
const DISTURBANCES: &[Disturbance] = &[
    Disturbance::Cut,
    Disturbance::KillChild,
    Disturbance::CutAfterBytes(20_000),
    Disturbance::KillParent,
    Disturbance::Outage,
    Disturbance::Freeze,
    Disturbance::KillBoth,
    Disturbance::CutAfterBytes(777),
    Disturbance::NewAddress,
    Disturbance::Cut,
];

#[derive(Debug, Clone, Copy)]
enum Disturbance {
    Cut,
    CutAfterBytes(u64),
    Outage,
    Freeze,
    NewAddress,
    KillChild,
    KillParent,
    KillBoth,
}

impl Demo {
    async fn set_up(arguments: &Arguments) -> Result<Demo> {
        let start = Instant::now();
        let program = headwater(arguments)?;
        let map = std::path::absolute(&arguments.map)?;
        ensure!(
            map.is_file(),
            "there is no map {}: run this from the project's folder",
            map.display()
        );
        let flavor = arguments.server;
        say(start, &format!("starting two {} servers", flavor.installed()?.version));
        let (child_server, parent_server) = tokio::try_join!(
            Server::start_with_openmrs(flavor, ServerOptions::default()),
            Server::start_with_openmrs(flavor, ServerOptions::default()),
        )?;
        openmrs::seed(&child_server, DATABASE, 0).await?;
        openmrs::seed(&parent_server, DATABASE, 5000).await?;
        say(start, "both have the OpenMRS tables and the same metadata under different ids");
        let folder = tempfile::Builder::new().prefix("headwater-demo-").tempdir()?;
        let listening = edge::free_port()?;
        let link = Link::to_port(listening).await?;
        let node = |name, server: &Server, rest: String| -> Result<Node> {
            let data = folder.path().join(name);
            let configuration = configuration(name, &data, &server.url(DATABASE), &map, &rest)?;
            Node::new(name, &program, folder.path(), &configuration)
        };
        let parent = node(
            "parent",
            &parent_server,
            format!(
                "[listen]\naddress = \"127.0.0.1:{listening}\"\nnames = [\"127.0.0.1\", \"localhost\"]\n"
            ),
        )?;
        let child = node(
            "child",
            &child_server,
            format!(
                "[parent]\nurl = \"https://localhost:{}\"\nschedule = \"continuous\"\ntimeout = \"5s\"\n",
                link.port()
            ),
        )?;
        let story = File::create(folder.path().join("demo.log"))?;
        let seed = arguments.seed.unwrap_or_else(|| rand::rng().random_range(0..1_000_000));
        Ok(Demo { start, story, seed, child, parent, link, child_server, parent_server, folder })
    }

    /// The whole story; returns the rows and tables compared.
    async fn play(&mut self, arguments: &Arguments) -> Result<(u64, u64)> {
        let seed = self.seed;
        let others = openmrs::other_patients(&self.parent_server, DATABASE, seed + 1, 3000).await?;
        self.say("the parent has 3000 row changes of another clinic, so ids differ everywhere");
        self.enrol().await?;
        self.say(&format!("the clinic goes to work: {} row changes, seed {seed}", arguments.rows));
        let work = Clinic::new(seed).go(self.child_server.port(), DATABASE, Some(arguments.rate));
        let outcome = self.disturb(&work, arguments.rows).await;
        let clinic = work.stop().await?;
        outcome?;
        self.say(&format!(
            "the clinic made {} row changes in {} transactions",
            clinic.rows(),
            clinic.transactions()
        ));
        self.wait_until_in_step().await?;
        self.say(&format!(
            "{} bytes went up and {} came down over {} connections",
            self.link.passed(Direction::Up),
            self.link.passed(Direction::Down),
            self.link.connections()
        ));
        self.expect_nothing_set_aside().await?;
        self.child.stop().await?;
        self.parent.stop().await?;
        self.say("both headwaters ended at SIGTERM");
        ensure!(
            others.untouched(&self.parent_server, DATABASE).await?,
            "rows of the other clinic at the parent have changed"
        );
        others.remove(&self.parent_server, DATABASE).await?;
        self.say("the other clinic's rows are as they were; without them the two must be equal");
        self.expect_different_ids().await?;
        self.compare().await
    }

    async fn enrol(&mut self) -> Result<()> {
        self.parent.run()?;
        self.wait_for_status(Which::Parent).await?;
        let printed = self.parent.command(&["invite", "child"]).await?;
        let token = printed.lines().last().context("invite printed nothing")?.trim().to_owned();
        ensure!(!token.is_empty() && !token.contains(' '), "the last line of invite is no token");
        self.join(&token).await?;
        self.child.run()?;
        let status = self.wait_for_status(Which::Child).await?;
        self.say(&format!(
            "invited, joined, running; the child captures from {}",
            position(&status)
        ));
        Ok(())
    }

    /// The parent may still be on its way up; a token is used up only by a join that succeeds.
    async fn join(&mut self, token: &str) -> Result<()> {
        for _ in 0..40 {
            let (joined, _, said) = self.child.try_command(&["join", token]).await?;
            if joined {
                return Ok(());
            }
            self.parent.ensure_running()?;
            if !["connect", "reach", "reset"].iter().any(|word| said.contains(word)) {
                bail!("join was refused: {said}");
            }
            edge::sleep(Duration::from_millis(500)).await;
        }
        bail!("the parent cannot be reached to join it")
    }

    /// Waits until a node's status can be asked and its capture has a position.
    async fn wait_for_status(&mut self, which: Which) -> Result<Value> {
        let mut last = String::new();
        for _ in 0..STALL_SECONDS_MAX * 4 {
            let node = match which {
                Which::Child => &mut self.child,
                Which::Parent => &mut self.parent,
            };
            node.ensure_running()?;
            match node.status().await {
                Ok(status) if !status["capture"]["position"].is_null() => return Ok(status),
                // A parent that captures nothing is ready when it can be asked.
                Ok(status) if matches!(which, Which::Parent) && status.is_object() => {
                    return Ok(status);
                }
                Ok(status) => last = status.to_string(),
                Err(error) => last = format!("{error:#}"),
            }
            edge::sleep(Duration::from_millis(250)).await;
        }
        bail!("no status with a position after {STALL_SECONDS_MAX} s: {last}")
    }

    /// Spreads the disturbances over the clinic's work, and returns when that is done.
    async fn disturb(&mut self, work: &AtWork, rows: u64) -> Result<()> {
        let apart = rows / (DISTURBANCES.len() as u64 + 1);
        for (number, disturbance) in (1_u64..).zip(DISTURBANCES) {
            self.wait_for_rows(work, apart * number).await?;
            self.child.ensure_running()?;
            self.parent.ensure_running()?;
            self.strike(*disturbance, work.rows()).await?;
        }
        self.wait_for_rows(work, rows).await
    }

    async fn strike(&mut self, disturbance: Disturbance, rows: u64) -> Result<()> {
        let (what, pause) = match disturbance {
            Disturbance::Cut => ("the link is cut".to_owned(), 0),
            Disturbance::CutAfterBytes(bytes) => (format!("the link is cut {bytes} bytes on"), 0),
            Disturbance::Outage => ("no link for 3 seconds".to_owned(), 3),
            Disturbance::Freeze => ("the link hangs for 7 seconds".to_owned(), 7),
            Disturbance::NewAddress => ("the child gets another address".to_owned(), 0),
            Disturbance::KillChild => ("kill -9 of the child's headwater".to_owned(), 1),
            Disturbance::KillParent => ("kill -9 of the parent's headwater".to_owned(), 1),
            Disturbance::KillBoth => ("kill -9 of both headwaters".to_owned(), 1),
        };
        self.say(&format!("after {rows} row changes: {what}"));
        match disturbance {
            Disturbance::Cut => self.link.cut(),
            Disturbance::CutAfterBytes(bytes) => self.link.cut_after(Direction::Up, bytes),
            Disturbance::Outage => self.link.refuse(),
            Disturbance::Freeze => self.link.freeze(),
            Disturbance::NewAddress => self.link.come_from(std::net::Ipv4Addr::new(127, 0, 0, 77)),
            Disturbance::KillChild => self.child.kill9()?,
            Disturbance::KillParent => self.parent.kill9()?,
            Disturbance::KillBoth => {
                self.parent.kill9()?;
                self.child.kill9()?;
            }
        }
        edge::sleep(Duration::from_secs(pause)).await;
        match disturbance {
            Disturbance::Cut | Disturbance::CutAfterBytes(_) | Disturbance::NewAddress => {}
            Disturbance::Outage => self.link.allow(),
            Disturbance::Freeze => self.link.thaw(),
            Disturbance::KillChild => self.child.run()?,
            Disturbance::KillParent => self.parent.run()?,
            Disturbance::KillBoth => {
                self.child.run()?;
                self.parent.run()?;
            }
        }
        Ok(())
    }

    async fn wait_for_rows(&self, work: &AtWork, rows: u64) -> Result<()> {
        let (mut seen, mut moved) = (0, Instant::now());
        while work.rows() < rows {
            if work.rows() != seen {
                (seen, moved) = (work.rows(), Instant::now());
            }
            ensure!(!work.has_ended(), "the clinic stopped working after {seen} row changes");
            ensure!(
                moved.elapsed() < Duration::from_secs(STALL_SECONDS_MAX),
                "the clinic has been stuck at {seen} row changes for {STALL_SECONDS_MAX} s"
            );
            edge::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Waits for the child to say that all it captured is acknowledged. As long as something moves, it
    /// may take its time.
    async fn wait_until_in_step(&mut self) -> Result<()> {
        let (mut seen, mut moved, mut told) = (String::new(), Instant::now(), Instant::now());
        loop {
            self.child.ensure_running()?;
            self.parent.ensure_running()?;
            let status = self.child.status().await?;
            if status["in_step"] == Value::Bool(true) {
                self.say("the child says it is in step");
                return Ok(());
            }
            let link = &status["links"][0];
            let state = format!(
                "captured up to {}, acknowledged {}, {} transactions waiting",
                position(&status),
                link["acknowledged"],
                link["waiting_transactions"]
            );
            if state != seen {
                (seen, moved) = (state, Instant::now());
            }
            if told.elapsed() > Duration::from_secs(2) {
                told = Instant::now();
                self.say(&seen);
            }
            ensure!(
                moved.elapsed() < Duration::from_secs(STALL_SECONDS_MAX),
                "not in step, and nothing has moved for {STALL_SECONDS_MAX} s: {status}"
            );
            edge::sleep(Duration::from_millis(300)).await;
        }
    }

    async fn expect_nothing_set_aside(&self) -> Result<()> {
        let status = self.parent.status().await?;
        for what in ["parked", "quarantined"] {
            let none = status[what].is_null() || status[what] == 0;
            if !none {
                let list = if what == "parked" { what } else { "quarantine" };
                let listed = self.parent.command(&[list, "list"]).await?;
                bail!("{} changes are {what} at the parent:\n{listed}", status[what]);
            }
        }
        Ok(())
    }

    /// That the comparison means something: the same rows must have other ids.
    async fn expect_different_ids(&self) -> Result<()> {
        let ids = "SELECT CONCAT(MIN(obs_id), ' to ', MAX(obs_id)) FROM obs";
        let child = self.child_server.ask(DATABASE, ids).await?.context("no obs at the child")?;
        let parent =
            self.parent_server.ask(DATABASE, ids).await?.context("no obs at the parent")?;
        ensure!(child != parent, "the ids do not differ: {child}");
        self.say(&format!("obs have the ids {child} at the child, {parent} at the parent"));
        Ok(())
    }

    async fn compare(&self) -> Result<(u64, u64)> {
        let other = self.parent.config().display().to_string();
        let (equal, stdout, stderr) =
            self.child.try_command(&["compare", "--with", &other]).await?;
        if !equal {
            bail!("the databases differ:\n{stdout}{stderr}");
        }
        let (rows, tables) = counts(&stdout)
            .with_context(|| format!("compare did not say what it compared:\n{stdout}"))?;
        // What neither capture nor compare looks at would be equal as well.
        let map = self.child.command(&["map", "check", "--quick"]).await?;
        let travel = map.lines().find_map(|line| line.split_once(" tables travel")?.0.parse().ok());
        ensure!(
            travel == Some(tables) && tables >= TABLES_MIN,
            "only {tables} tables were compared; the map says:\n{map}"
        );
        let least = self.child_server.ask(DATABASE, ROWS).await?.context("no rows")?;
        ensure!(rows > least.parse()?, "only {rows} rows were compared, of more than {least}");
        Ok((rows, tables))
    }

    fn conclude(mut self, outcome: Result<(u64, u64)>, keep: bool) -> ExitCode {
        let code = match outcome {
            Ok((rows, tables)) => {
                self.say(&format!("done after {} s", self.start.elapsed().as_secs()));
                println!("in step: {rows} rows in {tables} tables, 0 differences");
                ExitCode::SUCCESS
            }
            Err(error) => {
                for node in [&self.child, &self.parent] {
                    eprintln!("---- the end of the {}'s log\n{}", node.name, node.log_tail());
                }
                eprintln!("---- demo: {error:#}");
                let seed = self.seed;
                eprintln!("the clinic does the same again with --seed {seed}");
                drop(write!(&self.story, "demo: {error:#}\nthe clinic's seed was {seed}\n"));
                ExitCode::FAILURE
            }
        };
        if keep || code != ExitCode::SUCCESS {
            self.folder.disable_cleanup(true);
            eprintln!(
                "configurations, logs and this story are in {}",
                self.folder.path().display()
            );
        }
        code
    }

    fn say(&self, what: &str) {
        say(self.start, what);
        // The terminal may be gone; what happened when is wanted most after a failure.
        drop(writeln!(&self.story, "[{:6.1} s] {what}", self.start.elapsed().as_secs_f64()));
    }
}

enum Which {
    Child,
    Parent,
}

fn say(start: Instant, what: &str) {
    println!("[{:6.1} s] {what}", start.elapsed().as_secs_f64());
}

fn position(status: &Value) -> String {
    let position = &status["capture"]["position"];
    position.as_str().map_or_else(|| position.to_string(), str::to_owned)
}

/// The program beside this one.
fn headwater(arguments: &Arguments) -> Result<PathBuf> {
    if let Some(program) = &arguments.headwater {
        return Ok(std::path::absolute(program)?);
    }
    let own = std::env::current_exe()?;
    let beside = own.with_file_name("headwater");
    ensure!(
        beside.is_file(),
        "there is no {}: run `make demo`, or `cargo build --bin headwater` first",
        beside.display()
    );
    Ok(beside)
}

fn configuration(name: &str, data: &Path, url: &str, map: &Path, rest: &str) -> Result<String> {
    Ok(format!(
        "[node]\nname = \"{name}\"\ndata_dir = \"{}\"\n\n\
         [database]\nurl = \"{url}\"\nmaps = [\"{}\"]\n\n\
         {rest}\n[status]\naddress = \"127.0.0.1:{}\"\n",
        data.display(),
        map.display(),
        edge::free_port()?
    ))
}

/// The numbers in `N rows in T tables`.
fn counts(text: &str) -> Option<(u64, u64)> {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.windows(5).rev().find_map(|run| match run {
        [rows, "rows" | "row", "in", tables, kind] if kind.starts_with("table") => {
            let number = |word: &str| word.replace([',', '_'], "").parse().ok();
            Some((number(rows)?, number(tables)?))
        }
        _ => None,
    })
}
