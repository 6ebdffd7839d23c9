//! The whole story on a throwaway server: a shop with a legacy schema, an
//! application that never stops writing, and crossfade, run as a user would.

mod answers;
mod display;
mod in_place;
mod program;
mod summary;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use self::answers::{Status, Switch, Verification};
use self::display::{Display, grouped};
use self::program::{Daemon, Program};
pub use self::summary::{Applied, Kept, Summary};
use super::application::{self, Application, Layout};
use super::baseline;
use super::shop::{self, Size};
use crate::error::{Context, Error, Kind, Result};
use crate::server::last_lines;
use crate::server::{self, Server};

const POLL: Duration = Duration::from_millis(400);
/// Nothing copied, nothing applied, no other phase for this long is a failure.
const STUCK: Duration = Duration::from_secs(180);
const SWITCH_ATTEMPTS: u32 = 5;
/// What a client may take to notice that the old table is gone.
const NOTICE: Duration = Duration::from_secs(60);

/// How to tell the story.
#[derive(Debug, Clone)]
pub struct Options {
    pub orders: u64,
    /// New tables for old ones, or the lines alone into a table of their own.
    pub layout: Layout,
    /// Copy workers.
    pub workers: u32,
    /// The simulated application; `None` leaves it out.
    pub load: Option<Load>,
    /// Measure one INSERT … SELECT per table first.
    pub baseline: bool,
    /// Leave the directory behind.
    pub keep: bool,
    pub dir: Option<PathBuf>,
    /// The crossfade to run.
    pub program: PathBuf,
    /// How long the application goes on in the new schema.
    pub settle: Duration,
    /// Flush to disk as a production server does.
    pub durable: bool,
    pub quiet: bool,
}

/// Which way a switch goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    There,
    Back,
}

impl Way {
    fn command(self) -> &'static [&'static str] {
        match self {
            Self::There => &["switch"],
            Self::Back => &["switch", "--back"],
        }
    }
}

/// The application's clients and their transactions a second, all together.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub clients: u32,
    pub rate: f64,
}

/// Tells the story from the first line to the last.
///
/// # Errors
/// When a part of it cannot go on; an outcome that is merely bad is in the
/// [`Summary`].
pub async fn tell(options: Options) -> Result<Summary> {
    let mut story = Story::open(options).await?;
    let told = story.acts().await;
    story.display.finish();
    told?;
    Ok(story.end())
}

/// Fields are dropped in this order: who writes before what is written to.
struct Story {
    daemon: Option<Daemon>,
    application: Option<Application>,
    client: Client,
    server: Server,
    program: Program,
    display: Display,
    summary: Summary,
    options: Options,
}

impl Story {
    async fn open(options: Options) -> Result<Self> {
        let display = Display::new(options.quiet);
        display.begin("start a PostgreSQL server");
        let mut wanted = server::Options {
            dir: options.dir.clone(),
            keep: options.keep,
            durable: options.durable,
            ..server::Options::default()
        };
        for (name, value) in [("shared_buffers", "256MB"), ("max_wal_size", "4GB")] {
            wanted = wanted.setting(name, value);
        }
        let server = tokio::task::spawn_blocking(move || Server::start(wanted))
            .await
            .map_err(|e| Error::new(Kind::Io, format!("starting the server: {e}")))??;
        display.done(&format!("{}, port {}", server.version(), server.port()));
        let client = shop::connect(&server.url("postgres")).await?;
        Ok(Self {
            daemon: None,
            application: None,
            client,
            program: Program {
                path: options.program.clone(),
                dir: server.dir().to_owned(),
            },
            server,
            display,
            summary: Summary {
                orders: options.orders,
                ..Summary::default()
            },
            options,
        })
    }

    fn url(&self) -> String {
        self.server.url("postgres")
    }

    async fn acts(&mut self) -> Result<()> {
        self.prepare().await?;
        self.start_application()?;
        self.run_until_streaming().await?;
        let mut stall = Duration::ZERO;
        if self.verify().await? {
            stall = self.switch(Way::There).await?;
        }
        if self.options.layout == Layout::InPlace && self.summary.is_switched() {
            return self.in_place(stall).await;
        }
        self.check_application(stall).await?;
        if self.summary.is_switched() {
            if self.options.load.is_none() {
                self.compare_by_sql().await?;
            }
            self.finish().await?;
        }
        Ok(())
    }

