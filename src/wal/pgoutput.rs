//! The messages of pgoutput, logical replication protocol version 1, as the
//! manual's chapter "Logical Replication Message Formats" lays them out.
//!
//! Pure and zero-copy: values stay slices of the buffer they arrived in. No
//! bytes make it panic, and nothing is allocated from a length or a count that
//! the message is not long enough to fill.

mod cursor;

use bytes::Bytes;

use crate::error::Result;
use crate::pg::Lsn;
use cursor::Cursor;

/// One message. Times are microseconds since 2000-01-01 UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Begin(Begin),
    Commit(Commit),
    /// The transaction that follows was first written on another server.
    Origin {
        /// Its commit's position there.
        lsn: Lsn,
        name: String,
    },
    Relation(Relation),
    /// A type that is not built in, sent before the relation that uses it.
    Type {
        oid: u32,
        schema: String,
        name: String,
    },
    Insert {
        relation: u32,
        new: Tuple,
    },
    Update {
        relation: u32,
        old: OldTuple,
        new: Tuple,
    },
    /// `old` is never [`OldTuple::None`].
    Delete {
        relation: u32,
        old: OldTuple,
    },
    Truncate {
        relations: Vec<u32>,
        cascade: bool,
        restart_identity: bool,
    },
    /// Written by `pg_logical_emit_message`.
    Logical(Logical),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begin {
    /// Equal to the matching [`Commit::lsn`].
    pub final_lsn: Lsn,
    pub commit_time: i64,
    /// The top-level transaction, 32 bits wide.
    pub xid: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    pub lsn: Lsn,
    /// Where the next transaction's commit can begin: what a checkpoint holds.
    pub end_lsn: Lsn,
    pub commit_time: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logical {
    /// False: it comes outside of Begin and Commit, even if its transaction
    /// rolls back.
    pub transactional: bool,
    pub lsn: Lsn,
    pub prefix: String,
    pub content: Bytes,
}

/// A table as the following changes describe it. Sent again after DDL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    pub oid: u32,
    pub schema: String,
    pub name: String,
    pub identity: ReplicaIdentity,
    /// Published columns only: generated ones are absent.
    pub columns: Vec<Column>,
}

/// Which columns of the old row an UPDATE or DELETE sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaIdentity {
    /// The primary key, if there is one.
    Default,
    Nothing,
    Full,
    Index,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Part of the replica identity. With [`ReplicaIdentity::Full`], every column is.
    pub key: bool,
    pub name: String,
    pub type_oid: u32,
    /// The type modifier; -1 if there is none.
    pub typmod: i32,
}

/// One cell per column of the relation, in its order.
pub type Tuple = Vec<Cell>;

/// The old row's image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OldTuple {
    /// The replica identity did not change.
    None,
    /// Full width; columns outside of the replica identity are NULL.
    Key(Tuple),
    Full(Tuple),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    Null,
    /// A large value that the UPDATE left alone: it was not sent.
    Unchanged,
    Text(Bytes),
    Binary(Bytes),
}

impl Message {
    /// The message's name in the manual.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Begin(_) => "Begin",
            Self::Commit(_) => "Commit",
            Self::Origin { .. } => "Origin",
            Self::Relation(_) => "Relation",
            Self::Type { .. } => "Type",
            Self::Insert { .. } => "Insert",
            Self::Update { .. } => "Update",
            Self::Delete { .. } => "Delete",
            Self::Truncate { .. } => "Truncate",
            Self::Logical(_) => "Message",
        }
    }

    /// Number of cells, old and new.
    #[must_use]
    pub fn cells(&self) -> usize {
        let old = |tuple: &OldTuple| match tuple {
            OldTuple::None => 0,
            OldTuple::Key(cells) | OldTuple::Full(cells) => cells.len(),
        };
        match self {
            Self::Insert { new, .. } => new.len(),
            Self::Update { old: o, new, .. } => old(o) + new.len(),
            Self::Delete { old: o, .. } => old(o),
            _ => 0,
        }
    }
}

/// Decodes one message; `bytes` must hold exactly one.
///
/// # Errors
/// [`crate::error::Kind::Protocol`], naming the message and the byte, when the
/// bytes are not one well-formed message of protocol version 1.
pub fn decode(bytes: Bytes) -> Result<Message> {
    let mut at = Cursor::new(bytes)?;
    let message = match at.kind() {
        b'B' => Message::Begin(Begin {
            final_lsn: at.lsn("final_lsn")?,
            commit_time: at.i64("commit time")?,
            xid: at.u32("xid")?,
        }),
        b'C' => commit(&mut at)?,
        b'O' => Message::Origin {
            lsn: at.lsn("lsn")?,
            name: at.string("name")?,
        },
        b'R' => Message::Relation(relation(&mut at)?),
        b'Y' => Message::Type {
            oid: at.u32("oid")?,
            schema: namespace(&mut at)?,
            name: at.string("name")?,
        },
        b'I' => {
            let relation = at.u32("relation")?;
            match at.u8("tuple kind")? {
                b'N' => {}
                other => return Err(at.unexpected("tuple kind", other)),
            }
            Message::Insert {
                relation,
                new: tuple(&mut at)?,
            }
        }
        b'U' => update(&mut at)?,
        b'D' => delete(&mut at)?,
        b'T' => truncate(&mut at)?,
        b'M' => logical(&mut at)?,
        other => return Err(at.unexpected("message kind", other)),
    };
    at.finish()?;
    Ok(message)
}

