//! What the clinic knows of its own database: the local ids of the metadata, and the rows it
//! worked on lately.

use std::collections::HashMap;

use anyhow::{Context as _, Result, ensure};
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

use crate::openmrs::{CONCEPTS, Concept, concept_uuid};

/// How many patients and encounters the clinic remembers, to come back to them.
pub(super) const PATIENTS_MAX: usize = 4000;
pub(super) const ENCOUNTERS_MAX: usize = 1500;

/// Local ids of this database's metadata.
#[derive(Debug, Clone, Default)]
pub(super) struct Metadata {
    concepts: HashMap<u32, u32>,
    pub(super) names: HashMap<u32, u32>,
    pub(super) users: Vec<u32>,
    pub(super) providers: Vec<u32>,
    pub(super) locations: Vec<u32>,
    pub(super) encounter_types: Vec<u32>,
    pub(super) encounter_roles: Vec<u32>,
    pub(super) visit_types: Vec<u32>,
    pub(super) visit_attribute_types: Vec<u32>,
    pub(super) identifier_types: Vec<u32>,
    /// Id and format.
    pub(super) attribute_types: Vec<(u32, String)>,
    pub(super) relationship_types: Vec<u32>,
    pub(super) drugs: Vec<u32>,
    pub(super) frequencies: Vec<u32>,
    pub(super) drug_order_type: u32,
    pub(super) test_order_type: u32,
    pub(super) care_settings: Vec<u32>,
    /// Program and a state of it.
    pub(super) program_states: Vec<(u32, u32)>,
    pub(super) forms: Vec<u32>,
    pub(super) tags: Vec<u32>,
}

impl Metadata {
    /// Reads all of it.
    pub(super) async fn read(conn: &mut Conn) -> Result<Metadata> {
        let concepts: Vec<(String, u32, Option<u32>)> = conn
            .query(
                "SELECT c.uuid, c.concept_id, MIN(n.concept_name_id) FROM concept c \
                 LEFT JOIN concept_name n ON n.concept_id = c.concept_id GROUP BY c.uuid, c.concept_id",
            )
            .await?;
        let by_uuid: HashMap<_, _> =
            concepts.into_iter().map(|(uuid, id, name)| (uuid, (id, name))).collect();
        let mut known = Metadata::default();
        for &(ciel, ..) in CONCEPTS {
            let (id, name) = by_uuid
                .get(&concept_uuid(ciel))
                .with_context(|| format!("concept {ciel} is missing: was the database seeded?"))?;
            known.concepts.insert(ciel, *id);
            if let Some(name) = name {
                known.names.insert(ciel, *name);
            }
        }
        known.users = ids(conn, "users", "user_id", "user_id").await?;
        known.providers = ids(conn, "provider", "provider_id", "uuid").await?;
        known.locations = ids(conn, "location", "location_id", "uuid").await?;
        known.encounter_types = ids(conn, "encounter_type", "encounter_type_id", "uuid").await?;
        known.encounter_roles = ids(conn, "encounter_role", "encounter_role_id", "uuid").await?;
        known.visit_types = ids(conn, "visit_type", "visit_type_id", "uuid").await?;
        known.visit_attribute_types =
            ids(conn, "visit_attribute_type", "visit_attribute_type_id", "uuid").await?;
        known.identifier_types =
            ids(conn, "patient_identifier_type", "patient_identifier_type_id", "uuid").await?;
        known.attribute_types = conn
            .query(
                "SELECT person_attribute_type_id, COALESCE(format, '') \
                 FROM person_attribute_type ORDER BY uuid",
            )
            .await?;
        known.relationship_types =
            ids(conn, "relationship_type", "relationship_type_id", "uuid").await?;
        known.drugs = ids(conn, "drug", "drug_id", "uuid").await?;
        known.frequencies = ids(conn, "order_frequency", "order_frequency_id", "uuid").await?;
        known.drug_order_type = order_type(conn, "org.openmrs.DrugOrder").await?;
        known.test_order_type = order_type(conn, "org.openmrs.TestOrder").await?;
        known.care_settings = ids(conn, "care_setting", "care_setting_id", "uuid").await?;
        known.program_states = conn
            .query(
                "SELECT w.program_id, s.program_workflow_state_id FROM program_workflow_state s \
                 JOIN program_workflow w USING (program_workflow_id) ORDER BY s.uuid",
            )
            .await?;
        known.forms = ids(conn, "form", "form_id", "uuid").await?;
        known.tags = ids(conn, "concept_name_tag", "concept_name_tag_id", "tag").await?;
        // The daemon and admin do not see patients.
        known.users.truncate(200);
        ensure!(!known.users.is_empty(), "no users: was the database seeded?");
        Ok(known)
    }

    /// The local id of a concept.
    pub(super) fn concept(&self, ciel: u32) -> u32 {
        self.concepts.get(&ciel).copied().unwrap_or(0)
    }

    /// The CIEL numbers of all concepts with this datatype or class.
    pub(super) fn of_kind(kind: &str) -> Vec<u32> {
        let of = |concept: &&Concept| concept.2 == kind || concept.3 == kind;
        CONCEPTS.iter().filter(of).map(|concept| concept.0).collect()
    }
}

async fn ids(conn: &mut Conn, table: &str, id: &str, order: &str) -> Result<Vec<u32>> {
    let ids: Vec<u32> =
        conn.query(format!("SELECT `{id}` FROM `{table}` ORDER BY `{order}` LIMIT 1000")).await?;
    ensure!(!ids.is_empty(), "{table} is empty: was the database seeded?");
    Ok(ids)
}

async fn order_type(conn: &mut Conn, class: &str) -> Result<u32> {
    conn.exec_first("SELECT order_type_id FROM order_type WHERE java_class_name = ?", (class,))
        .await?
        .with_context(|| format!("no order type for {class}: was the database seeded?"))
}

/// Somebody registered here.
#[derive(Debug, Clone)]
pub(super) struct Patient {
    /// The person's uuid.
    pub(super) uuid: String,
    /// The uuid of the visit that is going on.
    pub(super) visit: Option<String>,
}

/// One encounter and what was observed at it.
#[derive(Debug, Clone)]
pub(super) struct Encounter {
    pub(super) uuid: String,
    pub(super) patient: String,
    /// The observations that are not voided; the first `groups` of them hold others.
    pub(super) obs: Vec<String>,
    pub(super) groups: usize,
    /// Whether nothing but observations hangs on it, so that it can be purged.
    pub(super) plain: bool,
}

/// The rows worked on lately.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent {
    pub(super) patients: Vec<Patient>,
    pub(super) encounters: Vec<Encounter>,
    /// Allergies that are not voided.
    pub(super) allergies: Vec<String>,
    /// Users made here, with whether they hold a second role.
    pub(super) users: Vec<(String, bool)>,
}

impl Recent {
    /// What an earlier clinic left in this database, so that work goes on after a restart.
    pub(super) async fn read(conn: &mut Conn) -> Result<Recent> {
        let patients: Vec<(String, Option<String>)> = conn
            .query(format!(
                "SELECT p.uuid, (SELECT MAX(v.uuid) FROM visit v WHERE v.patient_id = p.person_id \
                                 AND v.date_stopped IS NULL AND v.voided = 0) \
                 FROM patient t JOIN person p ON p.person_id = t.patient_id \
                 WHERE t.voided = 0 ORDER BY t.patient_id DESC LIMIT {}",
                PATIENTS_MAX / 4
            ))
            .await?;
        Ok(Recent {
            patients: patients.into_iter().map(|(uuid, visit)| Patient { uuid, visit }).collect(),
            ..Recent::default()
        })
    }
}
