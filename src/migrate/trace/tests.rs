//! What counts as a statement's own lock, without a server.

use super::*;
use crate::sql::split;

fn name(name: &str) -> Name {
    Name {
        schema: Some("public".to_owned()),
        name: name.to_owned(),
    }
}

fn relation(oid: u32, of: &str) -> Relation {
    Relation {
        oid,
        name: name(of),
        file: oid,
        index_of: None,
        parents: Vec::new(),
    }
}

fn held(oid: u32, mode: Mode, file: u32) -> Held {
    Held {
        oid,
        mode,
        now: Some((name("now"), file)),
    }
}

/// A trace that has seen these locks after one statement after the other.
fn trace(relations: &[Relation], steps: &[(&str, &[Lock], &[Held])]) -> Vec<Entry> {
    let mut trace = Trace::new(Direction::Up);
    trace.see(&Event::Begun { relations });
    for (text, foreseen, held) in steps {
        trace.see(&Event::Held {
            statement: &split(text)[0],
            foreseen,
            held,
        });
    }
    trace.finish()
}

#[test]
fn a_lock_belongs_to_the_statement_that_brought_it_and_a_stronger_one_is_new() {
    let t = [relation(1, "t")];
    let share = held(1, Mode::Share, 1);
    let exclusive = held(1, Mode::AccessExclusive, 1);
    let entries = trace(
        &t,
        &[
            ("select 1", &[], std::slice::from_ref(&share)),
            ("select 2", &[], std::slice::from_ref(&share)),
            ("select 3", &[], &[exclusive, share.clone()]),
        ],
    );
    let modes: Vec<_> = entries
        .iter()
        .map(|e| (e.statement.as_str(), e.tables[0].mode))
        .collect();
    assert_eq!(
        modes,
        [
            ("select 1", Some(Mode::Share)),
            ("select 3", Some(Mode::AccessExclusive))
        ]
    );
}

#[test]
fn what_was_not_there_before_the_file_is_left_out_even_in_later_steps() {
    let mut trace = Trace::new(Direction::Up);
    let made = [relation(1, "t"), relation(2, "made")];
    trace.see(&Event::Begun {
        relations: &made[..1],
    });
    let statement = &split("select 1")[0];
    for relations in [&made[..1], &made[..]] {
        trace.see(&Event::Begun { relations });
        trace.see(&Event::Held {
            statement,
            foreseen: &[],
            held: &[held(2, Mode::AccessExclusive, 9)],
        });
    }
    assert_eq!(trace.finish(), []);
}

#[test]
fn what_was_undone_is_forgotten() {
    let mut trace = Trace::new(Direction::Up);
    let relations = [relation(1, "t")];
    let statement = &split("select 1")[0];
    for _ in 0..2 {
        trace.see(&Event::Begun {
            relations: &relations,
        });
        trace.see(&Event::Held {
            statement,
            foreseen: &[],
            held: &[held(1, Mode::Share, 1)],
        });
        trace.see(&Event::Retry {
            attempt: 1,
            of: 2,
            pause: std::time::Duration::ZERO,
            seen: &crate::migrate::watch::Seen::default(),
        });
    }
    assert_eq!(trace.finish(), []);
}

#[test]
fn another_file_is_a_rewrite_unless_the_table_was_emptied() {
    let t = [relation(1, "t")];
    let other = [held(1, Mode::AccessExclusive, 7)];
    for (text, rewritten) in [
        ("alter table t alter column a type bigint", true),
        ("truncate t", false),
    ] {
        let entries = trace(&t, &[(text, &[], &other), (text, &[], &other)]);
        assert_eq!(entries.len(), 1, "{text}");
        assert_eq!(entries[0].tables[0].rewritten, rewritten, "{text}");
        assert_eq!(entries[0].tables[0].rewrite_was_foreseen(), !rewritten);
    }
}

#[test]
fn a_prediction_for_a_table_holds_for_its_parts_and_under_its_new_name() {
    let mut part = relation(2, "part");
    part.parents = vec![1];
    let relations = [relation(1, "whole"), part];
    let lock = |table: &str, mode| Lock {
        table: Name {
            schema: None,
            name: table.to_owned(),
        },
        mode,
        work: Work::Instant,
    };
    for (foreseen, fits) in [
        (lock("whole", Mode::AccessExclusive), true),
        (lock("now", Mode::AccessExclusive), true),
        (lock("whole", Mode::Share), false),
        (lock("other", Mode::AccessExclusive), false),
    ] {
        let foreseen = [foreseen];
        let exclusive = [held(2, Mode::AccessExclusive, 2)];
        let entries = trace(&relations, &[("select 1", &foreseen, &exclusive)]);
        let taken = &entries[0].tables[0];
        assert_eq!(taken.lock_was_foreseen(), fits, "{foreseen:?}");
    }
}

#[test]
fn an_index_counts_where_it_is_locked_more_than_its_table() {
    let mut index = relation(2, "i");
    index.index_of = Some(1);
    let relations = [relation(1, "t"), index];
    for (table, shown) in [
        (Mode::Share, Some(name("i"))),
        (Mode::AccessExclusive, None),
    ] {
        let locks = [held(1, table, 1), held(2, Mode::AccessExclusive, 3)];
        let entries = trace(&relations, &[("select 1", &[], &locks)]);
        let taken = &entries[0].tables[0];
        assert_eq!(
            (taken.mode, &taken.index),
            (Some(Mode::AccessExclusive), &shown)
        );
        assert!(!taken.rewritten);
    }
}
