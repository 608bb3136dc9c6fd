//! The part of the common metadata that is a dictionary: concepts, their names, answers and codes.

use super::metadata as m;
use super::seed::{MADE, Seed, concept_uuid, numbered};
use crate::sql::{Insert, text};

impl Seed {
    pub(super) fn concepts(&self) -> String {
        let mut concept = Insert::into(
            "concept",
            "concept_id, uuid, creator, date_created, datatype_id, class_id, is_set",
        );
        let mut numeric = Insert::into(
            "concept_numeric",
            "concept_id, hi_absolute, low_absolute, hi_normal, units, allow_decimal",
        );
        let mut complex = Insert::into("concept_complex", "concept_id, handler");
        let mut names = Vec::new();
        for (number, &(ciel, name, datatype, class)) in numbered(m::CONCEPTS) {
            let id = self.id("concept", number);
            let kind = numbered(m::DATATYPES).find(|(_, row)| row.0 == datatype);
            let sort = numbered(m::CLASSES).find(|(_, row)| **row == class);
            concept.row(&[
                id.clone(),
                text(&concept_uuid(ciel)),
                self.admin(),
                MADE.to_owned(),
                self.id("concept_datatype", kind.map_or(4, |(number, _)| number)),
                self.id("concept_class", sort.map_or(4, |(number, _)| number)),
                u32::from(class == "ConvSet").to_string(),
            ]);
            match datatype {
                "Numeric" => numeric.row(&[
                    id.clone(),
                    "650.5".into(),
                    "0".into(),
                    (f64::from(number) * 10.1).to_string(),
                    text("unit/µL"),
                    "1".into(),
                ]),
                "Complex" => complex.row(&[id.clone(), text("ImageHandler")]),
                _ => {}
            }
            let kind = || text("FULLY_SPECIFIED");
            names.push(vec![id.clone(), text(name), text("en"), "1".into(), kind()]);
            names.push(vec![id, text(&format!("{name} (fr)")), text("fr"), "1".into(), kind()]);
        }
        let datatypes: Vec<_> =
            m::DATATYPES.iter().map(|(name, hl7)| vec![text(name), text(hl7)]).collect();
        [
            self.names("concept_class", "concept_class_id", "name", m::CLASSES),
            self.rows(
                "concept_datatype",
                "concept_datatype_id",
                "name, hl7_abbreviation",
                &datatypes,
            ),
            concept.statement(),
            numeric.statement(),
            complex.statement(),
            self.rows(
                "concept_name",
                "concept_name_id",
                "concept_id, name, locale, locale_preferred, concept_name_type",
                &names,
            ),
        ]
        .concat()
    }

    pub(super) fn concept_details(&self) -> String {
        let answers: Vec<_> =
            [(1284, 116_128), (1284, 112_141), (32, 703), (32, 664), (1728, 140_238)]
                .iter()
                .map(|(question, answer)| vec![self.concept(*question), self.concept(*answer)])
                .collect();
        let members: Vec<_> = [5085, 5086, 5087, 5088, 5242]
            .iter()
            .map(|member| vec![self.concept(*member), self.concept(1114)])
            .collect();
        let mut tagged =
            Insert::into("concept_name_tag_map", "concept_name_id, concept_name_tag_id");
        for (name, tag) in [(1, 1), (3, 1), (5, 2)] {
            tagged.row(&[self.id("concept_name", name), self.id("concept_name_tag", tag)]);
        }
        let described = vec![vec![self.concept(5088), text("Taken under the arm."), text("en")]];
        [
            self.rows(
                "concept_answer",
                "concept_answer_id",
                "concept_id, answer_concept",
                &answers,
            ),
            self.rows("concept_set", "concept_set_id", "concept_id, concept_set", &members),
            self.names("concept_name_tag", "concept_name_tag_id", "tag", &["default", "short"]),
            tagged.statement(),
            self.rows(
                "concept_description",
                "concept_description_id",
                "concept_id, description, locale",
                &described,
            ),
        ]
        .concat()
    }

    pub(super) fn dictionaries(&self) -> String {
        let source = vec![vec![text("CIEL"), text("Columbia International eHealth Laboratory")]];
        let terms: Vec<_> = ["5088", "116128"]
            .iter()
            .map(|code| vec![self.id("concept_reference_source", 1), text(code)])
            .collect();
        let maps = vec![
            vec![
                self.id("concept_reference_term", 1),
                self.id("concept_map_type", 1),
                self.concept(5088),
            ],
            vec![
                self.id("concept_reference_term", 2),
                self.id("concept_map_type", 2),
                self.concept(116_128),
            ],
        ];
        [
            self.rows(
                "concept_reference_source",
                "concept_source_id",
                "name, description",
                &source,
            ),
            self.rows(
                "concept_reference_term",
                "concept_reference_term_id",
                "concept_source_id, code",
                &terms,
            ),
            self.names(
                "concept_map_type",
                "concept_map_type_id",
                "name",
                &["SAME-AS", "NARROWER-THAN"],
            ),
            self.rows(
                "concept_reference_map",
                "concept_map_id",
                "concept_reference_term_id, concept_map_type_id, concept_id",
                &maps,
            ),
        ]
        .concat()
    }
}
