//! What the daemon answers over HTTP: metrics, whether it lives, how it goes, and a
//! page to watch. It only reads, has no password and no TLS: keep it private.
//!
//! ```text
//! /         the page         /status  the JSON of `crossfade status`
//! /metrics  for Prometheus   /events  the same once a second, as server-sent events
//! /health   200 while the process answers
//! /ready    200 as the owner or as a standby, 503 with the reason otherwise
//! ```

mod board;
mod events;

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::config::Config;
use crate::daemon::{Role, View};
use crate::error::{Error, Kind, Result};
use crate::metrics::Recorder;
use board::Board;

/// Connections at a time; more have to wait.
const CONNECTIONS: usize = 64;
/// A client that sends no request for this long is let go.
const PATIENCE: Duration = Duration::from_secs(30);

const PAGE: &str = include_str!("endpoint/page.html");
/// Nothing from elsewhere is loaded, and nobody else shows the page in a frame.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      connect-src 'self'; img-src data:; frame-ancestors 'none'";

type Body = BoxBody<Bytes, Infallible>;

/// How often an address that somebody else has is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// Serves on `listen` until the process ends. An address that somebody else has at the
/// moment, perhaps the daemon that this one stands by for, is waited for: a page is no
/// reason not to migrate.
///
/// # Errors
/// [`Kind::Config`] when the address can never be listened on.
pub async fn serve(
    listen: SocketAddr,
    recorder: Recorder,
    config: &Config,
    view: watch::Receiver<View>,
) -> Result<()> {
    let listener = match TcpListener::bind(listen).await {
        Ok(listener) => Some(listener),
        Err(e) if e.kind() == ErrorKind::AddrInUse => {
            tracing::warn!(
                "metrics.listen: {listen} is in use by another process: going on without a page and metrics until it is free"
            );
            None
        }
        Err(e) => {
            let text = format!("metrics.listen: cannot serve on {listen}: {e}");
            return Err(Error::new(Kind::Config, text)
                .remedy("choose a free address, or leave [metrics] out"));
        }
    };
    let endpoint = Arc::new(Endpoint {
        recorder,
        view: view.clone(),
        board: Board::start(config, view),
    });
    tokio::spawn(async move {
        let listener = match listener {
            Some(listener) => listener,
            None => free(listen).await,
        };
        tracing::info!("serving a page to watch, and metrics, on http://{listen}/");
        accept(listener, endpoint).await;
    });
    Ok(())
}

/// Waits until the address can be had.
async fn free(listen: SocketAddr) -> TcpListener {
    loop {
        tokio::time::sleep(AGAIN).await;
        match TcpListener::bind(listen).await {
            Ok(listener) => return listener,
            Err(error) => tracing::debug!(%error, "{listen} is not to be had yet"),
        }
    }
}

struct Endpoint {
    recorder: Recorder,
    view: watch::Receiver<View>,
    board: Arc<Board>,
}

async fn accept(listener: TcpListener, endpoint: Arc<Endpoint>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Never closed, so there is always a place in the end.
        let place = places.clone().acquire_owned().await;
        match listener.accept().await {
            Ok((socket, _)) => {
                let endpoint = endpoint.clone();
                tokio::spawn(async move {
                    connection(socket, endpoint).await;
                    drop(place);
                });
            }
            // Out of file descriptors, for one: it passes.
            Err(error) => {
                tracing::debug!(%error, "a connection to the endpoint was not taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(socket: TcpStream, endpoint: Arc<Endpoint>) {
    let service = service_fn(move |request| {
        let endpoint = endpoint.clone();
        async move { Ok::<_, Infallible>(endpoint.answer(&request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(socket), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a client of the endpoint went away");
    }
}

impl Endpoint {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "this endpoint only reads\n");
        }
        match request.uri().path() {
            "/" => typed(StatusCode::OK, "text/html; charset=utf-8", PAGE.to_owned()),
            "/metrics" => typed(
                StatusCode::OK,
                "text/plain; version=0.0.4; charset=utf-8",
                self.recorder.render(),
            ),
            "/health" => text(StatusCode::OK, "ok\n"),
            "/ready" => self.ready(),
            "/status" => match self.board.read().await {
                Ok(status) => typed(StatusCode::OK, "application/json", format!("{status}\n")),
                Err(error) => {
                    let error = json!({"error": error.to_string(), "remedy": error.what_to_do()});
                    let code = StatusCode::SERVICE_UNAVAILABLE;
                    typed(code, "application/json", format!("{error}\n"))
                }
            },
            "/events" => match self.board.watch() {
                Some(news) => events::stream(news),
                None => text(StatusCode::SERVICE_UNAVAILABLE, "too many are watching\n"),
            },
            _ => text(
                StatusCode::NOT_FOUND,
                "there is /, /status, /events, /metrics, /health and /ready\n",
            ),
        }
    }

    fn ready(&self) -> Response<Body> {
        let view = self.view.borrow();
        let ready = matches!(view.role, Role::Owner | Role::Standby);
        let body = json!({"ready": ready, "role": view.role.name(), "reason": view.error});
        let code = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        typed(code, "application/json", format!("{body}\n"))
    }
}

fn text(status: StatusCode, body: &str) -> Response<Body> {
    typed(status, "text/plain; charset=utf-8", body.to_owned())
}

fn typed(status: StatusCode, kind: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(body)).boxed());
    *response.status_mut() = status;
    headers(&mut response, kind);
    response
}

fn headers(response: &mut Response<Body>, kind: &'static str) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
}
