//! One connection to the broker, and what is known about it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_nats::jetstream;
use bytes::Bytes;
use domain::Operation;
use futures::StreamExt as _;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::clock::{Clock, local_ms};
use crate::{Headers, header, subject};

/// What a process has to say to reach and use the broker.
#[derive(Clone, Debug)]
pub struct Options {
    /// Addresses, separated by commas.
    pub url: String,
    /// A NATS credentials file.
    pub credentials_file: Option<PathBuf>,
    /// Name of this process, as the broker shows it.
    pub name: String,
    /// Copies of each stream: 1, 3 or 5.
    pub replicas: usize,
    /// Keep streams in memory instead of on disk.
    pub memory: bool,
    /// Waiting requests per operation and lane.
    pub lane_backlog: i64,
    /// Waiting calls per target and class.
    pub call_backlog: i64,
    /// Time after which a silent worker's message goes to another.
    pub ack_wait: Duration,
    /// How often a running call says so; well below `ack_wait`.
    pub progress: Duration,
    /// How long an outcome is kept that somebody waited for.
    pub result_ttl: Duration,
    /// How long an outcome is kept that nobody waited for.
    pub result_ttl_async: Duration,
    /// How long a response is kept that can be looked at and continued.
    pub responses_ttl: Duration,
    /// Bodies above this many bytes travel by object store.
    pub inline_body: usize,
    /// Bytes that streams may take where the broker sets the account no limit.
    pub store_limit: u64,
    /// Bytes that waiting requests may take; None: as many as the broker has room for.
    pub request_bytes: Option<i64>,
    /// Bytes of kept answers that the broker holds for cache nodes. None: a gibibyte.
    pub cache_bytes: Option<i64>,
}

/// State of the connection. `epoch` counts the times it was established.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whether the broker can be reached now.
    pub up: bool,
    /// How often the connection was established.
    pub epoch: u64,
}

/// The connection. Cheap to clone.
#[derive(Clone)]
pub struct Bus {
    pub(crate) client: async_nats::Client,
    pub(crate) js: jetstream::Context,
    link: watch::Receiver<Link>,
    options: Arc<Options>,
    clock: Clock,
}

/// A message without acknowledgement.
#[derive(Debug)]
pub struct CoreMessage {
    /// Where it was sent.
    pub subject: String,
    /// Where an answer is expected.
    pub reply: Option<String>,
    /// Its bytes.
    pub payload: Bytes,
    headers: Option<Headers>,
    no_responders: bool,
}

impl CoreMessage {
    /// Looks a header up without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(self.headers.as_ref(), name)
    }
}

impl From<async_nats::Message> for CoreMessage {
    fn from(message: async_nats::Message) -> Self {
        Self {
            no_responders: message.status == Some(async_nats::StatusCode::NO_RESPONDERS),
            subject: message.subject.to_string(),
            reply: message.reply.map(|r| r.to_string()),
            payload: message.payload,
            headers: message.headers,
        }
    }
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// Nobody listens.
    Nobody,
    /// It did not come in time.
    Late,
}

/// Messages of a subject, as they come.
pub struct Subscription(async_nats::Subscriber);

impl Subscription {
    /// The next message; None when the connection is closed for good.
    pub async fn next(&mut self) -> Option<CoreMessage> {
        self.0.next().await.map(CoreMessage::from)
    }
}

const JS_TIMEOUT: Duration = Duration::from_secs(5);

impl Bus {
    /// Connects, and keeps connecting for ever after. Waits for the first connection without limit;
    /// the caller bounds it. Refuses brokers that are too old or have no JetStream.
    pub async fn connect(options: Options) -> anyhow::Result<Self> {
        let (sender, link) = watch::channel(Link { up: false, epoch: 0 });
        let client = dial(&options, sender).await?;
        let js = jetstream::context::ContextBuilder::new()
            .timeout(JS_TIMEOUT)
            .ack_timeout(JS_TIMEOUT)
            .max_ack_inflight(16_384)
            .build(client.clone());
        let bus = Self { client, js, link, options: Arc::new(options), clock: Clock::default() };
        bus.wait_up().await;
        bus.check_server().await?;
        Ok(bus)
    }

