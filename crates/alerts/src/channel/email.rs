//! E-mail over SMTP.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context as _;
use domain::alert::{Change, Notice};
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls as SmtpTls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use zeroize::Zeroizing;

use crate::channel::rfc3339;

/// How a connection is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Plain at first, then secured before anything is said (STARTTLS, port 587). A server without it is refused.
    StartTls,
    /// Secured from the first byte on (port 465).
    Implicit,
    /// Not at all.
    None,
}

/// Who sends, and to whom.
#[derive(Clone)]
pub struct Email {
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is secured.
    pub tls: Tls,
    /// User name and password, if the server wants them.
    pub login: Option<(String, Zeroizing<String>)>,
    /// The sender's address.
    pub from: Mailbox,
    /// The receivers' addresses.
    pub to: Vec<Mailbox>,
}

/// How long a server has for one answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// The e-mail of a notice to these people. Every try makes the same one: receivers know it by its `Message-ID`.
pub(crate) fn message(email: &Email, notice: &Notice, to: &[Mailbox]) -> anyhow::Result<Message> {
    let domain = email.from.email.domain();
    let mut builder = Message::builder()
        .from(email.from.clone())
        .subject(format!("[{}] {}", notice.change, notice.summary))
        .date(UNIX_EPOCH + Duration::from_millis(notice.at.0))
        .message_id(Some(format!("<{}@{domain}>", notice.id)));
    for mailbox in to {
        builder = builder.to(mailbox.clone());
    }
    let body = MultiPart::alternative_plain_html(plain(notice), html(notice));
    let mut message = builder.multipart(body).context("make the e-mail")?;
    // Tells machines not to answer (RFC 3834).
    let name = HeaderName::new_from_ascii_str("Auto-Submitted");
    message.headers_mut().insert_raw(HeaderValue::new(name, "auto-generated".to_owned()));
    Ok(message)
}

/// The people that a letter goes to: those of the channel and those of the notice, each once.
pub(crate) fn receivers(email: &Email, notice: &Notice, only_emails: bool) -> Vec<Mailbox> {
    let own = if only_emails { &[][..] } else { &email.to[..] };
    // What an administrator entered as an address and is none reaches nobody.
    let named = notice.emails.iter().filter_map(|address| address.parse::<Mailbox>().ok());
    let mut all: Vec<Mailbox> = Vec::new();
    for mailbox in own.iter().cloned().chain(named) {
        if !all.iter().any(|known| known.email == mailbox.email) {
            all.push(mailbox);
        }
    }
    all
}

/// Hands an e-mail to the server. Returns the server's last words.
pub(crate) async fn send(email: &Email, message: Message) -> anyhow::Result<String> {
    let tls = match email.tls {
        Tls::None => SmtpTls::None,
        Tls::StartTls => SmtpTls::Required(TlsParameters::new(email.host.clone())?),
        Tls::Implicit => SmtpTls::Wrapper(TlsParameters::new(email.host.clone())?),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&email.host)
        .port(email.port)
        .tls(tls)
        .timeout(Some(PATIENCE));
    if let Some((user, password)) = &email.login {
        builder = builder.credentials(Credentials::new(user.clone(), password.to_string()));
    }
    let answer = builder.build().send(message).await?;
    let words: Vec<&str> = answer.message().collect();
    Ok(format!("{} {}", answer.code(), words.join(" ")))
}

fn plain(notice: &Notice) -> String {
    let mut text = format!("{}\r\n\r\n", notice.summary);
    for (name, value) in rows(notice) {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text
}

fn html(notice: &Notice) -> String {
    let mut text = format!("<p>{}</p>\r\n<table>\r\n", escaped(&notice.summary));
    for (name, value) in rows(notice) {
        let _ = write!(text, "<tr><td>{}</td><td>{}</td></tr>\r\n", escaped(&name), escaped(&value));
    }
    text.push_str("</table>\r\n");
    text
}

fn rows(notice: &Notice) -> Vec<(String, String)> {
    let mut rows = vec![
        ("rule".to_owned(), notice.rule.clone()),
        ("subject".to_owned(), notice.subject.clone()),
        ("severity".to_owned(), notice.severity.as_str().to_owned()),
        ("since".to_owned(), rfc3339(notice.since)),
    ];
    if notice.change == Change::Recovered {
        rows.push(("until".to_owned(), rfc3339(notice.at)));
    }
    rows.extend(notice.details.clone());
    rows.push(("notice".to_owned(), notice.id.clone()));
    rows
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
