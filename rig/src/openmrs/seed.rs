//! Fills empty tables with what every OpenMRS of a country has in common.

use anyhow::{Context as _, Result};
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use rand::{Rng as _, SeedableRng as _};

use super::metadata as m;
use crate::server::Server;
use crate::sql::{Insert, text, text_or_null};

/// When all of it was made: long before the clinic's work begins.
pub(super) const MADE: &str = "'2024-01-01 08:00:00'";
/// The person behind the first user, as in every OpenMRS.
const PERSON_1: &str = "1296b0dc-440a-11e6-a65c-00e04c680037";
/// The first user, admin.
const ADMIN: &str = "82f18b44-6814-11e8-923f-e9a88dcb533f";
/// The user behind background work, in upper case as OpenMRS makes it.
const DAEMON: &str = "A4F30A1B-5EB9-11DF-A648-37A07F9C90FB";

/// Fills the tables that [`super::create`] made. The identities are the same wherever this is done; the
/// local ids follow from `id_offset`, so nodes with different offsets have different ids for
/// the same row in every table. Offset 0 gives the ids of a fresh install.
pub async fn seed(server: &Server, database: &str, id_offset: u32) -> Result<()> {
    let mut conn = server.conn(database).await?;
    seed_with(&mut conn, id_offset).await?;
    conn.disconnect().await?;
    Ok(())
}

/// The same through a connection that is in that database.
pub async fn seed_with(conn: &mut Conn, id_offset: u32) -> Result<()> {
    let seed = Seed { id_offset };
    // The rows refer to each other in circles: person 1 was made by user 1, who is person 1.
    let mut script = String::from("SET foreign_key_checks = 0; BEGIN;\n");
    for part in [
        seed.people(),
        seed.concepts(),
        seed.concept_details(),
        seed.dictionaries(),
        seed.places(),
        seed.kinds(),
        seed.access(),
        seed.orders(),
        seed.programs(),
        seed.forms(),
    ] {
        script.push_str(&part);
    }
    script.push_str("COMMIT; SET foreign_key_checks = 1;");
    conn.query_drop(script).await.context("cannot fill the OpenMRS tables")?;
    Ok(())
}

/// The id that the row with this number has at a node. Away from the first node the
/// order is reversed as well, so nothing may rely on ids rising together.
fn local_id(id_offset: u32, table: &str, number: u32) -> u32 {
    if id_offset == 0 {
        return number;
    }
    let spread = table.bytes().fold(7_u32, |sum, byte| (sum * 31 + u32::from(byte)) % 97);
    id_offset + spread + (1000 - number)
}

