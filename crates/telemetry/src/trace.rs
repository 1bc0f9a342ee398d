//! W3C trace context, as it travels in headers.

use std::fmt;

use opentelemetry::trace::{SpanId, TraceFlags, TraceId};

/// Position in a trace: which trace, which span, and whether it is recorded.
///
/// Source: W3C Trace Context, version 00 of the `traceparent` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace: TraceId,
    span: SpanId,
    flags: TraceFlags,
}

impl TraceContext {
    /// Reads a `traceparent` header. None: malformed, which by the standard means to start anew.
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let sizes = (version.len(), trace.len(), span.len(), flags.len());
        if sizes != (2, 32, 16, 2) || version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        let context = Self {
            trace: TraceId::from_hex(trace).ok()?,
            span: SpanId::from_hex(span).ok()?,
            flags: TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        };
        (context.trace != TraceId::INVALID && context.span != SpanId::INVALID).then_some(context)
    }

    /// A new trace.
    pub fn start() -> Self {
        Self {
            trace: TraceId::from_bytes(rand::random::<u128>().max(1).to_be_bytes()),
            span: SpanId::from_bytes(rand::random::<u64>().max(1).to_be_bytes()),
            flags: TraceFlags::SAMPLED,
        }
    }

    /// The next span of the same trace.
    #[must_use]
    pub fn child(self) -> Self {
        Self { span: SpanId::from_bytes(rand::random::<u64>().max(1).to_be_bytes()), ..self }
    }

    /// The trace of a header's next hop: a child if there is a trace, else a new one.
    pub fn next_hop(header: Option<&str>) -> Self {
        header.and_then(Self::parse).map_or_else(Self::start, Self::child)
    }

    /// The trace's id in hexadecimal.
    pub fn trace_id(&self) -> String {
        self.trace.to_string()
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, self.flags.to_u8())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_keeps_the_trace_and_changes_the_span() {
        let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parent = TraceContext::parse(header).unwrap();
        assert_eq!(parent.to_string(), header);
        let child = parent.child();
        assert_eq!(child.trace_id(), parent.trace_id());
        assert_ne!(child.to_string(), parent.to_string());
    }

    #[test]
    fn malformed_headers_start_a_new_trace() {
        let zero = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        for bad in ["", "00-abc", zero, "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
    }
}
