//! The admin API of a gateway, as commands use it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::cli::Gateway;
use crate::datadir::ADMIN_KEY;
use crate::ready::Ready;
use crate::settings::Settings;

/// The environment variable that holds the key to show.
pub(crate) const KEY_VARIABLE: &str = "POINTSMAN_KEY";
/// The header that names the workspace of a request.
const WORKSPACE: &str = "x-pointsman-workspace";
/// Entries asked for at once: the most that the API gives.
const PAGE: usize = 1000;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway and the key that is shown to it.
#[derive(Debug)]
pub(crate) struct Api {
    base: Url,
    key: Option<Zeroizing<String>>,
    workspace: Option<String>,
    client: reqwest::Client,
}

/// A refusal by the gateway.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refused {
    pub(crate) status: u16,
    message: String,
}

impl Api {
    /// Finds out where the gateway is and which key to show. Nothing is sent yet.
    pub(crate) fn new(
        gateway: &Gateway,
        settings: &Settings,
        env: &BTreeMap<String, String>,
    ) -> anyhow::Result<Self> {
        let address = address(gateway, settings)?;
        let base =
            Url::parse(&address).ok().filter(|url| ["http", "https"].contains(&url.scheme())).with_context(
                || format!("`{address}` is no address of a gateway: write for example http://127.0.0.1:8787"),
            )?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .build()
            .context("set up an HTTP client")?;
        Ok(Self {
            base,
            key: key(gateway.key_file.as_deref(), settings, env)?,
            workspace: gateway.workspace.clone(),
            client,
        })
    }

    /// The same gateway in the name of another workspace.
    pub(crate) fn within(&self, workspace: Option<&str>) -> Self {
        Self {
            base: self.base.clone(),
            key: self.key.clone(),
            workspace: workspace.map(str::to_owned),
            client: self.client.clone(),
        }
    }

    /// The workspace that requests name; None: the key's own.
    pub(crate) fn workspace(&self) -> Option<&str> {
        self.workspace.as_deref()
    }

    /// Reads one thing.
    pub(crate) async fn get(&self, path: &[&str]) -> anyhow::Result<Value> {
        self.call(Method::GET, path, &[], None, None).await
    }

    /// Reads one thing that may not be there.
    pub(crate) async fn find(&self, path: &[&str]) -> anyhow::Result<Option<Value>> {
        match self.get(path).await {
            Ok(value) => Ok(Some(value)),
            Err(err) if status(&err) == Some(404) => Ok(None),
            Err(err) => Err(err),
        }
    }

    /// Reads a page of a list with filters, as it comes.
    pub(crate) async fn query(&self, path: &[&str], query: &[(&str, String)]) -> anyhow::Result<Value> {
        self.call(Method::GET, path, query, None, None).await
    }

    /// Reads a whole list, page by page.
    pub(crate) async fn list(&self, path: &[&str], filter: &[(&str, String)]) -> anyhow::Result<Vec<Value>> {
        let mut all = Vec::new();
        for page in 0.. {
            let mut query = filter.to_vec();
            query.push(("page_size", PAGE.to_string()));
            query.push(("current_page", page.to_string()));
            let Value::Array(items) = entity(self.query(path, &query).await?) else {
                bail!("the gateway at {} answered with something that is no list", self.base);
            };
            let last = items.len() < PAGE;
            all.extend(items);
            if last {
                break;
            }
        }
        Ok(all)
    }

    /// Reads something large into a writer, as it comes. Returns the number of bytes.
    pub(crate) async fn download(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        to: &mut impl std::io::Write,
    ) -> anyhow::Result<u64> {
        const PATIENCE: Duration = Duration::from_secs(24 * 3600);
        let mut response = self.send(Method::GET, path, query, None, None, PATIENCE).await?;
        let status = response.status();
        if !status.is_success() {
            let text = response.text().await.map_err(reqwest::Error::without_url)?;
            return Err(self.refusal(status, &text, &Method::GET, path).into());
        }
        let mut bytes = 0;
        while let Some(piece) = response
            .chunk()
            .await
            .map_err(reqwest::Error::without_url)
            .context("the gateway broke the answer off, as when the ledger goes away; ask again")?
        {
            bytes += piece.len() as u64;
            to.write_all(&piece).context("write what was read")?;
        }
        to.flush().context("write what was read")?;
        Ok(bytes)
    }

    /// Makes something.
    pub(crate) async fn post(&self, path: &[&str], body: &Value) -> anyhow::Result<Value> {
        self.call(Method::POST, path, &[], Some(body), None).await
    }

