//! `docs/metrics.md`, made from the table.

use std::fmt::Write as _;

use super::table::TABLE;

const HEAD: &str = "\
# Metrics

`crossfade run` serves metrics for Prometheus at `http://<metrics.listen>/metrics`, if
`[metrics]` is in `crossfade.toml`. Every series carries the label `migration` with the
`name` of the configuration. One daemon, one endpoint; other commands serve none.

Beside it, on the same port: `/` a [page to watch](operations.md#the-status-page), `/status`
what `crossfade status --output json` prints, `/events` the same once a second as server-sent
events, `/health` (200 while the process answers) and `/ready` (200 while it owns the migration
or waits for it as a standby, 503 with the reason while it starts or retries).

Gauges are updated once a second by the daemon that owns the migration; a standby serves its
role and its process only. Counters and histograms count since the process started, and a
series appears when it is first counted.

This page is made from `src/metrics/table.rs`; a test keeps the two equal.

| metric | type | unit | further label | meaning |
| --- | --- | --- | --- | --- |
";

const TAIL: &str = "
Those of verification are updated every few seconds, while `verify.continuous` is on.

The buckets of the histograms reach from 1 ms to 120 s, those of sizes from 1 to 1,000,000.

`crossfade_lag_seconds{stage=\"applied\"}` is by the source's clock: the daemon compares its
host's with it once a second.

In [`dashboards/`](../dashboards) are Grafana dashboards (overview, copy and stream,
verification and switch, database safety), alerting rules with a link each to what to do
(`alerts.yml`, with a test for promtool beside it), and a scrape configuration that uses them.
[`docker-compose.yml`](../docker-compose.yml) shows all of it with a PostgreSQL server and an
application that never stops writing.
";

/// The page's whole text.
#[must_use]
pub fn render() -> String {
    let mut text = HEAD.to_owned();
    for metric in TABLE {
        let label = metric.label.map_or_else(String::new, |label| {
            let values = (label.values)();
            // The program's version would make the page another with every release.
            if label.name == "version" {
                return "`version`".to_owned();
            }
            format!("`{}`: {}", label.name, values.join(", "))
        });
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {label} | {} |",
            metric.name,
            metric.kind.name(),
            metric.unit,
            metric.help
        );
    }
    text.push_str(TAIL);
    text
}
