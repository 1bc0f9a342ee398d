//! A request as it arrives: understood, or refused with the reason.

use bus::requests::{Ending, Stored};
use bus::state::{ReadError, Status};
use bus::work::{DEAD_REQUEST, Delivery, MAX_DELIVERIES};
use bytes::Bytes;
use domain::facts::{self, Facts};
use domain::headers::{self, Limit, Options};
use domain::policy::{Chosen, Identity};
use domain::{
    ApiError, BodyRef, Config, ConfigSource, Conversation, Envelope, Event, Lane, Operation, Outcome, Record,
    ReplyTo, RequestId,
};
use domain::{Timestamp, Workspace, outcome};
use std::sync::Arc;
use std::time::Duration;
use telemetry::TraceContext;
use tracing::{debug, error, warn};

use crate::act::{Router, Trouble};
use crate::configs::{self, NoConfig};

/// How long the identity in a dead letter is believed.
const AFTERLIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Headers that count only where a gateway sent them.
const BY_GATEWAYS: [&str; 2] = [headers::CONFIG_VERSION, headers::CACHE_WISHES];

/// What stands in a dead letter for a secret.
const WITHHELD: &str = "withheld";

/// A request that can be routed.
pub(crate) struct Accepted {
    pub(crate) envelope: Envelope,
    pub(crate) config: Arc<Config>,
    pub(crate) body: Bytes,
}

impl Router {
    /// Handles one request message; settles it unless it has to come back.
    pub(crate) async fn accept(&self, delivery: &Delivery) {
        let now = self.ctx.clock().now();
        if delivery.delivered > MAX_DELIVERIES {
            let reason = format!("delivered {} times without an ending", delivery.delivered);
            return self.put_aside(delivery, &self.outline(delivery), &reason, outcome::Kind::Dead).await;
        }
        let accepted = match self.understand(delivery).await {
            Ok(accepted) => accepted,
            Err(NoConfig::Refused(err)) => return self.refuse(delivery, &err).await,
            Err(NoConfig::Unread(err)) => {
                return self.come_back(delivery, &self.outline(delivery).request, &err).await;
            }
        };
        // An id that the producer chose may have been used before; a redelivery may come after the end.
        if delivery.delivered > 1 || delivery.header(headers::GATEWAY).is_none() {
            match self.ended_before(&accepted.envelope).await {
                Ok(None) => {}
                Ok(Some(stored)) => return self.answer_again(delivery, &accepted.envelope, &stored).await,
                Err(err) => return self.come_back(delivery, &accepted.envelope.request, &err).await,
            }
        }
        debug!(request = %accepted.envelope.request, lane = %accepted.envelope.lane, "routing");
        let Accepted { mut envelope, config, mut body } = accepted;
        if envelope.asynchronous
            && let Err(err) = self.take_on(&envelope).await
        {
            return self.come_back(delivery, &envelope.request, &err).await;
        }
        match self.go_on(&mut envelope, &mut body).await {
            Ok(None) => {}
            Ok(Some(err)) => {
                let ended = self.end(&envelope, outcome::Kind::Refused, &err, None).await;
                return self.settle(delivery, ended).await;
            }
            Err(err) => return self.come_back(delivery, &envelope.request, &err).await,
        }
        let settled = self.proceed(envelope, &config, &body, Bytes::new(), now).await;
        self.settle(delivery, settled).await;
    }

    /// Notes that a request is under way that somebody will ask for by id. A gateway has done so before it said 202;
    /// other producers only publish.
    async fn take_on(&self, envelope: &Envelope) -> Result<(), Trouble> {
        let bus = self.ctx.bus();
        if bus.status(&envelope.request).await?.is_some() {
            return Ok(());
        }
        // Told first: a crash in between repeats the event, which readers see by its id, and loses nothing.
        bus.report(&Event::request_accepted(envelope)).await?;
        let Envelope { accepted_at, deadline, operation, ref model, .. } = *envelope;
        let status = Status { accepted_at, deadline, operation, model: model.clone() };
        Ok(bus.put_status(&envelope.request, &status).await?)
    }

