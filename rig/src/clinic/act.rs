//! What a user does, as the transaction that OpenMRS makes of it: care of patients.

#![expect(clippy::format_push_string, reason = "scripts read better in one piece than as writes")]

use rand::RngExt as _;

use super::known::{Encounter, Metadata, Patient};
use super::{Clinic, words};
use crate::sql::{Insert, text, text_or_null};

/// One thing a user does.
#[derive(Debug)]
pub(super) struct Act {
    /// The statements between BEGIN and COMMIT.
    pub(super) sql: String,
    /// A row that exists if and only if it was committed.
    pub(super) proof: Option<(&'static str, String)>,
    /// Row changes, for when the server could not tell.
    pub(super) rows_at_least: u64,
    pub(super) outcome: Outcome,
}

impl Act {
    pub(super) fn new(sql: String, outcome: Outcome) -> Act {
        Act { sql, proof: None, rows_at_least: 0, outcome }
    }

    pub(super) fn proven(mut self, table: &'static str, uuid: &str, rows_at_least: u64) -> Act {
        self.proof = Some((table, uuid.to_owned()));
        self.rows_at_least = rows_at_least;
        self
    }
}

/// What the clinic remembers of it.
#[derive(Debug)]
pub(super) enum Outcome {
    Nothing,
    Registered(Patient),
    Visit { patient: String, visit: Option<String> },
    Encounter(Encounter),
    ObsEdited { encounter: String, old: String, new: String },
    ObsVoided { encounter: String, obs: String },
    EncounterGone(String),
    PatientGone(String),
    Allergy(String),
    AllergyGone(String),
    User(String, bool),
}

/// The columns of an obs that this clinic fills.
const OBS_COLUMNS: &str = "uuid, person_id, concept_id, encounter_id, obs_datetime, location_id, \
    obs_group_id, value_coded, value_coded_name_id, value_drug, value_datetime, value_numeric, \
    value_text, value_complex, comments, creator, date_created, interpretation";

impl Clinic {
    /// Chooses what is done next. Before anybody is registered, somebody is.
    pub(super) fn decide(&mut self) -> Act {
        let Some(known) = self.known.clone() else {
            return Act::new(String::new(), Outcome::Nothing);
        };
        if self.recent.patients.len() < 5 {
            return self.register(&known);
        }
        let draw = self.rng.random_range(0..1000);
        let act = match draw {
            0..55 => Some(self.register(&known)),
            55..495 => self.see(&known),
            495..640 => self.edit_obs(&known),
            640..650 => Some(self.propose(&known)),
            650..655 => Some(Clinic::untag()),
            655..735 => self.start_visit(&known),
            735..800 => self.end_visit(&known),
            800..860 => self.touch(&known),
            860..890 => self.void_obs(&known),
            890..898 => self.void_encounter(&known),
            898..910 => self.purge_encounter(),
            910..925 => self.relate(&known),
            925..950 => self.note_allergy(&known),
            950..965 => self.change_allergy(&known),
            965..980 => self.enrol(&known),
            980..986 => Some(self.hire(&known)),
            986..994 => self.change_roles(),
            _ => self.change_address(&known),
        };
        act.unwrap_or_else(|| self.register(&known))
    }

    /// The clinic's clock, as a literal.
    pub(super) fn now(&self) -> String {
        at(self.seconds)
    }

    pub(super) fn user(&mut self, known: &Metadata) -> String {
        id(self.pick(&known.users))
    }

