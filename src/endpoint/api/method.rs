//! The methods of the API, by name.

/// A method of `POST /api/{method}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiMethod {
    /// `batch`
    Batch,
    /// `broadcast`
    Broadcast,
    /// `channels`
    Channels,
    /// `disconnect`
    Disconnect,
    /// `history`
    History,
    /// `info`
    Info,
    /// `presence`
    Presence,
    /// `presence_stats`
    PresenceStats,
    /// `publish`
    Publish,
    /// `unsubscribe`
    Unsubscribe,
    /// Another of Centrifugo's, by its name.
    NotOffered(&'static str),
}

const OFFERED: [(&str, ApiMethod); 10] = [
    ("batch", ApiMethod::Batch),
    ("broadcast", ApiMethod::Broadcast),
    ("channels", ApiMethod::Channels),
    ("disconnect", ApiMethod::Disconnect),
    ("history", ApiMethod::History),
    ("info", ApiMethod::Info),
    ("presence", ApiMethod::Presence),
    ("presence_stats", ApiMethod::PresenceStats),
    ("publish", ApiMethod::Publish),
    ("unsubscribe", ApiMethod::Unsubscribe),
];

/// The other methods of Centrifugo and Centrifugo PRO (`service CentrifugoApi` of `api.proto`): a library
/// gets an error that it knows for them.
const NOT_OFFERED: [&str; 30] = [
    "block_user",
    "cancel_push",
    "connections",
    "delete_user_status",
    "device_list",
    "device_register",
    "device_remove",
    "device_topic_list",
    "device_topic_update",
    "device_update",
    "get_user_status",
    "history_remove",
    "invalidate_user_tokens",
    "map_clear",
    "map_publish",
    "map_read_state",
    "map_read_stream",
    "map_remove",
    "map_stats",
    "refresh",
    "revoke_token",
    "rpc",
    "send_push_notification",
    "shared_poll_publish",
    "subscribe",
    "unblock_user",
    "update_push_status",
    "update_user_status",
    "user_topic_list",
    "user_topic_update",
];

impl ApiMethod {
    /// The method of this name, offered or not.
    pub fn find(name: &str) -> Option<ApiMethod> {
        let offered = OFFERED.iter().find(|(known, _)| *known == name).map(|(_, method)| *method);
        let other = || NOT_OFFERED.iter().find(|known| **known == name).copied().map(ApiMethod::NotOffered);
        offered.or_else(other)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            ApiMethod::NotOffered(name) => name,
            offered => {
                let mut names = OFFERED.iter().filter(|(_, method)| *method == offered);
                names.next().map_or("", |(name, _)| name)
            }
        }
    }

    /// Those that are offered, for an error.
    pub(super) fn offered() -> String {
        OFFERED.map(|(name, _)| name).join(", ")
    }

    /// What its body has to be, for an error.
    pub(super) fn form(self) -> &'static str {
        match self {
            ApiMethod::Batch => r#"{"commands":[{METHOD:{…}},…]}, up to 1000,"#,
            ApiMethod::Broadcast => r#"{"channels":[1 to 1000 names],"data":any JSON or "b64data":BASE64}"#,
            ApiMethod::Channels => r#"{} or {"pattern":"NAME*"}"#,
            ApiMethod::Disconnect => {
                r#"{"user":NAME} with "client":ID, "whitelist":[IDs] and "disconnect":{"code","reason"} if wanted"#
            }
            ApiMethod::History => {
                r#"{"channel":NAME,"limit":N} with "since":{"offset","epoch"} and "reverse":true if wanted"#
            }
            ApiMethod::Info | ApiMethod::NotOffered(_) => "{}",
            ApiMethod::Presence | ApiMethod::PresenceStats => r#"{"channel":NAME}"#,
            ApiMethod::Publish => r#"{"channel":NAME,"data":any JSON or "b64data":BASE64}"#,
            ApiMethod::Unsubscribe => r#"{"channel":NAME,"user":NAME}"#,
        }
    }
}
