//! HTTP requests that open no WebSocket: resources, and the rooms' door, whose calls are carried out in
//! `calls.rs`. Answers leave in the order of
//! the requests, each before the next request is looked at; a request with a body is looked at twice,
//! so that what will not be served is refused before its body is read.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::endpoint::events::{EVENTS_CONTENT_TYPE, EVENTS_HEAD, push_position};
use crate::endpoint::http::{Answer, RoomsCall, Routed, gone};
use crate::endpoint::{CloseCause, DynamicResource, OwnMessages, Resolved, Resource, authorize};
use crate::protocol::{
    BodyLength, Persistence, Refusal, Request, body_too_large, push_continue, push_http_response,
    push_stream_head,
};
use crate::rooms::{Encoding, Identity, OutOfWindow, Position, RoomName, Start};
use crate::slab::Key;

use super::membership::{JoinError, Wish};
use super::open::position_headers;
use super::session::Session;
use super::stats::Counter;
use super::{Core, RECEIVE_BYTES, Step};

/// About what the head of a response takes.
pub(super) const RESPONSE_BYTES: usize = 512;
const _: () = assert!(RESPONSE_BYTES < RECEIVE_BYTES);

type Headers = Vec<(&'static str, String)>;

/// A request that is being answered.
struct Exchange<'r> {
    request: &'r Request<'r>,
    /// Its body, empty if it has none; absent while it is still to be read.
    body: Option<&'r [u8]>,
}

impl Exchange<'_> {
    /// Whether another request may follow: not behind a body that was not read.
    fn persistence(&self) -> Persistence {
        let read = self.body.is_some() || self.request.body_length() == BodyLength::None;
        if self.request.keeps_alive() && read { Persistence::KeepAlive } else { Persistence::Close }
    }

    fn head_only(&self) -> bool {
        self.request.method() == "HEAD"
    }
}

impl<S> Core<S> {
    /// Handles a request head, or with `body` a whole request.
    pub(super) fn on_request(
        &mut self,
        key: Key,
        session: &mut Session,
        request: &Request<'_>,
        body: Option<&[u8]>,
    ) -> Step {
        if body.is_none() {
            self.tally.add(Counter::HttpRequests, 1);
            if let Some(cause) = self.identify(session, request) {
                return Step::Finish(cause);
            }
        }
        let plan = self.router.plan();
        let exchange = Exchange { request, body };
        match plan.resolve(request) {
            Ok(Resolved::WebSocket { endpoint, open }) => self.open(key, session, endpoint, &open),
            Err(refusal) if request.is_upgrade() => self.refuse(session, &refusal),
            Err(refusal) => self.refuse_request(key, session, &exchange, &refusal),
            Ok(resolved) => {
                if let Err(refusal) = self.authorize(session, request, &resolved) {
                    return self.refuse_request(key, session, &exchange, &refusal);
                }
                if let Some(step) = self.before_the_body(key, session, &exchange) {
                    return step;
                }
                self.answer_resolved(key, session, &exchange, resolved)
            }
        }
    }

    fn answer_resolved(
        &mut self,
        key: Key,
        session: &mut Session,
        exchange: &Exchange<'_>,
        resolved: Resolved<'_>,
    ) -> Step {
        match resolved {
            Resolved::Http { resource } => self.answer_resource(key, session, exchange, resource),
            Resolved::Dynamic { resource } => self.answer_dynamic(key, session, exchange, resource),
            Resolved::Rooms { routed: Routed::Answer(answer) } => {
                self.answer(key, session, exchange, &answer)
            }
            Resolved::Rooms {
                routed: Routed::Call { call: RoomsCall::Events { room, start, identity }, headers },
            } => self.stream_events(key, session, exchange, (&room, start, identity), headers),
            Resolved::Rooms { routed: Routed::Call { call, headers } } => {
                let body = exchange.body.unwrap_or_default();
                match self.carry_out_call(key, call, body) {
                    Ok(answer) => self.answer(key, session, exchange, &answer.with_headers(headers)),
                    Err(refusal) => {
                        self.refuse_request(key, session, exchange, &with_headers(refusal, headers))
                    }
                }
            }
            Resolved::WebSocket { .. } => unreachable!("opened by the caller"),
        }
    }

    fn authorize(
        &self,
        session: &Session,
        request: &Request<'_>,
        resolved: &Resolved<'_>,
    ) -> Result<(), Refusal> {
        let Resolved::Rooms { routed: Routed::Call { call, headers } } = resolved else { return Ok(()) };
        if !call.needs_key() {
            return Ok(());
        }
        let plan = self.router.plan();
        let decided = authorize(plan.api_keys.as_deref(), Self::is_local(session), &plan.origins, request);
        decided.map_err(|refusal| with_headers(refusal, headers.clone()))
    }

    /// Has the body read, or refused by its announced length, if it is not there yet.
    fn before_the_body(&mut self, key: Key, session: &mut Session, exchange: &Exchange<'_>) -> Option<Step> {
        let limit = self.settings.limits.message_bytes_max;
        match exchange.request.body_length() {
            _ if exchange.body.is_some() => return None,
            BodyLength::None => return None,
            BodyLength::Length(length) if length > limit as u64 => {
                let refusal = body_too_large(Some(length), limit);
                return Some(self.refuse_request(key, session, exchange, &refusal));
            }
            BodyLength::Length(_) | BodyLength::Chunked => {}
        }
        match exchange.request.expects_continue() {
            Ok(true) => {
                session.outbound.push_response(&mut self.arena, RESPONSE_BYTES, push_continue);
                self.mark_dirty(key.index(), session);
            }
            Ok(false) => {}
            Err(refusal) => return Some(self.refuse_request(key, session, exchange, &refusal)),
        }
        Some(Step::ReadBody { limit })
    }