    fn register(&mut self, known: &Metadata) -> Act {
        let (uuid, now, user) = (self.uuid(), self.now(), self.user(known));
        let born = 1930 + self.rng.random_range(0..95);
        let gender = self.word(&["F", "M"]);
        let estimated = u32::from(self.chance(30));
        let mut sql = format!(
            "INSERT INTO person (uuid, gender, birthdate, birthdate_estimated, creator, date_created) \
             VALUES ('{uuid}', '{gender}', '{born}-0{}-1{}', {estimated}, {user}, {now});\n\
             SET @p = LAST_INSERT_ID();\n",
            self.rng.random_range(1..10),
            self.rng.random_range(0..10),
        );
        sql.push_str(&self.name_and_address(&user, &now));
        let (attributes, attribute_rows) = self.attributes(known, &user, &now);
        sql.push_str(&attributes);
        sql.push_str(&format!(
            "INSERT INTO patient (patient_id, creator, date_created) VALUES (@p, {user}, {now});\n"
        ));
        let mut identifiers = Insert::into(
            "patient_identifier",
            "patient_id, uuid, identifier, identifier_type, preferred, location_id, creator, date_created",
        );
        let count = if self.chance(25) { 2 } else { 1 };
        for number in 0..count {
            identifiers.row(&[
                "@p".to_owned(),
                text(&self.uuid()),
                text(&format!("{}-{}", self.seed % 1000, self.number * 10 + number)),
                id(known.identifier_types.get(usize::try_from(number).unwrap_or(0)).copied()),
                u32::from(number == 0).to_string(),
                id(self.pick(&known.locations)),
                user.clone(),
                now.clone(),
            ]);
        }
        sql.push_str(&identifiers.statement());
        let patient = Patient { uuid: uuid.clone(), visit: None };
        Act::new(sql, Outcome::Registered(patient)).proven(
            "person",
            &uuid,
            4 + attribute_rows + count,
        )
    }

    pub(super) fn name_and_address(&mut self, user: &str, now: &str) -> String {
        let (given, family) = (self.word(words::GIVEN), self.word(words::FAMILY));
        let middle = if self.chance(20) { Some(self.word(words::GIVEN)) } else { None };
        let village = self.word(words::VILLAGES);
        format!(
            "INSERT INTO person_name (person_id, uuid, preferred, given_name, middle_name, \
             family_name, creator, date_created) \
             VALUES (@p, '{}', 1, {}, {}, {}, {user}, {now});\n\
             INSERT INTO person_address (person_id, uuid, preferred, address1, city_village, country, \
             creator, date_created) \
             VALUES (@p, '{}', 1, {}, {}, 'Rwanda', {user}, {now});\n",
            self.uuid(),
            text(given),
            text_or_null(middle),
            text(family),
            self.uuid(),
            text(&format!("№ {} “{village}”", self.number)),
            text(village),
        )
    }

    /// Values by format: where it is a class of OpenMRS, the local id of a row as text.
    fn attributes(&mut self, known: &Metadata, user: &str, now: &str) -> (String, u64) {
        let mut insert = Insert::into(
            "person_attribute",
            "person_id, uuid, person_attribute_type_id, value, creator, date_created",
        );
        let mut rows = 0;
        for (kind, format) in &known.attribute_types {
            if !self.chance(40) {
                continue;
            }
            let value = match format.as_str() {
                "org.openmrs.Location" => id(self.pick(&known.locations)),
                "org.openmrs.Concept" => {
                    let status = self.pick(&[1054, 5555, 159_715]).unwrap_or(1054);
                    known.concept(status).to_string()
                }
                "java.lang.Boolean" => "false".to_owned(),
                "org.openmrs.util.AttributableDate" => "2025-03-01".to_owned(),
                // All digits, and yet no id.
                _ => format!("0788{:06}", self.rng.random_range(0..1_000_000)),
            };
            insert.row(&[
                "@p".to_owned(),
                text(&self.uuid()),
                kind.to_string(),
                text(&value),
                user.to_owned(),
                now.to_owned(),
            ]);
            rows += 1;
        }
        (insert.statement(), rows)
    }

