//! Asking the ledger: questions on the bus, and what comes back.

use std::time::Duration;

use bytes::Bytes;
use domain::Timestamp;
use domain::model::NanoUsd;
use domain::spend::{Entries, EntriesQuery, Query, Report};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Bus, Unanswered, subject};

/// How long an ordinary question may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long work on all of the books may take.
const LONG: Duration = Duration::from_secs(3600);

/// What can be asked of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Question {
    /// Sums by group.
    Spend(Query),
    /// Single rows.
    Entries(EntriesQuery),
    /// Do the sums agree, and what is not certain?
    Check,
    /// Make the books anew from the events.
    Rebuild,
    /// Count costs again with the prices of now.
    Reprice(Reprice),
}

/// Which attempts are priced again. What is left out chooses nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reprice {
    /// Ended at this moment or later.
    pub since: Option<Timestamp>,
    /// Ended before this moment.
    pub until: Option<Timestamp>,
    /// Made at this provider.
    pub provider: Option<String>,
    /// Made with this model.
    pub model: Option<String>,
}

/// What pricing again did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repriced {
    /// Attempts that were looked at.
    pub attempts: u64,
    /// Attempts whose cost is another one now.
    pub changed: u64,
    /// Attempts with tokens whose price is still not known.
    pub unknown: u64,
    /// What they cost before.
    pub before: NanoUsd,
    /// What they cost now.
    pub after: NanoUsd,
}

/// What making the books anew found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebuilt {
    /// Position of the stream up to which they were made anew.
    pub through: u64,
    /// Events that were read.
    pub events: u64,
    /// Rows in the new books: attempts and ends of requests.
    pub rows: u64,
    /// Rows that the old books lacked.
    pub missing: u64,
    /// Rows that the old books had and no event tells of.
    pub extra: u64,
    /// Rows that said something else in the old books.
    pub different: u64,
    /// Rows older than the oldest event, which are kept as they are.
    pub kept: u64,
    /// Cost of all attempts in the old books.
    pub before: NanoUsd,
    /// Cost of all attempts in the new books.
    pub after: NanoUsd,
    /// Up to ten rows that differ, for people.
    pub examples: Vec<String>,
}

/// What is not right, and what is not certain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Sums of everything.
    pub total: domain::spend::Row,
    /// Dimensions whose groups do not add up to the total, one line each.
    pub wrong: Vec<String>,
    /// Dimensions that were looked at.
    pub dimensions: Vec<String>,
    /// Attempts with tokens at a price that is not known, by provider and model.
    pub unknown: Vec<Listed>,
    /// Attempts whose tokens are our own count, by provider and model.
    pub estimated: Vec<Listed>,
    /// Attempts that may have been made for nothing, by provider and model.
    pub duplicates: Vec<Listed>,
    /// Events that are not in the books yet.
    pub behind: u64,
    /// The books hold everything that was reported before.
    pub through: Timestamp,
}

/// So many attempts at one model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The provider.
    pub provider: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// How many.
    pub attempts: u64,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Nobody keeps books.
    #[error("nobody keeps the ledger: start the role with `pointsman run cost-accounting`")]
    Nobody,
    /// It took too long.
    #[error("the ledger did not answer in time")]
    Late,
    /// The ledger says why not.
    #[error("{0}")]
    Refused(String),
    /// The answer is none that we understand.
    #[error("the ledger's answer cannot be read: {0}")]
    Malformed(serde_json::Error),
}

/// An answer on its way: what was asked for, or why not.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer<T> {
    /// What was asked for.
    Ok(T),
    /// Why not.
    Error(String),
}

impl Bus {
    /// Sums by group.
    pub async fn spend(&self, query: Query) -> Result<Report, LedgerError> {
        self.ask_ledger(&Question::Spend(query), PATIENCE).await
    }

    /// Single rows, page by page.
    pub async fn ledger_entries(&self, query: EntriesQuery) -> Result<Entries, LedgerError> {
        self.ask_ledger(&Question::Entries(query), PATIENCE).await
    }

    /// Whether the ledger's sums agree, and what is not certain.
    pub async fn check_ledger(&self) -> Result<Checked, LedgerError> {
        self.ask_ledger(&Question::Check, LONG).await
    }

    /// Makes the books anew from the events. Events are recorded meanwhile.
    pub async fn rebuild_ledger(&self) -> Result<Rebuilt, LedgerError> {
        self.ask_ledger(&Question::Rebuild, LONG).await
    }

    /// Counts costs again with the prices of now.
    pub async fn reprice_ledger(&self, which: Reprice) -> Result<Repriced, LedgerError> {
        self.ask_ledger(&Question::Reprice(which), LONG).await
    }

    async fn ask_ledger<T: DeserializeOwned>(
        &self,
        question: &Question,
        patience: Duration,
    ) -> Result<T, LedgerError> {
        let payload = serde_json::to_vec(question).map_err(LedgerError::Malformed)?;
        let asked = self.question(subject::LEDGER.to_owned(), Bytes::from(payload), patience).await;
        let answer = asked.map_err(|err| match err {
            Unanswered::Nobody => LedgerError::Nobody,
            Unanswered::Late => LedgerError::Late,
        })?;
        match serde_json::from_slice(&answer.payload).map_err(LedgerError::Malformed)? {
            Answer::Ok(answer) => Ok(answer),
            Answer::Error(reason) => Err(LedgerError::Refused(reason)),
        }
    }
}