    /// Sends a request to a model with headers of its own. Its answer may take as long as the gateway allows.
    pub(crate) async fn ask(
        &self,
        path: &str,
        headers: &http::HeaderMap,
        body: &Value,
    ) -> anyhow::Result<reqwest::Response> {
        let parts: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
        let mut request = self.client.post(self.url(&parts, &[])?).json(body);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key.as_str());
        }
        // A line's own credential takes the place of the usual one.
        request
            .headers(headers.clone())
            .send()
            .await
            .map_err(reqwest::Error::without_url)
            .with_context(|| format!("reach the gateway at {}", self.base.as_str().trim_end_matches('/')))
    }

    /// Changes something; with a revision only if it still has that.
    pub(crate) async fn put(
        &self,
        path: &[&str],
        body: &Value,
        revision: Option<u64>,
    ) -> anyhow::Result<Value> {
        self.call(Method::PUT, path, &[], Some(body), revision).await
    }

    /// Archives something; with a revision only if it still has that.
    pub(crate) async fn delete(&self, path: &[&str], revision: Option<u64>) -> anyhow::Result<Value> {
        self.call(Method::DELETE, path, &[], None, revision).await
    }

    async fn call(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Option<&Value>,
        revision: Option<u64>,
    ) -> anyhow::Result<Value> {
        let response = self.send(method.clone(), path, query, body, revision, PATIENCE).await?;
        let status = response.status();
        let text = response
            .text()
            .await
            .map_err(reqwest::Error::without_url)
            .context("read the gateway's answer")?;
        if status.is_success() {
            return serde_json::from_str(&text).context("the gateway's answer is not JSON");
        }
        Err(self.refusal(status, &text, &method, path).into())
    }

    async fn send(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Option<&Value>,
        revision: Option<u64>,
        patience: Duration,
    ) -> anyhow::Result<reqwest::Response> {
        let mut request = self.client.request(method, self.url(path, query)?).timeout(patience);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key.as_str());
        }
        if let Some(workspace) = &self.workspace {
            request = request.header(WORKSPACE, workspace);
        }
        if let Some(revision) = revision {
            request = request.header(http::header::IF_MATCH, format!("\"{revision}\""));
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await.map_err(reqwest::Error::without_url).with_context(|| {
            let base = self.base.as_str().trim_end_matches('/');
            format!("reach the gateway at {base} (is it running? start it with `pointsman up`, or name it with --url)")
        })
    }

    fn url(&self, path: &[&str], query: &[(&str, String)]) -> anyhow::Result<Url> {
        let mut url = self.base.clone();
        let Ok(mut segments) = url.path_segments_mut() else { bail!("`{url}` is no address of a gateway") };
        segments.pop_if_empty().push("v1").extend(path);
        drop(segments);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query.iter().map(|(k, v)| (*k, v.as_str())));
        }
        Ok(url)
    }

    fn refusal(&self, status: StatusCode, text: &str, method: &Method, path: &[&str]) -> Refused {
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        let words = ["/error/message", "/data/message", "/message"];
        let said = words.iter().find_map(|place| value.pointer(place)?.as_str());
        let mut message = said.unwrap_or(text.trim()).to_owned();
        if let Some(place) = value.pointer("/error/param").and_then(Value::as_str)
            && !message.contains(place)
        {
            message = format!("`{place}`: {message}");
        }
        if message.is_empty() {
            message = "no reason given".to_owned();
        }
        let hint = match status {
            StatusCode::UNAUTHORIZED if self.key.is_none() => {
                format!(" (show a key with --key-file, {KEY_VARIABLE}, or {ADMIN_KEY} in the data directory)")
            }
            _ => String::new(),
        };
        let message =
            format!("{method} /v1/{} was refused with {}: {message}{hint}", path.join("/"), status.as_u16());
        Refused { status: status.as_u16(), message }
    }
}

/// The HTTP status of a refusal.
pub(crate) fn status(err: &anyhow::Error) -> Option<u16> {
    err.downcast_ref::<Refused>().map(|refused| refused.status)
}

/// What an answer is about: some are wrapped as `data`.
pub(crate) fn entity(mut answer: Value) -> Value {
    match answer.get_mut("data") {
        Some(data) if !data.is_null() => data.take(),
        _ => answer,
    }
}

/// A field as text for people; empty if it is missing.
pub(crate) fn text(value: &Value, field: &str) -> String {
    match &value[field] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let words: Vec<String> =
                items.iter().map(|i| i.as_str().map_or_else(|| i.to_string(), str::to_owned)).collect();
            words.join(", ")
        }
        other => other.to_string(),
    }
}