    fn start_visit(&mut self, known: &Metadata) -> Option<Act> {
        let patient = self.patient().filter(|p| p.visit.is_none())?;
        let (uuid, now, user) = (self.uuid(), self.now(), self.user(known));
        let mut sql = format!(
            "SET @p = {};\n\
             INSERT INTO visit (patient_id, uuid, visit_type_id, date_started, location_id, creator, \
             date_created) VALUES (@p, '{uuid}', {}, {now}, {}, {user}, {now});\n",
            person(&patient.uuid),
            id(self.pick(&known.visit_types)),
            id(self.pick(&known.locations)),
        );
        let insured = self.chance(20);
        if insured {
            sql.push_str(&format!(
                "INSERT INTO visit_attribute (visit_id, uuid, attribute_type_id, value_reference, \
                 creator, date_created) \
                 VALUES (LAST_INSERT_ID(), '{}', {}, 'Mutuelle de santé', {user}, {now});\n",
                self.uuid(),
                id(self.pick(&known.visit_attribute_types)),
            ));
        }
        let outcome = Outcome::Visit { patient: patient.uuid, visit: Some(uuid.clone()) };
        Some(Act::new(sql, outcome).proven("visit", &uuid, 1 + u64::from(insured)))
    }

    fn end_visit(&mut self, known: &Metadata) -> Option<Act> {
        let patient = self.patient()?;
        let visit = patient.visit?;
        let (now, user) = (self.now(), self.user(known));
        let sql = format!(
            "UPDATE visit SET date_stopped = {now}, changed_by = {user}, date_changed = {now} \
             WHERE uuid = '{visit}';\n"
        );
        Some(Act::new(sql, Outcome::Visit { patient: patient.uuid, visit: None }))
    }

    /// An encounter: about a dozen observations, some of them in a group, and what follows from
    /// them.
    fn see(&mut self, known: &Metadata) -> Option<Act> {
        let patient = self.patient()?;
        let (uuid, now, user) = (self.uuid(), self.now(), self.user(known));
        let location = id(self.pick(&known.locations));
        let visit = patient.visit.as_ref().map_or_else(
            || "NULL".to_owned(),
            |visit| format!("(SELECT visit_id FROM visit WHERE uuid = '{visit}')"),
        );
        let form = if self.chance(50) { id(self.pick(&known.forms)) } else { "NULL".to_owned() };
        let mut sql = format!(
            "SET @p = {}, @v = {visit};\n\
             INSERT INTO encounter (uuid, encounter_type, patient_id, location_id, form_id, \
             encounter_datetime, visit_id, creator, date_created) \
             VALUES ('{uuid}', {}, @p, {location}, {form}, {now}, @v, {user}, {now});\n\
             SET @e = LAST_INSERT_ID();\n\
             INSERT INTO encounter_provider (encounter_id, uuid, provider_id, encounter_role_id, \
             creator, date_created) VALUES (@e, '{}', {}, {}, {user}, {now});\n",
            person(&patient.uuid),
            id(self.pick(&known.encounter_types)),
            self.uuid(),
            id(self.pick(&known.providers)),
            id(self.pick(&known.encounter_roles)),
        );
        let mut encounter = Encounter {
            uuid: uuid.clone(),
            patient: patient.uuid,
            obs: Vec::new(),
            groups: 0,
            plain: true,
        };
        if self.chance(40) {
            let group = self.uuid();
            let mut row = self.obs_row(known, &group, 1114, &location, &user);
            row.truncate(OBS_COLUMNS.split(',').count());
            let mut insert = Insert::into("obs", OBS_COLUMNS);
            insert.row(&row);
            sql.push_str(&insert.statement());
            sql.push_str("SET @g = LAST_INSERT_ID();\n");
            encounter.obs.push(group);
            encounter.groups = 1;
        } else {
            sql.push_str("SET @g = NULL;\n");
        }
        let mut insert = Insert::into("obs", OBS_COLUMNS);
        for _ in 0..self.rng.random_range(8..14) {
            let obs = self.uuid();
            let kind =
                self.word(&["Numeric", "Numeric", "Numeric", "Coded", "Coded", "Text", "Datetime"]);
            let concept = self.pick(&Metadata::of_kind(kind)).unwrap_or(5089);
            let row = self.obs_row(known, &obs, concept, &location, &user);
            insert.row(&row);
            encounter.obs.push(obs);
        }
        sql.push_str(&insert.statement());
        let mut rows = 2 + u64::try_from(encounter.obs.len()).unwrap_or(0);
        if self.chance(18) {
            let (more, count) = self.consequences(known, &user, &now);
            sql.push_str(&more);
            rows += count;
            encounter.plain = false;
        }
        Some(Act::new(sql, Outcome::Encounter(encounter)).proven("encounter", &uuid, rows))
    }