    /// The shop, its new tables, and a configuration for crossfade.
    async fn prepare(&mut self) -> Result<()> {
        let (orders, sessions) = (self.options.orders, 2);
        self.display.begin("load the legacy shop");
        shop::migrate(&mut self.client, &[shop::LEGACY]).await?;
        let url = self.url();
        let show = |loaded| {
            let text = format!("{} of {} orders", grouped(loaded), grouped(orders));
            self.display.progress_of(loaded, orders, &text);
        };
        shop::load(&url, Size { orders, sessions }, &show).await?;
        self.display.done(&format!("{} orders", grouped(orders)));

        let (tables, module) = match self.options.layout {
            Layout::Split => (shop::NEW_ORDERS, shop::SPLIT),
            Layout::InPlace => (shop::LINES, shop::SPLIT_IN_PLACE),
        };
        shop::migrate(&mut self.client, &[tables]).await?;
        if self.options.baseline {
            self.display.begin("measure one INSERT … SELECT per table");
            let took = baseline::measure(&self.client).await?;
            self.summary.baseline_seconds = Some(took.as_secs_f64());
            self.display.done("");
        }
        shop::write_module(self.server.dir(), module)?;
        let path = self.server.dir().join("crossfade.toml");
        fs::write(&path, configuration(&url, &self.options, module.name))
            .context(format!("writing {}", path.display()))
    }

    fn start_application(&mut self) -> Result<()> {
        let Some(load) = self.options.load else {
            return Ok(());
        };
        self.display.begin("start the application");
        self.application = Some(Application::start(application::Settings {
            url: self.url(),
            clients: load.clients,
            rate: load.rate,
            orders: self.options.orders,
            seed: 1,
            layout: self.options.layout,
        })?);
        let text = format!(
            "{} clients, {} transactions a second",
            load.clients, load.rate
        );
        self.display.done(&text);
        Ok(())
    }

    async fn run_until_streaming(&mut self) -> Result<()> {
        self.display.begin("crossfade run: copy and stream");
        self.daemon = Some(self.program.daemon()?);
        let mut last = (String::new(), 0, 0);
        let mut moved = Instant::now();
        loop {
            if let Some(daemon) = &mut self.daemon {
                daemon.must_run()?;
            }
            // Until the daemon has made its state there is nothing to read.
            let ended = self.program.ended(&["status"]).await?;
            let status: Result<Status> = ended.json("status");
            match &status {
                Ok(status) => {
                    self.summary.saw(status);
                    let rows = status.rows_estimated.max(status.rows_copied);
                    self.display
                        .progress_of(status.rows_copied, rows, &describe(status));
                    if status.phase == "streaming" {
                        break;
                    }
                    if status.progress() != last {
                        last = status.progress();
                        moved = Instant::now();
                    }
                }
                Err(_) if moved.elapsed() < STUCK => {}
                Err(e) => return Err(Error::new(e.kind, e.message.clone())),
            }
            if moved.elapsed() > STUCK {
                let waiting = status.ok().and_then(|s| s.waiting);
                let waiting = waiting.unwrap_or_else(|| "it says not why".to_owned());
                return Err(Error::new(
                    Kind::Phase,
                    format!("nothing has moved for {} s: {waiting}", STUCK.as_secs()),
                ));
            }
            tokio::time::sleep(POLL).await;
        }
        let copied = grouped(self.summary.rows_copied);
        self.display.done(&format!("{copied} rows copied"));
        Ok(())
    }

    /// Whether source and targets are identical.
    async fn verify(&mut self) -> Result<bool> {
        self.display
            .begin("crossfade verify, while the application writes");
        let answer: Verification = self.program.ended(&["verify"]).await?.json("verify")?;
        self.summary.verified(&answer);
        let rows: u64 = answer.sources.iter().map(|s| s.rows).sum();
        let text = format!("{}, {} source rows", answer.result, grouped(rows));
        self.display.done(&text);
        Ok(self.summary.is_verified())
    }

    /// Switches and returns the longest wait of the application around it.
    async fn switch(&mut self, way: Way) -> Result<Duration> {
        self.saw_status().await;
        self.display
            .begin(&format!("crossfade {}", way.command().join(" ")));
        let mut before = 0;
        if let Some(application) = &self.application {
            application.tally().take_longest();
            before = application.tally().counts().retried;
        }
        let mut outcome = String::new();
        for attempt in 1..=SWITCH_ATTEMPTS {
            let ended = self.program.ended(way.command()).await?;
            let answer: Switch = ended.json("switch")?;
            outcome.clone_from(&answer.outcome);
            match way {
                Way::There => self.summary.switched(&answer, attempt),
                Way::Back => self.summary.switched_back(&answer),
            }
            if outcome == "switched" {
                ended.success("switch")?;
                break;
            }
            // Nothing has changed, or it is not known: the same command tries
            // again, or finds out.
            self.display.progress(&outcome);
            if attempt == SWITCH_ATTEMPTS {
                let why = answer.reason.unwrap_or_default();
                self.display.done(&format!(
                    "{outcome}: {why} {}",
                    last_lines(&ended.stderr, 5)
                ));
            }
        }
        if outcome != "switched" {
            return Ok(Duration::ZERO);
        }
        self.display.done(&outcome);
        self.settle(way, before).await
    }

