//! Bodies that are too large for a message.

use std::time::Duration;

use async_nats::jetstream::object_store::{GetErrorKind, InfoErrorKind};
use bytes::Bytes;
use domain::{BodyRef, RequestId};
use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;

use crate::state::ReadError;
use crate::{Bus, subject};

/// Why a body could not be stored or fetched.
#[derive(Debug, thiserror::Error)]
#[error("could not {verb} body {object}: {reason}")]
pub struct BodyError {
    verb: &'static str,
    object: String,
    reason: String,
    gone: bool,
}

impl BodyError {
    /// Whether there is no such body, or not any more.
    pub fn is_gone(&self) -> bool {
        self.gone
    }
}

/// How long a body is asked for again while the broker is away or has no leader for it.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("it does not exist (any more)")]
    Gone,
    #[error("{0}")]
    Passing(String),
}

impl Trouble {
    fn is_final(&self) -> bool {
        matches!(self, Self::Gone)
    }
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
        self.stow_in(subject::BODY_BUCKET, format!("{request}.{part}"), body).await
    }

    /// Puts a body under that name into a bucket.
    pub(crate) async fn stow_in(
        &self,
        bucket: &str,
        object: String,
        body: Bytes,
    ) -> Result<(BodyRef, Bytes), BodyError> {
        let failed =
            |reason: String| BodyError { verb: "store", object: object.clone(), reason, gone: false };
        let store = self.js.get_object_store(bucket).await.map_err(|err| failed(err.to_string()))?;
        let size = body.len();
        store.put(object.as_str(), &mut body.as_ref()).await.map_err(|err| failed(err.to_string()))?;
        Ok((BodyRef::Stored { object, size }, Bytes::new()))
    }

    /// The bytes of a body; `inline` are those that came with the message. Rides out a broker that is away for a while.
    pub async fn fetch(&self, body: &BodyRef, inline: Bytes) -> Result<Bytes, BodyError> {
        self.fetch_from(subject::BODY_BUCKET, body, inline).await
    }

    /// The same from another bucket.
    pub(crate) async fn fetch_from(
        &self,
        bucket: &str,
        body: &BodyRef,
        inline: Bytes,
    ) -> Result<Bytes, BodyError> {
        let BodyRef::Stored { object, size } = body else { return Ok(inline) };
        let until = Instant::now() + PATIENCE;
        loop {
            match self.fetch_once(bucket, object, *size).await {
                Ok(bytes) => return Ok(bytes),
                Err(reason) if Instant::now() >= until || reason.is_final() => {
                    let (reason, gone) = (reason.to_string(), reason.is_final());
                    return Err(BodyError { verb: "fetch", object: object.clone(), reason, gone });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
            self.wait_up().await;
        }
    }

    /// Whether a body is stored under that name.
    pub(crate) async fn is_stowed(&self, object: &str) -> Result<bool, ReadError> {
        let store = self.js.get_object_store(subject::BODY_BUCKET).await;
        let store = store.map_err(|err| ReadError::new(subject::BODY_BUCKET, err))?;
        match store.info(object).await {
            Ok(info) => Ok(!info.deleted),
            Err(err) if err.kind() == InfoErrorKind::NotFound => Ok(false),
            Err(err) => Err(ReadError::new(object, err)),
        }
    }

    async fn fetch_once(&self, bucket: &str, object: &str, size: usize) -> Result<Bytes, Trouble> {
        let passing = |err: &dyn std::error::Error| Trouble::Passing(err.to_string());
        let store = self.js.get_object_store(bucket).await.map_err(|err| passing(&err))?;
        let mut reader = match store.get(object).await {
            Ok(reader) => reader,
            Err(err) if err.kind() == GetErrorKind::NotFound => return Err(Trouble::Gone),
            Err(err) => return Err(passing(&err)),
        };
        let mut bytes = Vec::with_capacity(size);
        reader.read_to_end(&mut bytes).await.map_err(|err| passing(&err))?;
        match bytes.len() == size {
            true => Ok(Bytes::from(bytes)),
            false => Err(Trouble::Passing(format!("{} of {size} bytes", bytes.len()))),
        }
    }

    /// Forgets a body that nobody needs any more. Best effort: the bucket forgets by age as well.
    pub async fn discard(&self, body: &BodyRef) {
        self.discard_from(subject::BODY_BUCKET, body).await;
    }

    /// The same in another bucket.
    pub(crate) async fn discard_from(&self, bucket: &str, body: &BodyRef) {
        let BodyRef::Stored { object, .. } = body else { return };
        if let Ok(store) = self.js.get_object_store(bucket).await
            && let Err(err) = store.delete(object.as_str()).await
        {
            tracing::debug!(%err, object, "could not delete a body");
        }
    }
}
