//! How it goes, for everybody who looks: read from the state once a second while
//! somebody watches, and with what this process has seen lately.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio_postgres::Client;

use crate::config::Config;
use crate::daemon::View;
use crate::error::{Error, Kind, Result};
use crate::pg::{ConnInfo, connect};
use crate::status;

const EVERY: Duration = Duration::from_secs(1);
/// Between two points of the history.
const POINT: Duration = Duration::from_secs(2);
/// Points kept: a quarter of an hour.
const POINTS: usize = 450;
/// Pages that are open at a time: connections are left for whoever scrapes and probes.
const WATCHERS: usize = 32;
/// A database that does not answer for so long is told as an error.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Board {
    config: Config,
    view: watch::Receiver<View>,
    /// One session for all who look, made when somebody does.
    client: AsyncMutex<Option<Client>>,
    /// Lag, rows a second, pace, retained WAL by time.
    history: Mutex<VecDeque<[f64; 5]>>,
    /// The newest, as it is sent; one text for all.
    news: watch::Sender<Arc<str>>,
}

impl Board {
    pub(super) fn start(config: &Config, view: watch::Receiver<View>) -> Arc<Self> {
        let board = Arc::new(Self {
            config: config.clone(),
            view,
            client: AsyncMutex::new(None),
            history: Mutex::new(VecDeque::new()),
            news: watch::Sender::new(Arc::from("")),
        });
        tokio::spawn(remember(board.clone()));
        tokio::spawn(report(board.clone()));
        board
    }

    /// Gets every news from now on; `None` when too many do.
    pub(super) fn watch(&self) -> Option<watch::Receiver<Arc<str>>> {
        (self.news.receiver_count() < WATCHERS).then(|| self.news.subscribe())
    }

    /// What `crossfade status --output json` says, and what this process knows.
    ///
    /// # Errors
    /// Connection errors; the migration has not been started.
    pub(super) async fn read(&self) -> Result<Value> {
        let asked = async {
            let mut place = self.client.lock().await;
            let client = match place.take() {
                Some(client) if !client.is_closed() => client,
                _ => {
                    let info = ConnInfo::parse(&self.config.source_url)?;
                    connect(&info, "page").await?
                }
            };
            let status = status::read(&client, &self.config).await?;
            // After an error it is not given back: it may be in a transaction.
            *place = Some(client);
            Ok::<_, Error>(status)
        };
        let mut status = tokio::time::timeout(PATIENCE, asked).await.map_err(|_| {
            let what = "the database does not answer";
            Error::new(Kind::Connection, what)
        })??;
        let view = self.view.borrow();
        status["process"] = json!({
            "role": view.role.name(), "error": view.error, "version": env!("CARGO_PKG_VERSION"),
        });
        Ok(status)
    }

    fn history(&self) -> Vec<[f64; 5]> {
        let history = self.history.lock();
        history
            .map(|h| h.iter().copied().collect())
            .unwrap_or_default()
    }
}

/// Keeps what the chart shows, whether anybody looks or not.
async fn remember(board: Arc<Board>) {
    let mut tick = tokio::time::interval(POINT);
    loop {
        tick.tick().await;
        let view = board.view.borrow().clone();
        if view.phase.is_none() {
            continue;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        #[allow(clippy::cast_precision_loss)]
        let point = [
            now.unwrap_or_default().as_secs_f64(),
            view.lag_seconds,
            view.rate.unwrap_or(0.0),
            view.pace,
            view.retained as f64,
        ];
        if let Ok(mut history) = board.history.lock() {
            history.push_back(point);
            if history.len() > POINTS {
                history.pop_front();
            }
        }
    }
}

/// Reads once a second, while somebody watches.
async fn report(board: Arc<Board>) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if board.news.receiver_count() == 0 {
            continue;
        }
        let news = match board.read().await {
            Ok(status) => json!({"status": status, "history": board.history()}),
            Err(error) => {
                let view = board.view.borrow();
                json!({"error": error.to_string(), "remedy": error.what_to_do(),
                       "role": view.role.name()})
            }
        };
        board.news.send_replace(Arc::from(news.to_string()));
    }
}
