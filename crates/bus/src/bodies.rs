//! Bodies that are too large for a message.

use bytes::Bytes;
use domain::{BodyRef, RequestId};
use tokio::io::AsyncReadExt as _;

use crate::{Bus, subject};

/// Why a body could not be stored or fetched.
#[derive(Debug, thiserror::Error)]
#[error("could not {verb} body {object}: {reason}")]
pub struct BodyError {
    verb: &'static str,
    object: String,
    reason: String,
}

impl Bus {
    /// Decides where a body goes and puts it there. Returns the reference and the bytes for the message (empty when stored).
    pub async fn stow(
        &self,
        request: &RequestId,
        part: &str,
        body: Bytes,
    ) -> Result<(BodyRef, Bytes), BodyError> {
        if body.len() <= self.options().inline_body {
            return Ok((BodyRef::Inline { size: body.len() }, body));
        }
        let object = format!("{request}.{part}");
        let failed = |reason: String| BodyError { verb: "store", object: object.clone(), reason };
        let store =
            self.js.get_object_store(subject::BODY_BUCKET).await.map_err(|err| failed(err.to_string()))?;
        let size = body.len();
        store.put(object.as_str(), &mut body.as_ref()).await.map_err(|err| failed(err.to_string()))?;
        Ok((BodyRef::Stored { object, size }, Bytes::new()))
    }

    /// The bytes of a body; `inline` are those that came with the message.
    pub async fn fetch(&self, body: &BodyRef, inline: Bytes) -> Result<Bytes, BodyError> {
        let BodyRef::Stored { object, size } = body else { return Ok(inline) };
        let failed = |reason: String| BodyError { verb: "fetch", object: object.clone(), reason };
        let store =
            self.js.get_object_store(subject::BODY_BUCKET).await.map_err(|err| failed(err.to_string()))?;
        let mut reader = store.get(object.as_str()).await.map_err(|err| failed(err.to_string()))?;
        let mut bytes = Vec::with_capacity(*size);
        reader.read_to_end(&mut bytes).await.map_err(|err| failed(err.to_string()))?;
        if bytes.len() != *size {
            return Err(failed(format!("{} of {size} bytes", bytes.len())));
        }
        Ok(Bytes::from(bytes))
    }

    /// Forgets a body that nobody needs any more. Best effort: the bucket forgets by age as well.
    pub async fn discard(&self, body: &BodyRef) {
        let BodyRef::Stored { object, .. } = body else { return };
        if let Ok(store) = self.js.get_object_store(subject::BODY_BUCKET).await
            && let Err(err) = store.delete(object.as_str()).await
        {
            tracing::debug!(%err, object, "could not delete a body");
        }
    }
}
