use super::*;
use crate::wal::pgoutput::Commit;

const ROWS: u32 = 1;
const LOOKUP: u32 = 2;
const STAYED: u32 = 3;

/// Relations whose second column is the key (of the source, or of the lookup).
fn collector(covered: u64) -> Collector {
    let mut collector = Collector::new(Vec::new(), "crossfade_test".to_owned(), Lsn(covered));
    for (oid, role) in [
        (ROWS, Role::Rows),
        (LOOKUP, Role::Lookup(0)),
        (STAYED, Role::Stayed),
    ] {
        let concern = Concern {
            source: 0,
            role,
            at: vec![1],
        };
        collector.relations.insert(oid, vec![concern]);
    }
    collector
}

fn tuple(key: &str) -> Tuple {
    vec![Cell::Null, cell(key)]
}

fn cell(text: &str) -> Cell {
    Cell::Text(Text::copy_from_slice(text.as_bytes()))
}

fn begin(at: u64) -> Message {
    Message::Begin(Begin {
        final_lsn: Lsn(at),
        commit_time: 0,
        xid: u32::try_from(at).unwrap(),
    })
}

fn commit(at: u64) -> Message {
    Message::Commit(Commit {
        lsn: Lsn(at),
        end_lsn: Lsn(at + 5),
        commit_time: 0,
    })
}

fn update(relation: u32, old: OldTuple, new: Tuple) -> Message {
    Message::Update { relation, old, new }
}

fn insert(relation: u32, key: &str) -> Message {
    Message::Insert {
        relation,
        new: tuple(key),
    }
}

fn delete(relation: u32, key: &str) -> Message {
    Message::Delete {
        relation,
        old: OldTuple::Key(tuple(key)),
    }
}

/// The keys that one transaction's changes touch.
fn touched(changes: Vec<Message>) -> Vec<String> {
    let mut collector = collector(0);
    collector.on(begin(100)).unwrap();
    for change in changes {
        collector.on(change).unwrap();
    }
    collector.on(commit(100)).unwrap();
    keys(&collector.take())
}

fn keys(batch: &Touched) -> Vec<String> {
    let mut keys: Vec<String> = batch
        .keys
        .values()
        .flat_map(HashMap::keys)
        .map(|key| String::from_utf8_lossy(&key[0]).into_owned())
        .collect();
    keys.sort();
    keys
}

#[test]
fn every_kind_of_change_of_a_row_touches_its_key() {
    assert_eq!(touched(vec![insert(ROWS, "1")]), ["1"]);
    assert_eq!(touched(vec![delete(ROWS, "1")]), ["1"]);
    let same = update(ROWS, OldTuple::None, tuple("1"));
    assert_eq!(touched(vec![same]), ["1"]);
    let full = update(ROWS, OldTuple::Full(tuple("1")), tuple("1"));
    assert_eq!(touched(vec![full]), ["1"]);
}

#[test]
fn a_row_that_moves_to_another_key_touches_both() {
    let moved = update(ROWS, OldTuple::Key(tuple("1")), tuple("2"));
    assert_eq!(touched(vec![moved]), ["1", "2"]);
}

#[test]
fn a_key_that_is_a_large_unsent_value_is_the_one_before() {
    let moved = update(
        ROWS,
        OldTuple::Key(tuple("1")),
        vec![Cell::Null, Cell::Unchanged],
    );
    assert_eq!(touched(vec![moved]), ["1"]);
}

#[test]
fn of_a_table_that_stays_only_new_rows_and_new_keys_count() {
    assert_eq!(touched(vec![insert(STAYED, "1")]), ["1"]);
    let other = update(STAYED, OldTuple::None, tuple("1"));
    assert!(touched(vec![other]).is_empty());
    let full = update(STAYED, OldTuple::Full(tuple("1")), tuple("1"));
    assert!(touched(vec![full]).is_empty());
    let moved = update(STAYED, OldTuple::Key(tuple("1")), tuple("2"));
    assert_eq!(touched(vec![moved]), ["1", "2"]);
    assert!(touched(vec![delete(STAYED, "1")]).is_empty());
}

