//! Proving to a provider who calls: the only place where credentials are in clear.
//!
//! Most providers want the credential in a header. Some want a signature over the request, or an access token that is
//! had for the credential elsewhere and kept until it runs out.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bus::identity;
use bytes::Bytes;
use domain::envelope::Signing;
use domain::{Call, host};
use lru::LruCache;
use parking_lot::Mutex;
use providers::{aws, google};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::handle::{Task, Worker};
use crate::secrets::NoSecret;

/// Access tokens that are kept.
const TOKENS: NonZeroUsize = NonZeroUsize::new(4096).expect("it is more than none");

/// A token is replaced so long before it runs out: a call may take its time.
const EARLY: Duration = Duration::from_secs(300);

/// Time to get a token.
const TOKEN_WITHIN: Duration = Duration::from_secs(20);

/// Largest answer of a token endpoint, in bytes.
const MAX_TOKEN: usize = 64 * 1024;

/// What a call is proved with.
pub(crate) struct Account {
    /// The credential.
    pub(crate) secret: Option<Zeroizing<String>>,
    /// The virtual key's options over the call's; secrets are sealed.
    pub(crate) options: Map<String, Value>,
}

/// The parts of a request that a signature covers.
pub(crate) struct Signable<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: &'a str,
    pub(crate) body: &'a [u8],
}

/// Access tokens by what they were had for.
pub(crate) struct Tokens {
    kept: Mutex<LruCache<String, Arc<tokio::sync::Mutex<Option<Token>>>>>,
}

#[derive(Clone)]
struct Token {
    text: Zeroizing<String>,
    until: Instant,
}

impl Tokens {
    pub(crate) fn new() -> Self {
        Self { kept: Mutex::new(LruCache::new(TOKENS)) }
    }

    /// The place of a token; whoever holds its lock may fetch one, the others wait for it.
    fn place(&self, key: &str) -> Arc<tokio::sync::Mutex<Option<Token>>> {
        let mut kept = self.kept.lock();
        if let Some(place) = kept.get(key) {
            return Arc::clone(place);
        }
        let place = Arc::default();
        kept.put(key.to_owned(), Arc::clone(&place));
        place
    }
}

impl Worker {
    /// Adds to the headers what proves who calls.
    pub(crate) async fn prove(
        &self,
        task: &Task,
        account: &Account,
        request: &Signable<'_>,
        headers: &mut HeaderMap,
    ) -> Result<(), NoSecret> {
        let signed = match &task.call.auth.signing {
            Some(Signing::AwsSigv4 { service }) => self.sign(service, account, request, headers)?,
            Some(Signing::GoogleServiceAccount { scope }) => self.google(scope, account, headers).await?,
            Some(Signing::EntraClient { token_url, scope }) => {
                self.entra(token_url, scope, account, headers).await?
            }
            None => false,
        };
        if !signed && let Some(secret) = &account.secret {
            add_secret(&task.call, secret, headers).map_err(NoSecret::Unreadable)?;
        }
        self.forward(task, headers).map_err(NoSecret::Unreadable)
    }

    /// The option in clear.
    fn option(&self, account: &Account, name: &str) -> Result<Option<Zeroizing<String>>, NoSecret> {
        match account.options.get(name).and_then(Value::as_str) {
            None | Some("") => Ok(None),
            Some(sealed) if sealed.starts_with(bus::seal::PREFIX) => {
                let opened = self.secrets.open(sealed);
                let unreadable = |err| NoSecret::Unreadable(format!("`{name}` could not be opened: {err}"));
                opened.map(Some).map_err(unreadable)
            }
            Some(text) => Ok(Some(Zeroizing::new(text.to_owned()))),
        }
    }

