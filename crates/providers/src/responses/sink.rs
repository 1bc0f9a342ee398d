//! Where the dialect's events go.

use serde_json::Value;

/// Events as they are written, numbered; or nothing where a whole answer is made.
#[derive(Debug)]
pub(super) struct Sink {
    bytes: Vec<u8>,
    sequence: u64,
    quiet: bool,
}

impl Sink {
    pub(super) fn new(quiet: bool) -> Self {
        Self { bytes: Vec::new(), sequence: 0, quiet }
    }

    /// Writes an event of that type; `fields` makes the object of its fields.
    pub(super) fn emit(&mut self, kind: &str, fields: impl FnOnce() -> Value) {
        self.emit_members(kind, || {
            let object = fields().to_string();
            // Objects are written within braces and in one line.
            object[1..object.len() - 1].to_owned()
        });
    }

    /// Writes an event whose fields are JSON text in one line, without the braces around them.
    pub(super) fn emit_members(&mut self, kind: &str, members: impl FnOnce() -> String) {
        if !self.quiet {
            self.bytes.extend_from_slice(&event(kind, self.sequence, &members()));
            self.sequence += 1;
        }
    }

    /// Takes what was written since the last time.
    pub(super) fn take(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.bytes);
    }
}

/// One event. `members`: its further fields as JSON text in one line.
pub(super) fn event(kind: &str, sequence: u64, members: &str) -> Vec<u8> {
    format!("event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":{sequence},{members}}}\n\n")
        .into_bytes()
}
