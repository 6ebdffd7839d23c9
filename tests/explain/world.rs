//! A server with tables to ask, and a short way to everything that explain does.

use std::time::Duration;

use crossfade::explain::advise::{self, Advice};
use crossfade::explain::examine::{self, Examined};
use crossfade::explain::laboratory::{Laboratory, Wanted};
use crossfade::explain::rewrite::{self, Proven};
use crossfade::explain::run::Effort;
use crossfade::explain::statement::Statement;
use crossfade::pg::{ConnInfo, connect};
use crossfade::server::{Options, Server};
use tokio_postgres::Client;

pub const EFFORT: Effort = Effort {
    runs: 3,
    timeout: Duration::from_secs(60),
};

pub struct World {
    pub server: Server,
    pub info: ConnInfo,
    pub client: Client,
}

impl World {
    pub async fn new(sql: &str) -> Self {
        let options = Options::default()
            .setting("jit", "off")
            .setting("autovacuum", "off");
        let server = Server::start(options).unwrap();
        let info = ConnInfo::parse(&server.socket_url("postgres")).unwrap();
        let client = connect(&info, "test").await.unwrap();
        // VACUUM wants a message of its own.
        for statement in sql.split(";\n").filter(|s| !s.trim().is_empty()) {
            client
                .batch_execute(statement)
                .await
                .unwrap_or_else(|e| panic!("{e:?}\n{statement}"));
        }
        Self {
            server,
            info,
            client,
        }
    }

    pub async fn open(&self) -> Client {
        connect(&self.info, "test").await.unwrap()
    }

    /// The first column of the only row, as text.
    pub async fn get(&self, sql: &str) -> String {
        let sql = format!("select (q.v)::text from ({sql}) q(v)");
        let row = self
            .client
            .query_one(&sql, &[])
            .await
            .unwrap_or_else(|e| panic!("{e:?}\n{sql}"));
        row.get::<_, Option<String>>(0).unwrap_or_default()
    }

    pub async fn examine(&self, text: &str) -> (Statement, Examined) {
        self.examine_with(text, &[]).await
    }

    pub async fn examine_with(&self, text: &str, values: &[String]) -> (Statement, Examined) {
        let statement = Statement::read(text, values, false).unwrap();
        let (mut client, watcher) = (self.open().await, self.open().await);
        let examined = examine::examine(&mut client, &watcher, &statement, EFFORT)
            .await
            .unwrap_or_else(|e| panic!("{e}\n{text}"));
        (statement, examined)
    }

    pub async fn rewrites(&self, text: &str) -> Vec<Proven> {
        let (statement, examined) = self.examine(text).await;
        let before = examined.measured.as_ref().unwrap().median();
        let mut client = self.open().await;
        rewrite::prove(&mut client, &statement, before, EFFORT)
            .await
            .unwrap()
    }

    /// Advice measured in this database.
    pub async fn advise_here(&self, text: &str) -> Advice {
        let (statement, examined) = self.examine(text).await;
        let mut laboratory = Laboratory::here(&self.info, examined.catalog.clone())
            .await
            .unwrap();
        advise::advise(&mut laboratory, &statement, &examined, &[], EFFORT, &|_| ())
            .await
            .unwrap_or_else(|e| panic!("{e}\n{text}"))
    }

    /// A throwaway server with a copy of the query's tables.
    pub async fn laboratory(&self, examined: &Examined, most_bytes: f64) -> Laboratory {
        let wanted = Wanted {
            relations: &examined.relations,
            most_bytes,
        };
        Laboratory::throwaway(&self.client, wanted, &|_| ())
            .await
            .unwrap()
    }
}

/// What explain would have done first.
pub fn first(advice: &Advice) -> String {
    advice
        .search
        .steps
        .first()
        .map(|s| s.trial.change.label())
        .unwrap_or_default()
}
