//! The load: asynchronous publishes and synchronous HTTP requests, and what was promised to whom.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use domain::{Lane, Operation, Timestamp, headers};
use futures::StreamExt as _;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::now;
use super::shape::{SHAPES, Shape};

/// How long a client waits for an answer before it says that the gateway is silent.
const SILENCE: Duration = Duration::from_secs(45);
/// How long a publish is offered again before the broker counts as gone for good.
const OFFER: Duration = Duration::from_secs(60);

/// What became of an HTTP request, as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A whole answer with this status.
    Answer(u16),
    /// A stream that ended in an error event.
    ErrorEvent,
    /// No connection, or one that broke.
    Disconnected(String),
    /// A stream that ended without `[DONE]` and without an error.
    CutShort,
    /// Nothing for longer than anybody waits.
    Silence,
}

/// One request that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its id.
    pub id: String,
    /// What was asked.
    pub shape: Shape,
    /// When sending began.
    pub from: Timestamp,
    /// When the client knew what became of it.
    pub to: Timestamp,
    /// The broker or the gateway has said that it is kept.
    pub accepted: bool,
    /// How often it was offered.
    pub offers: u32,
    /// Over HTTP: what the client saw.
    pub seen: Option<Seen>,
}

/// Load that runs until told to stop.
pub struct Load {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
    sent: Arc<Mutex<Vec<Sent>>>,
}

/// How much load.
#[derive(Clone, Copy, Debug)]
pub struct Volume {
    /// Producers on the broker.
    pub producers: usize,
    /// HTTP clients.
    pub clients: usize,
    /// Mean pause of a producer between two publishes.
    pub pause: Duration,
}

impl Default for Volume {
    fn default() -> Self {
        Self { producers: 3, clients: 3, pause: Duration::from_millis(60) }
    }
}

impl Load {
    /// Starts the load. Ids begin with `prefix`; the seed decides what is asked in which order.
    pub async fn start(prefix: &str, seed: u64, nats: &str, http: &str, volume: Volume) -> Self {
        let (stop, stopped) = watch::channel(false);
        let sent = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        for n in 0..volume.producers {
            let mut worker = Worker::new(format!("{prefix}-p{n}"), seed ^ n as u64, stopped.clone(), &sent);
            let js = connect(nats).await;
            tasks.spawn(async move { worker.produce(&js, volume.pause).await });
        }
        for n in 0..volume.clients {
            let mut worker =
                Worker::new(format!("{prefix}-h{n}"), seed ^ (0x100 + n as u64), stopped.clone(), &sent);
            let url = format!("{http}/v1/chat/completions");
            tasks.spawn(async move { worker.ask(&url).await });
        }
        Self { tasks, stop, sent }
    }

    /// How many requests have been sent so far.
    pub fn count(&self) -> usize {
        self.sent.lock().len()
    }

    /// Lets every client finish what it has begun, and returns what was sent.
    pub async fn stop(mut self) -> Vec<Sent> {
        let _ = self.stop.send(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a client does not panic");
        }
        let sent = self.sent.lock();
        sent.clone()
    }
}

/// JetStream over a connection that outlives the broker.
pub async fn connect(nats: &str) -> jetstream::Context {
    let options = async_nats::ConnectOptions::new()
        .retry_on_initial_connect()
        .reconnect_delay_callback(|_| Duration::from_millis(100));
    let client = options.connect(nats).await.expect("a connection that is made in the background");
    jetstream::context::ContextBuilder::new().timeout(Duration::from_secs(2)).build(client)
}

