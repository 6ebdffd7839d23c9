//! Keys that changed since the certificate.

use std::time::{Duration, Instant};

use crate::world::{BOUND, World, execute, options};
use crossfade::verify::{self, Outcome};

#[tokio::test(flavor = "multi_thread")]
async fn changed_keys_are_verified_again_while_streaming_and_inside_a_lock() {
    let world = World::streaming(200).await;
    let subject = world.subject().await;
    let client = world.client().await;
    let (info, options) = (world.info(), options());
    let changed = || verify::verify_changed(&info, &subject, &options);
    let error = changed().await;
    assert!(error.unwrap_err().to_string().contains("no certificate"));
    assert_eq!(world.pass(&subject).await.outcome(), Outcome::Identical);
    execute(
        &client,
        r#"update "Old ""Shop"""."Or ders" set amount = 1 where "Id" <= 20;
           update "Old ""Shop"""."Or ders" set "Id" = 9001 where "Id" = 30;
           delete from prices where k = 4; update prices set k = 1.00 where k = 1"#,
    )
    .await;
    world.applied().await;
    let locked = || async {
        let client = world.client().await;
        execute(
            &client,
            r#"begin; lock table prices, "Old ""Shop"""."Or ders""#,
        )
        .await;
        let report = verify::verify_changed_in(&client, &verify::Prepared::default(), &subject, 10)
            .await
            .unwrap();
        execute(&client, "rollback").await;
        report
    };
    let report = locked().await;
    assert_eq!(
        (report.outcome(), report.suspects),
        (Outcome::Identical, 24)
    );
    let report = changed().await.unwrap();
    assert_eq!(
        (report.outcome(), report.suspects),
        (Outcome::Identical, 24)
    );
    // The certificate moved on with it: little or nothing is left to do.
    world.applied().await;
    assert!(changed().await.unwrap().suspects <= 1);

    // Somebody else's write to a key that no change has touched is not looked for.
    execute(
        &client,
        r#"update "New"."Ord""ers" set amount = 2 where "Id" in (5, 6)"#,
    )
    .await;
    execute(
        &client,
        r#"update "Old ""Shop"""."Or ders" set pos = '(0,0)' where "Id" = 5"#,
    )
    .await;
    world.applied().await;
    // The change's upsert has mended the row; harm it again.
    execute(
        &client,
        r#"update "New"."Ord""ers" set amount = 2 where "Id" = 5"#,
    )
    .await;
    let report = locked().await;
    assert_eq!(report.outcome(), Outcome::Different);
    assert_eq!(report.differences.len(), 1);
    assert_eq!(report.differences[0].source_key, ["5"]);
    assert_eq!(report.differences[0].columns, ["amount"]);
    assert!(world.has_certificate().await);
    assert_eq!(changed().await.unwrap().outcome(), Outcome::Different);
    assert!(!world.has_certificate().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_left_quarantine_is_among_the_changed_keys() {
    let world = World::streaming(20).await;
    let subject = world.subject().await;
    let client = world.client().await;
    // Two rows cannot be stored while the constraint is there.
    execute(
        &client,
        "alter table new_prices add constraint small check (cents < 1000);
         update prices set cents = '5000' where k = 3",
    )
    .await;
    world.applied().await;
    let report = world.pass(&subject).await;
    assert_eq!(
        (report.outcome(), report.quarantined),
        (Outcome::Identical, 1)
    );
    // Nothing of the change is left in the log.
    execute(&client, "delete from crossfade.changed_2").await;
    execute(
        &client,
        "alter table new_prices drop constraint small; update crossfade.quarantine set retry = true",
    )
    .await;
    let since = Instant::now();
    while client
        .query_one("select count(*) from crossfade.quarantine", &[])
        .await
        .unwrap()
        .get::<_, i64>(0)
        > 0
    {
        assert!(since.elapsed() < BOUND, "{}", world.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let report = verify::verify_changed(&world.info(), &subject, &options())
        .await
        .unwrap();
    assert_eq!((report.outcome(), report.suspects), (Outcome::Identical, 1));
}

/// The daemon's own: what keeps changing is decided no faster than the stream is applied,
/// and whoever waits for it meanwhile would wait in vain.
#[tokio::test(flavor = "multi_thread")]
async fn a_polite_verification_of_what_changed_gives_way_to_whoever_waits() {
    let world = World::streaming(20).await;
    let subject = world.subject().await;
    let client = world.client().await;
    assert_eq!(world.pass(&subject).await.outcome(), Outcome::Identical);
    execute(&client, "update prices set cents = '7' where k = 3").await;
    world.applied().await;
    // Now the applier stands, before a change of the same key.
    execute(
        &client,
        "begin; select from crossfade.checkpoint for update",
    )
    .await;
    let writer = world.client().await;
    execute(&writer, "update prices set cents = '8' where k = 3").await;
    // That of the pass is given up when the server has noticed its end.
    let locked =
        "exists(select from pg_locks where locktype = 'advisory' and classid = 1667694592)";
    let free = format!("select not {locked}");
    world.until("the lock to be free", &free).await;
    let info = world.info();
    let options = verify::Options {
        polite: true,
        ..options()
    };
    let (told, ()) = tokio::join!(verify::verify_changed(&info, &subject, &options), async {
        let taken = format!("select {locked}");
        world.until("the lock to be taken", &taken).await;
        execute(&writer, "select pg_advisory_lock(1667694592, 1)").await;
    });
    let error = told.unwrap_err();
    assert!(error.message.contains("gives way"), "{error}");
    execute(&client, "rollback").await;
}
