//! The database: SQLite or PostgreSQL, the same statements for both.
//!
//! Statements are put together from names that are written in this crate; what comes from outside is bound.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::any::{AnyArguments, AnyConnectOptions, AnyPoolOptions, AnyRow};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Any, AnyConnection, AnyPool, AssertSqlSafe, Executor as _, SqlSafeStr as _, Transaction};
use tokio::sync::{Mutex, MutexGuard};

use crate::line::{ATTEMPTS, Booking, Line, METADATA, REQUESTS, Value};
use crate::options::Database;

/// Each change of the tables, in order; never edited once released.
const MIGRATIONS: &[(i64, &str, &str)] = &[(1, "books", include_str!("../migrations/0001_books.sql"))];

/// Most values bound by one statement. SQLite takes 32 766, PostgreSQL 65 535.
const MOST_BOUND: usize = 16_000;

/// How long opening may take, and a statement may wait for another's.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which tables are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Books {
    /// Those that are asked.
    Kept,
    /// Those that are being made anew.
    Rebuilt,
}

impl Books {
    fn prefix(self) -> &'static str {
        match self {
            Self::Kept => "",
            Self::Rebuilt => "rebuilt_",
        }
    }
}

/// The database.
pub(crate) struct Store {
    pool: AnyPool,
    is_file: bool,
    /// SQLite has one writer at a time; those of this process wait here and not in the database.
    writing: Mutex<()>,
}

/// A change under way. Undone unless it is committed.
pub(crate) struct Change<'a> {
    pub(crate) transaction: Transaction<'static, Any>,
    _writing: MutexGuard<'a, ()>,
}

impl Change<'_> {
    /// From here on it survives.
    pub(crate) async fn commit(self) -> sqlx::Result<()> {
        self.transaction.commit().await
    }
}

impl Store {
    /// Opens the database and brings its tables up to date.
    pub(crate) async fn open(database: &Database) -> anyhow::Result<Self> {
        sqlx::any::install_default_drivers();
        if let Database::File(path) = database
            && let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty())
        {
            std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        }
        let (url, is_file) = match database {
            Database::File(path) => (format!("sqlite:{}?mode=rwc", path.display()), true),
            Database::Url(url) => (url.clone(), url.starts_with("sqlite:")),
        };
        // The URL may hold a password: it is in no error.
        let options: AnyConnectOptions =
            url.parse().with_context(|| format!("read the URL of the ledger's database, {database}"))?;
        let pool = AnyPoolOptions::new()
            .max_connections(8)
            .acquire_timeout(PATIENCE)
            .after_connect(move |connection, _| Box::pin(prepare(connection, is_file)))
            .connect_with(options)
            .await
            .with_context(|| format!("open the ledger's database {database}"))?;
        let store = Self { pool, is_file, writing: Mutex::new(()) };
        store.migrate().await.with_context(|| format!("set up the tables of the ledger in {database}"))?;
        Ok(store)
    }

    async fn migrate(&self) -> anyhow::Result<()> {
        let migration = |(version, name, sql): &(i64, &'static str, &'static str)| {
            let sql = (*sql).into_sql_str();
            Migration::new(*version, (*name).into(), MigrationType::Simple, sql, false)
        };
        let migrator = Migrator::with_migrations(MIGRATIONS.iter().map(migration).collect());
        Ok(migrator.run(&self.pool).await?)
    }

    /// Whether it is a file of this process.
    pub(crate) fn is_file(&self) -> bool {
        self.is_file
    }

    /// Begins a change.
    pub(crate) async fn change(&self) -> sqlx::Result<Change<'_>> {
        let writing = self.writing.lock().await;
        let begin = if self.is_file { "BEGIN IMMEDIATE" } else { "BEGIN" };
        Ok(Change { transaction: self.pool.begin_with(begin).await?, _writing: writing })
    }

    /// Begins to read; everything that is read in it is of one moment.
    pub(crate) async fn reading(&self) -> sqlx::Result<Transaction<'static, Any>> {
        let begin = if self.is_file { "BEGIN" } else { "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" };
        self.pool.begin_with(begin).await
    }

    /// Books all of these, or none. Repeating it changes nothing.
    pub(crate) async fn book(&self, books: Books, bookings: Vec<Booking>) -> sqlx::Result<()> {
        let mut attempts = Vec::new();
        let mut requests = Vec::new();
        let mut metadata = Vec::new();
        for booking in bookings {
            attempts.extend(booking.attempt);
            requests.extend(booking.request);
            metadata.extend(booking.metadata);
        }
        let mut change = self.change().await?;
        let prefix = books.prefix();
        let on = &mut *change.transaction;
        let attempts = once(attempts, 1, first_report);
        insert(on, &format!("{prefix}attempts"), ATTEMPTS, attempts, &keep_first(prefix)).await?;
        let requests = once(requests, 1, latest_end);
        insert(on, &format!("{prefix}requests"), REQUESTS, requests, &keep_latest(prefix)).await?;
        let metadata = once(metadata, 2, |_, _| false);
        let conflict = "ON CONFLICT (request, name) DO NOTHING";
        insert(on, &format!("{prefix}metadata"), METADATA, metadata, conflict).await?;
        change.commit().await
    }
}

/// Settings of a connection.
///
/// `synchronous = FULL`: a commit is on the disk when it returns, so that what is acknowledged afterwards survives a
/// power loss too, not only the end of the process. A commit holds up to a whole batch, so that it costs little.
async fn prepare(connection: &mut AnyConnection, is_file: bool) -> sqlx::Result<()> {
    if is_file {
        let patience = format!("PRAGMA busy_timeout = {}", PATIENCE.as_millis());
        connection.execute(AssertSqlSafe(patience)).await?;
        connection.execute("PRAGMA journal_mode = WAL").await?;
        connection.execute("PRAGMA synchronous = FULL").await?;
    }
    Ok(())
}

