//! Access tokens: Google's for a signed assertion, Microsoft's for a client's secret. What is given out is remembered,
//! and taken until it expires. The script stands in the query of the address, as in `/token?expires=2s`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use domain::ApiError;
use parking_lot::Mutex;
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use serde_json::{Value, json};

use crate::clock;
use crate::endpoint::{Asked, Endpoint, Manner, Received, Understood, decoded};
use crate::stream::Made;
use crate::text;

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Audience {
    Google,
    Azure,
}

/// Tokens that were given out.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Mutex<HashMap<String, (Audience, Instant)>>);

/// `POST /token`.
/// Source: developers.google.com/identity/protocols/oauth2/service-account, "HTTP/REST".
pub(crate) struct GoogleToken;

/// `POST /{tenant}/oauth2/v2.0/token`.
/// Source: learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow.
pub(crate) struct EntraToken;

/// `GET /google/service-account`: a key file as Google gives it out, whose key this mock knows.
pub(crate) struct ServiceAccount;

/// Errors as OAuth 2 has them.
struct OAuth;

impl Tokens {
    /// Makes a token.
    pub(crate) fn give(&self, audience: Audience, lifetime: Duration) -> String {
        let mut tokens = self.0.lock();
        let now = Instant::now();
        tokens.retain(|_, (_, until)| *until > now);
        // Expired tokens are gone from the count, so that the time makes numbers that never come again.
        let name = match audience {
            Audience::Google => "ya29.mock",
            Audience::Azure => "eyJ.mock",
        };
        let mut number = tokens.len();
        let mut token = format!("{name}-{:x}-{number}", clock::unix_seconds());
        while tokens.contains_key(&token) {
            number += 1;
            token = format!("{name}-{:x}-{number}", clock::unix_seconds());
        }
        tokens.insert(token.clone(), (audience, now + lifetime));
        token
    }

    /// Whether a token was given out for this and has not expired.
    pub(crate) fn holds(&self, audience: Audience, token: &str) -> bool {
        self.0
            .lock()
            .get(token)
            .is_some_and(|(good_for, until)| *good_for == audience && *until > Instant::now())
    }
}

impl Manner for OAuth {
    fn error(&self, err: &ApiError, id: u64) -> Vec<u8> {
        let code = err.code.as_deref().unwrap_or("invalid_request");
        text::json(
            &json!({"error": code, "error_description": err.message, "trace_id": format!("{id:016x}")}),
        )
    }

    fn headers(&self, _id: u64) -> Vec<(&'static str, String)> {
        vec![("cache-control", "no-store".to_owned())]
    }
}

impl Endpoint for GoogleToken {
    fn manner(&self) -> &'static dyn Manner {
        &OAuth
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        let ask = move || {
            let form = form(received)?;
            let grant = field(&form, "grant_type")?;
            if grant != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
                return Err(refuse("unsupported_grant_type", &format!("invalid grant_type: {grant}")));
            }
            assertion(received, field(&form, "assertion")?)?;
            Ok(give(received, Audience::Google))
        };
        Ok(Understood { model: scripted("token", received), ask: Box::new(ask) })
    }
}

impl Endpoint for EntraToken {
    fn manner(&self) -> &'static dyn Manner {
        &OAuth
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        let ask = move || {
            let form = form(received)?;
            let grant = field(&form, "grant_type")?;
            if grant != "client_credentials" {
                let message = format!("AADSTS70003: the app requested an unsupported grant type '{grant}'");
                return Err(refuse("unsupported_grant_type", &message));
            }
            let client = &received.state.options.entra_client;
            if field(&form, "client_id")? != client.client_id {
                let message = "AADSTS700016: the application was not found in the directory";
                return Err(refuse("unauthorized_client", message));
            }
            if field(&form, "client_secret")? != client.client_secret {
                let message = "AADSTS7000215: invalid client secret provided";
                return Err(ApiError::new(401, "invalid_client", message));
            }
            let scope = field(&form, "scope")?;
            if !scope.ends_with("/.default") {
                let message =
                    format!("AADSTS1002012: the scope {scope} is not valid: it must end in /.default");
                return Err(refuse("invalid_scope", &message));
            }
            Ok(give(received, Audience::Azure))
        };
        let tenant = received.captured(0);
        let model = if tenant.contains('?') { tenant.into() } else { scripted(tenant, received) };
        Ok(Understood { model, ask: Box::new(ask) })
    }
}

impl Endpoint for ServiceAccount {
    fn manner(&self) -> &'static dyn Manner {
        &OAuth
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        let host = received.header("host").unwrap_or("localhost");
        // What stands before the key is for readers of the file.
        let key = &received.state.options.google_key;
        let key = key.find("-----BEGIN").map_or("", |at| &key[at..]);
        let query = received.parts.uri.query().map_or(String::new(), |query| format!("?{query}"));
        let account = json!({
            "type": "service_account",
            "project_id": "mock-project",
            "private_key_id": "mock-key",
            "private_key": key,
            "client_email": "mock@mock-project.iam.gserviceaccount.com",
            "client_id": "1",
            "auth_uri": format!("http://{host}/auth"),
            "token_uri": format!("http://{host}/token{query}"),
            "universe_domain": "googleapis.com",
        });
        let ask = move || Ok(Asked::whole(0, move |_| Made::json(&account)));
        Ok(Understood { model: "".into(), ask: Box::new(ask) })
    }
}

