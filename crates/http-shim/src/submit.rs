//! Publishing a checked request.

use std::sync::Arc;

use bus::requests::Stored;
use bus::state::Status;
use bytes::Bytes;
use domain::facts::Facts;
use domain::{ApiError, BodyRef, Event, Operation, Outcome, Record, RequestId, Workspace, headers};
use tracing::warn;

use crate::board::Running;
use crate::errors;
use crate::gateway::Gateway;
use crate::intake::{Order, set};
use crate::waiting::Pending;

/// Bodies above this many bytes are looked through on a thread of their own, so that others need not wait.
const LARGE: usize = 1024 * 1024;

/// Reads what routing needs from a body.
pub(crate) async fn facts(
    operation: Operation,
    content_type: Option<&str>,
    body: &Bytes,
) -> Result<Facts, ApiError> {
    if body.len() <= LARGE {
        return Facts::read(operation, content_type, body);
    }
    let (body, content_type) = (body.clone(), content_type.map(str::to_owned));
    let read = move || Facts::read(operation, content_type.as_deref(), &body);
    let read = tokio::task::spawn_blocking(read).await;
    read.unwrap_or_else(|_| Err(ApiError::new(500, "internal", "the body could not be read")))
}

impl Gateway {
    /// How a request of that id ended, if it has.
    pub(crate) async fn ended(
        &self,
        workspace: &Workspace,
        request: &RequestId,
    ) -> Result<Option<(Box<Outcome>, Bytes)>, ApiError> {
        let stored = self.ctx.bus().result(workspace, request).await;
        let Some(Stored { record: Record::Final(outcome), body, .. }) =
            stored.map_err(|e| errors::unreadable(&e))?
        else {
            return Ok(None);
        };
        let body = self.ctx.bus().fetch(&outcome.body, body).await.map_err(|err| errors::body_lost(&err))?;
        Ok(Some((outcome, body)))
    }

    /// Publishes a request and waits for its answer from now on.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        order: &mut Order,
        body: Bytes,
    ) -> Result<Pending, ApiError> {
        let mut pending = self.take_seat(order)?;
        let payload = self.stow(order, body).await?;
        let (bus, headers) = (self.ctx.bus().clone(), std::mem::take(&mut order.headers));
        let (operation, lane) = (order.operation, order.lane);
        pending.accepting(Box::pin(async move { bus.accept(operation, lane, headers, payload).await }));
        Ok(pending)
    }

    /// Publishes a request that nobody has to wait for: when this returns, it is kept.
    pub(crate) async fn submit_asynchronous(
        self: &Arc<Self>,
        order: &mut Order,
        body: Bytes,
        wait: bool,
    ) -> Result<Option<Pending>, ApiError> {
        let pending = if wait { Some(self.take_seat(order)?) } else { self.check_room().map(|()| None)? };
        let accepted_at = self.ctx.clock().now();
        let status = Status {
            accepted_at,
            deadline: order.deadline,
            operation: order.operation,
            model: order.facts.model.clone(),
        };
        let bus = self.ctx.bus();
        bus.put_status(&order.request, &status).await.map_err(|err| errors::not_accepted(&err))?;
        if order.facts.conversation.background {
            let kept = bus.keep_question(&order.envelope(accepted_at), &body).await;
            kept.map_err(|err| errors::not_kept(&err))?;
        }
        let payload = self.stow(order, body).await?;
        let headers = std::mem::take(&mut order.headers);
        let accepted = bus.accept(order.operation, order.lane, headers, payload).await;
        accepted.map_err(|err| errors::not_accepted(&err))?;
        let event = Event::request_accepted(&order.envelope(accepted_at));
        if let Err(err) = bus.report(&event).await {
            warn!(request = %order.request, %err, "a request was accepted, but that could not be reported");
        }
        Ok(pending)
    }

    /// Whether a request of that id was taken on before and has not ended.
    pub(crate) async fn is_under_way(&self, request: &RequestId) -> Result<bool, ApiError> {
        let status = self.ctx.bus().status(request).await.map_err(|err| errors::unreadable(&err))?;
        Ok(status.is_some())
    }

    fn check_room(&self) -> Result<(), ApiError> {
        if self.is_full() { Err(errors::storage_full()) } else { Ok(()) }
    }

    fn take_seat(self: &Arc<Self>, order: &mut Order) -> Result<Pending, ApiError> {
        self.check_room()?;
        let running = Running {
            operation: order.operation,
            model: order.facts.model.clone(),
            accepted_at: self.ctx.clock().now(),
            deadline: order.deadline,
        };
        set(&mut order.headers, headers::GATEWAY, &self.id);
        Pending::new(self, &order.identity.workspace, &order.request, running, order.asynchronous).ok_or_else(
            || {
                let message = format!(
                    "request `{}` is running already; choose another id or wait for it",
                    order.request.local()
                );
                ApiError::new(409, "request_in_flight", message).with_param(headers::REQUEST_ID)
            },
        )
    }

    /// Moves a large body out of the message.
    async fn stow(&self, order: &mut Order, body: Bytes) -> Result<Bytes, ApiError> {
        let stowed = self.ctx.bus().stow(&order.request, "request", body).await;
        let (reference, payload) = stowed.map_err(|err| errors::body_lost(&err))?;
        if let BodyRef::Stored { object, size } = reference {
            set(&mut order.headers, headers::BODY, &format!("{object};{size}"));
        }
        Ok(payload)
    }
}
