//! What a user does, as the transaction that OpenMRS makes of it: everything around the care of patients.

#![expect(clippy::format_push_string, reason = "scripts read better in one piece than as writes")]

use super::act::{Act, Outcome, id, person};
use super::known::Metadata;
use super::{Clinic, words};
use crate::sql::text;

impl Clinic {
    /// OpenMRS touches rows without a real change, and changes them in place.
    pub(super) fn touch(&mut self, known: &Metadata) -> Option<Act> {
        let patient = self.patient()?;
        let (now, user) = (self.now(), self.user(known));
        let changed = format!("changed_by = {user}, date_changed = {now}");
        let first = format!("SET @p = {};\n", person(&patient.uuid));
        let by_person = "WHERE person_id = @p";
        let sql = match self.word(&["touch", "touch", "phone", "name", "death", "void"]) {
            "phone" => format!(
                "UPDATE person_attribute SET value = '0799{:05}', {changed} {by_person} \
                 AND value LIKE '07%';\n",
                self.number % 100_000
            ),
            "name" => format!(
                "UPDATE person_name SET family_name = {}, {changed} {by_person};\n",
                text(self.word(words::FAMILY))
            ),
            "death" if self.chance(20) => {
                let cause = self.pick(&Metadata::of_kind("Diagnosis")).unwrap_or(116_128);
                format!(
                    "UPDATE person SET dead = 1, death_date = {now}, cause_of_death = {}, {changed} \
                     {by_person};\n",
                    known.concept(cause)
                )
            }
            "void" if self.chance(10) => {
                let sql = format!(
                    "{first}\
                     UPDATE person SET voided = 1, voided_by = {user}, date_voided = {now}, \
                     void_reason = 'Duplicate' WHERE person_id = @p;\n\
                     UPDATE patient SET voided = 1, voided_by = {user}, date_voided = {now}, \
                     void_reason = 'Duplicate' WHERE patient_id = @p;\n"
                );
                return Some(Act::new(sql, Outcome::PatientGone(patient.uuid)));
            }
            _ => format!("UPDATE person SET {changed} {by_person};\n"),
        };
        Some(Act::new(first + &sql, Outcome::Nothing))
    }

    pub(super) fn change_address(&mut self, known: &Metadata) -> Option<Act> {
        let patient = self.patient()?;
        let (now, user, uuid) = (self.now(), self.user(known), self.uuid());
        let village = text(self.word(words::VILLAGES));
        let sql = format!(
            "SET @p = {};\n\
             UPDATE person_address SET preferred = 0, end_date = {now}, changed_by = {user}, \
             date_changed = {now} WHERE person_id = @p AND preferred = 1;\n\
             INSERT INTO person_address (person_id, uuid, preferred, city_village, start_date, creator, \
             date_created) VALUES (@p, '{uuid}', 1, {village}, {now}, {user}, {now});\n",
            person(&patient.uuid)
        );
        Some(Act::new(sql, Outcome::Nothing).proven("person_address", &uuid, 2))
    }

    pub(super) fn relate(&mut self, known: &Metadata) -> Option<Act> {
        let (a, b) = (self.patient()?, self.patient()?);
        let (now, user, uuid) = (self.now(), self.user(known), self.uuid());
        let kind = id(self.pick(&known.relationship_types));
        let sql = format!(
            "SET @a = {}, @b = {};\n\
             INSERT INTO relationship (uuid, person_a, relationship, person_b, start_date, creator, \
             date_created) VALUES ('{uuid}', @a, {kind}, @b, {now}, {user}, {now});\n",
            person(&a.uuid),
            person(&b.uuid)
        );
        Some(Act::new(sql, Outcome::Nothing).proven("relationship", &uuid, 1))
    }

    pub(super) fn note_allergy(&mut self, known: &Metadata) -> Option<Act> {
        let patient = self.patient()?;
        let (now, user, uuid) = (self.now(), self.user(known), self.uuid());
        let allergen = if self.chance(50) { 162_298 } else { 162_172 };
        let sql = format!(
            "SET @p = {};\n\
             UPDATE patient SET allergy_status = 'See list', changed_by = {user}, date_changed = {now} \
             WHERE patient_id = @p;\n\
             INSERT INTO allergy (uuid, patient_id, severity_concept_id, coded_allergen, allergen_type, \
             comments, creator, date_created, voided) \
             VALUES ('{uuid}', @p, {}, {}, 'DRUG', {}, {user}, {now}, 0);\n\
             SET @a = LAST_INSERT_ID();\n\
             INSERT INTO allergy_reaction (uuid, allergy_id, reaction_concept_id, reaction_non_coded) \
             VALUES ('{}', @a, {rash}, NULL), ('{}', @a, {rash}, 'Éruption');\n",
            person(&patient.uuid),
            known.concept(1498),
            known.concept(allergen),
            text(self.word(words::REMARKS)),
            self.uuid(),
            self.uuid(),
            rash = known.concept(512),
        );
        Some(Act::new(sql, Outcome::Allergy(uuid.clone())).proven("allergy", &uuid, 4))
    }

