//! Bodies of HTTP requests and answers.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use domain::{ApiError, Operation, form};
use futures::stream::{BoxStream, Stream as _};
use http::HeaderMap;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};

/// The body of an answer.
pub(crate) enum Body {
    /// All of it.
    Whole(Bytes),
    /// Piece by piece, each sent as it comes.
    Pieces(BoxStream<'static, Bytes>),
    /// Piece by piece; an error breaks the connection off.
    Fallible(BoxStream<'static, io::Result<Bytes>>),
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Pieces(pieces) => {
                Pin::new(pieces).poll_next(cx).map(|piece| piece.map(|b| Ok(Frame::data(b))))
            }
            Self::Fallible(pieces) => {
                Pin::new(pieces).poll_next(cx).map(|piece| piece.map(|b| b.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Pieces(_) | Self::Fallible(_) => SizeHint::default(),
        }
    }
}

/// Bytes and time spent on reading what is refused anyway: a client that is still sending would not see the answer.
const DISCARD: (usize, Duration) = (256 * 1024 * 1024, Duration::from_secs(5));

/// Reads a request's body, at most `limit` bytes of it.
pub(crate) async fn read(headers: &HeaderMap, mut body: Incoming, limit: usize) -> Result<Bytes, ApiError> {
    if body.size_hint().lower() > limit as u64 {
        // A client that asks first has not sent anything.
        if !headers.contains_key(http::header::EXPECT) {
            discard(body).await;
        }
        return Err(too_large(limit));
    }
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|err| {
            ApiError::new(400, "incomplete_body", format!("the request's body broke off: {err}"))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + all.len() + data.len() > limit {
            discard(body).await;
            return Err(too_large(limit));
        }
        if first.is_empty() && all.is_empty() {
            // A body that comes in one piece is never copied.
            first = data;
            continue;
        }
        if all.is_empty() {
            let expected = usize::try_from(body.size_hint().lower()).unwrap_or(0).min(limit);
            all.reserve(first.len() + data.len() + expected);
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

fn too_large(limit: usize) -> ApiError {
    let message =
        format!("the body is larger than {limit} bytes; send less, or raise the setting `http.body_limit`");
    ApiError::new(413, "body_too_large", message)
}

async fn discard(mut body: Incoming) {
    let rest = async {
        let mut left = DISCARD.0;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(DISCARD.1, rest).await;
}

/// The media type of a body. None: JSON. Refuses what the operation does not take.
pub(crate) fn media_type(operation: Operation, headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let header = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    if let Some(encoding) =
        header(http::header::CONTENT_ENCODING).filter(|e| !e.eq_ignore_ascii_case("identity"))
    {
        let message =
            format!("header `Content-Encoding`: `{encoding}` is not understood; send the body uncompressed");
        return Err(ApiError::new(415, "unsupported_encoding", message).with_param("Content-Encoding"));
    }
    let Some(value) = headers.get(http::header::CONTENT_TYPE) else { return Ok(None) };
    let media = String::from_utf8_lossy(value.as_bytes()).into_owned();
    if domain::headers::is_json(&media) {
        return Ok(None);
    }
    if operation == Operation::Passthrough || (operation.is_form() && form::is_form(&media)) {
        return Ok(Some(media));
    }
    let essence = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let wanted = if operation.is_form() { "multipart/form-data" } else { "application/json" };
    let message = format!("header `Content-Type`: `{essence}` is not understood; send `{wanted}`");
    let refusal = ApiError::bad_request("Content-Type", "unsupported_media_type", message);
    Err(refusal.in_portkeys_words("Invalid content type passed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &'static str, value: &'static str, expected: Option<u16>) {
        let name = http::HeaderName::from_static(name);
        let headers = HeaderMap::from_iter([(name, http::HeaderValue::from_static(value))]);
        assert_eq!(media_type(Operation::Chat, &headers).err().map(|err| err.status), expected, "{value}");
    }

    #[test]
    fn forms_and_other_bodies_are_for_those_who_take_them() {
        let of = |value: &'static str| {
            HeaderMap::from_iter([(http::header::CONTENT_TYPE, http::HeaderValue::from_static(value))])
        };
        let form = "Multipart/form-data; boundary=aB";
        assert_eq!(media_type(Operation::Transcriptions, &of(form)), Ok(Some(form.to_owned())));
        assert_eq!(media_type(Operation::Transcriptions, &of("application/json")), Ok(None));
        assert!(
            media_type(Operation::Transcriptions, &of("text/plain"))
                .unwrap_err()
                .message
                .contains("multipart")
        );
        assert_eq!(media_type(Operation::Passthrough, &of("text/csv")), Ok(Some("text/csv".to_owned())));
    }

    #[test]
    fn only_json_is_taken() {
        assert_eq!(media_type(Operation::Chat, &HeaderMap::new()), Ok(None));
        check("content-type", "application/json", None);
        check("content-type", "Application/JSON; charset=utf-8", None);
        check("content-type", "application/problem+json", Some(400));
        check("content-type", "application/x-www-form-urlencoded", Some(400));
        check("content-type", "multipart/form-data; boundary=x", Some(400));
        check("content-encoding", "gzip", Some(415));
        check("content-encoding", "identity", None);
    }

    #[test]
    fn the_limit_and_its_setting_are_named() {
        let err = too_large(1024);
        assert_eq!(err.status, 413);
        assert!(err.message.contains("1024") && err.message.contains("http.body_limit"), "{}", err.message);
    }
}
