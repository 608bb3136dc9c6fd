//! How many statements and how much memory a batch takes.

use super::on_both;
use super::stage::*;

on_both!(
    one_encounter_takes_a_small_number_of_statements,
    a_transaction_of_many_rows_is_applied_in_chunks,
);

/// About 14 rows in 5 tables.
fn one_encounter(person_id: &str) -> Vec<Row> {
    let (v, enc) = (uuid(), uuid());
    let mut rows = vec![visit(&v, person_id), encounter(&enc, person_id, Some(&v))];
    let group = uuid();
    rows.push(obs(&group, person_id, &enc));
    for number in 0..9 {
        let row = obs(&uuid(), person_id, &enc);
        rows.push(if number < 3 {
            with(&row, vec![("obs_group_id", refer("obs", &group))])
        } else {
            row
        });
    }
    rows.push(insert(
        "conditions",
        &uuid(),
        vec![
            ("patient_id", refer("patient", person_id)),
            ("encounter_id", refer("encounter", &enc)),
            ("clinical_status", text("ACTIVE")),
            ("creator", refer("users", DAEMON)),
            ("date_created", time("2024-01-01 00:00:00")),
        ],
    ));
    rows.push(update("person", person_id, vec![("gender", text("F"))]));
    rows
}

async fn one_encounter_takes_a_small_number_of_statements(stage: Stage) {
    let person_id = uuid();
    stage.send(&[vec![person(&person_id), patient(&person_id)]]).await;
    let mut slowest = std::time::Duration::ZERO;
    let mut statements = 0;
    for _ in 0..20 {
        let rows = one_encounter(&person_id);
        let started = tokio::time::Instant::now();
        let report = stage.send(&[rows]).await;
        slowest = slowest.max(started.elapsed());
        statements = report.statements;
    }
    eprintln!("{}: one encounter: {statements} statements, slowest {slowest:?}", stage.flavor);
    assert!(statements <= 25, "{statements} statements");
}

async fn a_transaction_of_many_rows_is_applied_in_chunks(stage: Stage) {
    let rows_max = 50_000;
    let (person_id, enc) = (uuid(), uuid());
    stage
        .send(&[vec![person(&person_id), patient(&person_id), encounter(&enc, &person_id, None)]])
        .await;
    let rows: Vec<Row> = (0..rows_max).map(|_| obs(&uuid(), &person_id, &enc)).collect();
    let started = tokio::time::Instant::now();
    let report = stage.send(&[rows]).await;
    let took = started.elapsed();
    eprintln!(
        "{}: {rows_max} rows in one transaction: {took:?}, {:.0} rows/s, {} statements",
        stage.flavor,
        f64::from(rows_max) / took.as_secs_f64(),
        report.statements
    );
    let query = format!(
        "SELECT COUNT(*) FROM obs JOIN encounter USING (encounter_id) WHERE encounter.uuid = '{enc}'"
    );
    assert_eq!(stage.ask(&query).await, Some(rows_max.to_string()));
}