    /// A reaction is deleted for real, or the whole allergy is voided.
    pub(super) fn change_allergy(&mut self, known: &Metadata) -> Option<Act> {
        let allergy = self.allergy()?;
        let (now, user) = (self.now(), self.user(known));
        if self.chance(70) {
            let sql = format!(
                "SET @a = (SELECT allergy_id FROM allergy WHERE uuid = '{allergy}' LIMIT 1);\n\
                 DELETE FROM allergy_reaction WHERE allergy_id = @a ORDER BY allergy_reaction_id LIMIT 1;\n\
                 UPDATE allergy SET severity_concept_id = {}, changed_by = {user}, \
                 date_changed = {now} WHERE allergy_id = @a;\n",
                known.concept(1500)
            );
            return Some(Act::new(sql, Outcome::Nothing));
        }
        let sql = format!(
            "UPDATE allergy SET voided = 1, voided_by = {user}, date_voided = {now}, \
             void_reason = 'Not confirmed' WHERE uuid = '{allergy}';\n"
        );
        Some(Act::new(sql, Outcome::AllergyGone(allergy)))
    }

    pub(super) fn enrol(&mut self, known: &Metadata) -> Option<Act> {
        let patient = self.patient()?;
        let (program, state) = self.pick(&known.program_states)?;
        let (now, user, uuid) = (self.now(), self.user(known), self.uuid());
        let sql = format!(
            "SET @p = {};\n\
             INSERT INTO patient_program (uuid, patient_id, program_id, date_enrolled, location_id, \
             creator, date_created) VALUES ('{uuid}', @p, {program}, {now}, {}, {user}, {now});\n\
             INSERT INTO patient_state (uuid, patient_program_id, state, start_date, creator, \
             date_created) VALUES ('{}', LAST_INSERT_ID(), {state}, DATE({now}), {user}, {now});\n",
            person(&patient.uuid),
            id(self.pick(&known.locations)),
            self.uuid(),
        );
        Some(Act::new(sql, Outcome::Nothing).proven("patient_program", &uuid, 2))
    }

    /// A new user: person, name, address, user, role, a wish. Person and user refer to each other's tables.
    pub(super) fn hire(&mut self, known: &Metadata) -> Act {
        let (now, user, uuid) = (self.now(), self.user(known), self.uuid());
        let mut sql = format!(
            "INSERT INTO person (uuid, gender, creator, date_created) \
             VALUES ('{}', 'F', {user}, {now});\n\
             SET @p = LAST_INSERT_ID();\n",
            self.uuid()
        );
        sql.push_str(&self.name_and_address(&user, &now));
        sql.push_str(&format!(
            "INSERT INTO users (uuid, system_id, username, password, salt, creator, date_created, \
             person_id) VALUES ('{uuid}', '{seed}-{number}', 'user{seed}x{number}', 'secret', 'salt', \
             {user}, {now}, @p);\n\
             SET @u = LAST_INSERT_ID();\n\
             INSERT INTO user_role (user_id, role) VALUES (@u, 'Clinician');\n\
             INSERT INTO user_property (user_id, property, property_value) \
             VALUES (@u, 'defaultLocale', 'rw');\n",
            seed = self.seed % 100_000,
            number = self.number,
        ));
        Act::new(sql, Outcome::User(uuid.clone(), false)).proven("users", &uuid, 6)
    }

    /// A term that the dictionary lacks, with tags. Those rows have no key, and two of them are equal.
    pub(super) fn propose(&mut self, known: &Metadata) -> Act {
        let (now, user, uuid) = (self.now(), self.user(known), self.uuid());
        let (tag, other) = (id(self.pick(&known.tags)), id(self.pick(&known.tags)));
        let sql = format!(
            "INSERT INTO concept_proposal (uuid, original_text, locale, creator, date_created) \
             VALUES ('{uuid}', {}, 'rw', {user}, {now});\n\
             SET @c = LAST_INSERT_ID();\n\
             INSERT INTO concept_proposal_tag_map (concept_proposal_id, concept_name_tag_id) \
             VALUES (@c, {tag}), (@c, {tag}), (@c, {other});\n",
            text(self.word(words::REMARKS))
        );
        Act::new(sql, Outcome::Nothing).proven("concept_proposal", &uuid, 4)
    }

    /// One of several equal rows is deleted.
    pub(super) fn untag() -> Act {
        let sql = "SET @c = (SELECT MAX(concept_proposal_id) FROM concept_proposal_tag_map);\n\
                   DELETE FROM concept_proposal_tag_map WHERE concept_proposal_id = @c \
                   ORDER BY concept_name_tag_id LIMIT 1;\n";
        Act::new(sql.to_owned(), Outcome::Nothing)
    }

    /// A link row comes or goes; a row without a uuid is replaced.
    pub(super) fn change_roles(&mut self) -> Option<Act> {
        let (user, second) = self.own_user()?;
        let one = if second {
            "DELETE FROM user_role WHERE user_id = @u AND role = 'Data Clerk';\n"
        } else {
            "INSERT IGNORE INTO user_role (user_id, role) VALUES (@u, 'Data Clerk');\n"
        };
        let sql = format!(
            "SET @u = (SELECT user_id FROM users WHERE uuid = '{user}');\n{one}\
             REPLACE INTO user_property (user_id, property, property_value) \
             VALUES (@u, 'lastView', 'page {}');\n",
            self.number
        );
        Some(Act::new(sql, Outcome::User(user, !second)))
    }
}