/// Puts what is given into a body; nothing is sent as null.
pub(crate) fn put_if<T: Into<Value>>(body: &mut Value, field: &str, value: Option<T>) {
    if let Some(value) = value {
        body[field] = value.into();
    }
}

/// `30d` from now or a date, in milliseconds.
pub(crate) fn expiry(text: &str) -> anyhow::Result<Value> {
    use time::format_description::well_known::Rfc3339;
    if let Ok(duration) = domain::time::parse_duration(text) {
        return Ok(json!(bus::Clock::default().now().plus(duration).0));
    }
    match time::OffsetDateTime::parse(text, &Rfc3339) {
        Ok(_) => Ok(json!(text)),
        Err(_) => {
            bail!(
                "`{text}` is no time: write a date as in 2027-01-31T00:00:00Z, or a time from now as in 30d"
            )
        }
    }
}

fn address(gateway: &Gateway, settings: &Settings) -> anyhow::Result<String> {
    if let Some(url) = &gateway.url {
        return Ok(url.trim_end_matches('/').trim_end_matches("/v1").to_owned());
    }
    if let Some(url) = Ready::find(&settings.data_dir).and_then(|ready| ready.http) {
        return Ok(url);
    }
    let listen = settings.http.listen;
    if listen.port() == 0 {
        let place = settings.data_dir.display();
        bail!("no gateway runs in {place}: start one with `pointsman up`, or name one with `--url`");
    }
    Ok(format!("http://{listen}"))
}

/// The API key to show: of the file named, of the environment, else the administrator's in the data directory.
pub(crate) fn key(
    file: Option<&Path>,
    settings: &Settings,
    env: &BTreeMap<String, String>,
) -> anyhow::Result<Option<Zeroizing<String>>> {
    if let Some(file) = file {
        return read_key(file).map(Some);
    }
    if let Some(key) = env.get(KEY_VARIABLE).filter(|key| !key.trim().is_empty()) {
        return Ok(Some(Zeroizing::new(key.trim().to_owned())));
    }
    let file = settings.data_dir.join(ADMIN_KEY);
    if file.exists() { read_key(&file).map(Some) } else { Ok(None) }
}

fn read_key(file: &Path) -> anyhow::Result<Zeroizing<String>> {
    let text = std::fs::read_to_string(file).map(Zeroizing::new);
    let text = text.with_context(|| format!("read the API key in {}", file.display()))?;
    let key = text.trim();
    if key.is_empty() || key.contains(char::is_whitespace) {
        bail!("{} holds no API key: write one `pm_…` on one line", file.display());
    }
    Ok(Zeroizing::new(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(url: &str) -> Api {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let gateway = Gateway { url: Some(url.to_owned()), ..Gateway::default() };
        Api::new(&gateway, &Settings::default(), &BTreeMap::new()).unwrap()
    }

    #[test]
    fn paths_and_filters_are_written_as_an_address_wants_them() {
        let url = |base: &str| api(base).url(&["configs", "pc a/b"], &[("x", "1 &2".to_owned())]).unwrap();
        assert_eq!(url("http://h:1").as_str(), "http://h:1/v1/configs/pc%20a%2Fb?x=1+%262");
        assert_eq!(url("https://h/gate/v1/").as_str(), "https://h/gate/v1/configs/pc%20a%2Fb?x=1+%262");
    }

    #[test]
    fn a_refusal_says_what_was_asked_and_why_not() {
        let refused = |status: u16, text: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            api("http://h").refusal(status, text, &Method::PUT, &["configs", "pc-a"]).to_string()
        };
        assert_eq!(
            refused(400, r#"{"error":{"message":"is 3; write a string","param":"name"}}"#),
            "PUT /v1/configs/pc-a was refused with 400: `name`: is 3; write a string"
        );
        assert_eq!(refused(502, "bad gateway\n"), "PUT /v1/configs/pc-a was refused with 502: bad gateway");
        assert!(refused(401, "{}").contains("--key-file"));
    }

    #[test]
    fn an_address_without_a_scheme_is_refused() {
        let gateway = Gateway { url: Some("localhost:8787".to_owned()), ..Gateway::default() };
        let err = Api::new(&gateway, &Settings::default(), &BTreeMap::new()).unwrap_err().to_string();
        assert!(err.contains("http://127.0.0.1:8787"), "{err}");
    }

    #[test]
    fn times_are_dates_or_durations() {
        assert_eq!(expiry("2027-01-31T00:00:00Z").unwrap(), json!("2027-01-31T00:00:00Z"));
        assert!(expiry("1h").unwrap().as_u64().is_some_and(|ms| ms > 3_600_000));
        assert!(expiry("tomorrow").unwrap_err().to_string().contains("`tomorrow` is no time"));
    }
}