    async fn understand(&self, delivery: &Delivery) -> Result<Accepted, NoConfig> {
        let (word, lane) = bus::subject::parse_request(delivery.subject()).ok_or_else(|| {
            ApiError::new(400, "unknown_subject", format!("nothing listens on `{}`", delivery.subject()))
        })?;
        let operation: Operation = word.parse().map_err(|err: domain::operation::UnknownWord| {
            ApiError::bad_request("operation", "unknown_operation", err.to_string())
        })?;
        refuse_clear_credentials(delivery)?;
        let unknown = |err: &ApiError| err.code.as_deref() == Some("03");
        let identity = self.twice(|| self.identify(delivery), unknown).await.map_err(NoConfig::Unread)??;
        let outline = self.outline_of(delivery, Some(&identity));
        if let Some(id) = &identity.key
            && self.ctx.policy().read(|p| p.api_key(id)).is_none()
        {
            // A gateway may have heard of it first; its defaults have to count.
            self.ctx.bus().load_policy(self.ctx.policy()).await.map_err(NoConfig::Unread)?;
        }
        // Only a gateway has checked a version; a producer gets the one in force.
        let by_gateway = delivery.header(headers::IDENTITY).is_some();
        let said = |name: &str| delivery.header(name).filter(|_| by_gateway || !BY_GATEWAYS.contains(&name));
        let mut options = Options::read(said)?;
        let (reference, body) = self.body(delivery, &outline.request).await?;
        let facts = Facts::read(operation, options.content_type.as_deref(), &body)?;
        options.fill(&facts)?;
        options.asynchronous |= facts.conversation.background;
        options.routing.model = facts.model_with_provider();
        let (source, config) = self.choose(&identity, &options).await?;
        options.metadata =
            self.ctx.policy().read(|p| p.merge_metadata(&identity, options.metadata.as_deref()));
        if facts.model.is_none() && operation.needs_model() && !config.names_every_model() {
            return Err(facts::missing_model().into());
        }
        let inline = if matches!(reference, BodyRef::Inline { .. }) { body } else { Bytes::new() };
        let options_in_body = facts.has_options();
        let envelope = self.envelope(outline, operation, lane, &options, facts, source, reference)?;
        let seen = match delivery.header(headers::SEEN) {
            Some(text) => serde_json::from_str(text).unwrap_or_default(),
            None => headers::seen(config.wanted_headers(), |name| delivery.header(name)),
        };
        let show_cost = self.ctx.policy().read(|p| p.shows_cost(&identity)).unwrap_or(self.options.show_cost);
        let envelope = Envelope { key: identity.key, seen, options_in_body, show_cost, ..envelope };
        Ok(Accepted { envelope, config, body: inline })
    }

    /// What is refused for want of a record is looked at again with all that is stored: others may have heard first.
    pub(crate) async fn twice<T, E>(
        &self,
        look: impl Fn() -> Result<T, E>,
        missing: impl Fn(&E) -> bool,
    ) -> Result<Result<T, E>, ReadError> {
        match look() {
            Err(err) if missing(&err) => {
                self.ctx.bus().load_policy(self.ctx.policy()).await?;
                Ok(look())
            }
            seen => Ok(seen),
        }
    }

    /// The config that counts for the request from now on.
    async fn choose(
        &self,
        identity: &Identity,
        options: &Options,
    ) -> Result<(ConfigSource, Arc<Config>), NoConfig> {
        let choose = || self.ctx.policy().read(|p| p.choose_config(identity, options));
        let unknown = |err: &ApiError| err.code.as_deref() == Some("unknown_config");
        let chosen = match self.twice(choose, unknown).await.map_err(NoConfig::Unread)?? {
            Chosen::Unseen(key) => Chosen::Stored(self.version(&key).await?),
            chosen => chosen,
        };
        let text = match &chosen {
            Chosen::Stored(version) => {
                let source = chosen.source().unwrap_or_default();
                return Ok((source, self.configs.stored(version, &options.routing)?));
            }
            Chosen::Inline(text) => text.clone(),
            Chosen::Headers | Chosen::Unseen(_) => "{}".to_owned(),
            Chosen::Route => providers::resolve::default_config(&self.ctx.registry())?,
        };
        let config = self.configs.parse(&text, &options.routing)?;
        if chosen == Chosen::Route {
            config.check_hosts(&options.routing).map_err(|err| ApiError::bad_config(&text, &err))?;
        }
        configs::check_cooldowns(&config, self.options.shortest_cooldown)?;
        refuse_clear_config(&text)?;
        Ok((ConfigSource::Inline(text), config))
    }

