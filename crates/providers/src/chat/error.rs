//! What a provider says went wrong.

/// A provider's error, whatever its format.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderError {
    /// What it says. May quote the request, so it goes to the caller and on no record.
    pub message: String,
    /// Its family of errors (`invalid_request_error`, `RESOURCE_EXHAUSTED`, `ThrottlingException`).
    pub kind: Option<String>,
    /// A finer word or number.
    pub code: Option<String>,
    /// The field that was wrong.
    pub param: Option<String>,
    /// The provider's name for the request, where the body says so.
    pub request_id: Option<String>,
    /// The status that belongs to it, where it came in a stream and says so.
    pub status: Option<u16>,
}