    /// Joins the room as a reader of server-sent events; the response ends with the connection.
    fn stream_events(
        &mut self,
        key: Key,
        session: &mut Session,
        exchange: &Exchange<'_>,
        (name, start, identity): (&RoomName, Start, Option<Identity>),
        headers: Headers,
    ) -> Step {
        self.set_persona(key, session, identity.map(Arc::new), None);
        let wish = Wish { own: OwnMessages::Receive, start, encoding: Encoding::Events, watches: false };
        let joined = match self.try_join(key, session, name, wish) {
            Ok(joined) => joined,
            Err(JoinError::OutOfWindow(OutOfWindow(extent))) => {
                let wanted = start.wanted(extent.position());
                let refusal = gone(name, wanted, extent.position(), extent.first());
                return self.refuse_request(key, session, exchange, &with_headers(refusal, headers));
            }
            Err(JoinError::TooManyMemberships) => {
                let limit = self.settings.memberships_max;
                return Step::Finish(CloseCause::TooManyMemberships { limit });
            }
        };
        let mut all: Headers = position_headers(&joined).into();
        all.extend(headers);
        let mut fields: Vec<(&str, &str)> = EVENTS_HEAD.to_vec();
        fields.extend(all.iter().map(|(name, value)| (*name, value.as_str())));
        let position = Position { epoch: joined.extent.epoch, offset: joined.from };
        let head_only = exchange.head_only();
        session.outbound.push_response(&mut self.arena, RESPONSE_BYTES, |out| {
            push_stream_head(out, 200, &fields, EVENTS_CONTENT_TYPE);
            if !head_only {
                // One that breaks before the first message can come back to here.
                push_position(out, position);
            }
        });
        self.mark_dirty(key.index(), session);
        if head_only {
            self.leave_rooms(key, session, false);
            return Step::Finish(CloseCause::HttpAnswered(200));
        }
        Step::Stream
    }

    /// Refuses a request that the connection outlives, if it can.
    fn refuse_request(
        &mut self,
        key: Key,
        session: &mut Session,
        exchange: &Exchange<'_>,
        refusal: &Refusal,
    ) -> Step {
        let persistence = match refusal.status {
            // A key costs a connection to try, and those are counted by address.
            401 => Persistence::Close,
            _ => self.persistence(exchange),
        };
        let head_only = exchange.head_only();
        session.outbound.push_response(&mut self.arena, RESPONSE_BYTES, |out| {
            refusal.push_response(out, head_only, persistence);
        });
        self.mark_dirty(key.index(), session);
        match persistence {
            Persistence::KeepAlive => Step::Answered,
            Persistence::Close => Step::Finish(CloseCause::Refused(refusal.status)),
        }
    }

    /// Refuses what the connection ends with.
    pub(super) fn refuse(&mut self, session: &mut Session, refusal: &Refusal) -> Step {
        session.outbound.push_response(&mut self.arena, RESPONSE_BYTES, |out| {
            refusal.push_response(out, false, Persistence::Close);
        });
        Step::Finish(CloseCause::Refused(refusal.status))
    }

    fn answer_resource(
        &mut self,
        key: Key,
        session: &mut Session,
        exchange: &Exchange<'_>,
        resource: &Resource,
    ) -> Step {
        let head = (200, &resource.headers[..], resource.content_type);
        self.respond(key, session, exchange, head, &resource.body)
    }

    fn answer_dynamic(
        &mut self,
        key: Key,
        session: &mut Session,
        exchange: &Exchange<'_>,
        resource: &DynamicResource,
    ) -> Step {
        match catch_unwind(AssertUnwindSafe(|| resource.answer(exchange.request))) {
            Ok(Ok(answer)) => self.answer(key, session, exchange, &answer),
            Ok(Err(refusal)) => self.refuse_request(key, session, exchange, &refusal),
            Err(_) => Step::Finish(CloseCause::EndpointPanic),
        }
    }

    fn answer(&mut self, key: Key, session: &mut Session, exchange: &Exchange<'_>, answer: &Answer) -> Step {
        let head = (answer.status, &answer.headers[..], answer.content_type);
        self.respond(key, session, exchange, head, &answer.body)
    }

    fn respond(
        &mut self,
        key: Key,
        session: &mut Session,
        exchange: &Exchange<'_>,
        (status, headers, content_type): (u16, &[(&'static str, String)], &str),
        body: &[u8],
    ) -> Step {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (head_only, persistence) = (exchange.head_only(), self.persistence(exchange));
        session.outbound.push_response(&mut self.arena, RESPONSE_BYTES + body.len(), |out| {
            push_http_response(out, status, &headers, content_type, body, head_only, persistence);
        });
        self.count_http_bytes(session, session.http_bytes as usize + RESPONSE_BYTES + body.len());
        self.mark_dirty(key.index(), session);
        match persistence {
            Persistence::KeepAlive => Step::Answered,
            Persistence::Close => Step::Finish(CloseCause::HttpAnswered(status)),
        }
    }

    /// In a shutdown no further request is waited for.
    fn persistence(&self, exchange: &Exchange<'_>) -> Persistence {
        if self.draining.is_some() { Persistence::Close } else { exchange.persistence() }
    }
}

fn with_headers(mut refusal: Refusal, headers: Headers) -> Refusal {
    refusal.headers.extend(headers);
    refusal
}
