//! Verifies AWS Signature Version 4: builds the canonical request from what arrived and signs it again.
//! Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.

use std::fmt::Write as _;

use domain::ApiError;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::AwsKey;
use crate::clock;
use crate::endpoint::{Received, decoded};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// How far the caller's clock may be off, in seconds.
const SKEW: u64 = 300;

/// The parts of an `authorization` header.
struct Claim<'h> {
    access_key_id: &'h str,
    /// Date, region, service and `aws4_request`.
    scope: &'h str,
    signed_headers: &'h str,
    signature: &'h str,
}

/// Checks the signature of a request, its age, its service, and which headers it covers.
pub(super) fn verify(received: &Received<'_>, keys: &[AwsKey]) -> Result<(), ApiError> {
    let header = received.header("authorization").unwrap_or_default();
    if header.is_empty() {
        return Err(denied("MissingAuthenticationTokenException", "Missing Authentication Token"));
    }
    let claim = Claim::parse(header)?;
    let key = keys.iter().find(|key| key.access_key_id == claim.access_key_id);
    let token = received.header("x-amz-security-token");
    let known = key.filter(|key| key.session_token.as_deref() == token);
    let key = known.ok_or_else(|| {
        denied("UnrecognizedClientException", "the security token included in the request is invalid")
    })?;
    let date = received.header("x-amz-date").ok_or_else(|| incomplete("'X-Amz-Date' header is missing"))?;
    scope(&claim, date)?;
    age(date)?;
    covered(received, &claim)?;
    let payload = hex(&Sha256::digest(received.bytes));
    if received.header("x-amz-content-sha256").is_some_and(|said| said != payload) {
        return Err(mismatch("x-amz-content-sha256 is not the hash of the body"));
    }
    let canonical = canonical(received, &claim, &payload)?;
    let to_sign = format!("{ALGORITHM}\n{date}\n{}\n{}", claim.scope, hex(&Sha256::digest(&canonical)));
    if sign(&key.secret_access_key, claim.scope, &to_sign) == claim.signature {
        return Ok(());
    }
    Err(mismatch(&format!(
        "check the secret access key and the signing method. The canonical string for this request should have \
         been\n'{canonical}'\n\nthe string to sign should have been\n'{to_sign}'"
    )))
}

impl<'h> Claim<'h> {
    fn parse(header: &'h str) -> Result<Self, ApiError> {
        let rest = header.strip_prefix(ALGORITHM).ok_or_else(|| incomplete("the algorithm is not known"))?;
        let part = |name: &str| {
            let found = rest.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
            found.ok_or_else(|| incomplete(&format!("authorization header requires '{name}'")))
        };
        let (access_key_id, scope) =
            part("Credential")?.split_once('/').ok_or_else(|| incomplete("the credential has no scope"))?;
        let (signed_headers, signature) = (part("SignedHeaders")?, part("Signature")?);
        Ok(Self { access_key_id, scope, signed_headers, signature })
    }
}

/// The day is that of the request, and the service is Bedrock; regions are as many as there are.
fn scope(claim: &Claim<'_>, date: &str) -> Result<(), ApiError> {
    let parts: Vec<_> = claim.scope.split('/').collect();
    let [day, region, service, "aws4_request"] = parts[..] else {
        return Err(incomplete("the credential's scope must be date/region/service/aws4_request"));
    };
    if date.get(..8) != Some(day) {
        return Err(mismatch(&format!("the date in the credential's scope, {day}, is not that of {date}")));
    }
    if region.is_empty() {
        return Err(mismatch("the credential should be scoped to a valid region"));
    }
    if service != "bedrock" {
        return Err(mismatch(&format!(
            "the credential should be scoped to the service `bedrock`, not `{service}`"
        )));
    }
    Ok(())
}

fn age(date: &str) -> Result<(), ApiError> {
    let then =
        clock::from_amz_date(date).ok_or_else(|| incomplete("'X-Amz-Date' must be like 20231114T221320Z"))?;
    let now = clock::unix_seconds();
    if then.abs_diff(now) > SKEW {
        return Err(mismatch(&format!(
            "signature expired or not yet current: {date} is more than 5 minutes off"
        )));
    }
    Ok(())
}

/// The host and every header of AWS's own must be signed.
fn covered(received: &Received<'_>, claim: &Claim<'_>) -> Result<(), ApiError> {
    let signed: Vec<_> = claim.signed_headers.split(';').collect();
    let needed = received.parts.headers.keys().map(http::HeaderName::as_str);
    let needed = needed.filter(|name| name.starts_with("x-amz-")).chain(std::iter::once("host"));
    let left: Vec<_> = needed.filter(|name| !signed.contains(name)).collect();
    if left.is_empty() {
        return Ok(());
    }
    Err(denied(
        "AccessDeniedException",
        &format!("there were headers present which were not signed: {}", left.join(", ")),
    ))
}

fn canonical(received: &Received<'_>, claim: &Claim<'_>, payload: &str) -> Result<String, ApiError> {
    let uri = &received.parts.uri;
    // The path counts as it arrived, encoded once more: every service but S3 encodes it twice.
    let path: Vec<_> = uri.path().split('/').map(encoded).collect();
    let mut query: Vec<_> = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| format!("{}={}", encoded(&decoded(name)), encoded(&decoded(value))))
        .collect();
    query.sort();
    let mut headers = String::new();
    for name in claim.signed_headers.split(';') {
        let values: Vec<_> = received.parts.headers.get_all(name).iter().collect();
        if values.is_empty() {
            return Err(mismatch(&format!("the header `{name}` is signed, but not there")));
        }
        let values = values.iter().map(|value| {
            let text = String::from_utf8_lossy(value.as_bytes());
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        });
        let _ = writeln!(headers, "{name}:{}", values.collect::<Vec<_>>().join(","));
    }
    Ok(format!(
        "{}\n{}\n{}\n{headers}\n{}\n{payload}",
        received.parts.method,
        path.join("/"),
        query.join("&"),
        claim.signed_headers,
    ))
}

/// The signature in lower-case hexadecimal.
fn sign(secret: &str, scope: &str, to_sign: &str) -> String {
    let key =
        scope.split('/').fold(format!("AWS4{secret}").into_bytes(), |key, part| hmac(&key, part.as_bytes()));
    hex(&hmac(&key, to_sign.as_bytes()))
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Everything but letters, digits and `-._~` is encoded.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

fn denied(exception: &str, message: &str) -> ApiError {
    ApiError::new(403, exception, message)
}

fn incomplete(message: &str) -> ApiError {
    denied("IncompleteSignatureException", message)
}

fn mismatch(message: &str) -> ApiError {
    let message = format!("the request signature does not match: {message}");
    denied("InvalidSignatureException", &message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of AWS's own documentation, "Create a signed AWS API request" (formerly "Signature Version 4
    /// signing process", get-vanilla of its test suite).
    #[test]
    fn the_published_example_has_its_signature() {
        let canonical = "GET\n/\n\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n\nhost;x-amz-date\n\
                         e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let scope = "20150830/us-east-1/service/aws4_request";
        let to_sign = format!("{ALGORITHM}\n20150830T123600Z\n{scope}\n{}", hex(&Sha256::digest(canonical)));
        assert_eq!(
            sign("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", scope, &to_sign),
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
    }

    #[test]
    fn everything_unusual_is_encoded() {
        assert_eq!(encoded("a-b._~c:d/é%"), "a-b._~c%3Ad%2F%C3%A9%25");
    }
}
