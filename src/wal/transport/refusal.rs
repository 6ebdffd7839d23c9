//! The server's errors on a replication connection.

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::ErrorResponseBody;

use crate::error::{Error, Kind, classify};

/// The error that the server sent: its message, code and hint; never the detail,
/// which quotes values.
pub fn read(body: &ErrorResponseBody) -> Error {
    let mut fields = body.fields();
    let (mut code, mut message, mut hint) = (String::new(), String::new(), None);
    while let Ok(Some(field)) = fields.next() {
        let value = || String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'C' => code = value(),
            b'M' => message = value(),
            b'H' => hint = Some(value()),
            _ => {}
        }
    }
    if code.starts_with("22") || code.starts_with("23") {
        message = "a value was refused".to_owned();
    }
    let error = Error::new(classify(&code), format!("{message} (SQLSTATE {code})"));
    Error {
        remedy: hint,
        sqlstate: Some(code),
        ..error
    }
}

/// Why a stream did not begin.
pub fn starting(slot: &str, mut error: Error) -> Error {
    error.kind = match error.sqlstate.as_deref() {
        // Undefined object; object not in prerequisite state (invalidated, or of
        // another database); WAL segment removed.
        Some("42704" | "55000" | "58P01" | "0A000") => Kind::Slot,
        _ => error.kind,
    };
    error.context(format!("cannot stream from the slot \"{slot}\""))
}

/// Why a stream ended.
pub fn streaming(mut error: Error) -> Error {
    match error.sqlstate.as_deref() {
        Some("42704") => {
            error.kind = Kind::Precondition;
            error.remedy = Some(
                "the publication must exist since before the slot was created: abort, then start the migration again".to_owned(),
            );
        }
        Some("55000" | "58P01") => error.kind = Kind::Slot,
        _ => {}
    }
    error.context("the stream of changes ended")
}
