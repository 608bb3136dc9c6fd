//! A clinic at work: what OpenMRS does to its database in the course of a day, one database
//! transaction for each thing a user does, the same for the same seed.

mod act;
mod admin;
mod known;
mod undo;
mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use act::{Act, Outcome};
use known::{ENCOUNTERS_MAX, Encounter, Metadata, PATIENTS_MAX, Patient, Recent};

use crate::edge;
use crate::server::connect;

/// A clinic. It works on any connection to its database, one at a time.
#[derive(Debug)]
pub struct Clinic {
    seed: u64,
    rng: StdRng,
    /// Seconds since the clinic opened, on its own clock: dates follow from the seed as well.
    seconds: u64,
    number: u64,
    rows: u64,
    transactions: u64,
    known: Option<Arc<Metadata>>,
    recent: Recent,
    /// What was sent and not answered, when a connection broke.
    pending: Option<Act>,
    doubts: u64,
    doubts_committed: u64,
}

impl Clinic {
    /// A clinic that will do the same things whenever it is made with the same seed.
    pub fn new(seed: u64) -> Clinic {
        Clinic {
            seed,
            rng: StdRng::seed_from_u64(seed),
            seconds: 0,
            number: 0,
            rows: 0,
            transactions: 0,
            known: None,
            recent: Recent::default(),
            pending: None,
            doubts: 0,
            doubts_committed: 0,
        }
    }

    /// The seed, to be printed wherever a test or a demo can fail.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Rows inserted, updated and deleted so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Transactions committed so far.
    pub fn transactions(&self) -> u64 {
        self.transactions
    }

    /// How many transactions were cut off before their COMMIT was answered, and how many of those turned out
    /// to have been committed.
    pub fn doubts(&self) -> (u64, u64) {
        (self.doubts, self.doubts_committed)
    }

    /// Does `transactions` things; returns the row changes they made.
    ///
    /// After an error of the connection, call it again with a new one: the clinic looks
    /// whether its last transaction was committed, and goes on from there.
    pub async fn work(&mut self, conn: &mut Conn, transactions: u64) -> Result<u64> {
        let before = self.rows;
        for _ in 0..transactions {
            self.step(conn).await?;
        }
        Ok(self.rows - before)
    }

    /// Works until it has changed `rows` rows since it was made; calls `progress` with the number
    /// of rows after every transaction.
    pub async fn until_rows(
        &mut self,
        conn: &mut Conn,
        rows: u64,
        mut progress: impl FnMut(u64),
    ) -> Result<()> {
        while self.rows < rows {
            self.step(conn).await?;
            progress(self.rows);
        }
        Ok(())
    }

    /// Goes to work in the background, on the server at this port: at most `transactions_per_second`, and
    /// through any outage of the server, until told to stop.
    pub fn go(self, port: u16, database: &str, transactions_per_second: Option<f64>) -> AtWork {
        let rows = Arc::new(AtomicU64::new(self.rows));
        let stop = Arc::new(AtomicBool::new(false));
        let (counter, ending) = (Arc::clone(&rows), Arc::clone(&stop));
        let database = database.to_owned();
        let pause =
            transactions_per_second.map(|rate| Duration::from_secs_f64(1.0 / rate.max(0.001)));
        let task = tokio::spawn(async move {
            let mut clinic = self;
            let mut failures = 0;
            while !ending.load(Ordering::SeqCst) {
                match clinic.shift(port, &database, pause, &counter, &ending).await {
                    Ok(()) => {}
                    Err(error) if is_outage(&error) => {
                        edge::sleep(Duration::from_millis(100)).await;
                    }
                    // Such as a deadlock with what headwater applies.
                    Err(error) => {
                        failures += 1;
                        if failures > 20 {
                            return Err(error);
                        }
                    }
                }
            }
            clinic.finish(port, &database).await?;
            counter.store(clinic.rows, Ordering::SeqCst);
            Ok(clinic)
        });
        AtWork { rows, stop, task }
    }

    /// Works on one connection until it breaks or the end is near.
    async fn shift(
        &mut self,
        port: u16,
        database: &str,
        pause: Option<Duration>,
        counter: &AtomicU64,
        ending: &AtomicBool,
    ) -> Result<()> {
        let mut conn = connect(port, database).await?;
        let mut next = Instant::now();
        while !ending.load(Ordering::SeqCst) {
            self.step(&mut conn).await?;
            counter.store(self.rows, Ordering::SeqCst);
            if let Some(pause) = pause {
                next = (next + pause).max(Instant::now() - Duration::from_secs(1));
                edge::sleep(next.saturating_duration_since(Instant::now())).await;
            }
        }
        drop(conn.disconnect().await);
        Ok(())
    }

    /// Settles what was under way, so that the count is right.
    async fn finish(&mut self, port: u16, database: &str) -> Result<()> {
        if self.pending.is_some() {
            let mut conn = connect(port, database).await?;
            self.settle(&mut conn).await?;
        }
        Ok(())
    }

    async fn step(&mut self, conn: &mut Conn) -> Result<()> {
        if self.known.is_none() {
            self.known = Some(Arc::new(Metadata::read(conn).await?));
            self.recent = Recent::read(conn).await?;
        }
        self.settle(conn).await?;
        self.number += 1;
        self.seconds += self.rng.random_range(5..120);
        let act = self.decide();
        let sql = format!("BEGIN;\n{}COMMIT", act.sql);
        self.pending = Some(act);
        match run(conn, &sql).await {
            Ok(rows) => {
                if let Some(act) = self.pending.take() {
                    self.remember(act.outcome);
                }
                self.rows += rows;
                self.transactions += 1;
                Ok(())
            }
            Err(error @ mysql_async::Error::Server(_)) => {
                // The server says it did not do it.
                self.pending = None;
                drop(conn.query_drop("ROLLBACK").await);
                Err(error).with_context(|| format!("the clinic's transaction failed: {sql}"))
            }
            Err(error) => Err(error).context("the clinic lost its database"),
        }
    }