    fn sign(
        &self,
        service: &str,
        account: &Account,
        request: &Signable<'_>,
        headers: &mut HeaderMap,
    ) -> Result<bool, NoSecret> {
        let option = |name| self.option(account, name);
        let (Some(id), Some(secret)) = (option("aws_access_key_id")?, option("aws_secret_access_key")?)
        else {
            return Ok(false);
        };
        let region = option("aws_region")?;
        let region = region.ok_or_else(|| NoSecret::Unreadable("`aws_region` is missing".to_owned()))?;
        let credentials = aws::Credentials {
            access_key_id: id.to_string(),
            secret_access_key: secret.to_string(),
            session_token: option("aws_session_token")?.map(|token| token.to_string()),
        };
        let given: Vec<(&str, &str)> = headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
            .filter(|(name, _)| *name == "content-type")
            .collect();
        let now = self.ctx.clock().now().0 / 1000;
        let Signable { method, url, body } = *request;
        let added = aws::sign(method, url, &given, body, &region, service, &credentials, now);
        for (name, value) in added.map_err(NoSecret::Unreadable)? {
            put_secret(&name, &value, headers).map_err(NoSecret::Unreadable)?;
        }
        Ok(true)
    }

    async fn google(
        &self,
        scope: &str,
        account: &Account,
        headers: &mut HeaderMap,
    ) -> Result<bool, NoSecret> {
        let named = self.option(account, "vertex_service_account_json")?;
        let looks_like_it = |text: &&Zeroizing<String>| text.trim_start().starts_with('{');
        let Some(json) = named.as_ref().or(account.secret.as_ref().filter(looks_like_it)) else {
            return Ok(false);
        };
        let service_account = google::ServiceAccount::parse(json).map_err(NoSecret::Unreadable)?;
        let key = identity::hash(&format!("google {scope} {}", json.as_str()));
        let ask = async {
            let now = self.ctx.clock().now().0 / 1000;
            let assertion = service_account.assertion(scope, now)?;
            let form = google::token_form(&assertion);
            let body = self.fetch_token(&service_account.token_uri, form).await?;
            let token = google::read_token(&body)?;
            Ok((token.access_token, token.expires_in))
        };
        let token = self.token(&key, ask).await?;
        put_secret("authorization", &format!("Bearer {}", token.as_str()), headers)
            .map_err(NoSecret::Unreadable)?;
        Ok(true)
    }

