//! The closed sets of numbers that the protocol says things with, each with its text and with what the
//! client makes of it. Custom numbers of applications (errors 400 to 1999, closes 4000 to 4999) are not
//! ours to send.

use crate::protocol::CloseCode;

/// Why a command was refused; the connection lives on, but for a `connect` that was refused.
///
/// A client that gets a temporary one or [`ErrorCode::TokenExpired`] for `connect` or `subscribe` tries
/// again after a back-off. Any other stops it: it is disconnected, or unsubscribed from that channel. For
/// every other command the caller gets the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum ErrorCode {
    /// Something went wrong on our side; temporary.
    Internal = 100,
    /// The client must say who it is.
    Unauthorized = 101,
    /// There is no such channel.
    UnknownChannel = 102,
    /// The client may not do this.
    PermissionDenied = 103,
    /// We do not know this command.
    MethodNotFound = 104,
    /// The client is subscribed to the channel already.
    AlreadySubscribed = 105,
    /// A limit is reached.
    LimitExceeded = 106,
    /// The command makes no sense, now or later.
    BadRequest = 107,
    /// What the command asks for is switched off or not offered.
    NotAvailable = 108,
    /// The client gets a new token and tries again.
    TokenExpired = 109,
    /// The connection or subscription is over its time.
    Expired = 110,
    /// The client sends too fast; temporary.
    TooManyRequests = 111,
    /// Publications since the given position are not all held any more.
    UnrecoverablePosition = 112,
    /// Another page of the same channel is being read; temporary.
    ConcurrentPagination = 113,
}

impl ErrorCode {
    /// All of them, by number.
    pub const ALL: [ErrorCode; 14] = [
        ErrorCode::Internal,
        ErrorCode::Unauthorized,
        ErrorCode::UnknownChannel,
        ErrorCode::PermissionDenied,
        ErrorCode::MethodNotFound,
        ErrorCode::AlreadySubscribed,
        ErrorCode::LimitExceeded,
        ErrorCode::BadRequest,
        ErrorCode::NotAvailable,
        ErrorCode::TokenExpired,
        ErrorCode::Expired,
        ErrorCode::TooManyRequests,
        ErrorCode::UnrecoverablePosition,
        ErrorCode::ConcurrentPagination,
    ];

    /// The number.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The protocol's own text for it.
    pub const fn message(self) -> &'static str {
        match self {
            ErrorCode::Internal => "internal server error",
            ErrorCode::Unauthorized => "unauthorized",
            ErrorCode::UnknownChannel => "unknown channel",
            ErrorCode::PermissionDenied => "permission denied",
            ErrorCode::MethodNotFound => "method not found",
            ErrorCode::AlreadySubscribed => "already subscribed",
            ErrorCode::LimitExceeded => "limit exceeded",
            ErrorCode::BadRequest => "bad request",
            ErrorCode::NotAvailable => "not available",
            ErrorCode::TokenExpired => "token expired",
            ErrorCode::Expired => "expired",
            ErrorCode::TooManyRequests => "too many requests",
            ErrorCode::UnrecoverablePosition => "unrecoverable position",
            ErrorCode::ConcurrentPagination => "concurrent pagination",
        }
    }

    /// Whether the same command may succeed a little later.
    pub const fn is_temporary(self) -> bool {
        matches!(self, ErrorCode::Internal | ErrorCode::TooManyRequests | ErrorCode::ConcurrentPagination)
    }
}

/// Why the server ended a subscription; the connection lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum UnsubscribeCode {
    /// It was told to, by the server API.
    Server = 2000,
    /// Publications were lost on the way to this client: it subscribes again and recovers them.
    InsufficientState = 2500,
    /// The subscription is over its time.
    Expired = 2501,
    /// What the client holds of the channel is void: it drops its position and subscribes again.
    StateInvalidated = 2502,
}

impl UnsubscribeCode {
    /// All of them, by number.
    pub const ALL: [UnsubscribeCode; 4] = [
        UnsubscribeCode::Server,
        UnsubscribeCode::InsufficientState,
        UnsubscribeCode::Expired,
        UnsubscribeCode::StateInvalidated,
    ];

    /// The number.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The protocol's own text for it.
    pub const fn reason(self) -> &'static str {
        match self {
            UnsubscribeCode::Server => "server unsubscribe",
            UnsubscribeCode::InsufficientState => "insufficient state",
            UnsubscribeCode::Expired => "subscription expired",
            UnsubscribeCode::StateInvalidated => "state invalidated",
        }
    }

    /// Whether the client subscribes again by itself: from 2500 on.
    pub const fn comes_back(self) -> bool {
        self.code() >= 2500
    }
}

/// Why the server closed the connection: the code of its Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum DisconnectCode {
    /// No reason was given.
    ConnectionClosed = 3000,
    /// The server stops.
    Shutdown = 3001,
    /// Something went wrong on our side.
    ServerError = 3004,
    /// The connection is over its time.
    Expired = 3005,
    /// A subscription is over its time.
    SubscriptionExpired = 3006,
    /// The client reads too slowly.
    Slow = 3008,
    /// The connection could not be written to.
    WriteError = 3009,
    /// Publications were lost on the way to this client: it comes back and recovers them.
    InsufficientState = 3010,
    /// It was told to; the client comes back.
    ForceReconnect = 3011,
    /// The client did not answer a ping in time.
    NoPong = 3012,
    /// The client sends too fast.
    TooManyRequests = 3013,
    /// What the client holds is void: it drops its token and positions and comes back.
    StateInvalidated = 3014,
    /// The token is no token of ours.
    InvalidToken = 3500,
    /// What the client sent is not the protocol, or not in this order.
    BadRequest = 3501,
    /// The client did not send `connect` in time.
    Stale = 3502,
    /// It was told to; the client stays away.
    ForceNoReconnect = 3503,
    /// There are too many connections.
    ConnectionLimit = 3504,
    /// There are too many subscriptions.
    ChannelLimit = 3505,
    /// What is to be sent cannot be said in this framing.
    InappropriateProtocol = 3506,
    /// The client may not connect.
    PermissionDenied = 3507,
    /// What the client sent is not offered, and has no reply that could say so (`send`).
    NotAvailable = 3508,
    /// Too many of the client's commands were refused in a row.
    TooManyErrors = 3509,
}