    /// The literals of one obs, in the order of [`OBS_COLUMNS`].
    fn obs_row(
        &mut self,
        known: &Metadata,
        uuid: &str,
        concept: u32,
        location: &str,
        user: &str,
    ) -> Vec<String> {
        let now = self.now();
        let null = || "NULL".to_owned();
        let (mut coded, mut name, mut drug, mut date) = (null(), null(), null(), null());
        let (mut number, mut words_said, mut complex) = (null(), null(), null());
        let group = if concept == 1114 { null() } else { "@g".to_owned() };
        if Metadata::of_kind("Numeric").contains(&concept) {
            number = self.measure();
        } else if Metadata::of_kind("Coded").contains(&concept) {
            let answer = self.pick(&Metadata::of_kind("Diagnosis")).unwrap_or(1065);
            coded = known.concept(answer).to_string();
            if self.chance(30) {
                name = id(known.names.get(&answer).copied());
            }
            if self.chance(5) {
                drug = id(self.pick(&known.drugs));
            }
        } else if Metadata::of_kind("Text").contains(&concept) {
            words_said = text(&format!("{} ({})", self.word(words::REMARKS), self.number));
            if self.chance(3) {
                complex = text(&format!("photo.jpg|obs/2026/03/{}-photo.jpg", self.uuid()));
            }
        } else if concept != 1114 {
            date = at(self.seconds + 86_400 * self.rng.random_range(1..90));
        }
        let comment = if self.chance(5) { text(self.word(words::REMARKS)) } else { null() };
        let reading = if self.chance(5) { text("HIGH") } else { null() };
        vec![
            text(uuid),
            "@p".to_owned(),
            known.concept(concept).to_string(),
            "@e".to_owned(),
            now.clone(),
            location.to_owned(),
            group,
            coded,
            name,
            drug,
            date,
            number,
            words_said,
            complex,
            comment,
            user.to_owned(),
            now,
            reading,
        ]
    }

    /// A number as the instruments give them, from the plain to the awkward.
    pub(super) fn measure(&mut self) -> String {
        match self.rng.random_range(0..20) {
            0 => "0".to_owned(),
            1 => format!("{}e-7", self.rng.random_range(1..100)),
            2 => format!("-{}.5", self.rng.random_range(1..10)),
            3 => (f64::from(self.rng.random_range(1..1000)) / 3.0).to_string(),
            4 => format!("{}.25", self.rng.random_range(1_000_000..90_000_000)),
            _ => format!("{}.{}", self.rng.random_range(1..200), self.rng.random_range(0..10)),
        }
    }

