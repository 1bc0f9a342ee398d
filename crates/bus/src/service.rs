//! The request-reply door: a NATS micro service, so that discovery, ping and stats work.

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
        let failed = |err: async_nats::Error| anyhow::anyhow!("offer the request-reply service: {err}");
        let service = self
            .client
            .service_builder()
            .description("Ask a language model: subjects llm.ask.<operation>, payload as in the OpenAI API")
            .metadata(HashMap::from([("operations".to_owned(), Self::operations())]))
            .start("pointsman", version)
            .await
            .map_err(failed)?;
        let endpoint = service
            .endpoint_builder()
            .name("ask")
            .metadata(HashMap::from([("operations".to_owned(), Self::operations())]))
            .add(subject::ASK_ALL)
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
