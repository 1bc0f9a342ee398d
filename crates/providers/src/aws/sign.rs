//! Signature Version 4.
//!
//! Source: AWS, "Create a signed AWS API request" in the reference guide of Identity and Access Management.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings};
use aws_sigv4::sign::v4::SigningParams;

/// Whose signature it is. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Public half of the key, `AKIA…` or, for a while only, `ASIA…`.
    pub access_key_id: String,
    /// Secret half of the key.
    pub secret_access_key: String,
    /// Comes with keys that are given for a while.
    pub session_token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// The headers to add to a request so that AWS takes it: `x-amz-date`, `authorization`, and `x-amz-security-token`
/// where the credentials have a session.
///
/// `url` is absolute and encoded once, as it is sent; the signature encodes its path again, as every service but S3
/// wants. `headers` are signed except those that proxies change (`user-agent`, `transfer-encoding`,
/// `x-amzn-trace-id`); `host` need not be among them. `time` is in seconds since 1970 and must be within minutes of
/// AWS's own. The error says what was wrong with the request, and quotes no secret.
#[expect(clippy::too_many_arguments, reason = "a signature covers all of these, and nothing else holds them")]
pub fn sign(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    region: &str,
    service: &str,
    credentials: &Credentials,
    time: u64,
) -> Result<Vec<(String, String)>, String> {
    let Credentials { access_key_id, secret_access_key, session_token } = credentials.clone();
    let identity = aws_credential_types::Credentials::new(
        access_key_id,
        secret_access_key,
        session_token,
        None,
        "configured",
    )
    .into();
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(time)).filter(|_| time <= LATEST);
    let time = time.ok_or("the time of the signature is after the year 9999")?;
    let params = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(time)
        .settings(SigningSettings::default())
        .build()
        .map_err(|err| err.to_string())?;
    let request = SignableRequest::new(method, url, headers.iter().copied(), SignableBody::Bytes(body))
        .map_err(told)?;
    let signed = aws_sigv4::http_request::sign(request, &params.into()).map_err(told)?;
    let (instructions, _) = signed.into_parts();
    Ok(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// Last second of the year 9999: dates in signatures have four digits for the year.
const LATEST: u64 = 253_402_300_799;

/// An error with its cause; the outer one alone does not say what was wrong.
fn told(err: aws_sigv4::http_request::SigningError) -> String {
    let cause = std::error::Error::source(&err).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("the request cannot be signed: {err}{cause}")
}

/// A name as one segment of a URL's path: model ids have colons, and ARNs slashes as well.
pub fn path_segment(name: &str) -> String {
    use fmt::Write as _;
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a String takes whatever is written");
        }
    }
    out
}
