//! Request-reply doors: NATS micro services, so that discovery, ping and stats work.

use std::collections::HashMap;

use async_nats::service::{Request, ServiceExt as _, endpoint};
use bytes::Bytes;
use futures::StreamExt as _;

use crate::{Bus, Headers, header, subject};

/// The running service. It stops when dropped.
pub struct Service {
    // Kept, because the service leaves discovery when it is dropped.
    _service: async_nats::service::Service,
    endpoint: endpoint::Endpoint,
}

/// One question.
pub struct Question(Request);

impl Bus {
    /// Offers the request-reply door; several gateways share the questions.
    pub async fn serve(&self, version: &str) -> anyhow::Result<Service> {
        let operations = HashMap::from([("operations".to_owned(), Self::operations())]);
        let what = "Ask a language model: subjects llm.ask.<operation>, payload as in the OpenAI API";
        self.offer_service("pointsman", version, what, ("ask", subject::ASK_ALL), operations).await
    }

    /// Offers the admin API; several processes share the questions.
    pub async fn serve_admin(&self, version: &str) -> anyhow::Result<Service> {
        let what = "Administer configs, virtual keys, API keys and workspaces";
        self.offer_service("pointsman-admin", version, what, ("admin", subject::ADMIN), HashMap::new()).await
    }

    /// Answers questions about the ledger; several processes share the questions.
    pub async fn serve_ledger(&self, version: &str) -> anyhow::Result<Service> {
        let what = "What requests and attempts took and cost";
        self.offer_service("pointsman-ledger", version, what, ("ledger", subject::LEDGER), HashMap::new())
            .await
    }

    /// Answers look-ups of the cache; the nodes share the questions.
    pub async fn serve_cache(&self, version: &str) -> anyhow::Result<Service> {
        let what = "Answers that were given before, for the same request or one of the same meaning";
        self.offer_service("pointsman-cache", version, what, ("cache", subject::CACHE), HashMap::new()).await
    }

    /// Answers administrators' questions about kept answers; the nodes share the questions.
    pub async fn serve_cache_admin(&self, version: &str) -> anyhow::Result<Service> {
        let (name, what) = ("pointsman-cache-admin", "Entries of the cache");
        self.offer_service(name, version, what, ("cache-admin", subject::CACHE_ADMIN), HashMap::new()).await
    }

    async fn offer_service(
        &self,
        name: &str,
        version: &str,
        description: &str,
        (endpoint, subject): (&str, &str),
        metadata: HashMap<String, String>,
    ) -> anyhow::Result<Service> {
        let failed = |err: async_nats::Error| anyhow::anyhow!("offer the service {name}: {err}");
        let service = self
            .client
            .service_builder()
            .description(description)
            .metadata(metadata.clone())
            .start(name, version)
            .await
            .map_err(failed)?;
        let endpoint = service
            .endpoint_builder()
            .name(endpoint)
            .metadata(metadata)
            .add(subject)
            .await
            .map_err(failed)?;
        Ok(Service { _service: service, endpoint })
    }
}

impl Service {
    /// The next question; None when the service has stopped.
    pub async fn next(&mut self) -> Option<Question> {
        self.endpoint.next().await.map(Question)
    }

    /// Takes no more questions. Those that have arrived can still be taken with [`Service::next`].
    pub async fn stop(&mut self) {
        if let Err(err) = self.endpoint.stop().await {
            tracing::debug!(%err, "could not leave the request-reply service");
        }
    }
}

impl Question {
    /// The operation word asked for.
    pub fn operation(&self) -> &str {
        subject::parse_ask(self.0.message.subject.as_str()).unwrap_or_default()
    }

    /// The body.
    pub fn payload(&self) -> Bytes {
        self.0.message.payload.clone()
    }

    /// Looks a header up without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(self.0.message.headers.as_ref(), name)
    }

    /// Answers, with one message or the next of several.
    pub async fn answer(&self, headers: Headers, payload: Bytes) {
        if let Err(err) = self.0.respond_with_headers(Ok(payload), headers).await {
            tracing::debug!(%err, "could not answer a question");
        }
    }
}
