//! The status page in a browser, through a whole run.

use std::path::PathBuf;

use crossfade::demo::shop;

use super::browser::Browser;
use super::http::free_port;
use super::support::World;
use super::watch;

const SIZES: [(&str, u32, u32); 2] = [("desktop", 1200, 900), ("phone", 390, 844)];

/// Looks at the page in both sizes (pages stay open, and a browser has six connections to a
/// server: three looks), once it shows what it should. The pictures are kept
/// where `CROSSFADE_SCREENSHOTS` says.
fn look(browser: &mut Browser, port: u16, name: &str, shows: &str) {
    for (kind, width, height) in SIZES {
        browser.open(&format!("http://127.0.0.1:{port}/"), width, height);
        browser.until(shows);
        // A point of the chart comes every two seconds.
        browser.until("document.querySelectorAll('#chart path').length > 0");
        let fits = "document.documentElement.scrollWidth <= innerWidth";
        assert_eq!(browser.evaluate(fits), true, "{name} does not fit a {kind}");
        let picture = browser.screenshot();
        assert!(picture.starts_with(b"\x89PNG") && picture.len() > 10_000);
        if let Some(dir) = std::env::var_os("CROSSFADE_SCREENSHOTS") {
            let path = PathBuf::from(dir).join(format!("{name}-{kind}.png"));
            std::fs::write(path, picture).unwrap();
        }
    }
    assert_eq!(browser.complaints, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_follows_a_whole_run_on_a_desktop_and_on_a_phone() {
    let world = World::new().await;
    for migration in [shop::LEGACY, shop::NEW_ORDERS] {
        world.sql(migration.up).await;
    }
    world
        .sql(
            "insert into legacy.orders (customer_id, status, created_at, total_cents, items)
             select 1, 'new', 1700000000 + g, 5, jsonb_build_array(jsonb_build_object('sku', 'S' || g, 'qty', 1, 'unit_cents', 5))
             from generate_series(1, 20000) g; analyze legacy.orders",
        )
        .await;
    shop::write_module(&world.dir, shop::SPLIT).unwrap();
    let port = free_port();
    // It copies for as long as the browser takes to start and to show it.
    world.config(
        &["split_orders"],
        &format!(
            "[copy]\nworkers = 1\nbatch_rows = 100\nsleep_ms = 1000\n[verify]\ncontinuous = true\n[metrics]\nlisten = \"127.0.0.1:{port}\""
        ),
    );
    let mut daemon = world.daemon(&[]);
    watch::until(&world, "the first rows", |s| {
        s["rows_copied"].as_i64() > Some(0)
    })
    .await;
    let mut browser = Browser::start(&world.dir);
    let text = |id: &str, part: &str| {
        format!("document.getElementById('{id}').textContent.includes('{part}')")
    };
    let copying = [
        text("role", "copying"),
        text("copied", "%"),
        text("eta", "done in about"),
    ];
    look(&mut browser, port, "copy", &copying.join(" && "));
    watch::throttle(&world, &["sleep_ms=0"]);
    let verified = [text("role", "streaming"), text("verified", "identical")];
    look(&mut browser, port, "verify", &verified.join(" && "));
    let switch = world.run(&["switch"]);
    assert!(
        switch.status.success(),
        "{}",
        String::from_utf8_lossy(&switch.stderr)
    );
    look(
        &mut browser,
        port,
        "switched",
        &text("role", "switched, daemon running"),
    );
    assert_eq!(daemon.stop().await, 0);
}