    /// The body's bytes, wherever they are. A large one that came with the message is moved out of it.
    async fn body(&self, delivery: &Delivery, request: &RequestId) -> Result<(BodyRef, Bytes), ApiError> {
        let Some(reference) = delivery.header(headers::BODY) else {
            let body = delivery.payload().clone();
            return Ok((BodyRef::Inline { size: body.len() }, body));
        };
        let malformed = || {
            let message = format!("header `{}`: write `<object name>;<bytes>`", headers::BODY);
            ApiError::bad_request(headers::BODY, "invalid_header", message)
        };
        let (object, size) = reference.split_once(';').ok_or_else(malformed)?;
        let size = size.parse().map_err(|_| malformed())?;
        // Whoever names the body of another request would read it, and it would be deleted with this one.
        if object.split_once('.').is_none_or(|(owner, _)| owner != request.as_str()) {
            let message = format!(
                "header `{}`: the object is not this request's; store it as `{request}.request` and send `{}`",
                headers::BODY,
                headers::REQUEST_ID
            );
            return Err(ApiError::bad_request(headers::BODY, "invalid_header", message));
        }
        let stored = BodyRef::Stored { object: object.to_owned(), size };
        let body = self.ctx.bus().fetch(&stored, Bytes::new()).await;
        let body =
            body.map_err(|err| ApiError::bad_request(headers::BODY, "body_not_found", err.to_string()))?;
        Ok((stored, body))
    }

    #[expect(clippy::too_many_arguments, reason = "one value per source, put together in one place")]
    fn envelope(
        &self,
        outline: Envelope,
        operation: Operation,
        lane: Lane,
        options: &Options,
        facts: Facts,
        config: ConfigSource,
        body: BodyRef,
    ) -> Result<Envelope, ApiError> {
        let usual = if options.asynchronous { self.options.asynchronous } else { self.options.interactive };
        let deadline = options.limit.unwrap_or(Limit::Within(usual)).deadline(outline.accepted_at);
        self.check_deadline(deadline, outline.accepted_at)?;
        let form_or_any = operation.is_form() || operation == Operation::Passthrough;
        Ok(Envelope {
            user: facts.user(options.metadata.as_deref()),
            operation,
            lane,
            model: facts.model,
            stream: facts.stream,
            include_usage: facts.include_usage,
            conversation: facts.conversation,
            deadline,
            reply: reply(options),
            asynchronous: options.asynchronous,
            config,
            routing: options.routing.clone(),
            forward: options.forward.clone(),
            wishes: options.wishes.clone(),
            metadata: options.metadata.clone(),
            traceparent: Some(TraceContext::next_hop(options.traceparent.as_deref()).to_string()),
            trace_id: options.trace_id.clone(),
            content_type: options.content_type.clone().filter(|_| form_or_any),
            passthrough: options.passthrough.clone().filter(|_| operation == Operation::Passthrough),
            body,
            ..outline
        })
    }

    fn check_deadline(&self, deadline: Timestamp, accepted_at: Timestamp) -> Result<(), ApiError> {
        if deadline <= accepted_at {
            let message =
                format!("header `{}`: the deadline had passed when the request arrived", headers::DEADLINE);
            return Err(ApiError::bad_request(headers::DEADLINE, "deadline_in_the_past", message));
        }
        if deadline.since(accepted_at) > self.options.maximum {
            let most = domain::time::format_duration(self.options.maximum);
            let message =
                format!("a request may take at most {most}; ask for less with `{}`", headers::TIMEOUT);
            return Err(ApiError::bad_request(headers::TIMEOUT, "deadline_too_far", message));
        }
        Ok(())
    }

    /// What can be said of a request whatever else is wrong with it.
    fn outline(&self, delivery: &Delivery) -> Envelope {
        self.outline_of(delivery, self.identify(delivery).ok().as_ref())
    }

    fn outline_of(&self, delivery: &Delivery, identity: Option<&Identity>) -> Envelope {
        let workspace = identity.map(|identity| identity.workspace.clone()).unwrap_or_default();
        // Who may not use an id here has not chosen it.
        let request = match identity {
            Some(_) => request_id(delivery, &workspace),
            None => position(delivery),
        };
        let (word, lane) = bus::subject::parse_request(delivery.subject()).unwrap_or(("", Lane::Normal));
        Envelope {
            request,
            workspace,
            operation: word.parse().unwrap_or(Operation::Chat),
            lane,
            content_type: None,
            passthrough: None,
            model: None,
            stream: false,
            include_usage: false,
            conversation: Conversation::default(),
            accepted_at: delivery.stored_at,
            deadline: delivery.stored_at.plus(self.options.interactive),
            reply: ReplyTo::Nobody,
            asynchronous: false,
            config: ConfigSource::default(),
            key: None,
            user: None,
            routing: domain::config::HeaderOptions::default(),
            forward: None,
            metadata: None,
            seen: std::collections::BTreeMap::new(),
            options_in_body: false,
            wishes: domain::cache::Wishes::default(),
            cache: None,
            flight: None,
            show_cost: false,
            traceparent: None,
            trace_id: None,
            attempts: Vec::new(),
            numbers_used: 0,
            result_seq: 0,
            failed: None,
            counted: false,
            waiting: None,
            call: None,
            body: BodyRef::default(),
        }
    }