/// Lines with different keys (the first `key` fields): a statement must not touch a line twice.
fn once(lines: Vec<Line>, key: usize, wins: impl Fn(&Line, &Line) -> bool) -> Vec<Line> {
    let mut kept: BTreeMap<Vec<String>, Line> = BTreeMap::new();
    for line in lines {
        let name = line[..key].iter().map(|value| format!("{value:?}")).collect();
        match kept.entry(name) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(line);
            }
            std::collections::btree_map::Entry::Occupied(mut place) => {
                if wins(&line, place.get()) {
                    place.insert(line);
                }
            }
        }
    }
    kept.into_values().collect()
}

fn number(line: &Line, columns: &[&str], name: &str) -> Option<i64> {
    let place = columns.iter().position(|column| *column == name)?;
    match line.get(place) {
        Some(Value::Number(number)) => *number,
        _ => None,
    }
}

/// An attempt is what was first reported of it, in whichever order reports come.
fn first_report(one: &Line, other: &Line) -> bool {
    number(one, ATTEMPTS, "sequence") < number(other, ATTEMPTS, "sequence")
}

/// A request is its latest end: one that was redriven has two.
fn latest_end(one: &Line, other: &Line) -> bool {
    let when = |line| (number(line, REQUESTS, "ended_at"), number(line, REQUESTS, "sequence"));
    when(one) > when(other)
}

/// What was priced again stays so.
fn keep_first(prefix: &str) -> String {
    let kept = ["id", "cost_nano", "price", "repriced"];
    let set = assignments(ATTEMPTS.iter().filter(|column| !kept.contains(column)));
    format!("ON CONFLICT (id) DO UPDATE SET {set} WHERE excluded.sequence < {prefix}attempts.sequence")
}

fn keep_latest(prefix: &str) -> String {
    let set = assignments(REQUESTS.iter().filter(|column| **column != "id"));
    let table = format!("{prefix}requests");
    format!(
        "ON CONFLICT (id) DO UPDATE SET {set} WHERE excluded.ended_at > {table}.ended_at \
         OR (excluded.ended_at = {table}.ended_at AND excluded.sequence > {table}.sequence)"
    )
}

fn assignments<'a>(columns: impl Iterator<Item = &'a &'a str>) -> String {
    columns.map(|column| format!("{column} = excluded.{column}")).collect::<Vec<_>>().join(", ")
}

async fn insert(
    on: &mut AnyConnection,
    table: &str,
    columns: &[&str],
    lines: Vec<Line>,
    conflict: &str,
) -> sqlx::Result<()> {
    let mut lines = lines.into_iter().peekable();
    while lines.peek().is_some() {
        let some: Vec<Line> = lines.by_ref().take(MOST_BOUND / columns.len()).collect();
        let values = placeholders(some.len(), columns.len());
        let sql = format!("INSERT INTO {table} ({}) VALUES {values} {conflict}", columns.join(", "));
        let mut statement = Statement::new(sql);
        for value in some.into_iter().flatten() {
            statement.bind(value);
        }
        statement.execute(on).await?;
    }
    Ok(())
}

/// `($1, $2), ($3, $4)`: both databases read numbered placeholders.
fn placeholders(lines: usize, columns: usize) -> String {
    let line = |line: usize| {
        let values: Vec<String> =
            (1..=columns).map(|column| format!("${}", line * columns + column)).collect();
        format!("({})", values.join(", "))
    };
    (0..lines).map(line).collect::<Vec<_>>().join(", ")
}

/// A statement with what is bound to it.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) sql: String,
    bound: Vec<Value>,
}

impl Statement {
    pub(crate) fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), bound: Vec::new() }
    }

    /// Binds a value and names its place, as in `$3`.
    pub(crate) fn bind(&mut self, value: Value) -> String {
        self.bound.push(value);
        format!("${}", self.bound.len())
    }

    fn query(self) -> sqlx::query::Query<'static, Any, AnyArguments> {
        let mut query = sqlx::query(AssertSqlSafe(self.sql));
        for value in self.bound {
            query = match value {
                Value::Number(number) => query.bind(number),
                Value::Text(text) => query.bind(text),
            };
        }
        // Their texts differ too much to be worth keeping.
        query.persistent(false)
    }

    /// How many lines it touched.
    pub(crate) async fn execute(self, on: &mut AnyConnection) -> sqlx::Result<u64> {
        Ok(self.query().execute(on).await?.rows_affected())
    }

    /// All lines.
    pub(crate) async fn rows(self, on: &mut AnyConnection) -> sqlx::Result<Vec<AnyRow>> {
        self.query().fetch_all(on).await
    }

    /// The one number that it selects; nothing is 0.
    pub(crate) async fn number(self, on: &mut AnyConnection) -> sqlx::Result<u64> {
        let row = self.query().fetch_one(on).await?;
        count(&row, 0)
    }
}

/// A number of a row. None: it is not known.
pub(crate) fn known(row: &AnyRow, place: usize) -> sqlx::Result<Option<u64>> {
    use sqlx::Row as _;
    let number: Option<i64> = row.try_get(place)?;
    Ok(number.map(|number| u64::try_from(number).unwrap_or(0)))
}

/// A number of a row; nothing is 0.
pub(crate) fn count(row: &AnyRow, place: usize) -> sqlx::Result<u64> {
    Ok(known(row, place)?.unwrap_or(0))
}

/// A text of a row.
pub(crate) fn text(row: &AnyRow, place: usize) -> sqlx::Result<Option<String>> {
    use sqlx::Row as _;
    row.try_get(place)
}