/// The uuid of a row of the common metadata, by table and number from 1.
pub fn identity(table: &str, number: u32) -> String {
    let seed = table.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut bytes = [0; 16];
    rand::rngs::StdRng::seed_from_u64(seed ^ u64::from(number)).fill_bytes(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// A CIEL concept's uuid: its number, padded with A.
pub(crate) fn concept_uuid(number: u32) -> String {
    format!("{number:A<36}")
}

/// Numbers from 1 beside what they stand for.
pub(super) fn numbered<T>(rows: &[T]) -> impl Iterator<Item = (u32, &T)> {
    (1..).zip(rows)
}

pub(super) struct Seed {
    id_offset: u32,
}

impl Seed {
    pub(super) fn id(&self, table: &str, number: u32) -> String {
        local_id(self.id_offset, table, number).to_string()
    }

    /// The local id of the concept with this CIEL number.
    pub(super) fn concept(&self, ciel: u32) -> String {
        let place = numbered(m::CONCEPTS).find(|(_, concept)| concept.0 == ciel);
        place.map_or_else(|| "NULL".to_owned(), |(number, _)| self.id("concept", number))
    }

    pub(super) fn admin(&self) -> String {
        self.id("users", 1)
    }

    /// A statement for rows that have an id, a uuid, a creator and a date, and these columns of their own.
    pub(super) fn rows(&self, table: &str, id: &str, columns: &str, own: &[Vec<String>]) -> String {
        let columns = format!("{id}, uuid, creator, date_created, {columns}");
        let mut insert = Insert::into(table, columns.trim_end_matches(", "));
        for (number, row) in numbered(own) {
            let mut literals = vec![
                self.id(table, number),
                text(&identity(table, number)),
                self.admin(),
                MADE.to_owned(),
            ];
            literals.extend_from_slice(row);
            insert.row(&literals);
        }
        insert.statement()
    }

    /// The same for rows that only have a name.
    pub(super) fn names(&self, table: &str, id: &str, column: &str, names: &[&str]) -> String {
        let own: Vec<_> = names.iter().map(|name| vec![text(name)]).collect();
        self.rows(table, id, column, &own)
    }

    fn people(&self) -> String {
        let mut person =
            Insert::into("person", "person_id, uuid, gender, creator, date_created, birthdate");
        let none = || "NULL".to_owned();
        // Row 1 has no creator in a real OpenMRS either.
        person.row(&[self.id("person", 1), text(PERSON_1), text("M"), none(), MADE.into(), none()]);
        let mut users = Insert::into(
            "users",
            "user_id, uuid, system_id, username, password, salt, creator, date_created, person_id",
        );
        let mut user = |number: u32, uuid: &str, system_id: &str, name: &str, person: u32| {
            users.row(&[
                self.id("users", number),
                text(uuid),
                text(system_id),
                text(name),
                text("4a1750c8607dfa237de36c6305715c223415189"),
                text("c788c6ad82a157b712392ca695dfcf2eed193d7f"),
                self.admin(),
                MADE.to_owned(),
                self.id("person", person),
            ]);
        };
        user(1, ADMIN, "admin", "admin", 1);
        user(2, DAEMON, "daemon", "daemon", 1);
        let mut names = vec![vec![self.id("person", 1), text("Super"), text("User"), "1".into()]];
        let mut providers = Vec::new();
        for (number, (username, given, family)) in (2..).zip(m::STAFF) {
            person.row(&[
                self.id("person", number),
                text(&identity("person", number)),
                text("F"),
                self.admin(),
                MADE.to_owned(),
                text("1985-06-15"),
            ]);
            user(
                number + 1,
                &identity("users", number + 1),
                &format!("{number}-0"),
                username,
                number,
            );
            let local = self.id("person", number);
            names.push(vec![local.clone(), text(given), text(family), "1".into()]);
            providers.push(vec![local, text(username)]);
        }
        [
            person.statement(),
            users.statement(),
            self.rows(
                "person_name",
                "person_name_id",
                "person_id, given_name, family_name, preferred",
                &names,
            ),
            self.rows("provider", "provider_id", "person_id, identifier", &providers),
        ]
        .concat()
    }

    fn places(&self) -> String {
        let locations: Vec<_> = m::LOCATIONS
            .iter()
            .map(|(name, parent)| {
                let parent = parent.map(|number| self.id("location", number));
                vec![text(name), parent.unwrap_or_else(|| "NULL".to_owned()), text("Rwanda")]
            })
            .collect();
        let mut tagged = Insert::into("location_tag_map", "location_id, location_tag_id");
        for (place, tag) in m::TAGGED_LOCATIONS {
            tagged.row(&[self.id("location", *place), self.id("location_tag", *tag)]);
        }
        [
            self.rows("location", "location_id", "name, parent_location, country", &locations),
            self.names("location_tag", "location_tag_id", "name", m::LOCATION_TAGS),
            tagged.statement(),
        ]
        .concat()
    }

    fn kinds(&self) -> String {
        let attributes: Vec<_> = m::ATTRIBUTE_TYPES
            .iter()
            .map(|(name, format)| vec![text(name), text(format), "0".into()])
            .collect();
        let relationships: Vec<_> = m::RELATIONSHIP_TYPES
            .iter()
            .map(|(a, b)| vec![text(a), text(b), text("common")])
            .collect();
        let visit_attribute = vec![vec![
            text("Insurance"),
            text("org.openmrs.customdatatype.datatype.FreeTextDatatype"),
            "0".into(),
        ]];
        [
            self.names("encounter_type", "encounter_type_id", "name", m::ENCOUNTER_TYPES),
            self.names("encounter_role", "encounter_role_id", "name", &["Unknown", "Clinician"]),
            self.names("visit_type", "visit_type_id", "name", m::VISIT_TYPES),
            self.names(
                "patient_identifier_type",
                "patient_identifier_type_id",
                "name",
                m::IDENTIFIER_TYPES,
            ),
            self.rows(
                "person_attribute_type",
                "person_attribute_type_id",
                "name, format, searchable",
                &attributes,
            ),
            self.rows(
                "relationship_type",
                "relationship_type_id",
                "a_is_to_b, b_is_to_a, description",
                &relationships,
            ),
            self.names("provider_role", "provider_role_id", "name", &["Community health worker"]),
            self.rows(
                "visit_attribute_type",
                "visit_attribute_type_id",
                "name, datatype, min_occurs",
                &visit_attribute,
            ),
        ]
        .concat()
    }

    fn access(&self) -> String {
        let mut privilege = Insert::into("privilege", "privilege, description, uuid");
        for (number, name) in numbered(m::PRIVILEGES) {
            privilege.row(&[
                text(name),
                text("Able to do so"),
                text(&identity("privilege", number)),
            ]);
        }
        let mut role = Insert::into("role", "role, description, uuid");
        let mut granted = Insert::into("role_privilege", "role, privilege");
        for (number, name) in numbered(m::ROLES) {
            role.row(&[text(name), text("A role"), text(&identity("role", number))]);
            for (_, right) in numbered(m::PRIVILEGES).filter(|(at, _)| (at + number) % 3 == 0) {
                granted.row(&[text(name), text(right)]);
            }
        }
        let mut inherited = Insert::into("role_role", "parent_role, child_role");
        for (parent, child) in m::ROLE_ROLES {
            inherited.row(&[text(parent), text(child)]);
        }
        let mut holders = Insert::into("user_role", "user_id, role");
        holders.row(&[self.admin(), text("System Developer")]);
        for number in (3..).take(m::STAFF.len()) {
            holders.row(&[self.id("users", number), text("Clinician")]);
        }
        let mut wishes = Insert::into("user_property", "user_id, property, property_value");
        wishes.row(&[self.id("users", 3), text("defaultLocale"), text("fr")]);
        let mut settings = Insert::into("global_property", "property, property_value, uuid");
        for (number, (property, value)) in numbered(m::GLOBAL_PROPERTIES) {
            settings.row(&[
                text(property),
                text(value),
                text(&identity("global_property", number)),
            ]);
        }
        [privilege, role, granted, inherited, holders, wishes, settings]
            .iter()
            .map(Insert::statement)
            .collect()
    }

    fn orders(&self) -> String {
        let types: Vec<_> =
            m::ORDER_TYPES.iter().map(|(name, class)| vec![text(name), text(class)]).collect();
        let settings: Vec<_> = [("Outpatient", "OUTPATIENT"), ("Inpatient", "INPATIENT")]
            .iter()
            .map(|(name, kind)| vec![text(name), text(kind)])
            .collect();
        let drugs: Vec<_> = m::DRUGS
            .iter()
            .map(|(name, substance, strength)| {
                vec![text(name), self.concept(*substance), self.concept(1513), text(strength)]
            })
            .collect();
        let frequencies: Vec<_> = [(160_862, "1"), (160_858, "2")]
            .iter()
            .map(|(concept, daily)| vec![self.concept(*concept), (*daily).to_owned()])
            .collect();
        let mut classes = Insert::into("order_type_class_map", "order_type_id, concept_class_id");
        classes.row(&[self.id("order_type", 1), self.id("concept_class", 6)]);
        classes.row(&[self.id("order_type", 2), self.id("concept_class", 1)]);
        let mut ingredients =
            Insert::into("drug_ingredient", "drug_id, ingredient_id, uuid, strength");
        ingredients.row(&[
            self.id("drug", 3),
            self.concept(105_281),
            text(&identity("drug_ingredient", 1)),
            "0.48".into(),
        ]);
        [
            self.rows("order_type", "order_type_id", "name, java_class_name", &types),
            self.rows("care_setting", "care_setting_id", "name, care_setting_type", &settings),
            self.rows("drug", "drug_id", "name, concept_id, dosage_form, strength", &drugs),
            self.rows(
                "order_frequency",
                "order_frequency_id",
                "concept_id, frequency_per_day",
                &frequencies,
            ),
            classes.statement(),
            ingredients.statement(),
        ]
        .concat()
    }

    fn programs(&self) -> String {
        let programs = vec![
            vec![self.concept(160_541), text("Tuberculosis"), self.concept(1590)],
            vec![self.concept(160_631), text("HIV"), self.concept(159_492)],
        ];
        let workflows: Vec<_> =
            (1..=2).map(|number| vec![self.id("program", number), self.concept(163_059)]).collect();
        let mut states = Vec::new();
        for workflow in 1..=2 {
            for (concept, initial) in [(1256, "1"), (1260, "0")] {
                states.push(vec![
                    self.id("program_workflow", workflow),
                    self.concept(concept),
                    initial.to_owned(),
                ]);
            }
        }
        [
            self.rows("program", "program_id", "concept_id, name, outcomes_concept_id", &programs),
            self.rows(
                "program_workflow",
                "program_workflow_id",
                "program_id, concept_id",
                &workflows,
            ),
            self.rows(
                "program_workflow_state",
                "program_workflow_state_id",
                "program_workflow_id, concept_id, initial",
                &states,
            ),
        ]
        .concat()
    }

    fn forms(&self) -> String {
        let forms: Vec<_> = numbered(&["Vitals", "Consultation", "Laboratory"])
            .map(|(number, name)| {
                vec![text(name), text("1.0"), "1".into(), self.id("encounter_type", number + 1)]
            })
            .collect();
        let fields = vec![
            vec![text("WEIGHT"), self.id("field_type", 1), self.concept(5089)],
            vec![text("SECTION"), self.id("field_type", 2), text_null()],
        ];
        let placed = vec![
            vec![self.id("form", 1), self.id("field", 2), text_null()],
            vec![self.id("form", 1), self.id("field", 1), self.id("form_field", 1)],
        ];
        [
            self.rows("form", "form_id", "name, version, published, encounter_type", &forms),
            self.names("field_type", "field_type_id", "name", &["Concept", "Section"]),
            self.rows("field", "field_id", "name, field_type, concept_id", &fields),
            self.rows(
                "form_field",
                "form_field_id",
                "form_id, field_id, parent_form_field",
                &placed,
            ),
        ]
        .concat()
    }
}

fn text_null() -> String {
    text_or_null(None)
}