    async fn ended_before(&self, envelope: &Envelope) -> Result<Option<Stored>, ReadError> {
        let stored = self.ctx.bus().result(&envelope.workspace, &envelope.request).await?;
        Ok(stored.filter(|s| matches!(s.record, Record::Final(_))))
    }

    /// The request has ended. Who asks again is answered again; a redelivery makes sure that an ending of its own
    /// was reported.
    async fn answer_again(&self, delivery: &Delivery, envelope: &Envelope, stored: &Stored) {
        let Record::Final(outcome) = &stored.record else { return };
        let bus = self.ctx.bus();
        if delivery.delivered == 1 {
            bus.answer(envelope, outcome, &stored.body).await;
        } else if let Err(err) = bus.end_again(envelope, stored, None, None).await {
            return self.come_back(delivery, &envelope.request, &err).await;
        }
        delivery.ack().await;
    }

    /// The producer is told what was wrong; the message is kept for whoever has to find out why it was sent.
    async fn refuse(&self, delivery: &Delivery, err: &ApiError) {
        let mut envelope = self.outline(delivery);
        envelope.reply = Options::read(|name| {
            [headers::REPLY_TO, headers::GATEWAY].contains(&name).then(|| delivery.header(name)).flatten()
        })
        .map(|options| reply(&options))
        .unwrap_or_default();
        if err.status >= 500 {
            let (outcome, body) =
                Outcome::error(&envelope, outcome::Kind::Refused, err, self.ctx.clock().now());
            return match self.ctx.bus().end(&envelope, &outcome, &body, Ending::default()).await {
                Ok(_) => delivery.ack().await,
                Err(err) => self.come_back(delivery, &envelope.request, &err).await,
            };
        }
        let (outcome, body) = Outcome::error(&envelope, outcome::Kind::Refused, err, self.ctx.clock().now());
        let kept = self.keep(delivery, &envelope, &err.message).await;
        if let Err(err) = kept {
            return self.come_back(delivery, &envelope.request, &err).await;
        }
        warn!(request = %envelope.request, reason = err.message, "refused a malformed request");
        if let (Err(_), ReplyTo::Gateway(_)) = (self.identify(delivery), &envelope.reply) {
            // The gateway that holds the caller is told under the id it waits for; nothing is kept under that id.
            let waiting = Envelope { request: claimed(delivery), ..envelope.clone() };
            self.ctx.bus().answer(&waiting, &outcome, &body).await;
        }
        match self.ctx.bus().end(&envelope, &outcome, &body, Ending::default()).await {
            Ok(_) => delivery.ack().await,
            Err(err) => self.come_back(delivery, &envelope.request, &err).await,
        }
    }

    /// Keeps a message for an operator. Whoever redrives it asks as the same producer and under the same id.
    async fn keep(
        &self,
        delivery: &Delivery,
        envelope: &Envelope,
        reason: &str,
    ) -> Result<u64, bus::PutError> {
        let identity = self.identify(delivery).ok();
        let shown = identity.filter(|who| who.key.is_some() && delivery.header(headers::IDENTITY).is_none());
        let local = envelope.request.local();
        let until = self.ctx.clock().now().plus(AFTERLIFE);
        let said = shown.map(|who| self.options.access.say(&who, local, until));
        let mut more = vec![(DEAD_REQUEST, envelope.request.as_str())];
        if let Some(said) = &said {
            more.extend([(headers::REQUEST_ID, local), (headers::IDENTITY, said)]);
        }
        self.ctx.bus().dead_letter(crate::NAME, delivery, reason, kept, &more).await
    }

    /// Keeps a message that cannot be processed, and ends its request.
    pub(crate) async fn put_aside(
        &self,
        delivery: &Delivery,
        envelope: &Envelope,
        reason: &str,
        kind: outcome::Kind,
    ) {
        error!(request = %envelope.request, reason, "putting a message aside; see `pointsman dead ls`");
        let kept = self.keep(delivery, envelope, reason).await;
        if let Err(err) = kept {
            return self.come_back(delivery, &envelope.request, &err).await;
        }
        let now = self.ctx.clock().now();
        let message = format!("the request could not be processed and was put aside: {reason}");
        let (outcome, body) =
            Outcome::error(envelope, kind, &ApiError::new(500, "dead_lettered", message), now);
        let event = Event::dead_lettered(envelope, reason, now);
        let ended = self.ctx.bus().end(envelope, &outcome, &body, Ending::default()).await;
        if ended.is_ok() && self.ctx.bus().report(&event).await.is_ok() {
            delivery.ack().await;
        }
    }
}