    /// What the process said when it connected.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Time as the broker counts it.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Follows the state of the connection.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    /// Returns once the broker can be reached.
    pub async fn wait_up(&self) {
        let mut link = self.link.clone();
        // The sender lives in the client's callback, so an error means that the client is gone; then nobody waits.
        let _ = link.wait_for(|l| l.up).await.is_ok();
    }

    /// Returns once the connection is another one than `epoch`.
    pub async fn reconnected(&self, epoch: u64) {
        let mut link = self.link.clone();
        let found = link.wait_for(|l| l.up && l.epoch != epoch).await.is_ok();
        if !found {
            std::future::pending::<()>().await;
        }
    }

    /// Which connection this is.
    pub fn epoch(&self) -> u64 {
        self.link.borrow().epoch
    }

    /// Whether the broker can be reached now.
    pub fn is_up(&self) -> bool {
        self.link.borrow().up
    }

    /// Sends without waiting for anybody. Order between sends of one process is kept.
    pub async fn send(&self, subject: String, payload: Bytes) {
        if let Err(err) = self.client.publish(subject, payload).await {
            warn!(%err, "could not send: the connection is closed");
        }
    }

    /// Sends with headers.
    pub async fn send_with(&self, subject: String, headers: Headers, payload: Bytes) {
        if let Err(err) = self.client.publish_with_headers(subject, headers, payload).await {
            warn!(%err, "could not send: the connection is closed");
        }
    }

    /// Subscribes; messages sent after this returned to any process are seen (the broker has confirmed).
    pub async fn subscribe(&self, subject: impl Into<String>) -> anyhow::Result<Subscription> {
        let subject = subject.into();
        let subscription = self
            .client
            .subscribe(subject.clone())
            .await
            .with_context(|| format!("subscribe to {subject}"))?;
        self.round_trip().await?;
        Ok(Subscription(subscription))
    }

    /// Waits until the broker has seen everything sent before.
    async fn round_trip(&self) -> anyhow::Result<()> {
        // Nobody listens on this inbox: the broker itself answers, after all that came before.
        match tokio::time::timeout(JS_TIMEOUT, self.client.request(self.client.new_inbox(), Bytes::new()))
            .await
        {
            Ok(_) => Ok(()),
            Err(_) => bail!("the broker did not answer within {JS_TIMEOUT:?}"),
        }
    }

    /// Asks and waits for one answer. None: nobody answered in time, or nobody listens.
    pub async fn ask(&self, subject: String, payload: Bytes, patience: Duration) -> Option<CoreMessage> {
        self.question(subject, payload, patience).await.ok()
    }

    /// Asks and waits for one answer.
    ///
    /// Not the client's own `request`, which keeps an entry for ever when no answer comes.
    pub async fn question(
        &self,
        subject: String,
        payload: Bytes,
        patience: Duration,
    ) -> Result<CoreMessage, Unanswered> {
        let inbox = self.client.new_inbox();
        let asked = async {
            let mut answers = self.client.subscribe(inbox.clone()).await.ok()?;
            self.client.publish_with_reply(subject, inbox, payload).await.ok()?;
            answers.next().await
        };
        let message = tokio::time::timeout(patience, asked).await.map_err(|_| Unanswered::Late)?;
        let message = CoreMessage::from(message.ok_or(Unanswered::Late)?);
        if message.no_responders { Err(Unanswered::Nobody) } else { Ok(message) }
    }

    /// Asks all who hear a subject; what was answered until nobody did for so long.
    pub async fn questions(&self, subject: String, payload: Bytes, patience: Duration) -> Vec<CoreMessage> {
        let inbox = self.client.new_inbox();
        let mut found = Vec::new();
        let Ok(mut answers) = self.client.subscribe(inbox.clone()).await else { return found };
        if self.client.publish_with_reply(subject, inbox, payload).await.is_err() {
            return found;
        }
        while let Ok(Some(message)) = tokio::time::timeout(patience, answers.next()).await {
            let message = CoreMessage::from(message);
            if message.no_responders {
                break;
            }
            found.push(message);
        }
        found
    }

    /// Hands everything over and closes.
    pub async fn close(&self) {
        let _ = tokio::time::timeout(JS_TIMEOUT, self.js.wait_for_acks()).await;
        let _ = self.client.drain().await;
    }

