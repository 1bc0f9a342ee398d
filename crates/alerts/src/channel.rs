//! Whom notices go to, and what each kind of receiver wants to read.

pub(crate) mod email;
pub(crate) mod pagerduty;
pub(crate) mod slack;
pub(crate) mod webhook;

use std::fmt;

use domain::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

pub use email::{Email, Tls};
pub use pagerduty::PAGERDUTY;
pub use webhook::{BadSecret, SigningKey};

/// Somebody who is told. URLs may be secrets, so that none is printed.
#[derive(Clone)]
pub enum Channel {
    /// Anything that speaks Standard Webhooks.
    Webhook {
        /// Where to.
        url: Zeroizing<String>,
        /// What it is signed with: the newest first, and those that are on their way out.
        keys: Vec<SigningKey>,
    },
    /// An incoming webhook of Slack, or of what understands the same.
    Slack {
        /// Where to.
        url: Zeroizing<String>,
    },
    /// PagerDuty's Events API v2.
    PagerDuty {
        /// Where to.
        url: Zeroizing<String>,
        /// The integration key.
        routing_key: Zeroizing<String>,
    },
    /// E-mail over SMTP.
    Email(Email),
}

impl Channel {
    /// What it is, in the word of settings.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Slack { .. } => "slack",
            Self::PagerDuty { .. } => "pagerduty",
            Self::Email(_) => "email",
        }
    }

    /// Whether it sends e-mail.
    pub fn is_email(&self) -> bool {
        matches!(self, Self::Email(_))
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

/// A time as receivers read it.
fn rfc3339(at: Timestamp) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000);
    time.ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
