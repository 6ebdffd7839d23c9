//! Row images on their way to a target, and how they become parameters.

use bytes::Bytes;

use crate::error::{Error, Kind, Result};

/// A value as the server prints it; UTF-8 by the session's client encoding.
pub type Text = Bytes;

/// What a changed key's row is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    Gone,
    /// One value for each used column of the plan.
    Row(Vec<Option<Text>>),
}

/// One changed key with its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// One value a key column.
    pub key: Vec<Text>,
    pub image: Image,
}

/// A row that the targets refused, on its own.
#[derive(Debug)]
pub struct Rejected {
    pub key: Vec<String>,
    pub error: Error,
}

/// # Errors
/// [`Kind::Protocol`] for bytes that are not UTF-8, which the pinned client
/// encoding rules out.
pub fn text(value: &Text) -> Result<&str> {
    std::str::from_utf8(value)
        .map_err(|_| Error::new(Kind::Protocol, "the server sent a value that is not UTF-8"))
}

/// The key as strings, for the state tables.
///
/// # Errors
/// As [`text`].
pub fn key_strings(key: &[Text]) -> Result<Vec<String>> {
    key.iter().map(|v| text(v).map(str::to_owned)).collect()
}

/// One `text[]` a key column.
///
/// # Errors
/// As [`text`].
pub fn key_arrays<'a>(
    keys: impl Iterator<Item = &'a [Text]>,
    width: usize,
) -> Result<Vec<Vec<&'a str>>> {
    let mut arrays = vec![Vec::new(); width];
    for key in keys {
        for (array, value) in arrays.iter_mut().zip(key) {
            array.push(text(value)?);
        }
    }
    Ok(arrays)
}

/// One `text[]` a used column, of the rows that exist.
///
/// # Errors
/// As [`text`].
pub fn image_arrays<'a>(
    changes: impl Iterator<Item = &'a Change>,
    width: usize,
) -> Result<Vec<Vec<Option<&'a str>>>> {
    let mut arrays = vec![Vec::new(); width];
    for change in changes {
        let Image::Row(values) = &change.image else {
            continue;
        };
        for (array, value) in arrays.iter_mut().zip(values) {
            array.push(value.as_ref().map(text).transpose()?);
        }
    }
    Ok(arrays)
}
