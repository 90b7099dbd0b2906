//! The endpoint: what a connection may say when, and what it is answered. A channel is a room.

use std::borrow::Cow;

use super::checks::{
    Refused, bad_request, check_connect, check_history, check_subscribe, framing, refused, room_name,
    too_many_commands,
};
use super::state::State;
use super::{
    Client, Command, ConnectReply, Data, DisconnectCode, ErrorCode, FLAG_REJECT_UNRECOVERED, Framing,
    HistoryReply, Method, Publication, Request, SubscribeReply, UnsubscribeCode, decode, push_connect_reply,
    push_empty_reply, push_error_saying, push_history_reply, push_ping, push_presence_reply,
    push_presence_stats_reply, push_subscribe_reply, push_unsubscribe,
};
use crate::endpoint::{
    Accept, Answer, Ask, CloseCause, Effects, Endpoint, EndpointSettings, Heartbeat, OpenRequest, Payload,
    Removal, Subscribed,
};
use crate::id::ConnectionId;
use crate::protocol::{CloseCode, Kind, Message, Refusal};
use crate::rooms::{Extent, RoomName};

/// Commands that may be refused one behind the other: a client that does not understand the answers does
/// not go on for ever.
pub const ERRORS_IN_A_ROW_MAX: u8 = 20;
/// The most publications of one history reply, as with the protocol's reference server. A client reads on
/// from the last.
pub const HISTORY_LIMIT_MAX: usize = 300;
/// The version that clients are told.
const VERSION: &str = concat!("fanfare ", env!("CARGO_PKG_VERSION"));

/// What an instance is told.
pub type ClientProtocolSettings = EndpointSettings;

/// One shard's instance.
#[derive(Debug)]
pub struct ClientProtocol {
    settings: ClientProtocolSettings,
    /// By the connection's slot.
    clients: Vec<Option<State>>,
    /// What the commands of the message at hand have asked of the rooms.
    questions: Vec<Question>,
}

/// What the answer to a question is for.
#[derive(Debug)]
struct Question {
    id: u32,
    about: About,
}

#[derive(Debug)]
enum About {
    Connect,
    Subscribe {
        room: RoomName,
        recover: bool,
        flag: u64,
    },
    Unsubscribe,
    Publish,
    History {
        reverse: bool,
    },
    Presence,
    Ping,
    /// It is refused already, and told so in its place among the answers: which of them are in a row is
    /// known only then.
    Refused(Refused),
}

impl ClientProtocol {
    /// An instance without a client.
    pub fn new(settings: ClientProtocolSettings) -> ClientProtocol {
        ClientProtocol { settings, clients: Vec::new(), questions: Vec::new() }
    }

    /// Goes on with other settings. Who has connected was told how often pings come, and the shard keeps to
    /// that.
    pub fn set_settings(&mut self, settings: &ClientProtocolSettings) {
        self.settings = *settings;
    }

    fn state(&mut self, connection: ConnectionId) -> Option<&mut State> {
        self.clients.get_mut(connection.key.index() as usize)?.as_mut()
    }

