//! One call from its request to its end, whoever ends it.

use std::sync::Arc;

use http::StatusCode;

use crate::bill::RowId;
use crate::log::What;
use crate::server::State;

/// Keeps the bill and the log of a call. Dropped before its end, it says that the caller has gone: the server
/// drops whatever answers a connection that was closed.
pub(crate) struct Call {
    state: Arc<State>,
    row: RowId,
    attempt_id: Option<Arc<str>>,
    model: Arc<str>,
    logged: bool,
    ended: bool,
}

impl Call {
    /// Opens the row on the bill.
    pub(crate) fn start(state: &Arc<State>, attempt_id: Option<Arc<str>>, model: &str, logged: bool) -> Self {
        let model = Arc::from(model);
        let row = state.bill.open(attempt_id.clone(), &model);
        let call = Self { state: Arc::clone(state), row, attempt_id, model, logged, ended: false };
        call.record(What::Started, None);
        call
    }

    /// Whether the log wants to know each step.
    pub(crate) fn is_logged(&self) -> bool {
        self.logged
    }

    /// Headers leave now.
    pub(crate) fn answered(&self, status: StatusCode, input_tokens: u64, output_tokens: u64) {
        self.state.bill.answer(self.row, &self.model, status.as_u16(), input_tokens, output_tokens);
        self.record(What::FirstByte, None);
    }

    /// A chunk leaves now.
    pub(crate) fn sent(&self, chunk: usize, output_tokens: u64) {
        self.state.bill.generate(self.row, &self.model, output_tokens);
        self.record(What::Chunk, Some(chunk));
    }

    /// The answer is complete.
    pub(crate) fn finished(&mut self) {
        self.end(What::Finished);
    }

    /// The script cuts the connection.
    pub(crate) fn aborted(&mut self) {
        self.end(What::Aborted);
    }

    fn end(&mut self, what: What) {
        if !std::mem::replace(&mut self.ended, true) {
            self.record(what, None);
        }
    }

    fn record(&self, what: What, chunk: Option<usize>) {
        if self.logged {
            self.state.log.record(self.attempt_id.clone(), Arc::clone(&self.model), what, chunk);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let shutdown = self.state.shutdown.is_cancelled();
        self.end(if shutdown { What::Aborted } else { What::ClientDisconnected });
    }
}
