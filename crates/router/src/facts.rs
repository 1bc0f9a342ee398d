//! What a decision has to know of a request: read only where the config asks for it.

use bytes::Bytes;
use domain::{Config, Envelope, RequestFacts};
use serde_json::{Map, Value};

use crate::act::{Router, Trouble};

/// What a decision looks at besides the envelope's own fields.
#[derive(Default)]
pub(crate) struct Gathered {
    params: Option<Value>,
    metadata: Option<Map<String, Value>>,
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
        if config.needs_metadata() {
            gathered.metadata = envelope.metadata.as_deref().and_then(|text| serde_json::from_str(text).ok());
        }
        Ok(gathered)
    }
}

impl Gathered {
    /// The facts of a request.
    pub(crate) fn facts<'a>(&'a self, envelope: &'a Envelope) -> RequestFacts<'a> {
        RequestFacts {
            operation: envelope.operation,
            lane: envelope.lane,
            path: envelope.operation.http_path(),
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