    /// Carries out a command, or notes what it asks of the rooms.
    fn command<'m>(
        &mut self,
        connection: ConnectionId,
        command: Command<'m>,
        effects: &mut Effects<'m>,
    ) -> Result<(), Refused> {
        let Command { id, request } = command;
        let Some(state) = self.state(connection) else { return Ok(()) };
        if !state.connected && !matches!(request, Request::Connect(_)) {
            return Err(bad_request("the first command has to be connect"));
        }
        match request {
            Request::Pong => {
                let Some(awaited) = state.pongs_awaited.checked_sub(1) else {
                    return Err(bad_request("an empty command is the answer to a ping, and none was sent"));
                };
                state.pongs_awaited = awaited;
            }
            Request::Connect(connect) => {
                let identity = check_connect(state, &connect)?;
                state.connected = true;
                self.ask(effects, id, About::Connect, Ask::Introduce(identity));
            }
            Request::Subscribe(subscribe) => {
                let framing = state.framing;
                let (room, subscription) = check_subscribe(framing, &subscribe)?;
                let (recover, flag) = (subscribe.recover, subscribe.flag);
                let about = About::Subscribe { room: room.clone(), recover, flag };
                self.ask(effects, id, about, Ask::Subscribe(room, subscription));
            }
            Request::Unsubscribe { channel } => {
                let room = room_name(&channel)?;
                self.ask(effects, id, About::Unsubscribe, Ask::Unsubscribe(room));
            }
            Request::Publish { channel, data } => {
                let (room, payload) = self.check_publish(&channel, data)?;
                self.ask(effects, id, About::Publish, Ask::Publish(room, payload));
            }
            Request::History(history) => {
                let (room, query) = check_history(&history)?;
                self.ask(effects, id, About::History { reverse: query.reverse }, Ask::History(room, query));
            }
            Request::Presence { channel } => {
                let room = room_name(&channel)?;
                self.ask(effects, id, About::Presence, Ask::Presence(room));
            }
            Request::PresenceStats { channel } => {
                let room = room_name(&channel)?;
                self.ask(effects, id, About::Presence, Ask::PresenceStats(room));
            }
            Request::Ping => self.ask(effects, id, About::Ping, Ask::Nothing),
            Request::Send => {
                let reason = "send is not offered here, and has no reply that could say so";
                return Err(Refused::Disconnect(DisconnectCode::NotAvailable, reason.into()));
            }
            Request::Rpc | Request::MapPublish | Request::Refresh | Request::SubRefresh => {
                return Err(ErrorCode::NotAvailable.into());
            }
        }
        Ok(())
    }

    fn ask<'m>(&mut self, effects: &mut Effects<'m>, id: u32, about: About, ask: Ask<'m>) {
        effects.ask(self.questions.len() as u32, ask);
        self.questions.push(Question { id, about });
    }

    fn check_publish<'m>(&self, channel: &str, data: Data<'m>) -> Result<(RoomName, Payload<'m>), Refused> {
        let room = room_name(channel)?;
        if !self.settings.member_publish {
            let message = "members may not publish here, only read (--member-publish)";
            return Err(Refused::Error(ErrorCode::PermissionDenied, message.into()));
        }
        if data.bytes.is_empty() {
            return Err(Refused::Error(ErrorCode::BadRequest, "data is missing".into()));
        }
        Ok((room, Payload::new(data.kind, data.bytes)))
    }

    /// Tells a client that its command was refused, or ends the connection.
    fn refuse(&mut self, connection: ConnectionId, id: u32, refused: Refused, effects: &mut Effects<'_>) {
        let Some(state) = self.state(connection) else { return };
        match refused {
            Refused::Disconnect(code, reason) => effects.close(code.close_code(), reason),
            Refused::Busy(message) => {
                let (framing, code) = (state.framing, ErrorCode::TooManyRequests);
                send(effects, framing, |out| push_error_saying(out, framing, id, code, &message));
            }
            Refused::Error(code, message) => {
                let framing = state.framing;
                send(effects, framing, |out| push_error_saying(out, framing, id, code, &message));
                state.errors_in_a_row += 1;
                if state.errors_in_a_row >= ERRORS_IN_A_ROW_MAX {
                    // Who was only too fast may come back.
                    let code = match code.is_temporary() {
                        true => DisconnectCode::TooManyRequests,
                        false => DisconnectCode::TooManyErrors,
                    };
                    let reason = format!("{ERRORS_IN_A_ROW_MAX} commands in a row were refused");
                    effects.close(code.close_code(), reason);
                }
            }
        }
    }

    /// Answers a question of a client, or says why it is refused.
    fn reply(
        &mut self,
        connection: ConnectionId,
        question: &Question,
        answer: Answer<'_>,
        effects: &mut Effects<'_>,
    ) -> Result<(), Refused> {
        let ping = self.ping_seconds();
        let Some(state) = self.state(connection) else { return Ok(()) };
        let (framing, id) = (state.framing, question.id);
        let mut out = Vec::new();
        match (&question.about, answer) {
            (_, Answer::Refused(error)) => return Err(refused(error)),
            (About::Connect, Answer::Introduced(client)) => {
                let pong = state.heartbeat == Heartbeat::Own;
                let ping_seconds = if pong { ping } else { 0 };
                let reply = ConnectReply { client, version: VERSION, ping_seconds, pong };
                push_connect_reply(&mut out, framing, id, &reply);
            }
            (About::Subscribe { room, recover, flag }, Answer::Subscribed(subscribed)) => {
                if subscribed.recovered == Some(false) && flag & FLAG_REJECT_UNRECOVERED != 0 {
                    effects.leave(room.clone());
                    return Err(ErrorCode::UnrecoverablePosition.into());
                }
                push_subscribed(&mut out, framing, id, subscribed, *recover);
            }
            (About::Unsubscribe, Answer::Done) => {
                push_empty_reply(&mut out, framing, id, Method::Unsubscribe);
            }
            (About::Publish, Answer::Done) => push_empty_reply(&mut out, framing, id, Method::Publish),
            (About::Ping, Answer::Done) => push_empty_reply(&mut out, framing, id, Method::Ping),
            (About::Refused(refused), Answer::Done) => return Err(refused.clone()),
            (About::History { reverse }, Answer::History { extent, messages }) => {
                let Extent { epoch, last: offset, .. } = extent;
                if *reverse {
                    let publications = messages.iter().rev().map(Publication::from);
                    push_history_reply(&mut out, framing, id, HistoryReply { epoch, offset, publications });
                } else {
                    let publications = messages.iter().map(Publication::from);
                    push_history_reply(&mut out, framing, id, HistoryReply { epoch, offset, publications });
                }
            }
            (About::Presence, Answer::Presence(present)) => {
                push_presence_reply(&mut out, framing, id, present.iter().map(Client::from));
            }
            (About::Presence, Answer::PresenceStats(stats)) => {
                let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
                let (clients, users) = (count(stats.clients), count(stats.users));
                push_presence_stats_reply(&mut out, framing, id, clients, users);
            }
            (about, answer) => unreachable!("{answer:?} does not answer {about:?}"),
        }
        state.errors_in_a_row = 0;
        effects.send(Payload::new(framing.kind(), out));
        Ok(())
    }

    /// Rounded up, as the client waits at least so long.
    fn ping_seconds(&self) -> u32 {
        self.settings.ping_interval.as_millis().div_ceil(1000) as u32
    }
}