impl DisconnectCode {
    /// All of them, by number.
    pub const ALL: [DisconnectCode; 22] = [
        DisconnectCode::ConnectionClosed,
        DisconnectCode::Shutdown,
        DisconnectCode::ServerError,
        DisconnectCode::Expired,
        DisconnectCode::SubscriptionExpired,
        DisconnectCode::Slow,
        DisconnectCode::WriteError,
        DisconnectCode::InsufficientState,
        DisconnectCode::ForceReconnect,
        DisconnectCode::NoPong,
        DisconnectCode::TooManyRequests,
        DisconnectCode::StateInvalidated,
        DisconnectCode::InvalidToken,
        DisconnectCode::BadRequest,
        DisconnectCode::Stale,
        DisconnectCode::ForceNoReconnect,
        DisconnectCode::ConnectionLimit,
        DisconnectCode::ChannelLimit,
        DisconnectCode::InappropriateProtocol,
        DisconnectCode::PermissionDenied,
        DisconnectCode::NotAvailable,
        DisconnectCode::TooManyErrors,
    ];

    /// The number.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The number, as it travels in a Close frame.
    pub const fn close_code(self) -> CloseCode {
        CloseCode::new(self.code()).expect("3000 to 4999 may travel")
    }

    /// The protocol's own text for it, the reason in the Close frame.
    pub const fn reason(self) -> &'static str {
        match self {
            DisconnectCode::ConnectionClosed => "connection closed",
            DisconnectCode::Shutdown => "shutdown",
            DisconnectCode::ServerError => "internal server error",
            DisconnectCode::Expired => "connection expired",
            DisconnectCode::SubscriptionExpired => "subscription expired",
            DisconnectCode::Slow => "slow",
            DisconnectCode::WriteError => "write error",
            DisconnectCode::InsufficientState => "insufficient state",
            DisconnectCode::ForceReconnect => "force reconnect",
            DisconnectCode::NoPong => "no pong",
            DisconnectCode::TooManyRequests => "too many requests",
            DisconnectCode::StateInvalidated => "state invalidated",
            DisconnectCode::InvalidToken => "invalid token",
            DisconnectCode::BadRequest => "bad request",
            DisconnectCode::Stale => "stale",
            DisconnectCode::ForceNoReconnect => "force disconnect",
            DisconnectCode::ConnectionLimit => "connection limit",
            DisconnectCode::ChannelLimit => "channel limit",
            DisconnectCode::InappropriateProtocol => "inappropriate protocol",
            DisconnectCode::PermissionDenied => "permission denied",
            DisconnectCode::NotAvailable => "not available",
            DisconnectCode::TooManyErrors => "too many errors",
        }
    }

    /// Whether the client connects again by itself, after a random back-off: below 3500.
    pub const fn comes_back(self) -> bool {
        self.code() < 3500
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_100_to_113_without_a_hole() {
        let codes: Vec<u16> = ErrorCode::ALL.iter().map(|error| error.code()).collect();
        assert_eq!(codes, (100..=113).collect::<Vec<u16>>());
        let temporary: Vec<u16> =
            ErrorCode::ALL.iter().filter(|error| error.is_temporary()).map(|error| error.code()).collect();
        assert_eq!(temporary, [100, 111, 113]);
    }

    #[test]
    fn only_an_unsubscribe_by_the_server_keeps_the_client_out() {
        let codes: Vec<(u16, bool)> =
            UnsubscribeCode::ALL.iter().map(|code| (code.code(), code.comes_back())).collect();
        assert_eq!(codes, [(2000, false), (2500, true), (2501, true), (2502, true)]);
    }

    #[test]
    fn closes_from_3500_on_are_terminal_and_all_may_travel() {
        let back: Vec<u16> =
            DisconnectCode::ALL.iter().filter(|code| code.comes_back()).map(|code| code.code()).collect();
        assert_eq!(back, [3000, 3001, 3004, 3005, 3006, 3008, 3009, 3010, 3011, 3012, 3013, 3014]);
        let terminal: Vec<u16> =
            DisconnectCode::ALL.iter().filter(|code| !code.comes_back()).map(|code| code.code()).collect();
        assert_eq!(terminal, (3500..=3509).collect::<Vec<u16>>());
        for code in DisconnectCode::ALL {
            assert_eq!(code.close_code().as_u16(), code.code());
        }
    }

    #[test]
    fn no_text_is_empty() {
        // centrifuge-python reads reason and message without asking whether they are there, and
        // Protobuf leaves out what is empty.
        assert!(ErrorCode::ALL.iter().all(|error| !error.message().is_empty()));
        assert!(UnsubscribeCode::ALL.iter().all(|code| !code.reason().is_empty()));
        assert!(DisconnectCode::ALL.iter().all(|code| !code.reason().is_empty()));
    }
}
