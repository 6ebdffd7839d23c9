//! One error type for the whole program.
//!
//! Every error says what failed, on which object, why, and what to do. The kind
//! decides three things in one table ([`Kind::row`]): whether trying again can
//! help, which exit code a command ends with, and the remedy that is shown when
//! the place that raised the error had nothing more precise to say.
//!
//! Cell values and secrets never go into a message: `PostgreSQL`'s own DETAIL
//! (which quotes values) is dropped in [`Error::from`].

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What class of failure this is. Stable: the names are metric labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The command line, the configuration or a module file is wrong.
    Config,
    /// A transform module does not fit the database (columns, types, keys).
    Module,
    /// A setting or object of the server stands in the way.
    Precondition,
    /// The server refused the credentials or the role lacks a privilege.
    Privilege,
    /// No connection could be made, or it broke.
    Connection,
    /// Deadlock, serialization failure, lock timeout: the same work may pass next time.
    Contention,
    /// The slot is gone, was advanced by somebody else, or cannot be read.
    Slot,
    /// The source's schema changed under a module that uses it.
    SchemaChange,
    /// Another process owns this migration or already moved its checkpoint.
    Ownership,
    /// A row's values cannot be stored in the new schema.
    Data,
    /// Bytes from the server that the protocol does not allow.
    Protocol,
    /// The migration is in a phase in which this cannot be done.
    Phase,
    /// The server answered with an error that has no class of its own here.
    Server,
    /// The operating system refused (files, processes, sockets to listen on).
    Io,
    /// A COMMIT whose outcome could not be learned.
    Unknown,
}

/// Whether doing the same thing again can succeed without anybody's help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Trying again cannot help until somebody changes something.
    Never,
    /// Try again at once, a bounded number of times.
    Soon,
    /// Reconnect with exponential backoff.
    Backoff,
}

/// One line of the error table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub kind: Kind,
    pub name: &'static str,
    pub retry: Retry,
    /// Exit code of a command that ends with this error.
    pub exit: u8,
    pub remedy: &'static str,
}

/// The table of every kind. `docs/errors.md` shows the same table and a test
/// keeps the two equal.
pub const TABLE: &[Row] = &[
    Row {
        kind: Kind::Config,
        name: "config",
        retry: Retry::Never,
        exit: 2,
        remedy: "correct the command line or the file that is named",
    },
    Row {
        kind: Kind::Module,
        name: "module",
        retry: Retry::Never,
        exit: 2,
        remedy: "correct the module, then check it with `crossfade preview`",
    },
    Row {
        kind: Kind::Precondition,
        name: "precondition",
        retry: Retry::Never,
        exit: 2,
        remedy: "run `crossfade preflight`: it names every check and its remedy",
    },
    Row {
        kind: Kind::Privilege,
        name: "privilege",
        retry: Retry::Never,
        exit: 2,
        remedy: "check user, password and grants; `crossfade preflight` lists what is needed",
    },
    Row {
        kind: Kind::Connection,
        name: "connection",
        retry: Retry::Backoff,
        exit: 2,
        remedy: "check host, port, TLS settings and that the server is up",
    },
    Row {
        kind: Kind::Contention,
        name: "contention",
        retry: Retry::Soon,
        exit: 2,
        remedy: "run the command again",
    },
    Row {
        kind: Kind::Slot,
        name: "slot",
        retry: Retry::Never,
        exit: 2,
        remedy: "the stream has a gap: start the daemon again; it compares what was copied and copies again what differs",
    },
    Row {
        kind: Kind::SchemaChange,
        name: "schema_change",
        retry: Retry::Never,
        exit: 2,
        remedy: "change the table back and start the daemon again (the slot keeps its place); where rows were written meanwhile: `crossfade abort`, adapt the module, start anew",
    },
    Row {
        kind: Kind::Ownership,
        name: "ownership",
        retry: Retry::Backoff,
        exit: 2,
        remedy: "stop the other daemon, or let it work",
    },
    Row {
        kind: Kind::Data,
        name: "data",
        retry: Retry::Never,
        exit: 2,
        remedy: "see `crossfade quarantine list`",
    },
    Row {
        kind: Kind::Protocol,
        name: "protocol",
        retry: Retry::Backoff,
        exit: 2,
        remedy: "check that nothing between crossfade and the server alters the traffic; report it if it stays",
    },
    Row {
        kind: Kind::Phase,
        name: "phase",
        retry: Retry::Never,
        exit: 2,
        remedy: "see `crossfade status`",
    },
    Row {
        kind: Kind::Server,
        name: "server",
        retry: Retry::Never,
        exit: 2,
        remedy: "see the server's log",
    },
    Row {
        kind: Kind::Io,
        name: "io",
        retry: Retry::Never,
        exit: 2,
        remedy: "check the path, its permissions and free space",
    },
    Row {
        kind: Kind::Unknown,
        name: "unknown",
        retry: Retry::Never,
        exit: 3,
        remedy: "run the command again: it finds out what happened and finishes or says so",
    },
];

