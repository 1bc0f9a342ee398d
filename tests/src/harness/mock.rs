//! What the mock provider has seen.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A view of a running mock provider.
#[derive(Clone, Debug)]
pub struct Mock {
    root: String,
    client: reqwest::Client,
}

/// What a provider would charge.
#[derive(Clone, Debug, Deserialize)]
pub struct Bill {
    /// By model.
    pub models: BTreeMap<String, Total>,
    /// Row by row, in the order of arrival.
    pub attempts: Vec<Row>,
}

/// Sum over one model.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Total {
    /// Calls received.
    pub calls: u64,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
}

/// One call.
#[derive(Clone, Debug, Deserialize)]
pub struct Row {
    /// From the request header.
    pub attempt_id: Option<String>,
    /// Model with its script.
    pub model: String,
    /// None: never answered.
    pub status: Option<u16>,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
}

impl Mock {
    /// The mock behind a base URL that ends in `/v1`.
    pub fn at(url: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        Self { root: url.trim_end_matches("/v1").to_owned(), client }
    }

    /// Base URL with `/v1`.
    pub fn url(&self) -> String {
        format!("{}/v1", self.root)
    }

    /// The bill so far.
    pub async fn bill(&self) -> Bill {
        let answer = self.client.get(format!("{}/bill", self.root)).send().await.expect("ask for the bill");
        answer.json().await.expect("read the bill")
    }

    /// The rows of models that begin with `prefix`.
    pub async fn rows(&self, prefix: &str) -> Vec<Row> {
        self.bill().await.attempts.into_iter().filter(|row| row.model.starts_with(prefix)).collect()
    }

    /// Any JSON of the mock's.
    pub async fn get(&self, path: &str) -> serde_json::Value {
        let answer = self.client.get(format!("{}{path}", self.root)).send().await.expect("ask the mock");
        answer.json().await.expect("read the mock's answer")
    }
}
