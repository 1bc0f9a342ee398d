//! A model that runs here: threads of its own, each with a session, fed by one queue.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use anyhow::Context as _;
use ort::environment::Environment;
use tokio::sync::{oneshot, watch};
use tracing::{info, warn};

use crate::embed::files::Files;
use crate::embed::model::Session;
use crate::embed::options::{Options, Source};
use crate::embed::queue::{Queue, Turned};
use crate::embed::{How, Model, Refused, State, Vector, hub, library, surely_too_long};

/// The handle's side. Its end is the end of the threads.
pub(super) struct Local(Arc<Shared>);

/// What the handle and the threads share.
struct Shared {
    options: Options,
    state: watch::Sender<State>,
    queue: Queue<Job>,
}

struct Job {
    text: String,
    reply: oneshot::Sender<Result<Vector, Refused>>,
}

/// What the first thread found, for the others.
struct Loaded {
    files: Files,
    environment: Environment,
    digest: Arc<str>,
}

impl Drop for Local {
    fn drop(&mut self) {
        self.0.queue.close();
    }
}

impl Local {
    pub(super) fn new(options: Options) -> Self {
        let (state, queue) = (watch::Sender::new(State::Idle), Queue::new(options.queue));
        Self(Arc::new(Shared { options, state, queue }))
    }

    pub(super) fn states(&self) -> watch::Receiver<State> {
        self.0.state.subscribe()
    }

    /// Starts loading, unless that was done before.
    pub(super) fn load(&self) {
        let first = self.0.state.send_if_modified(|state| {
            let idle = *state == State::Idle;
            if idle {
                *state = State::Loading;
            }
            idle
        });
        if first {
            self.0.spawn(1, first_thread);
        }
    }

    pub(super) async fn embed(&self, text: &str, how: How) -> Result<Vector, Refused> {
        if surely_too_long(text, self.0.options.max_tokens) {
            return Err(Refused::TooLong);
        }
        self.load();
        let state = self.0.state.borrow().clone();
        match (state, how) {
            (State::Off(reason), _) => return Err(Refused::Off(reason)),
            (State::Idle | State::Loading, How::Try) => return Err(Refused::Loading),
            _ => {}
        }
        let (reply, answer) = oneshot::channel();
        let job = Job { text: text.to_owned(), reply };
        let taken = match how {
            How::Try => self.0.queue.offer(job),
            How::Wait => self.0.queue.push(job).await,
        };
        match taken {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(self.0.gone())),
            Err(Turned::Full) => Err(Refused::Busy),
            Err(Turned::Closed) => Err(self.0.gone()),
        }
    }
}

impl Shared {
    /// Starts a thread. What it fails with, a panic included, takes embedding off and nothing else.
    fn spawn(
        self: &Arc<Self>,
        number: usize,
        work: impl FnOnce(&Arc<Self>) -> anyhow::Result<()> + Send + 'static,
    ) {
        let shared = self.clone();
        let started = std::thread::Builder::new().name(format!("embed-{number}")).spawn(move || {
            match catch_unwind(AssertUnwindSafe(|| work(&shared))) {
                Ok(Ok(())) => {}
                Ok(Err(err)) => shared.off(&format!("{err:#}")),
                Err(panic) => shared.off(&format!("a thread panicked: {}", message(&*panic))),
            }
        });
        if let Err(err) = started {
            self.off(&format!("start a thread: {err}"));
        }
    }

    /// Ends embedding, with one warning however many threads fail.
    fn off(&self, reason: &str) {
        let first = self.state.send_if_modified(|state| {
            let first = !matches!(state, State::Off(_));
            if first {
                *state = State::Off(reason.into());
            }
            first
        });
        self.queue.close();
        if first {
            warn!(
                reason,
                "embedding is off until a restart: only requests that are exactly the same are answered from the cache"
            );
        }
    }

    /// Why a text was dropped.
    fn gone(&self) -> Refused {
        match &*self.state.borrow() {
            State::Off(reason) => Refused::Off(reason.clone()),
            _ => Refused::Off("it is being stopped".into()),
        }
    }

    fn files(&self) -> anyhow::Result<Files> {
        match &self.options.source {
            Source::Folder { path, pooling } => Files::in_folder(path, *pooling),
            Source::Hub { name, folder, mirror } => hub::fetch(name, folder, mirror.as_deref()),
            Source::Endpoint(_) => unreachable!("an endpoint has no threads here"),
        }
    }

    /// Embeds what comes until the queue is closed.
    fn serve(&self, digest: &Arc<str>, mut embed: impl FnMut(&str) -> Result<Vec<f32>, Refused>) {
        while let Some(job) = self.queue.take() {
            // Its caller may have gone away meanwhile.
            if job.reply.is_closed() {
                continue;
            }
            let vector = embed(&job.text).map(|values| Vector { values, model: digest.clone() });
            let _ = job.reply.send(vector);
        }
    }
}

/// Loads the model, starts the other threads, and then is one of them.
fn first_thread(shared: &Arc<Shared>) -> anyhow::Result<()> {
    let files = shared.files()?;
    let environment = library::environment(&shared.options.library)?;
    let digest = files.digest(shared.options.max_tokens)?;
    let mut session = Session::load(&files, environment.clone(), shared.options.max_tokens)?;
    let probe =
        session.embed("ready").map_err(|err| anyhow::anyhow!(err)).context("try the embedding model")?;
    let model = Model { digest: digest.clone(), dimensions: probe.len() };
    info!(model = %files.onnx.display(), %digest, dimensions = model.dimensions, "the embedding model is loaded");
    let loaded = Arc::new(Loaded { files, environment, digest: digest.clone() });
    shared.state.send_replace(State::Ready(model));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    for number in 2..=shared.options.threads.min(cores) {
        let loaded = loaded.clone();
        shared.spawn(number, move |shared| next_thread(shared, &loaded));
    }
    drop(loaded);
    shared.serve(&digest, |text| session.embed(text));
    Ok(())
}

fn next_thread(shared: &Arc<Shared>, loaded: &Loaded) -> anyhow::Result<()> {
    let environment = loaded.environment.clone();
    let mut session = Session::load(&loaded.files, environment, shared.options.max_tokens)?;
    shared.serve(&loaded.digest, |text| session.embed(text));
    Ok(())
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_nobody_waits_for_is_skipped_and_the_end_of_the_handle_ends_the_thread() {
        let source = Source::Folder { path: "nowhere".into(), pooling: None };
        let local = Local::new(Options::new(source, Arc::new(|| panic!("not asked for"))));
        let job = |text: &str| {
            let (reply, answer) = oneshot::channel();
            local.0.queue.offer(Job { text: text.to_owned(), reply }).unwrap();
            answer
        };
        drop(job("gone"));
        let kept = job("kept");
        drop(job("gone as well"));
        let last = job("last");
        let shared = local.0.clone();
        let thread = std::thread::spawn(move || {
            let mut embedded = Vec::new();
            shared.serve(&"model".into(), |text| {
                embedded.push(text.to_owned());
                if text == "last" { Err(Refused::TooLong) } else { Ok(vec![1.0]) }
            });
            embedded
        });
        assert_eq!(kept.await.unwrap(), Ok(Vector { values: vec![1.0], model: "model".into() }));
        assert_eq!(last.await.unwrap(), Err(Refused::TooLong));
        drop(local);
        assert_eq!(thread.join().unwrap(), ["kept", "last"]);
    }
}
