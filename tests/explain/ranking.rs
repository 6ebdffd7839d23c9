//! A part of examples/ranking, small and judged by pages and wide margins, so that a busy
//! machine does not fail it.

#[path = "../../examples/ranking/shapes.rs"]
mod shapes;

use crossfade::explain::candidate;
use crossfade::explain::experiment::{Change, Experiment, Outcome};
use crossfade::explain::laboratory::Laboratory;

use crate::world::{EFFORT, World, first};

/// Queries whose best index is beyond dispute: its first keys.
const CLEAR: &[(&str, &[&str])] = &[
    ("one equality", &["public.orders (customer_id)"]),
    (
        "newest of a customer",
        &["public.orders (customer_id, placed_at)"],
    ),
    ("lower", &["public.customers ((lower(email)))"]),
    ("json value", &["public.orders ((doc ->> 'ref'::text))"]),
    ("array contains", &["public.orders USING gin (tags)"]),
    (
        "latest of each",
        &["public.orders (customer_id, placed_at)"],
    ),
    (
        "newest across partitions",
        &["public.events (customer_id, at)"],
    ),
];

#[tokio::test]
async fn the_index_put_first_is_the_one_that_an_expert_would_choose() {
    let world = World::new(&shapes::tables(30)).await;
    for (name, expected) in CLEAR {
        let text = shapes::SHAPES.iter().find(|(n, _)| n == name).unwrap().1;
        let advice = world.advise_here(text).await;
        let label = first(&advice);
        assert!(
            expected
                .iter()
                .any(|e| label.starts_with(e.trim_end_matches(')'))),
            "{name}: {label}\n{:#?}",
            advice.search.trials
        );
        // Nothing was left behind.
        assert_eq!(
            world
                .get("select count(*) from pg_class where relname like 'crossfade%'")
                .await,
            "0"
        );
    }

    // Of all candidates none reads far fewer pages than the one that was chosen.
    for (name, text) in shapes::SHAPES
        .iter()
        .filter(|(n, _)| ["two equalities", "join from the many side", "count of few"].contains(n))
    {
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
        let search = experiment.search(&candidates, Vec::new()).await.unwrap();
        experiment.kept.clear();
        let chosen = search.steps[0].trial.clone();
        let Outcome::Measured { ms, pages } = chosen.outcome else {
            panic!("{name}")
        };
        for candidate in &candidates {
            let trial = experiment
                .attempt(&Change::Index(candidate.clone()), search.baseline.score)
                .await
                .unwrap();
            if let Outcome::Measured {
                ms: its,
                pages: fewer,
            } = trial.outcome
            {
                assert!(
                    fewer * 3.0 + 10.0 > pages || its * 1.5 > ms,
                    "{name}: {} reads {fewer} pages, {} {pages}",
                    candidate.label(),
                    chosen.change.label()
                );
            }
        }
    }

    for (name, text) in shapes::AT_THEIR_BEST {
        let advice = world.advise_here(text).await;
        assert!(
            advice.recommended.is_empty(),
            "{name}: {:#?}",
            advice.recommended
        );
        assert!(advice.proof.is_none());
    }
}