    async fn check_server(&self) -> anyhow::Result<()> {
        let info = self.client.server_info();
        let account = self.js.query_account().await.map_err(|err| {
            let fix = "start it with JetStream (`nats-server -js`), or enable JetStream for this account";
            anyhow::anyhow!("the broker {} offers no JetStream: {err}; {fix}", info.version)
        })?;
        if account.requests.level < MIN_API_LEVEL {
            bail!(
                "nats-server {} is too old: version 2.14 or newer is needed (delayed retries, sourced work queues)",
                info.version
            );
        }
        Ok(())
    }

    /// Compares this machine's clock with the broker's. Returns the difference in milliseconds.
    pub async fn read_clock(&self) -> anyhow::Result<i64> {
        let subject = subject::clock(&subject::token(&self.options.name));
        let before = local_ms();
        let put = crate::Put::new(subject.clone(), Bytes::new()).ttl(Duration::from_secs(60));
        self.put(put).await.context("write to the broker to read its clock")?;
        let stream = self.js.get_stream_no_info(subject::STATE_STREAM).await?;
        let after = local_ms();
        let message =
            stream.get_last_raw_message_by_subject(&subject).await.context("read the broker's clock")?;
        let ms = u64::try_from(message.time.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        self.clock.correct_between(ms, before, after);
        Ok(self.clock.offset_ms())
    }

    /// Names of the operations, for service metadata.
    pub(crate) fn operations() -> String {
        Operation::ALL.iter().map(|o| o.as_str()).collect::<Vec<_>>().join(",")
    }
}

/// JetStream API level of nats-server 2.14, the first that sources work queues.
const MIN_API_LEVEL: usize = 4;

async fn dial(options: &Options, link: watch::Sender<Link>) -> anyhow::Result<async_nats::Client> {
    let link = Arc::new(link);
    let mut connect = async_nats::ConnectOptions::new()
        .name(&options.name)
        .retry_on_initial_connect()
        // The default notices a silent peer only after minutes.
        .ping_interval(Duration::from_secs(5))
        .client_capacity(8192)
        .subscription_capacity(65_536)
        .request_timeout(Some(JS_TIMEOUT))
        .reconnect_delay_callback(|n| Duration::from_millis((50u64 << n.min(5)).min(1000)))
        .event_callback(move |event| {
            let link = Arc::clone(&link);
            async move { observe(&link, &event) }
        });
    if let Some(file) = &options.credentials_file {
        connect = connect
            .credentials_file(file)
            .await
            .with_context(|| format!("read the NATS credentials file {}", file.display()))?;
    }
    let servers: Result<Vec<async_nats::ServerAddr>, _> =
        options.url.split(',').map(|s| s.trim().parse()).collect();
    let servers =
        servers.with_context(|| format!("`{}`: write nats://host:port", without_password(&options.url)))?;
    // The client library reads the addresses only.
    if let Some(user) = servers.iter().find(|s| s.has_user_pass()) {
        let (name, password) = (user.username().unwrap_or_default(), user.password().unwrap_or_default());
        connect = connect.user_and_password(name.to_owned(), password.to_owned());
    }
    connect.connect(servers).await.with_context(|| format!("connect to {}", without_password(&options.url)))
}

/// The addresses as they may be shown.
fn without_password(urls: &str) -> String {
    let one = |url: &str| match url.rsplit_once('@') {
        Some((_, host)) => format!("nats://…@{host}"),
        None => url.to_owned(),
    };
    urls.split(',').map(one).collect::<Vec<_>>().join(",")
}

fn observe(link: &watch::Sender<Link>, event: &async_nats::Event) {
    match event {
        async_nats::Event::Connected => link.send_modify(|l| *l = Link { up: true, epoch: l.epoch + 1 }),
        async_nats::Event::Disconnected | async_nats::Event::Closed => link.send_modify(|l| l.up = false),
        _ => {}
    }
    metrics::counter!(telemetry::metric::BUS_EVENTS).increment(1);
    match event {
        async_nats::Event::Connected | async_nats::Event::Draining | async_nats::Event::Closed => {
            info!(%event, "broker connection");
        }
        _ => warn!(%event, "broker connection"),
    }
}
