use bytes::{BufMut, BytesMut};

use super::*;
use crate::error::Kind;

fn build(kind: u8, fill: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut buf = BytesMut::new();
    buf.put_u8(kind);
    fill(&mut buf);
    buf.freeze()
}

fn string(buf: &mut BytesMut, text: &str) {
    buf.put_slice(text.as_bytes());
    buf.put_u8(0);
}

fn cells(buf: &mut BytesMut, kind: u8, cells: &[Cell]) {
    buf.put_u8(kind);
    buf.put_u16(u16::try_from(cells.len()).unwrap());
    for cell in cells {
        let (kind, value) = match cell {
            Cell::Null => (b'n', None),
            Cell::Unchanged => (b'u', None),
            Cell::Text(value) => (b't', Some(value)),
            Cell::Binary(value) => (b'b', Some(value)),
        };
        buf.put_u8(kind);
        if let Some(value) = value {
            buf.put_u32(u32::try_from(value.len()).unwrap());
            buf.put_slice(value);
        }
    }
}

fn text(value: &'static str) -> Cell {
    Cell::Text(Bytes::from_static(value.as_bytes()))
}

/// Every kind of message: its bytes and what they mean.
fn samples() -> Vec<(Bytes, Message)> {
    let row = vec![
        text("1"),
        Cell::Null,
        Cell::Unchanged,
        text(""),
        Cell::Binary(Bytes::from_static(&[0, 255])),
    ];
    let key = vec![text("1"), Cell::Null];
    let mut all = transactions();
    all.extend(relations());
    all.push((
        build(b'I', |b| {
            b.put_u32(7);
            cells(b, b'N', &row);
        }),
        Message::Insert {
            relation: 7,
            new: row.clone(),
        },
    ));
    for (byte, old) in [
        (None, OldTuple::None),
        (Some(b'K'), OldTuple::Key(key.clone())),
        (Some(b'O'), OldTuple::Full(row.clone())),
    ] {
        let image = match &old {
            OldTuple::None => &[][..],
            OldTuple::Key(cells) | OldTuple::Full(cells) => cells,
        };
        let fill = |b: &mut BytesMut| {
            b.put_u32(7);
            if let Some(byte) = byte {
                cells(b, byte, image);
            }
        };
        all.push((
            build(b'U', |b| {
                fill(b);
                cells(b, b'N', &row);
            }),
            Message::Update {
                relation: 7,
                old: old.clone(),
                new: row.clone(),
            },
        ));
        if byte.is_some() {
            all.push((build(b'D', fill), Message::Delete { relation: 7, old }));
        }
    }
    all
}

fn transactions() -> Vec<(Bytes, Message)> {
    let logical = |transactional: bool| {
        let bytes = build(b'M', |b| {
            b.put_u8(u8::from(transactional));
            b.put_u64(9);
            string(b, "crossfade");
            b.put_u32(3);
            b.put_slice(b"a\0b");
        });
        let message = Message::Logical(Logical {
            transactional,
            lsn: Lsn(9),
            prefix: "crossfade".into(),
            content: Bytes::from_static(b"a\0b"),
        });
        (bytes, message)
    };
    vec![
        (
            build(b'B', |b| {
                b.put_u64(0x1_0000_0002);
                b.put_i64(-3);
                b.put_u32(0xFFFF_FFFF);
            }),
            Message::Begin(Begin {
                final_lsn: Lsn(0x1_0000_0002),
                commit_time: -3,
                xid: 0xFFFF_FFFF,
            }),
        ),
        (
            build(b'C', |b| {
                b.put_u8(0);
                b.put_u64(5);
                b.put_u64(6);
                b.put_i64(7);
            }),
            Message::Commit(Commit {
                lsn: Lsn(5),
                end_lsn: Lsn(6),
                commit_time: 7,
            }),
        ),
        (
            build(b'O', |b| {
                b.put_u64(8);
                string(b, "elsewhere");
            }),
            Message::Origin {
                lsn: Lsn(8),
                name: "elsewhere".into(),
            },
        ),
        logical(true),
        logical(false),
    ]
}