fn commit(at: &mut Cursor) -> Result<Message> {
    match at.u8("flags")? {
        0 => {}
        other => return Err(at.unexpected("flags", other)),
    }
    Ok(Message::Commit(Commit {
        lsn: at.lsn("lsn")?,
        end_lsn: at.lsn("end_lsn")?,
        commit_time: at.i64("commit time")?,
    }))
}

/// The empty string stands for `pg_catalog`.
fn namespace(at: &mut Cursor) -> Result<String> {
    let name = at.string("schema")?;
    Ok(if name.is_empty() {
        "pg_catalog".to_owned()
    } else {
        name
    })
}

fn relation(at: &mut Cursor) -> Result<Relation> {
    let oid = at.u32("oid")?;
    let schema = namespace(at)?;
    let name = at.string("name")?;
    let identity = match at.u8("replica identity")? {
        b'd' => ReplicaIdentity::Default,
        b'n' => ReplicaIdentity::Nothing,
        b'f' => ReplicaIdentity::Full,
        b'i' => ReplicaIdentity::Index,
        other => return Err(at.unexpected("replica identity", other)),
    };
    let count = usize::from(at.u16("number of columns")?);
    // A column takes ten bytes at least.
    let mut columns = Vec::with_capacity(count.min(at.remaining() / 10));
    for _ in 0..count {
        let key = match at.u8("column flags")? {
            0 => false,
            1 => true,
            other => return Err(at.unexpected("column flags", other)),
        };
        columns.push(Column {
            key,
            name: at.string("column name")?,
            type_oid: at.u32("column type")?,
            typmod: at.i32("column type modifier")?,
        });
    }
    Ok(Relation {
        oid,
        schema,
        name,
        identity,
        columns,
    })
}

fn update(at: &mut Cursor) -> Result<Message> {
    let relation = at.u32("relation")?;
    let old = match at.u8("tuple kind")? {
        b'N' => {
            return Ok(Message::Update {
                relation,
                old: OldTuple::None,
                new: tuple(at)?,
            });
        }
        b'K' => OldTuple::Key(tuple(at)?),
        b'O' => OldTuple::Full(tuple(at)?),
        other => return Err(at.unexpected("tuple kind", other)),
    };
    match at.u8("new tuple kind")? {
        b'N' => {}
        other => return Err(at.unexpected("new tuple kind", other)),
    }
    Ok(Message::Update {
        relation,
        old,
        new: tuple(at)?,
    })
}

fn delete(at: &mut Cursor) -> Result<Message> {
    let relation = at.u32("relation")?;
    let old = match at.u8("tuple kind")? {
        b'K' => OldTuple::Key(tuple(at)?),
        b'O' => OldTuple::Full(tuple(at)?),
        other => return Err(at.unexpected("tuple kind", other)),
    };
    Ok(Message::Delete { relation, old })
}

fn tuple(at: &mut Cursor) -> Result<Tuple> {
    let count = usize::from(at.u16("number of cells")?);
    // A cell takes one byte at least.
    let mut cells = Vec::with_capacity(count.min(at.remaining()));
    for _ in 0..count {
        cells.push(match at.u8("cell kind")? {
            b'n' => Cell::Null,
            b'u' => Cell::Unchanged,
            b't' => Cell::Text(at.counted("cell")?),
            b'b' => Cell::Binary(at.counted("cell")?),
            other => return Err(at.unexpected("cell kind", other)),
        });
    }
    Ok(cells)
}

fn truncate(at: &mut Cursor) -> Result<Message> {
    let count = at.u32("number of relations")? as usize;
    let options = at.u8("options")?;
    if options > 3 {
        return Err(at.unexpected("options", options));
    }
    // Four bytes each.
    let mut relations = Vec::with_capacity(count.min(at.remaining() / 4));
    for _ in 0..count {
        relations.push(at.u32("relation")?);
    }
    Ok(Message::Truncate {
        relations,
        cascade: options & 1 != 0,
        restart_identity: options & 2 != 0,
    })
}

fn logical(at: &mut Cursor) -> Result<Message> {
    let transactional = match at.u8("flags")? {
        0 => false,
        1 => true,
        other => return Err(at.unexpected("flags", other)),
    };
    Ok(Message::Logical(Logical {
        transactional,
        lsn: at.lsn("lsn")?,
        prefix: at.string("prefix")?,
        content: at.counted("content")?,
    }))
}

#[cfg(test)]
mod tests;