/// Publishes a request until the broker confirms it. Returns the number of offers, None when it never did.
pub async fn publish(js: &jetstream::Context, id: &str, shape: &Shape) -> Option<u32> {
    let mut fields = async_nats::HeaderMap::new();
    fields.insert(headers::REQUEST_ID, id);
    if let Some(config) = shape.config_header() {
        fields.insert(headers::CONFIG, config.as_str());
    }
    let subject = bus::subject::request(Operation::Chat, Lane::Normal);
    let body = bytes::Bytes::from(shape.body(id).to_string());
    let until = tokio::time::Instant::now() + OFFER;
    for offers in 1.. {
        let offered = async {
            let ack = js.publish_with_headers(subject.clone(), fields.clone(), body.clone()).await.ok()?;
            ack.await.ok()
        };
        // An acknowledgement that got lost leaves it open whether the broker has the request.
        if tokio::time::timeout(Duration::from_secs(2), offered).await.ok().flatten().is_some() {
            return Some(offers);
        }
        if tokio::time::Instant::now() > until {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    None
}

struct Worker {
    name: String,
    random: StdRng,
    stopped: watch::Receiver<bool>,
    sent: Arc<Mutex<Vec<Sent>>>,
    count: u32,
}

impl Worker {
    fn new(name: String, seed: u64, stopped: watch::Receiver<bool>, sent: &Arc<Mutex<Vec<Sent>>>) -> Self {
        Self { name, random: StdRng::seed_from_u64(seed), stopped, sent: Arc::clone(sent), count: 0 }
    }

    fn next(&mut self) -> Sent {
        self.count += 1;
        let shape = SHAPES[self.random.random_range(0..SHAPES.len())];
        let id = format!("{}-{}", self.name, self.count);
        Sent { id, shape, from: now(), to: now(), accepted: false, offers: 0, seen: None }
    }

    fn note(&self, sent: Sent) {
        self.sent.lock().push(Sent { to: now(), ..sent });
    }

    fn is_over(&self) -> bool {
        *self.stopped.borrow()
    }

    async fn produce(&mut self, js: &jetstream::Context, pause: Duration) {
        while !self.is_over() {
            let sent = self.next();
            let offers = publish(js, &sent.id, &sent.shape).await;
            self.note(Sent { accepted: offers.is_some(), offers: offers.unwrap_or(0), ..sent });
            let pause = pause.mul_f64(self.random.random_range(0.2..1.8));
            tokio::time::sleep(pause).await;
        }
    }

    /// Asks again, as another request, whenever the connection broke or the gateway was not ready.
    async fn ask(&mut self, url: &str) {
        let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        while !self.is_over() {
            let sent = self.next();
            let seen = match tokio::time::timeout(SILENCE, exchange(&http, url, &sent)).await {
                Ok(seen) => seen,
                Err(_) => Seen::Silence,
            };
            let answered = matches!(seen, Seen::Answer(status) if status < 500);
            let accepted = answered || seen == Seen::ErrorEvent;
            self.note(Sent { accepted, offers: 1, seen: Some(seen), ..sent });
            if !answered {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// One HTTP exchange, to its end.
pub async fn exchange(http: &reqwest::Client, url: &str, sent: &Sent) -> Seen {
    let mut request = http.post(url).header(headers::REQUEST_ID, &sent.id).json(&sent.shape.body(&sent.id));
    if let Some(config) = sent.shape.config_header() {
        request = request.header(headers::CONFIG, config);
    }
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(err) => return Seen::Disconnected(format!("{err:?}")),
    };
    let status = answer.status().as_u16();
    let kind = answer.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let streamed = kind.starts_with("text/event-stream");
    let mut body = Vec::new();
    let mut pieces = answer.bytes_stream();
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => body.extend_from_slice(&piece),
            Err(err) => return Seen::Disconnected(format!("{err:?}")),
        }
    }
    if streamed { judge_stream(&String::from_utf8_lossy(&body)) } else { Seen::Answer(status) }
}

/// Whether a stream came to an end that its reader can tell.
pub fn judge_stream(text: &str) -> Seen {
    if text.contains("data: {\"error\"") {
        Seen::ErrorEvent
    } else if text.trim_end().ends_with("data: [DONE]") {
        Seen::Answer(200)
    } else {
        Seen::CutShort
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_complete_honest_or_cut_short() {
        assert_eq!(judge_stream("data: {\"choices\":[]}\n\ndata: [DONE]\n\n"), Seen::Answer(200));
        assert_eq!(judge_stream("data: {\"choices\":[]}\n\ndata: {\"error\":{}}\n\n"), Seen::ErrorEvent);
        assert_eq!(judge_stream("data: {\"choices\":[]}\n\n"), Seen::CutShort);
    }
}
