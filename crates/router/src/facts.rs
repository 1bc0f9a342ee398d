//! What a decision has to know of a request: read only where the config asks for it.

use bytes::Bytes;
use domain::model::{ModelInfo, Models, Price};
use domain::{Config, Envelope, Registry, RequestFacts};
use providers::models;
use serde_json::{Map, Value};

use crate::act::{Router, Trouble};

/// What a decision looks at besides the envelope's own fields.
#[derive(Default)]
pub(crate) struct Gathered {
    params: Option<Value>,
    metadata: Option<Map<String, Value>>,
    /// Path of the HTTP route, where the operation does not say it.
    path: Option<String>,
}

impl Router {
    /// Reads what the config's decisions look at. A body that is no JSON is none.
    pub(crate) async fn gather(
        &self,
        envelope: &Envelope,
        config: &Config,
        body: &Bytes,
    ) -> Result<Gathered, Trouble> {
        let mut gathered = Gathered::default();
        if config.needs_body() {
            let body = self.ctx.bus().fetch(&envelope.body, body.clone()).await?;
            gathered.params = serde_json::from_slice(&body).ok();
        }
        if let Some(through) = &envelope.passthrough {
            let path = through.path_and_query.split('?').next().unwrap_or_default();
            gathered.path = Some(format!("{}{path}", envelope.operation.http_path()));
        }
        if config.needs_metadata() {
            gathered.metadata = envelope.metadata.as_deref().and_then(|text| serde_json::from_str(text).ok());
        }
        Ok(gathered)
    }
}

/// The models that requests can be sent to: those of providers that settings name.
pub(crate) struct Reachable<'r> {
    registry: &'r Registry,
    known: models::View<'r>,
}

impl<'r> Reachable<'r> {
    pub(crate) fn new(registry: &'r Registry) -> Self {
        Self { registry, known: models::View::new(registry) }
    }
}

impl Models for Reachable<'_> {
    fn find(&self, provider: &str, model: &str) -> Option<&ModelInfo> {
        self.known.find(provider, model)
    }

    fn price_of(&self, provider: &str, model: &str) -> Option<&Price> {
        self.known.price_of(provider, model)
    }

    fn all(&self) -> Box<dyn Iterator<Item = &ModelInfo> + '_> {
        Box::new(self.known.all().filter(|model| self.registry.providers.contains_key(&model.provider)))
    }
}

impl Gathered {
    /// The facts of a request.
    pub(crate) fn facts<'a>(&'a self, envelope: &'a Envelope) -> RequestFacts<'a> {
        RequestFacts {
            operation: envelope.operation,
            lane: envelope.lane,
            path: self.path.as_deref().unwrap_or(envelope.operation.http_path()),
            model: envelope.model.as_deref(),
            params: self.params.as_ref(),
            body_bytes: envelope.body.size(),
            metadata: self.metadata.as_ref(),
            headers: &envelope.seen,
            key_id: envelope.key.as_ref().map(domain::Slug::as_str),
            accepted_at: envelope.accepted_at,
        }
    }
}
