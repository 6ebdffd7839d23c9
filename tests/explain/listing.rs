//! The story of examples/listing, small.

use crossfade::demo::listing;
use crossfade::explain::run::Equality;
use crossfade::server::{Options, Server};

#[tokio::test]
async fn the_shops_page_is_the_same_and_many_times_faster_after_split_and_index() {
    let server = Server::start(Options::default()).unwrap();
    let told = listing::tell(&server.socket_url("postgres"), 40_000, &|_| ())
        .await
        .unwrap();
    assert_eq!(told.equality, Equality::Identical, "{}", told.text());
    assert!(told.rows > 0);
    assert!(!told.indexes.is_empty());
    assert!(
        told.indexes
            .iter()
            .any(|i| i.contains("\"shop\".\"order_items\"") && i.contains("sku")),
        "{}",
        told.text()
    );
    // At 2.3 million orders it is hundreds of times; the smaller, the less.
    assert!(told.ratio() > 10.0, "{}", told.text());
    assert!(
        told.reports[0].contains("json-parsing"),
        "{}",
        told.reports[0]
    );
    assert!(told.page.contains("<svg") && told.page.contains("times as fast"));
}