#[test]
fn a_lookup_touches_no_key_by_itself() {
    let mut collector = collector(0);
    collector.on(begin(100)).unwrap();
    collector.on(insert(LOOKUP, "blue")).unwrap();
    collector.on(commit(100)).unwrap();
    let batch = collector.take();
    assert!(keys(&batch).is_empty());
    assert_eq!(batch.lookups[&(0, 0)].len(), 1);
    assert!(!batch.is_empty());
}

#[test]
fn the_newest_change_of_a_key_is_the_one_that_is_logged() {
    let mut collector = collector(0);
    for at in [100, 200] {
        collector.on(begin(at)).unwrap();
        collector.on(insert(ROWS, "1")).unwrap();
        collector.on(commit(at)).unwrap();
    }
    let batch = collector.take();
    let by = batch.keys[&0].values().next().unwrap();
    assert_eq!((by.xid, by.lsn), (200, Lsn(200)));
    assert_eq!(batch.xids, BTreeSet::from([100, 200]));
    assert_eq!((batch.transactions, batch.end.unwrap().lsn), (2, Lsn(205)));
}

#[test]
fn what_is_covered_and_what_crossfade_wrote_itself_is_skipped() {
    let mut collector = collector(150);
    collector.on(begin(100)).unwrap();
    collector.on(insert(ROWS, "1")).unwrap();
    collector.on(commit(100)).unwrap();
    assert!(collector.batch.end.is_none(), "below the checkpoint");
    collector.on(begin(150)).unwrap();
    collector
        .on(Message::Origin {
            lsn: Lsn(0),
            name: "crossfade_test".to_owned(),
        })
        .unwrap();
    collector.on(insert(ROWS, "2")).unwrap();
    collector.on(commit(150)).unwrap();
    let batch = collector.take();
    assert!(batch.is_empty());
    assert_eq!(batch.end.unwrap().lsn, Lsn(155), "and yet passed");
    collector.on(begin(200)).unwrap();
    collector
        .on(Message::Origin {
            lsn: Lsn(0),
            name: "somebody_else".to_owned(),
        })
        .unwrap();
    collector.on(insert(ROWS, "3")).unwrap();
    collector.on(commit(200)).unwrap();
    assert_eq!(keys(&collector.take()), ["3"]);
}

#[test]
fn a_truncate_touches_everything_but_what_stays() {
    let truncate = |relation| {
        let mut collector = collector(0);
        collector.on(begin(100)).unwrap();
        collector
            .on(Message::Truncate {
                relations: vec![relation],
                cascade: false,
                restart_identity: false,
            })
            .unwrap();
        let batch = collector.take();
        (batch.truncated.len(), batch.emptied.len())
    };
    assert_eq!((truncate(ROWS), truncate(STAYED)), ((1, 0), (0, 1)));
}

#[test]
fn messages_out_of_order_are_errors() {
    assert_eq!(
        collector(0).on(insert(ROWS, "1")).unwrap_err().kind,
        Kind::Protocol
    );
    let mut undescribed = collector(0);
    undescribed.on(begin(1)).unwrap();
    assert_eq!(
        undescribed.on(insert(99, "1")).unwrap_err().kind,
        Kind::Protocol
    );
    let mut no_key = collector(0);
    no_key.on(begin(1)).unwrap();
    let without = Message::Delete {
        relation: ROWS,
        old: OldTuple::None,
    };
    assert_eq!(no_key.on(without).unwrap_err().kind, Kind::Protocol);
}

#[test]
fn a_transaction_with_an_origin_has_no_commit_time() {
    let mut collector = Collector::new(Vec::new(), "crossfade_x".into(), Lsn(0));
    for (origin, known) in [
        (None, true),
        (Some("elsewhere"), false),
        (Some("crossfade_x"), false),
    ] {
        collector.on(begin(10)).unwrap();
        if let Some(name) = origin {
            let (lsn, name) = (Lsn(1), name.to_owned());
            collector.on(Message::Origin { lsn, name }).unwrap();
        }
        assert_eq!(collector.commit_time().is_some(), known, "{origin:?}");
        collector.on(commit(10)).unwrap();
        let end = collector.take().end.unwrap();
        assert_eq!(end.time.is_some(), known, "{origin:?}");
    }
}