fn relations() -> Vec<(Bytes, Message)> {
    let column = |key, name: &str, type_oid, typmod| Column {
        key,
        name: name.into(),
        type_oid,
        typmod,
    };
    vec![
        (
            build(b'R', |b| {
                b.put_u32(7);
                string(b, "shöp");
                string(b, "orders");
                b.put_u8(b'd');
                b.put_u16(2);
                b.put_u8(1);
                string(b, "id");
                b.put_u32(20);
                b.put_i32(-1);
                b.put_u8(0);
                string(b, "total");
                b.put_u32(1700);
                b.put_i32(655_366);
            }),
            Message::Relation(Relation {
                oid: 7,
                schema: "shöp".into(),
                name: "orders".into(),
                identity: ReplicaIdentity::Default,
                columns: vec![
                    column(true, "id", 20, -1),
                    column(false, "total", 1700, 655_366),
                ],
            }),
        ),
        (
            build(b'Y', |b| {
                b.put_u32(9);
                string(b, "");
                string(b, "mood");
            }),
            Message::Type {
                oid: 9,
                schema: "pg_catalog".into(),
                name: "mood".into(),
            },
        ),
        (
            build(b'T', |b| {
                b.put_u32(2);
                b.put_u8(3);
                b.put_u32(7);
                b.put_u32(8);
            }),
            Message::Truncate {
                relations: vec![7, 8],
                cascade: true,
                restart_identity: true,
            },
        ),
    ]
}

fn refused(bytes: Bytes) -> String {
    let error = decode(bytes).unwrap_err();
    assert_eq!(error.kind, Kind::Protocol);
    error.message
}

#[test]
fn every_message_means_what_the_manual_says() {
    for (bytes, message) in samples() {
        assert_eq!(decode(bytes).unwrap(), message);
    }
}

#[test]
fn values_are_slices_of_the_buffer_that_arrived() {
    let bytes = build(b'I', |b| {
        b.put_u32(7);
        cells(b, b'N', &[text("abc")]);
    });
    let range = bytes.as_ptr_range();
    let Message::Insert { new, .. } = decode(bytes.clone()).unwrap() else {
        panic!("not an insert");
    };
    let Cell::Text(value) = &new[0] else {
        panic!("not text");
    };
    assert!(range.contains(&value.as_ptr()));
}

#[test]
fn a_message_cut_anywhere_or_with_bytes_after_it_is_refused_by_name() {
    for (bytes, message) in samples() {
        for end in 1..bytes.len() {
            let error = refused(bytes.slice(..end));
            assert!(error.contains(message.name()), "{error}");
        }
        let mut longer = BytesMut::from(&bytes[..]);
        longer.put_u8(0);
        assert!(refused(longer.freeze()).contains("bytes follow its end"));
    }
    assert!(refused(Bytes::new()).contains("empty"));
}

#[test]
fn counts_that_the_message_cannot_fill_allocate_nothing() {
    let bytes = build(b'T', |b| {
        b.put_u32(u32::MAX);
        b.put_u8(0);
    });
    assert!(refused(bytes).contains("Truncate"));
    let bytes = build(b'I', |b| {
        b.put_u32(7);
        b.put_u8(b'N');
        b.put_u16(1);
        b.put_u8(b't');
        b.put_i32(-1);
    });
    assert!(refused(bytes).contains("negative"));
}

#[test]
fn names_must_be_utf8() {
    let bytes = build(b'O', |b| {
        b.put_u64(8);
        b.put_slice(&[0xFF, 0]);
    });
    assert!(refused(bytes).contains("UTF-8"));
}

#[test]
fn random_bytes_never_panic() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..300_000 {
        let mut bytes: Vec<u8> = (0..random.usize(1..60)).map(|_| random.u8(..)).collect();
        bytes[0] = *random.choice(b"BCORYIUDTMx").unwrap();
        let _ = decode(bytes.into());
    }
}

#[test]
fn mutated_messages_are_decoded_or_refused_but_never_panic() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let samples = samples();
    let mut refusals = 0;
    for _ in 0..300_000 {
        let (bytes, _) = random.choice(&samples).unwrap();
        let mut bytes = bytes.to_vec();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        refusals += usize::from(decode(bytes.into()).is_err());
    }
    assert!(refusals > 0);
}
