//! What every OpenMRS of a country has in common: concepts, places, types, roles. The same identities
//! on each node, under ids of their own.

#![expect(clippy::unreadable_literal, reason = "the dictionary's numbers are names")]

/// A concept: its number in the CIEL dictionary, its name, and what kind of answer it takes.
pub(crate) type Concept = (u32, &'static str, &'static str, &'static str);

/// (CIEL number, name, datatype, class). The uuid of such a concept is its number padded with
/// the letter A to 36 characters, and no RFC 4122 uuid.
pub(crate) const CONCEPTS: &[Concept] = &[
    (5089, "Weight (kg)", "Numeric", "Finding"),
    (5090, "Height (cm)", "Numeric", "Finding"),
    (5088, "Temperature (C)", "Numeric", "Finding"),
    (5085, "Systolic blood pressure", "Numeric", "Finding"),
    (5086, "Diastolic blood pressure", "Numeric", "Finding"),
    (5087, "Pulse", "Numeric", "Finding"),
    (5242, "Respiratory rate", "Numeric", "Finding"),
    (5092, "Arterial blood oxygen saturation", "Numeric", "Finding"),
    (1343, "Mid-upper arm circumference", "Numeric", "Finding"),
    (887, "Serum glucose", "Numeric", "Test"),
    (654, "Alanine aminotransferase", "Numeric", "Test"),
    (790, "Serum creatinine", "Numeric", "Test"),
    (21, "Hemoglobin", "Numeric", "Test"),
    (5497, "CD4 count", "Numeric", "Test"),
    (856, "HIV viral load", "Numeric", "Test"),
    (1284, "Problem list", "Coded", "Question"),
    (1728, "Symptom present", "Coded", "Question"),
    (32, "Malaria smear", "Coded", "Test"),
    (1169, "HIV infection status", "Coded", "Question"),
    (1119, "General examination", "Coded", "Question"),
    (1282, "Medication orders", "Coded", "Question"),
    (162169, "Complaint, free text", "Text", "Misc"),
    (160632, "Clinician's notes", "Text", "Misc"),
    (161011, "Remarks", "Text", "Misc"),
    (5096, "Return visit date", "Datetime", "Question"),
    (1427, "Date of last menstrual period", "Date", "Question"),
    (162879, "Time of last meal", "Time", "Question"),
    (1114, "Vital signs", "N/A", "ConvSet"),
    (163080, "Diagnosis group", "N/A", "ConvSet"),
    (165235, "Wound photograph", "Complex", "Misc"),
    (1065, "Yes", "N/A", "Misc"),
    (1066, "No", "N/A", "Misc"),
    (1067, "Unknown", "N/A", "Misc"),
    (703, "Positive", "N/A", "Misc"),
    (664, "Negative", "N/A", "Misc"),
    (1115, "Normal", "N/A", "Misc"),
    (1116, "Abnormal", "N/A", "Misc"),
    (116128, "Malaria", "N/A", "Diagnosis"),
    (112141, "Tuberculosis", "N/A", "Diagnosis"),
    (117399, "Hypertension", "N/A", "Diagnosis"),
    (119481, "Diabetes mellitus", "N/A", "Diagnosis"),
    (138405, "HIV disease", "N/A", "Diagnosis"),
    (114100, "Pneumonia", "N/A", "Diagnosis"),
    (142412, "Diarrhea", "N/A", "Symptom"),
    (140238, "Fever", "N/A", "Symptom"),
    (143264, "Cough", "N/A", "Symptom"),
    (139084, "Headache", "N/A", "Symptom"),
    (70116, "Paracetamol", "N/A", "Drug"),
    (71160, "Amoxicillin", "N/A", "Drug"),
    (105281, "Sulfamethoxazole and trimethoprim", "N/A", "Drug"),
    (79651, "Metformin", "N/A", "Drug"),
    (161553, "Milligram", "N/A", "Units of Measure"),
    (1513, "Tablet", "N/A", "Units of Measure"),
    (1072, "Days", "N/A", "Units of Measure"),
    (160862, "Once daily", "N/A", "Frequency"),
    (160858, "Twice daily", "N/A", "Frequency"),
    (160240, "Oral", "N/A", "Misc"),
    (1498, "Mild", "N/A", "Misc"),
    (1500, "Severe", "N/A", "Misc"),
    (162298, "Penicillin drug class", "N/A", "Drug"),
    (162172, "Peanuts", "N/A", "Misc"),
    (512, "Rash", "N/A", "Symptom"),
    (162552, "Allergic reaction", "N/A", "ConvSet"),
    (160034, "Patient died", "N/A", "Misc"),
    (1590, "Treatment completed", "N/A", "Misc"),
    (159492, "Transferred out", "N/A", "Misc"),
    (1054, "Single", "N/A", "Misc"),
    (5555, "Married", "N/A", "Misc"),
    (159715, "Widowed", "N/A", "Misc"),
    (160541, "Tuberculosis program", "N/A", "Program"),
    (160631, "HIV program", "N/A", "Program"),
    (163059, "Treatment status", "N/A", "Workflow"),
    (1256, "On treatment", "N/A", "State"),
    (1260, "Stopped treatment", "N/A", "State"),
];

/// Names for concept classes, in order.
pub(crate) const CLASSES: &[&str] = &[
    "Test",
    "Diagnosis",
    "Finding",
    "Misc",
    "Question",
    "Drug",
    "Symptom",
    "ConvSet",
    "Units of Measure",
    "Frequency",
    "Program",
    "Workflow",
    "State",
];

/// Names for datatypes and their HL7 letters, in order.
pub(crate) const DATATYPES: &[(&str, &str)] = &[
    ("Numeric", "NM"),
    ("Coded", "CWE"),
    ("Text", "ST"),
    ("N/A", "ZZ"),
    ("Datetime", "TS"),
    ("Date", "DT"),
    ("Time", "TM"),
    ("Boolean", "BIT"),
    ("Complex", "ED"),
];

/// Places, and the number of the place each belongs to.
pub(crate) const LOCATIONS: &[(&str, Option<u32>)] = &[
    ("Unknown Location", None),
    ("District Hospital", None),
    ("Outpatient Clinic", Some(2)),
    ("Inpatient Ward", Some(2)),
    ("Isolation Ward", Some(4)),
    ("Laboratory", Some(2)),
    ("Pharmacy", Some(2)),
    ("Centre de Santé Rwinkwavu", None),
    ("Village Kirehe", Some(8)),
    ("Registration Desk", Some(3)),
];

/// Names of tags for places.
pub(crate) const LOCATION_TAGS: &[&str] =
    &["Login Location", "Visit Location", "Admission Location", "Transfer Location"];

/// (place, tag), by number.
pub(crate) const TAGGED_LOCATIONS: &[(u32, u32)] =
    &[(2, 2), (3, 1), (4, 1), (4, 3), (4, 4), (5, 4), (8, 2), (10, 1)];

/// Kinds of encounter.
pub(crate) const ENCOUNTER_TYPES: &[&str] = &[
    "Registration",
    "Vitals",
    "Consultation",
    "Laboratory",
    "Admission",
    "Discharge",
    "HIV visit",
    "Antenatal",
];

/// Kinds of visit.
pub(crate) const VISIT_TYPES: &[&str] = &["Facility Visit", "Home Visit", "Emergency"];

/// Rights, as OpenMRS names them.
pub(crate) const PRIVILEGES: &[&str] = &[
    "View Patients",
    "Add Patients",
    "Edit Patients",
    "View Encounters",
    "Add Encounters",
    "Edit Encounters",
    "View Observations",
    "Add Observations",
    "Edit Observations",
    "View Orders",
    "Add Orders",
    "Manage Locations",
];

/// Roles.
pub(crate) const ROLES: &[&str] =
    &["Anonymous", "Authenticated", "System Developer", "Provider", "Clinician", "Data Clerk"];

/// (parent, child): the parent has all that the child has.
pub(crate) const ROLE_ROLES: &[(&str, &str)] =
    &[("Provider", "Clinician"), ("Authenticated", "Data Clerk")];

/// Kinds of patient identifier.
pub(crate) const IDENTIFIER_TYPES: &[&str] =
    &["OpenMRS Identification Number", "Old Identification Number", "National ID", "ART Number"];

/// Name and format of each kind of person attribute. Where the format is a class of OpenMRS,
/// a value is the local id of a row, as text.
pub(crate) const ATTRIBUTE_TYPES: &[(&str, &str)] = &[
    ("Telephone Number", "java.lang.String"),
    ("Health Center", "org.openmrs.Location"),
    ("Civil Status", "org.openmrs.Concept"),
    ("Health District", "java.lang.String"),
    ("Test Patient", "java.lang.Boolean"),
    ("First Contact", "org.openmrs.util.AttributableDate"),
];

/// Relationships: what A is to B, what B is to A.
pub(crate) const RELATIONSHIP_TYPES: &[(&str, &str)] = &[
    ("Doctor", "Patient"),
    ("Sibling", "Sibling"),
    ("Parent", "Child"),
    ("Aunt/Uncle", "Niece/Nephew"),
];

/// People who work here, with their user names.
pub(crate) const STAFF: &[(&str, &str, &str)] = &[
    ("nurse", "Espérance", "Mukamana"),
    ("doctor", "Jean-Bosco", "Habimana"),
    ("clerk", "Aline", "Uwase"),
    ("lab", "Patrick", "Nshuti"),
    ("midwife", "Chantal", "Ingabire"),
];

/// Kinds of order and the class of each in OpenMRS.
pub(crate) const ORDER_TYPES: &[(&str, &str)] = &[
    ("Drug Order", "org.openmrs.DrugOrder"),
    ("Test Order", "org.openmrs.TestOrder"),
    ("Referral Order", "org.openmrs.ReferralOrder"),
];

/// Medicines: name, the CIEL number of the substance, strength.
pub(crate) const DRUGS: &[(&str, u32, &str)] = &[
    ("Paracetamol 500 mg tablet", 70116, "500mg"),
    ("Amoxicillin 250 mg capsule", 71160, "250mg"),
    ("Co-trimoxazole 480 mg tablet", 105281, "480mg"),
    ("Metformin 850 mg tablet", 79651, "850mg"),
];

/// Settings that are the same everywhere.
pub(crate) const GLOBAL_PROPERTIES: &[(&str, &str)] = &[
    ("locale.allowed.list", "en, fr, rw"),
    ("default_locale", "en"),
    ("layout.name.format", "short"),
    ("patient.identifierRegex", "^[0-9]{5,}$"),
];