    /// Lets every client notice, and the application go on for a while. `before` is
    /// how often clients had moved until then.
    async fn settle(&mut self, way: Way, before: u64) -> Result<Duration> {
        let (Some(application), Some(load)) = (&self.application, self.options.load) else {
            return Ok(Duration::ZERO);
        };
        self.display.begin(match way {
            Way::There => "the application goes on in the new schema",
            Way::Back => "the application goes on in the old schema",
        });
        let deadline = Instant::now() + NOTICE;
        let tally = application.tally();
        let moved = || tally.counts().retried - before;
        while moved() < u64::from(load.clients) && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(self.options.settle).await;
        let stall = tally.take_longest();
        let text = format!("{} of {} clients moved", moved(), load.clients);
        self.display.done(&text);
        Ok(stall)
    }

    async fn check_application(&mut self, stall: Duration) -> Result<()> {
        let Some(application) = self.application.take() else {
            return Ok(());
        };
        self.display.begin("check every acknowledged write");
        let report = application.stop().await?;
        let findings = report.check().await?;
        let applied = Applied::new(&report, findings, stall);
        let text = format!(
            "{} orders: {} lost, {} doubled, {} stale",
            grouped(applied.orders_checked),
            applied.lost,
            applied.doubled,
            applied.stale
        );
        self.display.done(&text);
        self.summary.application = Some(applied);
        Ok(())
    }

    /// Without an application both sides hold still: compare them in full,
    /// without any of crossfade's own code.
    async fn compare_by_sql(&mut self) -> Result<()> {
        self.display.begin("compare old and new by plain SQL");
        let (source, targets): (_, &[(&str, &str)]) = match self.options.layout {
            Layout::Split => ("legacy.orders_old", &shop::TARGETS),
            Layout::InPlace => ("legacy.orders", &shop::TARGETS_IN_PLACE),
        };
        let mut differing = 0_i64;
        for (table, select) in targets {
            let made = format!("with source as (table {source}) select * from ({select}) q");
            let columns = self
                .client
                .prepare(&made)
                .await
                .context("comparing by SQL")?;
            let names: Vec<_> = columns.columns().iter().map(|c| c.name()).collect();
            let have = format!("select {} from {table}", names.join(", "));
            let sql = format!(
                "select (select count(*) from (({made}) except all ({have})) a)
                      + (select count(*) from (({have}) except all ({made})) b)"
            );
            let row = self
                .client
                .query_one(&sql, &[])
                .await
                .context("comparing by SQL")?;
            differing += row.get::<_, i64>(0);
        }
        self.summary.differing_rows = Some(u64::try_from(differing).unwrap_or(0));
        self.display.done(&format!("{differing} rows differ"));
        Ok(())
    }

    async fn finish(&mut self) -> Result<()> {
        self.saw_status().await;
        self.display.begin("crossfade finish");
        self.program.ended(&["finish"]).await?.success("finish")?;
        if let Some(daemon) = self.daemon.take() {
            daemon.stop().await?;
        }
        self.display.done("");
        self.display
            .begin("add and validate the foreign key of the lines");
        shop::migrate(&mut self.client, &[shop::FOREIGN_KEY]).await?;
        self.display.done("");
        Ok(())
    }

    /// Takes the counters once more; they are for show, so no answer is fine.
    async fn saw_status(&mut self) {
        if let Ok(ended) = self.program.ended(&["status"]).await
            && let Ok(status) = ended.json::<Status>("status")
        {
            self.summary.saw(&status);
        }
    }

    /// Ends everything but, where that was asked, the server.
    fn end(self) -> Summary {
        let Self {
            server,
            mut summary,
            options,
            ..
        } = self;
        if options.keep {
            let (url, dir) = (server.url("postgres"), server.dir().to_owned());
            summary.kept = server.leave().map(|pid| Kept { url, dir, pid });
        }
        summary
    }
}

fn describe(status: &Status) -> String {
    let mut text = format!(
        "{}, {} of about {} rows copied, {} changes applied",
        status.phase,
        grouped(status.rows_copied),
        grouped(status.rows_estimated.max(status.rows_copied)),
        grouped(status.rows_applied)
    );
    if let Some(lag) = status.lag_seconds {
        text = format!("{text}, lag {lag:.1} s");
    }
    if let Some(waiting) = &status.waiting {
        text = format!("{text}, waiting: {waiting}");
    }
    text
}

fn configuration(url: &str, options: &Options, module: &str) -> String {
    let url = toml::Value::String(url.to_owned());
    let strategy = match options.layout {
        Layout::Split => "rename",
        Layout::InPlace => "columns",
    };
    format!(
        "name = \"split_orders\"\n\
         transforms = [\"transforms/{module}\"]\n\n\
         [source]\nurl = {url}\n\n\
         [copy]\nworkers = {}\n\n\
         [switch]\nstrategy = \"{strategy}\"\n",
        options.workers
    )
}
