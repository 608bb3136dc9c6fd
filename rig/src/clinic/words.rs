//! What people at the clinic write: names with accents and in other scripts, remarks with signs
//! outside the basic plane.

pub(super) const GIVEN: &[&str] = &[
    "Espérance",
    "Jean-Bosco",
    "Aline",
    "Zoë",
    "José",
    "Ngozi",
    "Thérèse",
    "Mwangi",
    "李",
    "Ольга",
    "Amina",
    "Kwame",
    "Grace",
    "Innocent",
    "Chantal",
    "Emmanuel",
    "فاطمة",
    "Sæunn",
];

pub(super) const FAMILY: &[&str] = &[
    "Mukamana",
    "Habimana",
    "Uwase",
    "Nshuti",
    "Ingabire",
    "O'Brien",
    "Müller",
    "Okafor",
    "Nguyễn",
    "de la Cruz",
    "Kamau",
    "Wanjirũ",
    "Nyirahabimana",
    "Mensah",
];

pub(super) const VILLAGES: &[&str] =
    &["Rwinkwavu", "Kirehe", "Kayonza", "Butaro", "Cyanika", "Ruhengeri", "Gisenyi"];

pub(super) const REMARKS: &[&str] = &[
    "Patient feels better today",
    "Fièvre depuis trois jours, toux sèche",
    "Came by bus 🚌, very tired 😴",
    "Mother reports \"no appetite\"; see last visit",
    "Pain at 7/10 \\ left side",
    "Ntabwo arya neza",
    "Blood pressure ↑, repeat in 2 weeks",
    "🤒🤧 flu season",
    "Refuses injection; tablets 💊 given",
    "Line one\nline two\r\nline three\ttabbed",
    "👩🏾‍⚕️ counselled on adherence",
    "100% of doses taken — well done",
];

pub(super) const REASONS: &[&str] =
    &["Entered for the wrong patient", "Typing error", "Duplicate", "Faute de frappe é"];