/// The script is the query.
fn scripted<'r>(base: &'r str, received: &Received<'_>) -> Cow<'r, str> {
    received.parts.uri.query().map_or(base.into(), |query| format!("{base}?{query}").into())
}

fn give<'r>(received: &'r Received<'r>, audience: Audience) -> Asked<'r> {
    Asked::whole(0, move |setting| {
        let lifetime = setting.step.expires;
        let token = received.state.tokens.give(audience, lifetime);
        let seconds = lifetime.as_secs();
        let mut answer = json!({"access_token": token, "expires_in": seconds, "token_type": "Bearer"});
        if audience == Audience::Azure {
            answer["ext_expires_in"] = seconds.into();
        }
        Made::json(&answer)
    })
}

fn form(received: &Received<'_>) -> Result<Vec<(String, String)>, ApiError> {
    let kind = received.header("content-type").unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(refuse("invalid_request", "the content type must be application/x-www-form-urlencoded"));
    }
    let text =
        std::str::from_utf8(received.bytes).map_err(|_| refuse("invalid_request", "the body is no text"))?;
    let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let plain = |text: &str| decoded(&text.replace('+', " ")).into_owned();
        (plain(name), plain(value))
    });
    Ok(pairs.collect())
}

fn field<'f>(form: &'f [(String, String)], name: &str) -> Result<&'f str, ApiError> {
    let found = form.iter().find(|(key, value)| key == name && !value.is_empty());
    let value = found.map(|(_, value)| value.as_str());
    value.ok_or_else(|| refuse("invalid_request", &format!("the request body must contain `{name}`")))
}

fn refuse(code: &str, message: &str) -> ApiError {
    ApiError::new(400, code, message)
}

/// Checks who signed an assertion, for whom, what for, and when.
fn assertion(received: &Received<'_>, assertion: &str) -> Result<(), ApiError> {
    let grant = |why: &str| refuse("invalid_grant", &format!("invalid JWT: {why}"));
    let parts: Vec<_> = assertion.split('.').collect();
    let [header, claims, signature] = parts[..] else { return Err(grant("it must have three parts")) };
    let json =
        |part: &str| -> Option<Value> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok() };
    let (Some(header_json), Some(claims_json)) = (json(header), json(claims)) else {
        return Err(grant("header and claims must be JSON in base64url without padding"));
    };
    if header_json["alg"] != "RS256" {
        return Err(grant("the algorithm must be RS256"));
    }
    let signed = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| grant("the signature is no base64url"))?;
    let key =
        key(&received.state.options.google_key).ok_or_else(|| grant("the mock's own key cannot be read"))?;
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key());
    if public.verify(signed.as_bytes(), &signature).is_err() {
        return Err(refuse("invalid_grant", "Invalid JWT Signature."));
    }
    if claims_json["iss"].as_str().is_none_or(|issuer| !issuer.contains('@')) {
        return Err(grant("`iss` must be the email address of the service account"));
    }
    let audience = claims_json["aud"].as_str().unwrap_or_default();
    let host = received.header("host").unwrap_or_default();
    if audience != format!("http://{host}{}", received.parts.uri)
        && audience != "https://oauth2.googleapis.com/token"
    {
        return Err(grant(&format!("`aud` must be the address of the token endpoint, not `{audience}`")));
    }
    let scope = claims_json["scope"].as_str().unwrap_or_default();
    if !scope.split(' ').any(|scope| scope == "https://www.googleapis.com/auth/cloud-platform") {
        return Err(refuse(
            "invalid_scope",
            &format!("the scope `{scope}` does not let anybody use Vertex AI"),
        ));
    }
    times(&claims_json).map_err(grant)
}

/// Issued now, for an hour at most.
fn times(claims: &Value) -> Result<(), &'static str> {
    const SKEW: u64 = 300;
    let now = clock::unix_seconds();
    let (Some(issued), Some(expires)) = (claims["iat"].as_u64(), claims["exp"].as_u64()) else {
        return Err("`iat` and `exp` must be seconds since 1970");
    };
    if issued > now + SKEW || expires + SKEW < now || expires <= issued || expires - issued > 3600 {
        return Err(
            "token must be a short-lived token (60 minutes) and in a reasonable timeframe: check `iat` and `exp`",
        );
    }
    Ok(())
}

/// Reads a private key in PEM.
fn key(pem: &str) -> Option<RsaKeyPair> {
    let (_, rest) = pem.split_once("-----BEGIN PRIVATE KEY-----")?;
    let (body, _) = rest.split_once("-----END PRIVATE KEY-----")?;
    let body: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    RsaKeyPair::from_pkcs8(&STANDARD.decode(body).ok()?).ok()
}
