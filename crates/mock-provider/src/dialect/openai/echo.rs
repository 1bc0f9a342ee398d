//! Every other path below `/v1`: says what arrived, so that it can be seen whether it was passed through.

use domain::ApiError;
use serde_json::{Value, json};

use super::{OpenAi, sha256};
use crate::endpoint::{Asked, Endpoint, Manner, Received, Understood};
use crate::multipart::Form;
use crate::stream::Made;

/// Any method and path.
pub(crate) struct Echo;

impl Endpoint for Echo {
    fn manner(&self) -> &'static dyn Manner {
        &OpenAi
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        let body: Value = serde_json::from_slice(received.bytes).unwrap_or_default();
        let form = Form::read(received).ok();
        let model = body["model"].as_str().or(form.as_ref().and_then(|form| form.text("model")));
        let model = model.or_else(|| received.header("x-mock-model")).unwrap_or_default().to_owned();
        let ask = move || {
            let uri = &received.parts.uri;
            let answer = json!({
                "object": "mock.echo",
                "method": received.parts.method.as_str(),
                "path": uri.path(),
                "query": uri.query(),
                "content_type": received.header("content-type"),
                "body_bytes": received.bytes.len(),
                "body_sha256": sha256(received.bytes),
                "body": body,
            });
            Ok(Asked::whole(0, move |_| Made::json(&answer)))
        };
        Ok(Understood { model: model.into(), ask: Box::new(ask) })
    }
}