    /// Orders, diagnoses, conditions, notes: what follows from an encounter now and then.
    fn consequences(&mut self, known: &Metadata, user: &str, now: &str) -> (String, u64) {
        let mut sql = String::new();
        let mut rows = 0;
        let provider = id(self.pick(&known.providers));
        if self.chance(60) {
            sql.push_str(&self.order(known, known.drug_order_type, &provider, user, now));
            sql.push_str(&format!(
                "INSERT INTO drug_order (order_id, drug_inventory_id, dose, dose_units, quantity, \
                 quantity_units, route, frequency, duration, duration_units, as_needed, dosing_type, \
                 dosing_instructions) VALUES (LAST_INSERT_ID(), {}, {}, {}, 30, {}, {}, {}, 10, {}, 0, \
                 'org.openmrs.SimpleDosingInstructions', {});\n",
                id(self.pick(&known.drugs)),
                self.measure(),
                known.concept(161_553),
                known.concept(1513),
                known.concept(160_240),
                id(self.pick(&known.frequencies)),
                known.concept(1072),
                text(self.word(words::REMARKS)),
            ));
            rows += 2;
        }
        if self.chance(40) {
            sql.push_str(&self.order(known, known.test_order_type, &provider, user, now));
            sql.push_str(
                "INSERT INTO test_order (order_id, laterality, clinical_history) \
                 VALUES (LAST_INSERT_ID(), 'LEFT', 'toux ≥ 2 semaines');\n",
            );
            rows += 2;
        }
        if self.chance(50) {
            let illness = self.pick(&Metadata::of_kind("Diagnosis")).unwrap_or(116_128);
            sql.push_str(&format!(
                "INSERT INTO conditions (uuid, patient_id, encounter_id, condition_coded, \
                 condition_coded_name, clinical_status, onset_date, creator, date_created) \
                 VALUES ('{}', @p, @e, {}, {}, 'ACTIVE', {now}, {user}, {now});\n\
                 INSERT INTO encounter_diagnosis (uuid, patient_id, encounter_id, diagnosis_coded, \
                 condition_id, certainty, dx_rank, creator, date_created) \
                 VALUES ('{}', @p, @e, {}, LAST_INSERT_ID(), 'CONFIRMED', 1, {user}, {now});\n",
                self.uuid(),
                known.concept(illness),
                id(known.names.get(&illness).copied()),
                self.uuid(),
                known.concept(illness),
            ));
            rows += 2;
        }
        if self.chance(8) {
            // The one table whose ids OpenMRS makes up itself.
            sql.push_str(&format!(
                "SET @n = (SELECT COALESCE(MAX(note_id), 0) + 1 FROM note);\n\
                 INSERT INTO note (note_id, uuid, note_type, patient_id, encounter_id, text, creator, \
                 date_created) VALUES (@n, '{}', 'reminder', @p, @e, {}, {user}, {now});\n",
                self.uuid(),
                text(self.word(words::REMARKS)),
            ));
            rows += 1;
        }
        (sql, rows)
    }

    fn order(
        &mut self,
        known: &Metadata,
        kind: u32,
        provider: &str,
        user: &str,
        now: &str,
    ) -> String {
        format!(
            "INSERT INTO orders (uuid, order_type_id, concept_id, orderer, encounter_id, patient_id, \
             instructions, date_activated, care_setting, order_number, order_action, creator, \
             date_created) VALUES ('{}', {kind}, {}, {provider}, @e, @p, {}, {now}, {}, 'ORD-{}', 'NEW', \
             {user}, {now});\n",
            self.uuid(),
            known.concept(self.pick(&Metadata::of_kind("Drug")).unwrap_or(70_116)),
            text(self.word(words::REMARKS)),
            id(self.pick(&known.care_settings)),
            self.number,
        )
    }
}

/// The local id of a person, as an expression.
pub(super) fn person(uuid: &str) -> String {
    format!("(SELECT person_id FROM person WHERE uuid = '{uuid}')")
}

/// An id as a literal.
pub(super) fn id(id: Option<u32>) -> String {
    id.map_or_else(|| "NULL".to_owned(), |id| id.to_string())
}

/// So many seconds after the clinic opened, as a literal. Months of 28 days: every date exists.
fn at(seconds: u64) -> String {
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (months, day) = (days / 28, days % 28 + 1);
    format!(
        "'{:04}-{:02}-{day:02} {:02}:{:02}:{:02}'",
        2026 + months / 12,
        months % 12 + 1,
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}
