//! Tests of the books. Each runs on both databases.

mod books;
mod given;
mod law;
mod money;
#[expect(
    unreachable_pub,
    clippy::disallowed_methods,
    reason = "the system tests share the file, where it is public and the environment may be read"
)]
#[path = "../../../tests/src/harness/postgres.rs"]
mod postgres;

use std::sync::OnceLock;

use bus::events::Position;
use domain::spend::{Query, Report};
use domain::{Event, Timestamp};

use self::postgres::Postgres;
use crate::line::book;
use crate::options::Database;
use crate::store::{Books, Store};

/// Books of a test's own.
struct Shelf {
    store: Store,
    name: &'static str,
    _file: Option<tempfile::TempDir>,
}

impl Shelf {
    async fn put(&self, events: &[(u64, Event)]) {
        let bookings = events.iter().map(|(sequence, event)| book(event, *sequence)).collect();
        self.store.book(Books::Kept, bookings).await.unwrap_or_else(|err| panic!("{}: {err}", self.name));
    }

    async fn ask(&self, query: &Query) -> Report {
        let mut reading = self.store.reading().await.unwrap();
        crate::query::report(&mut reading, query, Timestamp(7))
            .await
            .unwrap_or_else(|err| panic!("{}: {query:?}: {err}", self.name))
    }

    async fn check(&self) -> bus::ledger::Checked {
        let mut reading = self.store.reading().await.unwrap();
        let position = Position { floor: 0, behind: 0, through: Timestamp(7) };
        crate::check::run(&mut reading, position).await.unwrap()
    }
}

/// Empty books in SQLite and in PostgreSQL, the latter in a database of this name.
async fn shelves(name: &str) -> [Shelf; 2] {
    let dir = tempfile::tempdir().unwrap();
    let file = Database::File(dir.path().join("deeper").join("ledger.db"));
    let server = tokio::task::spawn_blocking(|| SERVER.get_or_init(Postgres::start)).await.unwrap();
    let url = server.database(name);
    [
        Shelf { store: Store::open(&file).await.unwrap(), name: "sqlite", _file: Some(dir) },
        Shelf { store: Store::open(&Database::Url(url)).await.unwrap(), name: "postgres", _file: None },
    ]
}

/// One server for all tests of the process, with which it ends.
static SERVER: OnceLock<Postgres> = OnceLock::new();