/// The id that a gateway gave a request, whoever it says the request belongs to.
fn claimed(delivery: &Delivery) -> RequestId {
    let workspace = delivery.header(headers::IDENTITY).and_then(|said| said.split(';').next());
    request_id(delivery, &workspace.and_then(|name| Workspace::parse(name).ok()).unwrap_or_default())
}

/// The id that a message brings, or one made of its position, inside a workspace.
fn request_id(delivery: &Delivery, workspace: &Workspace) -> RequestId {
    let chosen = delivery.header(headers::REQUEST_ID).and_then(|id| RequestId::choose(id).ok());
    chosen.unwrap_or_else(|| position(delivery)).within(workspace)
}

fn position(delivery: &Delivery) -> RequestId {
    RequestId::from_position(delivery.sequence, delivery.stored_nanos)
}

fn reply(options: &Options) -> ReplyTo {
    match (&options.gateway, &options.reply_to) {
        (Some(gateway), _) => ReplyTo::Gateway(gateway.clone()),
        (None, Some(subject)) => ReplyTo::Subject(subject.clone()),
        (None, None) => ReplyTo::Nobody,
    }
}

/// What a dead letter keeps of a header. A secret is withheld and not left out: who redrives the letter is refused
/// again, and does not ask as somebody else or by another config.
fn kept(name: &str, value: &str) -> Option<String> {
    let secret = match name.to_ascii_lowercase().as_str() {
        "authorization" | "api-key" | "x-api-key" | "x-portkey-api-key" | "pointsman-key" => true,
        "x-portkey-config" | "pointsman-config" | "pointsman-provider-options"
            if value.trim_start().starts_with('{') =>
        {
            let document = serde_json::from_str(value).ok();
            document.is_none_or(|document| domain::config::clear_credential(&document).is_some())
        }
        _ => false,
    };
    Some(if secret { WITHHELD } else { value }.to_owned())
}

fn refuse_clear_credentials(delivery: &Delivery) -> Result<(), ApiError> {
    for name in ["authorization", "api-key", "x-api-key"] {
        if delivery.header(name).is_some() {
            let message = format!(
                "header `{name}`: a credential in clear does not travel on the bus; name a configured provider, \
                 or send the request over HTTP, where it is sealed"
            );
            return Err(ApiError::bad_request(name, "credential_in_clear", message));
        }
    }
    if let Some(options) = delivery.header(headers::PROVIDER_OPTIONS) {
        let document = serde_json::from_str(options).unwrap_or_default();
        if let Some(path) = domain::config::clear_credential(&document) {
            let name = headers::PROVIDER_OPTIONS;
            let message =
                format!("header `{name}`: `{path}` is a credential in clear; name a virtual key instead");
            return Err(ApiError::bad_request(name, "credential_in_clear", message));
        }
    }
    match delivery.header(headers::CREDENTIAL) {
        Some(value) if !value.starts_with("sealed:") => {
            let message = format!("header `{}` is not sealed", headers::CREDENTIAL);
            Err(ApiError::bad_request(headers::CREDENTIAL, "credential_in_clear", message))
        }
        _ => Ok(()),
    }
}

fn refuse_clear_config(text: &str) -> Result<(), ApiError> {
    let document: serde_json::Value = serde_json::from_str(text)
        .map_err(|err| ApiError::bad_request("config", "invalid_config", err.to_string()))?;
    match domain::config::clear_credential(&document) {
        Some(path) => {
            let message = format!(
                "`{path}` holds a credential in clear, which does not travel on the bus; name a configured provider, \
                 or send the request over HTTP, where it is sealed"
            );
            Err(ApiError::bad_request(&path, "credential_in_clear", message))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_letters_hold_no_secrets_and_everything_else() {
        for (name, value, expected) in [
            ("Pointsman-Key", "pm_k1_secret", WITHHELD),
            ("Authorization", "Bearer sk-1", WITHHELD),
            ("Pointsman-Config", r#"{"provider":"openai","api_key":"sk-1"}"#, WITHHELD),
            ("x-portkey-config", r#"{"api_key":"sk-1""#, WITHHELD),
            ("x-portkey-config", "pc-a", "pc-a"),
            ("Pointsman-Config", r#"{"provider":"openai"}"#, r#"{"provider":"openai"}"#),
            ("Pointsman-Timeout", "5s", "5s"),
        ] {
            assert_eq!(kept(name, value).as_deref(), Some(expected), "{name}: {value}");
        }
    }
}
