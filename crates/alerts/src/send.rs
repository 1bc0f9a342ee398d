//! One try: a letter goes out, and the receiver's words become an answer.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use domain::Timestamp;
use domain::alert::{Answer, Letter, Notice};
use http::StatusCode;
use http::header::RETRY_AFTER;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::channel::{Channel, Email, email, pagerduty, slack, webhook};

/// How long a receiver has to answer. Standard Webhooks recommends 15 to 30 s.
const PATIENCE: Duration = Duration::from_secs(20);

/// So much of an answer is read and kept.
const LONGEST_WORDS: usize = 200;

/// Sends letters.
pub(crate) struct Sender {
    http: reqwest::Client,
    /// Who we are, for receivers that ask for a source.
    source: String,
}

impl Sender {
    pub(crate) fn new(source: &str) -> anyhow::Result<Self> {
        use rustls_platform_verifier::BuilderVerifierExt as _;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("set up TLS")?
            .with_platform_verifier()
            .context("load the system's certificates")?
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(Duration::from_secs(10))
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("pointsman/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("set up an HTTP client for alerts")?;
        Ok(Self { http, source: source.to_owned() })
    }

    /// Tries once.
    pub(crate) async fn send(&self, channel: &Channel, letter: &Letter, now: Timestamp) -> Answer {
        let notice = &letter.notice;
        match channel {
            Channel::Webhook { url, keys } => {
                let body = webhook::body(notice);
                let request = webhook::headers(&notice.id, &body, keys, now)
                    .into_iter()
                    .fold(self.http.post(url.as_str()), |request, (name, value)| request.header(name, value));
                self.post(request, body, now).await
            }
            Channel::Slack { url } => self.json(url, &slack::body(notice), now).await,
            Channel::PagerDuty { url, routing_key } => {
                self.pagerduty(url, &pagerduty::body(notice, routing_key, &self.source), now).await
            }
            Channel::Email(to) => mail(to, notice, letter.only_emails).await,
        }
    }

    async fn json(&self, url: &str, body: &Value, now: Timestamp) -> Answer {
        self.post(self.http.post(url), body.to_string(), now).await
    }

    async fn pagerduty(&self, url: &str, body: &Value, now: Timestamp) -> Answer {
        match self.json(url, body, now).await {
            // Their documentation: an event that is answered with 400 is invalid, and is not to be sent again.
            Answer::Failed { said, .. } if said.starts_with("HTTP 400") => Answer::Refused(said),
            answer => answer,
        }
    }

    async fn post(&self, request: reqwest::RequestBuilder, body: String, now: Timestamp) -> Answer {
        let answer = request.header("content-type", "application/json").body(body).send().await;
        let answer = match answer {
            Ok(answer) => answer,
            // The URL may be a secret.
            Err(err) => {
                let err = anyhow::Error::from(err.without_url());
                return Answer::Failed { said: one_line(&format!("{err:#}")), retry_after: None };
            }
        };
        let status = answer.status();
        let wait = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = wait.and_then(|text| retry_after(text, now));
        let words = words(answer).await;
        read_status(status, &words, retry_after)
    }
}

/// What a status means.
fn read_status(status: StatusCode, words: &str, retry_after: Option<Duration>) -> Answer {
    let said = format!("HTTP {} {words}", status.as_u16()).trim_end().to_owned();
    match status {
        _ if status.is_success() => Answer::Taken(said),
        // Standard Webhooks: the receiver is gone and wants nothing any more.
        StatusCode::GONE | StatusCode::PAYLOAD_TOO_LARGE => Answer::Refused(said),
        _ if status.is_redirection() => Answer::Failed {
            said: format!("{said} (redirects are not followed: put the final address into the settings)")
                .replace("  ", " "),
            retry_after,
        },
        // Anything else may be put right within the time that a notice is offered.
        _ => Answer::Failed { said, retry_after },
    }
}

/// The beginning of an answer's body.
async fn words(mut answer: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < LONGEST_WORDS {
        match answer.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    one_line(&String::from_utf8_lossy(&bytes))
}

fn one_line(text: &str) -> String {
    let plain: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_WORDS).collect();
    plain.trim().to_owned()
}

/// `Retry-After`: seconds, or a date.
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = OffsetDateTime::parse(text.trim(), &Rfc2822).ok()?;
    let at = u64::try_from(date.unix_timestamp_nanos() / 1_000_000).ok()?;
    Some(Timestamp(at).since(now))
}

async fn mail(to: &Email, notice: &Notice, only_emails: bool) -> Answer {
    let receivers = email::receivers(to, notice, only_emails);
    if receivers.is_empty() {
        return Answer::Refused("nobody to send to: none of the addresses is one".to_owned());
    }
    let sent = match email::message(to, notice, &receivers) {
        Ok(message) => email::send(to, message).await,
        Err(err) => Err(err),
    };
    match sent {
        Ok(said) => Answer::Taken(one_line(&said)),
        Err(err) => Answer::Failed { said: one_line(&format!("{err:#}")), retry_after: None },
    }
}

#[cfg(test)]
mod tests;
