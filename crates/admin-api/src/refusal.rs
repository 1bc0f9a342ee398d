//! Errors as administrators see them: both of Portkey's shapes in one body.

use serde_json::Value;

/// Why a question was not answered as wished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) message: String,
    pub(crate) param: Option<String>,
    /// A stable word, where the status alone does not tell.
    pub(crate) kind: &'static str,
}

impl Refusal {
    fn new(status: u16, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None, kind }
    }

    /// A field that cannot be taken. The message says what to write instead.
    pub(crate) fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self { param: Some(param.to_owned()), ..Self::new(400, "invalid_request_error", message) }
    }

    pub(crate) fn not_found(what: &str, id: &str) -> Self {
        let id: String = id.chars().take(100).collect();
        Self::new(404, "not_found", format!("there is no {what} `{id}` in this workspace"))
    }

    pub(crate) fn no_route(message: String) -> Self {
        Self::new(404, "unknown_path", message)
    }

    pub(crate) fn method(message: String) -> Self {
        Self::new(405, "method_not_allowed", message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(403, "permission_error", message)
    }

    pub(crate) fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(401, "authentication_error", message)
    }

    /// Something is there already, or is in a state that does not allow this.
    pub(crate) fn conflict(param: &str, message: impl Into<String>) -> Self {
        Self { param: Some(param.to_owned()), ..Self::new(409, "conflict", message) }
    }

    /// `If-Match` names another revision than the one there.
    pub(crate) fn stale(wanted: u64, found: u64) -> Self {
        let message = format!(
            "header `If-Match` names revision {wanted}, but the entity is at {found}: read it again, then change it"
        );
        Self { param: Some("If-Match".to_owned()), ..Self::new(412, "precondition_failed", message) }
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(413, "too_large", message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "unavailable", message)
    }

    pub(crate) fn body(&self) -> Value {
        domain::admin::refusal(self.status, self.kind, &self.message, self.param.as_deref())
    }
}