    async fn entra(
        &self,
        token_url: &str,
        scope: &str,
        account: &Account,
        headers: &mut HeaderMap,
    ) -> Result<bool, NoSecret> {
        let option = |name| self.option(account, name);
        if let Some(token) = option("azure_ad_token")? {
            put_secret("authorization", &format!("Bearer {}", token.as_str()), headers)
                .map_err(NoSecret::Unreadable)?;
            return Ok(true);
        }
        let (Some(tenant), Some(client), Some(secret)) = (
            option("azure_entra_tenant_id")?,
            option("azure_entra_client_id")?,
            option("azure_entra_client_secret")?,
        ) else {
            return Ok(false);
        };
        if !tenant.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.')) {
            let message = "`azure_entra_tenant_id` is no tenant: write its GUID or its domain".to_owned();
            return Err(NoSecret::Unreadable(message));
        }
        let scope = option("azure_entra_scope")?.map_or_else(|| scope.to_owned(), |scope| scope.to_string());
        let url = token_url.replace("{azure_entra_tenant_id}", &tenant);
        let key = identity::hash(&format!("entra {url} {} {scope} {}", client.as_str(), secret.as_str()));
        let ask = async {
            let fields = [
                ("grant_type", "client_credentials"),
                ("client_id", client.as_str()),
                ("client_secret", secret.as_str()),
                ("scope", scope.as_str()),
            ];
            let body = self.fetch_token(&url, form(&fields)).await?;
            let token: EntraToken = serde_json::from_slice(&body)
                .map_err(|_| "Entra's answer is no JSON object with an `access_token`".to_owned())?;
            Ok((token.access_token, token.expires_in))
        };
        let token = self.token(&key, ask).await?;
        put_secret("authorization", &format!("Bearer {}", token.as_str()), headers)
            .map_err(NoSecret::Unreadable)?;
        Ok(true)
    }

    /// A token that is kept, or a new one.
    async fn token(
        &self,
        key: &str,
        ask: impl Future<Output = Result<(String, u64), String>>,
    ) -> Result<Zeroizing<String>, NoSecret> {
        let place = self.tokens.place(key);
        let mut kept = place.lock().await;
        if let Some(token) = kept.as_ref().filter(|token| Instant::now() < token.until) {
            return Ok(token.text.clone());
        }
        let (text, lifetime) = ask.await.map_err(NoSecret::Refused)?;
        let text = Zeroizing::new(text);
        let lifetime = Duration::from_secs(lifetime);
        let until = Instant::now() + lifetime.checked_sub(EARLY).unwrap_or(lifetime / 2);
        *kept = Some(Token { text: text.clone(), until });
        Ok(text)
    }

    /// Asks a token endpoint. Whoever brings a service account may name any URL: only public ones are called, and those
    /// that settings trust.
    async fn fetch_token(&self, url: &str, form: String) -> Result<Bytes, String> {
        host::check_custom_host(url, &self.trusted_hosts)
            .map_err(|err| format!("the token endpoint: {err}"))?;
        let guarded = !host::is_trusted(url, &self.trusted_hosts);
        let client = self.clients.get(TOKEN_WITHIN, guarded).map_err(|err| err.to_string())?;
        let request = client
            .post(url)
            .timeout(TOKEN_WITHIN)
            .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        let unreachable =
            |err: reqwest::Error| format!("the token endpoint {url} does not answer: {}", err.without_url());
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(unreachable)? {
            body.extend_from_slice(&piece);
            if body.len() > MAX_TOKEN {
                return Err(format!("the token endpoint {url} answers more than {MAX_TOKEN} bytes"));
            }
        }
        if (200..300).contains(&status) {
            return Ok(Bytes::from(body));
        }
        Err(format!("the token endpoint {url} refused with status {status}{}", why(&body)))
    }

    /// The caller's headers that the target wants.
    fn forward(&self, task: &Task, headers: &mut HeaderMap) -> Result<(), String> {
        let call = &task.call;
        let (Some(sealed), false) = (&task.envelope.forward, call.forward_headers.is_empty()) else {
            return Ok(());
        };
        let open = self
            .secrets
            .open(sealed)
            .map_err(|err| format!("the headers to forward could not be opened: {err}"))?;
        let values: BTreeMap<String, String> = serde_json::from_str(&open).map_err(|err| err.to_string())?;
        for name in &call.forward_headers {
            if let Some(value) = values.get(name) {
                put_secret(name, value, headers)?;
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct EntraToken {
    access_token: String,
    expires_in: u64,
}

/// The error and its description, where a token endpoint gives them (RFC 6749, 5.2).
fn why(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refused {
        error: String,
        #[serde(default)]
        error_description: Option<String>,
    }
    let Ok(refused) = serde_json::from_slice::<Refused>(body) else { return String::new() };
    let description: String = refused.error_description.unwrap_or_default().chars().take(300).collect();
    format!(": {} {description}", refused.error).trim_end().to_owned()
}

fn form(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn add_secret(call: &Call, secret: &Zeroizing<String>, headers: &mut HeaderMap) -> Result<(), String> {
    let text = match call.auth.scheme.as_str() {
        "" => secret.clone(),
        scheme => Zeroizing::new(format!("{scheme} {}", secret.as_str())),
    };
    put_secret(&call.auth.header, &text, headers)
}

fn put_secret(name: &str, value: &str, headers: &mut HeaderMap) -> Result<(), String> {
    let mut value = header_value(name, value)?;
    value.set_sensitive(true);
    headers.insert(header_name(name)?, value);
    Ok(())
}

pub(crate) fn header_name(name: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is not a header name"))
}

pub(crate) fn header_value(name: &str, value: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(value)
        .map_err(|_| format!("the value of header `{name}` holds characters that headers cannot"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_endpoints_reason_is_kept() {
        assert_eq!(
            why(br#"{"error":"invalid_grant","error_description":"no such account"}"#),
            ": invalid_grant no such account"
        );
        assert_eq!(why(br#"{"error":"invalid_client"}"#), ": invalid_client");
        assert_eq!(why(b"<html>"), "");
    }

    #[test]
    fn forms_are_escaped() {
        assert_eq!(form(&[("a", "x y"), ("b", "&=ü")]), "a=x+y&b=%26%3D%C3%BC");
    }
}
