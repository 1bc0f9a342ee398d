//! Notices on their way to one channel: offered again until they are taken, refused or too old.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alert::{Change, Notice};
use crate::{Timestamp, time};

/// A notice for one channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// What is said.
    pub notice: Notice,
    /// The channel.
    pub channel: String,
    /// Goes only to the notice's own e-mail addresses, not to those of the channel.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_emails: bool,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// When it was first tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_at: Option<Timestamp>,
}

impl Letter {
    /// The letters of a notice. `channels` are all that there are, with whether each sends e-mail.
    ///
    /// The notice's own addresses are told by the first channel that sends e-mail; if the rule does not use that, they
    /// alone are.
    pub fn of(notice: &Notice, channels: &[(String, bool)]) -> Vec<Self> {
        let uses = |name: &String| notice.channels.is_empty() || notice.channels.contains(name);
        let letter = |channel: &String, only_emails| Self {
            notice: notice.clone(),
            channel: channel.clone(),
            only_emails,
            attempt: 1,
            first_at: None,
        };
        let (used, unused): (Vec<_>, Vec<_>) = channels.iter().partition(|(name, _)| uses(name));
        let mut letters: Vec<Self> = used.iter().map(|(name, _)| letter(name, false)).collect();
        let has_email = used.iter().any(|(_, email)| *email);
        if !notice.emails.is_empty() && !has_email {
            letters.extend(unused.iter().find(|(_, email)| *email).map(|(name, _)| letter(name, true)));
        }
        // One channel is enough for them.
        let mut told = false;
        for letter in &mut letters {
            let by_mail = channels.iter().any(|(name, email)| *email && *name == letter.channel);
            if by_mail && std::mem::replace(&mut told, true) {
                letter.notice.emails.clear();
            }
        }
        letters
    }

    /// The same for its next try.
    #[must_use]
    pub fn again(&self, now: Timestamp) -> Self {
        Self { attempt: self.attempt + 1, first_at: self.first_at.or(Some(now)), ..self.clone() }
    }
}

/// What a channel said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It took the letter.
    Taken(String),
    /// It may take it later.
    Failed {
        /// What it said, for people; without secrets.
        said: String,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// It will never take it.
    Refused(String),
}

impl Answer {
    /// What it said, for people.
    pub fn said(&self) -> &str {
        match self {
            Self::Taken(said) | Self::Failed { said, .. } | Self::Refused(said) => said,
        }
    }
}

/// What is to be done about a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing more.
    Done,
    /// Try again.
    Again {
        /// After this long.
        after: Duration,
    },
    /// It is put aside for an operator, with the reason; a test is not.
    GiveUp(String),
}

/// How long a letter waits before it is tried again for the first time; doubled each time.
const FIRST_WAIT: Duration = Duration::from_secs(2);

/// The longest wait, unless a channel asks for a longer one.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// The wait after so many tries.
pub fn wait_before(attempt: u32) -> Duration {
    FIRST_WAIT.saturating_mul(1 << attempt.saturating_sub(1).min(20)).min(LONGEST_WAIT)
}

/// What is to be done about a letter after this answer. It is offered for `patience` from its first try on.
pub fn next(letter: &Letter, answer: &Answer, patience: Duration, now: Timestamp) -> Next {
    match answer {
        Answer::Taken(_) => Next::Done,
        Answer::Refused(said) => Next::GiveUp(said.clone()),
        Answer::Failed { said, .. } if letter.notice.change == Change::Test => Next::GiveUp(said.clone()),
        Answer::Failed { said, retry_after } => {
            let tried = now.since(letter.first_at.unwrap_or(now));
            // The last try is at the end of the time, however long the channel wants to be left alone.
            let after = wait_before(letter.attempt).max(retry_after.unwrap_or_default());
            let after = after.min(patience.saturating_sub(tried));
            if after.is_zero() {
                let (tries, patience) = (letter.attempt, time::format_duration(patience));
                return Next::GiveUp(format!("not taken within {patience} ({tries} tries), at last: {said}"));
            }
            Next::Again { after }
        }
    }
}

/// What became of a letter so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The notice.
    pub notice: String,
    /// The channel.
    pub channel: String,
    /// When it was last tried.
    pub at: Timestamp,
    /// How often it was tried.
    pub attempt: u32,
    /// It was taken.
    pub taken: bool,
    /// When it is tried again. None: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again_at: Option<Timestamp>,
    /// What the channel said at last.
    pub said: String,
}
