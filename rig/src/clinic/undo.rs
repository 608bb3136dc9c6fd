//! What a user does, as the transaction that OpenMRS makes of it: taking back and correcting what was written.

use super::act::{Act, Outcome};
use super::known::Metadata;
use super::{Clinic, words};
use crate::sql::text;

impl Clinic {
    /// OpenMRS never changes an obs: it voids the old row and makes a new one that names it.
    pub(super) fn edit_obs(&mut self, known: &Metadata) -> Option<Act> {
        let encounter = self.encounter()?;
        let old = self.pick(encounter.obs.get(encounter.groups..)?)?;
        let (new, now, user) = (self.uuid(), self.now(), self.user(known));
        let value = self.measure();
        let sql = format!(
            "SET @o = (SELECT obs_id FROM obs WHERE uuid = '{old}');\n\
             INSERT INTO obs (uuid, previous_version, status, creator, date_created, value_numeric, \
             person_id, concept_id, encounter_id, obs_datetime, location_id, obs_group_id, value_coded, \
             value_coded_name_id, value_drug, value_datetime, value_text, value_complex, comments) \
             SELECT '{new}', obs_id, 'AMENDED', {user}, {now}, IF(value_numeric IS NULL, NULL, {value}), \
             person_id, concept_id, encounter_id, obs_datetime, location_id, obs_group_id, value_coded, \
             value_coded_name_id, value_drug, value_datetime, CONCAT(value_text, ' ✎'), value_complex, \
             comments FROM obs WHERE obs_id = @o;\n\
             UPDATE obs SET voided = 1, voided_by = {user}, date_voided = {now}, \
             void_reason = CONCAT('Edited (new obsId: ', LAST_INSERT_ID(), ')') WHERE obs_id = @o;\n"
        );
        let outcome = Outcome::ObsEdited { encounter: encounter.uuid, old, new: new.clone() };
        Some(Act::new(sql, outcome).proven("obs", &new, 2))
    }

    pub(super) fn void_obs(&mut self, known: &Metadata) -> Option<Act> {
        let encounter = self.encounter()?;
        let obs = self.pick(encounter.obs.get(encounter.groups..)?)?;
        let (now, user, reason) = (self.now(), self.user(known), self.word(words::REASONS));
        let sql = format!(
            "UPDATE obs SET voided = 1, voided_by = {user}, date_voided = {now}, void_reason = {} \
             WHERE uuid = '{obs}';\n",
            text(reason)
        );
        Some(Act::new(sql, Outcome::ObsVoided { encounter: encounter.uuid, obs }))
    }

    pub(super) fn void_encounter(&mut self, known: &Metadata) -> Option<Act> {
        let encounter = self.encounter()?;
        let (now, user, reason) = (self.now(), self.user(known), self.word(words::REASONS));
        let voided = format!(
            "voided = 1, voided_by = {user}, date_voided = {now}, void_reason = {}",
            text(reason)
        );
        let sql = format!(
            "SET @e = (SELECT encounter_id FROM encounter WHERE uuid = '{uuid}');\n\
             UPDATE obs SET {voided} WHERE encounter_id = @e AND voided = 0;\n\
             UPDATE encounter_provider SET {voided} WHERE encounter_id = @e;\n\
             UPDATE encounter SET {voided} WHERE encounter_id = @e;\n",
            uuid = encounter.uuid
        );
        Some(Act::new(sql, Outcome::EncounterGone(encounter.uuid)))
    }

    /// A real delete. Newer rows refer to older ones, so they go first.
    pub(super) fn purge_encounter(&mut self) -> Option<Act> {
        let encounter = self.encounter().filter(|e| e.plain)?;
        let sql = format!(
            "SET @e = (SELECT encounter_id FROM encounter WHERE uuid = '{uuid}');\n\
             DELETE FROM obs WHERE encounter_id = @e ORDER BY obs_id DESC;\n\
             DELETE FROM encounter_provider WHERE encounter_id = @e;\n\
             DELETE FROM encounter WHERE encounter_id = @e;\n",
            uuid = encounter.uuid
        );
        Some(Act::new(sql, Outcome::EncounterGone(encounter.uuid)))
    }
}