impl Kind {
    /// The kind's line in [`TABLE`].
    #[must_use]
    pub fn row(self) -> &'static Row {
        TABLE
            .iter()
            .find(|row| row.kind == self)
            .unwrap_or(&TABLE[0])
    }
}

/// What failed, on what, why, and what to do about it.
#[derive(Debug)]
pub struct Error {
    pub kind: Kind,
    /// What failed and on which object; no values, no secrets.
    pub message: String,
    /// A more precise remedy than the kind's own.
    pub remedy: Option<String>,
    /// `PostgreSQL`'s five-character code, where the server raised the error.
    pub sqlstate: Option<String>,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            remedy: None,
            sqlstate: None,
        }
    }

    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Puts what was being done in front of the reason: `context: reason`.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    #[must_use]
    pub fn what_to_do(&self) -> &str {
        self.remedy.as_deref().unwrap_or(self.kind.row().remedy)
    }

    #[must_use]
    pub fn retry(&self) -> Retry {
        self.kind.row().retry
    }

    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.kind.row().exit
    }

    /// True for the SQLSTATEs that one row's values can cause: classes 22 (data
    /// exception) and 23 (integrity constraint violation), more than one row where one is
    /// expected (21000), a value that is too large for an index (54000), and whatever a
    /// function of the user's raises (P0, 38, 39).
    #[must_use]
    pub fn is_bad_row(&self) -> bool {
        self.sqlstate.as_deref().is_some_and(|s| {
            ["22", "23", "P0", "38", "39"]
                .iter()
                .any(|class| s.starts_with(class))
                || s == "21000"
                || s == "54000"
        })
    }

    /// True where another row can free the value, or bring the parent, a moment later:
    /// unique (23505), exclusion (23P01) and foreign key (23503) violations.
    #[must_use]
    pub fn may_pass_later(&self) -> bool {
        ["23505", "23P01", "23503"]
            .iter()
            .any(|code| self.is_sqlstate(code))
    }

    #[must_use]
    pub fn is_sqlstate(&self, code: &str) -> bool {
        self.sqlstate.as_deref() == Some(code)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Adds what was being done to a foreign or an own error.
pub trait Context<T> {
    /// # Errors
    /// The original error, with `what` in front of its message.
    fn context(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|e| e.into().context(what))
    }
}

/// Which kind a SQLSTATE belongs to.
#[must_use]
pub fn classify(sqlstate: &str) -> Kind {
    match sqlstate {
        "28000" | "28P01" | "42501" => Kind::Privilege,
        // 25P02: an earlier error of the same transaction, which is begun anew.
        "25P02" | "40001" | "40P01" | "55P03" | "55006" => Kind::Contention,
        // Shutdown, crash, "cannot connect now", terminated by an administrator.
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "53300" => Kind::Connection,
        "57014" => Kind::Contention,
        s if s.starts_with("08") => Kind::Connection,
        s if s.starts_with("22") || s.starts_with("23") => Kind::Data,
        _ => Kind::Server,
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(e: tokio_postgres::Error) -> Self {
        if let Some(db) = e.as_db_error() {
            let code = db.code().code();
            let mut message = format!("{} (SQLSTATE {code})", db.message());
            // PostgreSQL quotes the offending value in messages of class 22; the
            // name of the constraint or column is enough and safe.
            if code.starts_with("22") || code.starts_with("23") {
                message = format!("SQLSTATE {code}");
                if let Some(name) = db.constraint().or(db.column()) {
                    message = format!("{message} on {name}");
                }
            }
            // A statement that row security would have filtered.
            let hidden = db.routine() == Some("check_enable_rls");
            let remedy = hidden.then_some(
                "ALTER ROLE … BYPASSRLS for the role of crossfade: what a policy hides from it would be lost",
            );
            return Self {
                kind: classify(code),
                message,
                remedy: remedy.or(db.hint()).map(str::to_owned),
                sqlstate: Some(code.to_owned()),
            };
        }
        let mut message = e.to_string();
        let mut kind = if e.is_closed() {
            Kind::Connection
        } else {
            Kind::Server
        };
        let mut source = std::error::Error::source(&e);
        while let Some(s) = source {
            message = format!("{message}: {s}");
            if s.is::<std::io::Error>() {
                kind = Kind::Connection;
            }
            source = s.source();
        }
        Self {
            kind,
            message,
            remedy: None,
            sqlstate: None,
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Self {
        Self::new(Kind::Io, e.to_string())
    }
}
