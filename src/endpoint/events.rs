//! Server-sent events: one a second, as long as the client reads.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, channel::Channel};
use hyper::Response;
use hyper::body::Bytes;
use tokio::sync::watch;

use super::{Body, headers};

/// A client that has not taken an event for so long is gone; it comes back by itself.
const PATIENCE: Duration = Duration::from_secs(15);

/// Sends what is new. A slow client gets the newest and misses what was between.
pub(super) fn stream(mut news: watch::Receiver<Arc<str>>) -> Response<Body> {
    let (mut sender, body) = Channel::<Bytes, std::convert::Infallible>::new(1);
    tokio::spawn(async move {
        loop {
            let text = news.borrow_and_update().clone();
            if !text.is_empty() {
                let event = Bytes::from(format!("data: {text}\n\n"));
                let sent = tokio::time::timeout(PATIENCE, sender.send_data(event)).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return;
                }
            }
            if news.changed().await.is_err() {
                return;
            }
        }
    });
    let mut response = Response::new(body.boxed());
    headers(&mut response, "text/event-stream");
    response
}
