//! Another style: camel case in quotes, composite and natural keys, uuids. Written, and
//! judged, before the rules had seen it.

use crate::place::Place;
use crate::truth::{Planted, compare};

const PLANTED: &[Planted] = &[
    (
        "missing-foreign-key",
        r#"public."Ward"."hospitalCode" public."Hospital"."hospitalCode""#,
    ),
    (
        "missing-foreign-key",
        r#"public."Bed"."hospitalCode" public."Bed"."wardCode" public."Ward"."wardCode""#,
    ),
    (
        "missing-foreign-key",
        r#"public."Admission"."patientNo" public."Patient"."patientNo""#,
    ),
    (
        "missing-foreign-key",
        r#"public."Admission"."hospitalCode" public."Admission"."wardCode" public."Ward"."wardCode""#,
    ),
    (
        "missing-foreign-key",
        r#"public."Treatment"."admissionRef" public."Admission"."admissionId""#,
    ),
    (
        "missing-foreign-key",
        r#"public."Treatment"."leadDoctor" public."Doctor"."doctorId""#,
    ),
    // Its name says nothing: the values alone do.
    (
        "missing-foreign-key",
        r#"public."Treatment"."signedOff" public."Doctor"."doctorId""#,
    ),
    (
        "missing-foreign-key",
        r#"public."LabResult"."patientNo" public."Patient"."patientNo""#,
    ),
    (
        "missing-foreign-key",
        r#"public."Prescription"."admissionRef" public."Admission"."admissionId""#,
    ),
    (
        "missing-foreign-key",
        r#"public."Prescription"."drugCode" public."Drug"."drugCode""#,
    ),
    (
        "reference-type-mismatch",
        r#"public."LabResult"."patientNo""#,
    ),
    ("time-as-number", r#"public."Admission"."admittedTs""#),
    ("time-as-number", r#"public."Admission"."dischargedTs""#),
    ("json-array", r#"public."LabResult".values"#),
    ("list-in-text", r#"public."Admission"."diagnosisList""#),
    (
        "functional-dependency",
        r#"public."Doctor"."specialtyCode" public."Doctor"."specialtyText""#,
    ),
    (
        "functional-dependency",
        r#"public."Prescription"."drugCode" public."Prescription"."drugLabel""#,
    ),
    (
        "repeating-group",
        r#"public."Patient"."contact1Name" public."Patient"."contact2Phone""#,
    ),
    ("float-for-money", r#"public."Invoice"."amountDue""#),
    (
        "foreign-key-without-index",
        r#"public."Invoice"."patientNo""#,
    ),
    ("polymorphic-reference", r#"public."Message"."entityId""#),
];

#[test]
fn a_schema_of_another_style_is_judged_as_well() {
    let place = Place::open("clinic");
    place.load(include_str!("clinic.sql"));
    place.settle();
    let audit = place.audit();
    assert!(audit.unread.is_empty(), "{:?}", audit.unread);
    let wrong = compare("clinic", &audit, PLANTED);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
