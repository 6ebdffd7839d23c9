//! Where advice has an end: values too wide for an index, names too long for the server,
//! indexes that others made superfluous, tables that take long to copy, plans for any values.

use std::time::{Duration, Instant};

use crossfade::explain::advise;
use crossfade::explain::candidate::{self, Candidate};
use crossfade::explain::experiment::{Change, Experiment, Search, Step};
use crossfade::explain::laboratory::{Laboratory, Wanted};
use crossfade::explain::run::Equality;
use crossfade::pg::{ConnInfo, QualifiedName, connect};

use crate::world::{EFFORT, World};

/// Bodies that compress to nothing, so that an index of them can be built today.
const DOCUMENTS: &str = "
create table documents (id int primary key, slug text not null, body text not null, kind varchar(20) not null);
insert into documents select g, repeat('s', 1500) || g, repeat('x', 3000) || g, 'kind ' || g % 900 from generate_series(1, 9000) g;
vacuum (analyze) documents";

#[tokio::test]
async fn what_no_index_entry_holds_is_not_advised_and_what_nearly_fills_one_is_said() {
    let world = World::new(DOCUMENTS).await;
    let advice = world
        .advise_here("select id from documents where body = repeat('x', 3000) || '77'")
        .await;
    assert!(advice.recommended.is_empty(), "{:#?}", advice.recommended);
    assert!(
        advice
            .notes
            .iter()
            .any(|n| n.contains("body") && n.contains("3,004 bytes") && n.contains("2,704")),
        "{:?}",
        advice.notes
    );

    let advice = world
        .advise_here("select id from documents where slug = repeat('s', 1500) || '77'")
        .await;
    // With the id beside it or without: what is measured decides.
    let warnings = &advice.recommended[0].warnings;
    assert!(
        ["1,504 bytes now", "1,508 bytes now"]
            .iter()
            .any(|now| warnings[0].contains(now))
            && warnings[0].contains("bound the length"),
        "{warnings:?}"
    );

    // A type with an end needs no look, and no word.
    let advice = world
        .advise_here("select id from documents where kind = 'kind 77'")
        .await;
    assert!(advice.recommended[0].warnings.is_empty());
    assert!(
        advice.notes.iter().all(|n| !n.contains("B-tree")),
        "{:?}",
        advice.notes
    );
}

#[tokio::test]
async fn a_sample_of_a_copy_is_looked_at_too() {
    let world = World::new(DOCUMENTS).await;
    let text = "select id from documents where body = repeat('x', 3000) || '77'";
    let (statement, examined) = world.examine(text).await;
    let mut laboratory = world.laboratory(&examined, 1e12).await;
    let advice = advise::advise(&mut laboratory, &statement, &examined, &[], EFFORT, &|_| ())
        .await
        .unwrap();
    assert!(advice.recommended.is_empty(), "{:#?}", advice.recommended);
    assert!(advice.notes.iter().any(|n| n.contains("no B-tree of")));
}

#[tokio::test]
async fn names_are_cut_to_what_the_server_keeps() {
    // 62 bytes.
    let table = "ä".repeat(31);
    let world = World::new(&format!(
        "create table \"{table}\" (a int not null, b int not null);
create index \"{table}_stats_is_taken\" on \"{table}\" (a)"
    ))
    .await;
    let (statement, examined) = world.examine(&format!("select a from \"{table}\"")).await;
    let mut laboratory = Laboratory::here(&world.info, examined.catalog.clone())
        .await
        .unwrap();
    let mut experiment = Experiment {
        laboratory: &mut laboratory,
        statement: &statement,
        effort: EFFORT,
        kept: Vec::new(),
        progress: &|_| (),
    };
    for _ in 0..2 {
        experiment
            .keep(Change::Statistics {
                table: QualifiedName::new("public", table.as_str()),
                columns: vec!["a".to_owned(), "b".to_owned()],
            })
            .await
            .unwrap();
    }
    let names: Vec<&str> = experiment.kept.iter().map(|(n, _)| n.as_str()).collect();
    assert!(
        names[0].ends_with("_stats") && names[1].ends_with("_stats2"),
        "{names:?}"
    );
    assert!(names.iter().all(|n| n.len() <= 63), "{names:?}");
    // Both can be made, side by side.
    experiment.begin().await.unwrap().rollback().await.unwrap();
}

fn key(candidates: &[Candidate], label: &str) -> Change {
    let found = candidates.iter().find(|c| c.label() == label);
    let labels = || {
        candidates
            .iter()
            .map(Candidate::label)
            .collect::<Vec<_>>()
            .join("\n")
    };
    Change::Index(found.unwrap_or_else(|| panic!("{}", labels())).clone())
}