impl Endpoint for ClientProtocol {
    fn open<'m>(
        &mut self,
        connection: ConnectionId,
        request: &OpenRequest<'_>,
        _: &mut Effects<'m>,
    ) -> Result<Accept, Refusal> {
        let (framing, subprotocol) = framing(request)?;
        let heartbeat = match request.query("cf_ws_frame_ping_pong")?.as_deref() {
            Some("true") => Heartbeat::Ping,
            _ => Heartbeat::Own,
        };
        let index = connection.key.index() as usize;
        if self.clients.len() <= index {
            self.clients.resize(index + 1, None);
        }
        self.clients[index] = Some(State::new(framing, heartbeat));
        Ok(Accept { subprotocol, introduces_itself: true, heartbeat })
    }

    fn message<'m>(&mut self, connection: ConnectionId, message: Message<'m>, effects: &mut Effects<'m>) {
        self.questions.clear();
        let rate = self.settings.command_rate;
        let Some(state) = self.state(connection) else { return };
        let framing = state.framing;
        if message.kind != framing.kind() {
            let reason = format!("{} frames are expected in this framing", kind_name(framing.kind()));
            effects.close(DisconnectCode::BadRequest.close_code(), reason);
            return;
        }
        for command in decode(framing, message.payload) {
            let Some(state) = self.state(connection) else { return };
            let command = match command {
                Ok(command) => command,
                Err(error) => {
                    effects.close(DisconnectCode::BadRequest.close_code(), error.to_string());
                    return;
                }
            };
            let id = command.id;
            let is_pong = matches!(command.request, Request::Pong);
            let taken = is_pong || state.commands.take(rate.into(), effects.now());
            let done = match taken {
                true => self.command(connection, command, effects),
                false => Err(too_many_commands(rate)),
            };
            match done {
                Ok(()) => {}
                Err(Refused::Disconnect(code, reason)) => {
                    effects.close(code.close_code(), reason);
                    return;
                }
                Err(refused) => self.ask(effects, id, About::Refused(refused), Ask::Nothing),
            }
        }
    }

    fn answered<'m>(
        &mut self,
        connection: ConnectionId,
        question: u32,
        answer: Answer<'_>,
        effects: &mut Effects<'m>,
    ) {
        let questions = std::mem::take(&mut self.questions);
        if let Some(question) = questions.get(question as usize)
            && let Err(refused) = self.reply(connection, question, answer, effects)
        {
            self.refuse(connection, question.id, refused, effects);
        }
        self.questions = questions;
    }

    fn removed<'m>(
        &mut self,
        connection: ConnectionId,
        room: &RoomName,
        removal: Removal,
        effects: &mut Effects<'m>,
    ) {
        let Some(state) = self.state(connection) else { return };
        let framing = state.framing;
        let code = match removal {
            Removal::OutOfWindow => UnsubscribeCode::InsufficientState,
            Removal::Api => UnsubscribeCode::Server,
        };
        send(effects, framing, |out| push_unsubscribe(out, framing, room.as_str(), code));
    }

    fn heartbeat<'m>(&mut self, connection: ConnectionId, effects: &mut Effects<'m>) {
        let Some(state) = self.state(connection) else { return };
        state.pongs_awaited = state.pongs_awaited.saturating_add(1);
        let framing = state.framing;
        send(effects, framing, |out| push_ping(out, framing));
    }

    fn close_with(&self, cause: &CloseCause) -> Option<(CloseCode, Cow<'static, str>)> {
        let code = match cause {
            CloseCause::Shutdown => DisconnectCode::Shutdown,
            CloseCause::EndpointPanic => DisconnectCode::ServerError,
            CloseCause::OutOfWindow { .. }
            | CloseCause::WriteTimeout { .. }
            | CloseCause::QueueOverflow { .. }
            | CloseCause::Shed { .. } => DisconnectCode::Slow,
            CloseCause::HeartbeatTimeout { .. } => DisconnectCode::NoPong,
            CloseCause::IntroductionTimeout { .. } => DisconnectCode::Stale,
            CloseCause::MessageTimeout { .. } => DisconnectCode::ConnectionClosed,
            CloseCause::TooManyMemberships { .. } => DisconnectCode::ChannelLimit,
            CloseCause::RateExceeded { .. } => DisconnectCode::TooManyRequests,
            _ => return None,
        };
        Some((code.close_code(), cause.to_string().into()))
    }

    fn close(&mut self, connection: ConnectionId, _: &CloseCause) {
        if let Some(client) = self.clients.get_mut(connection.key.index() as usize) {
            *client = None;
        }
    }
}

fn push_subscribed(out: &mut Vec<u8>, framing: Framing, id: u32, subscribed: &Subscribed, recover: bool) {
    let recovered = subscribed.recovered == Some(true);
    let reply = SubscribeReply {
        recoverable: subscribed.complete,
        positioned: subscribed.complete,
        epoch: subscribed.extent.epoch,
        // What comes moves the client on from here, in this reply or behind it.
        offset: if recovered { subscribed.from } else { subscribed.extent.last },
        recovered,
        was_recovering: recover,
        publications: subscribed.messages.iter().map(Publication::from),
    };
    push_subscribe_reply(out, framing, id, reply);
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Binary => "binary",
    }
}

fn send(effects: &mut Effects<'_>, framing: Framing, push: impl FnOnce(&mut Vec<u8>)) {
    let mut out = Vec::new();
    push(&mut out);
    effects.send(Payload::new(framing.kind(), out));
}
