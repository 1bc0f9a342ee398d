//! Standard Webhooks (standardwebhooks.com, specification 1.0): an envelope of type, time and data, signed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Timestamp;
use domain::alert::Notice;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::channel::rfc3339;

/// What a secret begins with.
const PREFIX: &str = "whsec_";

/// A secret that webhooks are signed with.
#[derive(Clone)]
pub struct SigningKey(Zeroizing<Vec<u8>>);

/// Why a text is no signing secret. The text itself is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// It is written in another way.
    #[error("a secret is written `whsec_` and base64: make one with `echo whsec_$(openssl rand -base64 32)`")]
    Form,
    /// It is too short to be safe, or longer than receivers take.
    #[error(
        "a secret has from 24 to 64 bytes, not {0}: make one with `echo whsec_$(openssl rand -base64 32)`"
    )]
    Length(usize),
}

impl SigningKey {
    /// Reads `whsec_<base64>`.
    pub fn parse(text: &str) -> Result<Self, BadSecret> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(BadSecret::Form)?;
        let bytes = STANDARD.decode(encoded).map(Zeroizing::new).map_err(|_| BadSecret::Form)?;
        if (24..=64).contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(BadSecret::Length(bytes.len())) }
    }

    fn sign(&self, content: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(content);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// The body: the same for every try.
pub(crate) fn body(notice: &Notice) -> String {
    let Notice { key, change, rule, kind, severity, subject, workspace, summary, details, .. } = notice;
    json!({
        "type": format!("alert.{change}"),
        "timestamp": rfc3339(notice.at),
        "data": {
            "id": notice.id,
            "key": key,
            "rule": rule,
            "kind": kind,
            "severity": severity,
            "subject": subject,
            "workspace": workspace,
            "since": rfc3339(notice.since),
            "summary": summary,
            "details": details,
        },
    })
    .to_string()
}

/// The headers of one try at this time, signed with every key: a receiver that knows one of them is content.
pub(crate) fn headers(
    id: &str,
    body: &str,
    keys: &[SigningKey],
    now: Timestamp,
) -> [(&'static str, String); 3] {
    let seconds = now.0 / 1000;
    let content = format!("{id}.{seconds}.{body}");
    let signatures: Vec<String> = keys.iter().map(|key| key.sign(content.as_bytes())).collect();
    [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", seconds.to_string()),
        ("webhook-signature", signatures.join(" ")),
    ]
}