#[tokio::test]
async fn an_index_that_a_later_one_made_superfluous_is_taken_back() {
    let world = World::new(
        "create table facts (kind int not null, size int not null, city text not null);
insert into facts select g % 100, g * 7 % 40000, 'c' || g % 30 from generate_series(1, 40000) g;
vacuum (analyze) facts",
    )
    .await;
    let text = "select city from facts where kind = 3 and size = 700";
    let (statement, examined) = world.examine(text).await;
    let candidates = candidate::enumerate(&examined.uses, &examined.catalog, text);
    let mut laboratory = Laboratory::here(&world.info, examined.catalog.clone())
        .await
        .unwrap();
    let mut experiment = Experiment {
        laboratory: &mut laboratory,
        statement: &statement,
        effort: EFFORT,
        kept: Vec::new(),
        progress: &|_| (),
    };
    let baseline = experiment.baseline().await.unwrap();
    let mut search = Search {
        baseline,
        steps: Vec::new(),
        trials: Vec::new(),
        enumerated: candidates.len(),
    };
    let mut now = baseline.score;
    for label in ["public.facts (kind)", "public.facts (size, kind)"] {
        let change = key(&candidates, label);
        let trial = experiment.attempt(&change, baseline.score).await.unwrap();
        let after = trial.score().unwrap();
        experiment.keep(change).await.unwrap();
        search.steps.push(Step {
            trial,
            before: now,
            after,
            leaner: None,
        });
        now = after;
    }
    // Whatever the clock says, the first one is not much better than nothing then.
    experiment.prune(&mut search, now + 1.0).await.unwrap();
    assert_eq!(experiment.kept.len(), 1, "{:?}", experiment.kept);
    assert_eq!(experiment.kept[0].1.label(), "public.facts (size, kind)");
    assert_eq!(search.steps.len(), 1);
    assert!((search.steps[0].before - baseline.score).abs() < f64::EPSILON);
}

/// When told to, locks the table, says so, and gives it back once a session has waited for
/// it for so many seconds by the server's clock.
fn hold_longer_than(
    url: &str,
    seconds: f64,
    asked: &std::sync::mpsc::Receiver<std::sync::mpsc::Sender<()>>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let held = asked.recv().unwrap();
    runtime.block_on(async {
        let client = connect(&ConnInfo::parse(url).unwrap(), "test")
            .await
            .unwrap();
        client
            .batch_execute("begin; lock table wide in access exclusive mode")
            .await
            .unwrap();
        held.send(()).unwrap();
        let waits = "select exists(
                select from pg_stat_activity where wait_event_type = 'Lock' and query ilike 'copy%wide%'
                and clock_timestamp() > query_start + make_interval(secs => $1))";
        let since = Instant::now();
        loop {
            // The activity is as it was at the transaction's first look, unless told to forget.
            let clear = "select pg_stat_clear_snapshot()";
            client.execute(clear, &[]).await.unwrap();
            if client.query_one(waits, &[&seconds]).await.unwrap().get(0) {
                break;
            }
            // A copy that was cut off does not wait for ever: then the test sees it.
            if since.elapsed() > Duration::from_secs(60) {
                break;
            }
            // Between two looks at the condition, which has its bound.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        client.batch_execute("rollback").await.unwrap();
    });
}

#[tokio::test]
async fn a_table_may_take_longer_to_copy_than_one_run_of_the_query() {
    let world = World::new(
        "create table wide (id int primary key, body text not null);
insert into wide select g, repeat('x', 1800) || g from generate_series(1, 600) g;
vacuum (analyze) wide",
    )
    .await;
    let (_, examined) = world.examine("select body from wide where id = 7").await;
    // Long enough for everything else that is read, on any machine.
    world
        .client
        .batch_execute("set statement_timeout = '10s'; set lock_timeout = '120s'")
        .await
        .unwrap();
    // The copy waits for as long as somebody holds the table, once it is the table's turn.
    let (turn, copied) = std::sync::mpsc::channel::<std::sync::mpsc::Sender<()>>();
    let url = world.server.socket_url("postgres");
    let holder = std::thread::spawn(move || hold_longer_than(&url, 11.0, &copied));
    let wanted = Wanted {
        relations: &examined.relations,
        most_bytes: 1e12,
    };
    let begin = move |what: String| {
        if what.starts_with("copying public.wide") {
            let (held, is_held) = std::sync::mpsc::channel();
            turn.send(held).unwrap();
            is_held.recv().unwrap();
        }
    };
    let laboratory = Laboratory::throwaway(&world.client, wanted, &begin)
        .await
        .unwrap();
    drop(begin);
    holder.join().unwrap();
    let rows = laboratory
        .client
        .query_one("select count(*) from wide", &[])
        .await
        .unwrap();
    assert_eq!(rows.get::<_, i64>(0), 600);
    // And the session is as it was.
    assert_eq!(
        world
            .get("select current_setting('statement_timeout')")
            .await,
        "10s"
    );
}

