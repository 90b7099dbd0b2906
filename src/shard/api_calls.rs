//! Carries out the calls of the server API: publications enter at once, what is read is read from the rooms
//! themselves, and who is to be removed is told to all shards.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::endpoint::HistoryQuery;
use crate::endpoint::api::{
    ApiCall, ApiError, ApiMethod, ApiRequest, ApiResult, BATCH_ANSWER_BYTES, CHANNELS_LOOKED_AT_MAX,
    CHANNELS_MAX, HISTORY_ANSWER_BYTES, Message, NodeInfo, Target, api_answer, api_batch_answer,
    check_api_publications, parse_api,
};
use crate::endpoint::client_protocol::ErrorCode;
use crate::endpoint::http::Answer;
use crate::id::{ConnectionId, ShardId};
use crate::protocol::Refusal;
use crate::rooms::{Position, Published, RoomName, Sender};
use crate::slab::Key;

use super::Core;
use super::mailbox::{Mail, RemovalOrder, RemovedFrom};
use super::publish::batch_of_one;

impl<S> Core<S> {
    /// Carries out what `POST /api/{method}` asks for, and says what to answer.
    pub(super) fn carry_out_api(
        &mut self,
        key: Key,
        method: ApiMethod,
        body: &[u8],
    ) -> Result<Answer, Refusal> {
        let bytes_max = self.mailbox.mesh().bytes_max();
        match parse_api(method, body)? {
            ApiRequest::One(call) => {
                let result = call.and_then(|call| {
                    check_api_publications([&call], bytes_max)?;
                    self.carry_out_api_call(key, call)
                });
                Ok(api_answer(&result))
            }
            ApiRequest::Batch(commands) => {
                let calls = commands.iter().filter_map(|(_, call)| call.as_ref().ok());
                // A batch has no error of its own, and half of it would be worse.
                check_api_publications(calls, bytes_max).map_err(ApiError::into_refusal)?;
                Ok(api_batch_answer(commands, |call, answered| {
                    let call = call?;
                    if call.reads() && answered > BATCH_ANSWER_BYTES {
                        return Err(answers_too_long(answered));
                    }
                    self.carry_out_api_call(key, call)
                }))
            }
        }
    }

    fn carry_out_api_call(&mut self, key: Key, call: ApiCall<'_>) -> Result<ApiResult, ApiError> {
        if call.reads() {
            self.check_http_bytes()?;
        }
        match call {
            ApiCall::Publish(room, message) => {
                Ok(ApiResult::Published(self.enter_room(key, &room, &message)))
            }
            ApiCall::Broadcast(rooms, message) => {
                let enter = |room: Result<RoomName, ApiError>| Ok(self.enter_room(key, &room?, &message));
                Ok(ApiResult::Broadcast(rooms.into_iter().map(enter).collect()))
            }
            ApiCall::Presence(room) => Ok(ApiResult::Presence(self.list_present(&room)?)),
            ApiCall::PresenceStats(room) => Ok(ApiResult::PresenceStats(self.count_present(&room)?)),
            ApiCall::History(room, query) => self.api_history(&room, query),
            ApiCall::Channels(pattern) => self.api_channels(&pattern),
            ApiCall::Info => Ok(ApiResult::Info(NodeInfo {
                life: self.rooms.registry().life(),
                connections: self.connections.load(Ordering::Relaxed),
                rooms: self.rooms.registry().len(),
                uptime_seconds: self.now.as_nanos() / 1_000_000_000,
            })),
            ApiCall::Disconnect { of, spared, code, reason } => {
                self.order_removal(of, spared, RemovedFrom::Server(code, reason));
                Ok(ApiResult::Done)
            }
            ApiCall::Unsubscribe(room, of) => {
                self.order_removal(of, Vec::new(), RemovedFrom::Room(room));
                Ok(ApiResult::Done)
            }
        }
    }

    fn enter_room(&mut self, key: Key, room: &RoomName, message: &Message<'_>) -> Position {
        let from = Sender::Api { exclude: None };
        let batch = batch_of_one((from, None), message.kind, &message.payload);
        let (Published::Entered(position) | Published::Repeat(position)) =
            self.publish_at_once(room, &batch, key, message.idempotency_key.as_deref());
        position
    }

    fn api_history(&mut self, room: &RoomName, query: HistoryQuery) -> Result<ApiResult, ApiError> {
        let (extent, messages) = self.read_part(room, query, HISTORY_ANSWER_BYTES, None)?;
        Ok(ApiResult::History { extent, messages, reverse: query.reverse })
    }

    fn api_channels(&self, pattern: &str) -> Result<ApiResult, ApiError> {
        let found = self.rooms.registry().search(pattern, CHANNELS_MAX, CHANNELS_LOOKED_AT_MAX);
        found.map(ApiResult::Channels).map_err(|error| {
            let message = format!("{error}; a longer pattern is expected, or GET /rooms page by page");
            ApiError::new(ErrorCode::LimitExceeded, message)
        })
    }

    /// Tells all shards whom to remove.
    fn order_removal(&mut self, of: Target, spared: Vec<ConnectionId>, from: RemovedFrom) {
        let Target { user, client } = of;
        // With a client alone it is that one, whatever its name.
        let user = Some(user).filter(|user| !user.is_empty());
        let order = Arc::new(RemovalOrder { user, client, spared, from });
        for shard in 0..self.reached.len() {
            self.mailbox.mesh().send(ShardId::new(shard), Mail::Removal(Arc::clone(&order)));
            self.reached[shard] = true;
        }
    }
}

fn answers_too_long(bytes: usize) -> ApiError {
    let message = format!(
        "the answers to the commands before have {bytes} bytes, and up to {BATCH_ANSWER_BYTES} are allowed before \
         one that may be long; ask for it in another request"
    );
    ApiError::new(ErrorCode::LimitExceeded, message)
}