    /// Finds out whether the transaction that was cut off had been committed.
    async fn settle(&mut self, conn: &mut Conn) -> Result<()> {
        let Some(act) = &self.pending else { return Ok(()) };
        let committed = match &act.proof {
            Some((table, uuid)) => conn
                .exec_first::<u8, _, _>(format!("SELECT 1 FROM `{table}` WHERE uuid = ?"), (uuid,))
                .await?
                .is_some(),
            // Updates and deletes leave no trace of their own. Taking them as done only means
            // not to come back to those rows.
            None => true,
        };
        self.doubts += 1;
        if let Some(act) = self.pending.take()
            && committed
        {
            self.doubts_committed += 1;
            if act.proof.is_some() {
                self.rows += act.rows_at_least;
                self.transactions += 1;
            }
            self.remember(act.outcome);
        }
        Ok(())
    }

    fn remember(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Nothing => {}
            Outcome::Registered(patient) => {
                if self.recent.patients.len() >= PATIENTS_MAX {
                    let place = self.rng.random_range(0..self.recent.patients.len());
                    self.recent.patients.swap_remove(place);
                }
                self.recent.patients.push(patient);
            }
            Outcome::Visit { patient, visit } => {
                if let Some(patient) = self.recent.patients.iter_mut().find(|p| p.uuid == patient) {
                    patient.visit = visit;
                }
            }
            Outcome::Encounter(encounter) => {
                if self.recent.encounters.len() >= ENCOUNTERS_MAX {
                    let place = self.rng.random_range(0..self.recent.encounters.len());
                    self.recent.encounters.swap_remove(place);
                }
                self.recent.encounters.push(encounter);
            }
            Outcome::ObsEdited { encounter, old, new } => {
                if let Some(encounter) =
                    self.recent.encounters.iter_mut().find(|e| e.uuid == encounter)
                    && let Some(place) = encounter.obs.iter_mut().find(|obs| **obs == old)
                {
                    *place = new;
                }
            }
            Outcome::ObsVoided { encounter, obs } => {
                if let Some(encounter) =
                    self.recent.encounters.iter_mut().find(|e| e.uuid == encounter)
                {
                    encounter.obs.retain(|other| *other != obs);
                }
            }
            Outcome::EncounterGone(uuid) => self.recent.encounters.retain(|e| e.uuid != uuid),
            Outcome::PatientGone(uuid) => {
                self.recent.patients.retain(|patient| patient.uuid != uuid);
                self.recent.encounters.retain(|encounter| encounter.patient != uuid);
            }
            Outcome::Allergy(uuid) => self.recent.allergies.push(uuid),
            Outcome::AllergyGone(uuid) => self.recent.allergies.retain(|other| *other != uuid),
            Outcome::User(uuid, second_role) => {
                self.recent.users.retain(|(other, _)| *other != uuid);
                self.recent.users.push((uuid, second_role));
            }
        }
    }

    /// A new random uuid; the same for the same seed.
    fn uuid(&mut self) -> String {
        let mut bytes = [0; 16];
        self.rng.fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        one_of(&mut self.rng, from)
    }

    /// A patient, an encounter, an allergy, a user to come back to, if there are any.
    fn patient(&mut self) -> Option<Patient> {
        one_of(&mut self.rng, &self.recent.patients)
    }

    fn encounter(&mut self) -> Option<Encounter> {
        one_of(&mut self.rng, &self.recent.encounters)
    }

    fn allergy(&mut self) -> Option<String> {
        one_of(&mut self.rng, &self.recent.allergies)
    }

    fn own_user(&mut self) -> Option<(String, bool)> {
        one_of(&mut self.rng, &self.recent.users)
    }

    fn word(&mut self, from: &[&'static str]) -> &'static str {
        self.pick(from).unwrap_or("")
    }
}

/// A clinic that works in the background.
#[derive(Debug)]
pub struct AtWork {
    rows: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<Result<Clinic>>,
}

impl AtWork {
    /// Row changes made so far.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::SeqCst)
    }

    /// Whether it gave up, because its database refused what it did.
    pub fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Ends the day; the clinic can go to work again. The server has to be up.
    pub async fn stop(self) -> Result<Clinic> {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await?
    }
}

fn one_of<T: Clone>(rng: &mut StdRng, from: &[T]) -> Option<T> {
    if from.is_empty() {
        return None;
    }
    from.get(rng.random_range(0..from.len())).cloned()
}

/// Runs a script; returns the rows it inserted, updated and deleted.
async fn run(conn: &mut Conn, script: &str) -> Result<u64, mysql_async::Error> {
    let mut result = conn.query_iter(script).await?;
    let mut rows = 0;
    loop {
        rows += result.affected_rows();
        if result.is_empty() {
            break;
        }
        while result.next().await?.is_some() {}
    }
    result.drop_result().await?;
    Ok(rows)
}

/// Whether the error is of the connection, not of what was asked.
fn is_outage(error: &anyhow::Error) -> bool {
    !error.chain().any(|cause| matches!(cause.downcast_ref(), Some(mysql_async::Error::Server(_))))
}