/// In each session the query waits for three seconds the first time, as on a server that
/// stands still.
#[tokio::test]
async fn what_a_moment_of_standing_still_has_cut_off_is_looked_at_again() {
    let world = World::new(
        "create table facts (kind int not null, day date not null);
insert into facts select g % 1000, date '2020-01-01' + g % 2000 from generate_series(1, 40000) g;
create function once() returns boolean language plpgsql as $$ begin
    if not exists (select from pg_locks where pid = pg_backend_pid() and locktype = 'advisory') then
        perform pg_advisory_lock(pg_backend_pid()), pg_sleep(3); end if; return true; end $$;
vacuum (analyze) facts",
    )
    .await;
    let text = "select day from facts where kind = 3 and (select once())";
    let (statement, examined) = world.examine(text).await;
    let candidates = candidate::enumerate(&examined.uses, &examined.catalog, text);
    let mut laboratory = Laboratory::here(&world.info, examined.catalog.clone())
        .await
        .unwrap();
    let mut experiment = Experiment {
        laboratory: &mut laboratory,
        statement: &statement,
        effort: EFFORT,
        kept: Vec::new(),
        progress: &|_| (),
    };
    let change = key(&candidates, "public.facts (kind)");
    let trial = experiment.attempt(&change, 1.0).await.unwrap();
    assert!(trial.score().is_some(), "{trial:?}");

    let text = "select kind from facts where extract(year from day) = 2024 and (select once())";
    let proven = world.rewrites(text).await;
    let rules: Vec<_> = proven.iter().map(|p| p.rule).collect();
    assert_eq!(rules, ["wrapped-column"]);
}

/// The application of a database that is measured in goes on writing: what it deletes
/// between the two looks at the result is no fault of the index.
#[tokio::test]
async fn rows_that_are_written_meanwhile_are_not_blamed_on_an_index() {
    let world = World::new(
        "create table lines (id int primary key, sku int not null, note text not null);
insert into lines select g, g % 4000, md5(g::text) from generate_series(1, 60000) g;
vacuum (analyze) lines",
    )
    .await;
    let (statement, examined) = world.examine("select note from lines where sku = 77").await;
    let mut laboratory = Laboratory::here(&world.info, examined.catalog.clone())
        .await
        .unwrap();
    let url = world.server.socket_url("postgres");
    let delete = |what: String| {
        if what == "measuring before" {
            let url = url.clone();
            let work = async move {
                let client = connect(&ConnInfo::parse(&url).unwrap(), "test")
                    .await
                    .unwrap();
                let sql = "delete from lines where id = 4077";
                client.batch_execute(sql).await.unwrap();
            };
            std::thread::spawn(|| {
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                runtime.enable_all().build().unwrap().block_on(work);
            })
            .join()
            .unwrap();
        }
    };
    let advice = advise::advise(&mut laboratory, &statement, &examined, &[], EFFORT, &delete)
        .await
        .unwrap();
    let proof = advice.proof.unwrap();
    let rows = |side: &advise::Side| side.fingerprint.as_ref().unwrap().rows;
    assert_eq!((rows(&proof.before), rows(&proof.after)), (14, 15));
    assert_eq!(proof.equality, Equality::NotCompared);
}

#[tokio::test]
async fn the_plan_for_any_values_keeps_all_partitions() {
    let world = World::new(
        "create table parts (id int not null, at date not null, note text) partition by range (at);
create table parts_1 partition of parts for values from ('2024-01-01') to ('2024-07-01');
create table parts_2 partition of parts default;
insert into parts select g, date '2024-01-01' + g % 400, md5(g::text) from generate_series(1, 60000) g;
vacuum (analyze) parts",
    )
    .await;
    let text = "select note from parts where at = $1 and id = $2";
    let (_, examined) = world.examine(text).await;
    let scanned: Vec<_> = examined
        .plan
        .nodes
        .iter()
        .filter_map(crossfade::explain::plan::Node::relation)
        .collect();
    assert_eq!(scanned, ["public.parts_1", "public.parts_2"], "{scanned:?}");
    assert_eq!(examined.uses[0].conditions.len(), 2, "{:?}", examined.uses);
    let advice = world.advise_here(text).await;
    assert!(
        !advice.recommended.is_empty(),
        "{:#?}",
        advice.search.trials
    );
}
