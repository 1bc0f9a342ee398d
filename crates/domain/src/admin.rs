//! Questions to the admin API, as they travel from the gateway that took them to the role that answers.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::RequestId;
use crate::envelope::{Malformed, frame, unframe};
use crate::policy::Identity;

/// Largest body of a question, in bytes: it has to fit into one message.
pub const BODY_LIMIT: usize = 512 * 1024;

/// Everything of a question but its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// HTTP method.
    pub method: String,
    /// Path, as in `/v1/configs`.
    pub path: String,
    /// What follows the path's `?`, as it came.
    #[serde(default)]
    pub query: String,
    /// The headers that matter, names in lower case.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Whose question it is.
    pub identity: Identity,
    /// The same under the cluster's secret, if there is one; good for [`Request::purpose`].
    #[serde(default)]
    pub proof: Option<String>,
    /// The caller's address.
    #[serde(default)]
    pub ip: Option<String>,
    /// Names the question.
    pub request_id: RequestId,
}

impl Request {
    /// What the identity's proof is good for.
    pub fn purpose(&self) -> String {
        format!("admin:{} {}", self.method, self.path)
    }
}

/// Everything of an answer but its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers, the content type included.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// The body of a refusal, in both of Portkey's shapes at once.
pub fn refusal(status: u16, kind: &str, message: &str, param: Option<&str>) -> Value {
    let code = match status {
        401 => "AB05",
        403 => "AB03",
        404 => "AB02",
        409 | 412 => "AB07",
        400..=499 => "AB01",
        _ => "AB04",
    };
    json!({
        "success": false,
        "data": { "message": message },
        "error": { "code": code, "message": message, "param": param, "type": kind },
    })
}

/// One message: the head's length in four bytes, the head as JSON, the body.
pub fn encode(head: &impl Serialize, body: &[u8]) -> Bytes {
    frame(head, &[body])
}

/// Takes a message apart into head and body.
pub fn decode<T: DeserializeOwned>(message: &Bytes) -> Result<(T, Bytes), Malformed> {
    unframe(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_apart_as_they_were_put_together() {
        let head = Reply { status: 200, headers: BTreeMap::from([("etag".to_owned(), "\"7\"".to_owned())]) };
        let message = encode(&head, b"body");
        assert_eq!(decode::<Reply>(&message), Ok((head, Bytes::from_static(b"body"))));
        for bad in [&b""[..], b"\0\0\0\xff{}", b"\0\0\0\x02{}x"] {
            assert!(decode::<Reply>(&Bytes::from_static(bad)).is_err());
        }
    }
}
