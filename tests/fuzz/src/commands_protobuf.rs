//! Target `commands_protobuf`: the same in Protobuf, against `prost`.

use fanfare::endpoint::client_protocol::{Command, Framing, Request, decode};
use prost::Message as _;

use super::choices::Choices;
use super::commands::Session;
use super::schema;
use super::world::{World, small};

/// Choices: limits, whether `connect` is sent before; the size of the first frame. Then two frames.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let (first, size) = (choices.byte(), choices.byte());
    let mut config = small();
    config.command_rate = [8, 1000][usize::from(first & 1)];
    config.max_message = 2048;
    config.member_publish = first & 4 == 0;
    let frames = [choices.bytes(usize::from(size)), choices.rest()];
    for frame in frames {
        check_against_prost(frame);
    }
    let mut session = Session::new(World::new(1, config), Framing::Protobuf, first & 2 != 0);
    for frame in frames {
        session.frame(frame);
    }
    session.end();
}

/// What the decoder takes, prost takes too and finds the same in it.
fn check_against_prost(frame: &[u8]) {
    let mut rest = frame;
    for found in decode(Framing::Protobuf, frame) {
        let Ok(command) = found else { return };
        match schema::Command::decode_length_delimited(&mut rest) {
            Ok(expected) => check_command(&command, &expected),
            Err(error) => panic!("{command:?}: {error}"),
        }
    }
    assert!(rest.is_empty());
}

fn check_command(command: &Command<'_>, expected: &schema::Command) {
    assert_eq!(command.id, expected.id);
    match &command.request {
        Request::Publish { channel, data } => {
            let publish = expected.publish.as_ref().expect("publish");
            assert_eq!((&**channel, data.bytes), (publish.channel.as_str(), publish.data.as_slice()));
        }
        Request::Subscribe(subscribe) => {
            let wire = expected.subscribe.as_ref().expect("subscribe");
            assert_eq!(subscribe.channel, wire.channel);
            assert_eq!((subscribe.recover, subscribe.offset), (wire.recover, wire.offset));
            assert_eq!((&*subscribe.epoch, subscribe.join_leave), (wire.epoch.as_str(), wire.join_leave));
            assert_eq!(subscribe.flag, wire.flag.cast_unsigned());
        }
        Request::Unsubscribe { channel } => {
            assert_eq!(*channel, expected.unsubscribe.as_ref().unwrap().channel)
        }
        Request::Presence { channel } => assert_eq!(*channel, expected.presence.as_ref().unwrap().channel),
        Request::PresenceStats { channel } => {
            assert_eq!(*channel, expected.presence_stats.as_ref().unwrap().channel);
        }
        Request::History(history) => {
            let wire = expected.history.as_ref().expect("history");
            assert_eq!((&*history.channel, history.limit), (wire.channel.as_str(), wire.limit));
            assert_eq!(history.reverse, wire.reverse);
            let since = history.since.as_ref().map(|since| (since.offset, since.epoch.to_string()));
            assert_eq!(since, wire.since.as_ref().map(|since| (since.offset, since.epoch.clone())));
        }
        Request::Connect(connect) => {
            let wire = expected.connect.as_ref().expect("connect");
            assert_eq!((&*connect.name, connect.token), (wire.name.as_str(), !wire.token.is_empty()));
        }
        Request::Ping => assert!(expected.ping.is_some()),
        Request::Send => assert!(expected.send.is_some()),
        Request::Rpc => assert!(expected.rpc.is_some()),
        Request::Refresh => assert!(expected.refresh.is_some()),
        Request::SubRefresh => assert!(expected.sub_refresh.is_some()),
        // The schema of the tests does not have the fields of maps.
        Request::MapPublish => assert!(expected.publish.is_some()),
        Request::Pong => assert_eq!(expected.id, 0),
    }
}
