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

/// Most of a body of no known shape that is quoted, in bytes.
const QUOTED: usize = 4096;

impl ProviderError {
    /// The error of a body of no known shape: it quotes the beginning.
    pub fn quoting(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&body[..body.len().min(QUOTED)]);
        Self { message: text.trim().to_owned(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_known_shape_is_quoted_up_to_a_limit() {
        assert_eq!(ProviderError::quoting(b"<html>bad gateway\n").message, "<html>bad gateway");
        assert_eq!(ProviderError::quoting(b"\xffx").message, "\u{fffd}x");
        assert_eq!(ProviderError::quoting(&[b'x'; 2 * QUOTED]).message.len(), QUOTED);
    }
}
