//! Who looks from outside: what a shard says of its connections, rooms and closes, and how little of a turn it
//! takes.

use std::collections::BTreeSet;
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError, bounded};
use fanfare::Config;
use fanfare::endpoint::{CloseKind, RouterPlan};
use fanfare::id::ShardId;
use fanfare::protocol::CloseCode;
use fanfare::rooms::{RoomName, RoomSummary};
use fanfare::shard::{
    Admission, CLOSES_KEPT, Closed, ClosesWanted, ConnectionSeen, ConnectionSort, ConnectionState, Findings,
    Found, INSPECTED_PER_TURN, INSPECTIONS_MAX, Inspection, LISTED_MAX, Mail, Query, RoomSeen, RoomSort,
    Settings,
};
use fanfare::time::Time;

use crate::common::{Client, Server, close, settings, text};

const PATIENCE: Duration = Duration::from_secs(1);

fn name(room: &str) -> RoomName {
    RoomName::new(room).unwrap()
}

/// Puts a question into a shard's inbox.
fn ask_within(
    server: &Server,
    shard: usize,
    query: Query,
    limit: usize,
    patience: Duration,
) -> Receiver<Findings> {
    let (reply, answers) = bounded(1);
    let inspection = Inspection { number: 7, query, limit, patience, reply };
    server.mesh.send(ShardId::new(shard), Mail::Inspect(Box::new(inspection)));
    answers
}

fn ask(server: &mut Server, shard: usize, query: Query, limit: usize) -> Findings {
    let answer = ask_within(server, shard, query, limit, PATIENCE);
    server.turn(shard);
    let findings = answer.try_recv().expect("one turn is enough for few");
    assert!(findings.is_complete);
    assert_eq!((findings.shard, findings.number), (ShardId::new(shard), 7));
    findings
}

fn connections(server: &mut Server, room: Option<&str>, sort: ConnectionSort) -> Vec<(u64, ConnectionSeen)> {
    match ask(server, 0, Query::Connections { room: room.map(name), sort }, 100).found {
        Found::Connections(seen) => seen,
        other => panic!("{other:?}"),
    }
}

fn rooms(server: &mut Server, shard: usize, sort: RoomSort, limit: usize) -> Vec<RoomSummary> {
    match ask(server, shard, Query::Rooms { sort }, limit).found {
        Found::Rooms(rooms) => rooms.into_iter().map(|(_, room)| room).collect(),
        other => panic!("{other:?}"),
    }
}

fn closes(server: &mut Server, wanted: ClosesWanted) -> Vec<Closed> {
    match ask(server, 0, Query::Closes(wanted), LISTED_MAX).found {
        Found::Closes(closes) => closes,
        other => panic!("{other:?}"),
    }
}

fn key_of(server: &Server, client: Client) -> fanfare::slab::Key {
    server.socket(client).key.expect("it is registered")
}

/// So many connections that have sent nothing.
fn adopt(server: &mut Server, count: usize) {
    for _ in 0..count {
        server.adopt(0);
    }
    server.turn(0);
}

/// Publishes so many messages, each in a turn of its own.
fn burst(server: &mut Server, sender: Client, count: usize) {
    for number in 0..count {
        server.feed(sender, &text(&format!("m{number}")));
        server.turn(sender.shard);
    }
}

#[test]
fn those_furthest_behind_come_first() {
    let mut server = Server::new(1, settings());
    let sender = server.connect(0, "/rooms/a");
    let members: Vec<Client> = (0..3).map(|_| server.connect(0, "/rooms/a")).collect();
    let [slow, healthy, slower] = members[..] else { panic!() };
    server.socket(slower).room = 0;
    burst(&mut server, sender, 4);
    server.socket(slow).room = 0;
    burst(&mut server, sender, 6);
    let seen = connections(&mut server, None, ConnectionSort::Lag);
    let expected = [(10, slower), (6, slow), (0, sender), (0, healthy)];
    let expected = expected.map(|(lag, client)| (lag, key_of(&server, client)));
    let found: Vec<_> = seen.iter().map(|(rank, seen)| (*rank, seen.connection.key)).collect();
    assert_eq!(found, expected);
    let (_, last) = &seen[0];
    assert_eq!(last.rooms, [RoomSeen { room: name("a"), offset: 0, lag_messages: 10 }]);
    assert_eq!((last.state, last.lag_messages, last.memberships), (ConnectionState::WebSocket, 10, 1));
    assert_eq!((last.client, last.endpoint), (last.connection, Some(1)));
    assert!(last.pauses.is_empty() && last.identity.is_none() && !last.ping_unanswered);
    assert_eq!(seen[3].1.stalled, None, "nothing waits for the healthy one");
    server.finish();
}

#[test]
fn of_a_room_only_members_are_listed_by_their_lag_there() {
    let mut server = Server::new(1, settings());
    let senders = [server.connect(0, "/rooms/a"), server.connect(0, "/rooms/b")];
    let other = server.connect(0, "/rooms/b");
    let member = server.connect(0, "/rooms/a");
    server.socket(other).room = 0;
    server.socket(member).room = 0;
    burst(&mut server, senders[0], 2);
    burst(&mut server, senders[1], 9);
    let seen = connections(&mut server, Some("a"), ConnectionSort::Lag);
    let found: Vec<_> = seen.iter().map(|(rank, seen)| (*rank, seen.connection.key)).collect();
    assert_eq!(found, [(2, key_of(&server, member)), (0, key_of(&server, senders[0]))]);
    assert_eq!(connections(&mut server, Some("nowhere"), ConnectionSort::Lag).len(), 0);
    server.finish();
}

#[test]
fn each_order_ranks_by_what_it_says() {
    let mut server = Server::new(1, settings());
    let echo = server.connect(0, "/echo");
    let member = server.connect(0, "/rooms/a");
    let fresh = server.adopt(0);
    server.turn(0);
    server.socket(echo).room = 0;
    server.feed(echo, &text(&"x".repeat(5000)));
    server.settle();
    server.advance(Duration::from_secs(3));
    let first = |seen: &[(u64, ConnectionSeen)]| (seen[0].0, seen[0].1.connection.key);
    let by_queue = connections(&mut server, None, ConnectionSort::Queue);
    assert_eq!(by_queue[0].1.connection.key, key_of(&server, echo));
    assert!(by_queue[0].0 >= 5000, "{by_queue:?}");
    assert_eq!(by_queue[0].1.queued_bytes as u64, by_queue[0].0);
    let by_stall = connections(&mut server, None, ConnectionSort::Stalled);
    assert_eq!(by_stall[0].1.connection.key, key_of(&server, echo));
    let stalled = by_stall[0].1.stalled.expect("its echo waits");
    assert!((2900..=3000).contains(&stalled.as_millis()), "{stalled:?}");
    assert_eq!(by_stall[1].0, 0);
    let by_rooms = connections(&mut server, None, ConnectionSort::Rooms);
    assert_eq!(first(&by_rooms), (1, key_of(&server, member)));
    let states: Vec<_> = by_rooms.iter().map(|(_, seen)| (seen.connection.key, seen.state)).collect();
    assert!(states.contains(&(key_of(&server, fresh), ConnectionState::Handshake)), "{states:?}");
    let silent = by_rooms[0].1.silent.expect("a silent peer is watched");
    assert!((2900..=3000).contains(&silent.as_millis()), "{silent:?}");
    server.finish();
}

#[test]
fn a_turn_looks_at_so_many_connections_and_goes_on_in_the_next() {
    for (count, turns) in [
        (INSPECTED_PER_TURN - 1, 1),
        (INSPECTED_PER_TURN, 1),
        (INSPECTED_PER_TURN + 1, 2),
        (2 * INSPECTED_PER_TURN + 1, 3),
    ] {
        let mut server = Server::new(1, settings());
        adopt(&mut server, count);
        let query = Query::Connections { room: None, sort: ConnectionSort::Lag };
        let answer = ask_within(&server, 0, query, LISTED_MAX + 1, PATIENCE);
        for _ in 1..turns {
            server.turn(0);
            assert!(matches!(answer.try_recv(), Err(TryRecvError::Empty)), "{count}");
            assert_eq!(
                server.shards[0].wait_deadline(),
                Some(Time::ZERO),
                "it does not wait before it is through"
            );
        }
        server.turn(0);
        let findings = answer.try_recv().expect("an answer");
        assert_eq!((findings.looked_at, findings.is_complete), (count, true));
        let Found::Connections(seen) = findings.found else { panic!("connections were asked for") };
        assert_eq!(seen.len(), count.min(LISTED_MAX), "never more than that are listed");
        assert_ne!(server.shards[0].wait_deadline(), Some(Time::ZERO));
        server.finish();
    }
}

#[test]
fn a_shard_that_is_out_of_time_says_what_it_has_seen() {
    let mut server = Server::new(1, settings());
    adopt(&mut server, 2 * INSPECTED_PER_TURN + 1);
    server.settle();
    let query = Query::Connections { room: None, sort: ConnectionSort::Lag };
    let answer = ask_within(&server, 0, query, 10, PATIENCE);
    server.turn(0);
    let late = server.now() + PATIENCE;
    server.net.borrow_mut().now = late;
    server.turn(0);
    let findings = answer.try_recv().expect("an answer in time");
    assert_eq!((findings.looked_at, findings.is_complete), (2 * INSPECTED_PER_TURN, false));
    server.finish();
}

#[test]
fn no_member_is_missed_while_others_leave() {
    let mut server = Server::new(1, settings());
    let sender = server.connect(0, "/rooms/a");
    let members: Vec<Client> = (0..INSPECTED_PER_TURN + 100).map(|_| server.connect(0, "/rooms/a")).collect();
    let slow = [0, 1, 2, 700, 701, members.len() - 2, members.len() - 1].map(|at| members[at]);
    for client in slow {
        server.socket(client).room = 0;
    }
    burst(&mut server, sender, 1);
    server.settle();
    let query = Query::Connections { room: Some(name("a")), sort: ConnectionSort::Lag };
    let answer = ask_within(&server, 0, query, 10, PATIENCE);
    server.turn(0);
    assert!(matches!(answer.try_recv(), Err(TryRecvError::Empty)));
    // The last, which were looked at already, take the places of these, which were not.
    for client in &members[3..20] {
        server.feed(*client, &close(1000, ""));
    }
    server.turn(0);
    let findings = answer.try_recv().expect("an answer");
    let Found::Connections(seen) = findings.found else { panic!("connections were asked for") };
    let behind: Vec<_> =
        seen.iter().filter(|(lag, _)| *lag == 1).map(|(_, seen)| seen.connection.key).collect();
    assert_eq!(behind.len(), slow.len(), "each once");
    let expected: BTreeSet<u64> = slow.iter().map(|client| key_of(&server, *client).as_u64()).collect();
    assert_eq!(behind.iter().map(|key| key.as_u64()).collect::<BTreeSet<u64>>(), expected);
    server.finish();
}

#[test]
fn more_questions_than_a_shard_takes_get_no_answer() {
    for count in [INSPECTIONS_MAX - 1, INSPECTIONS_MAX, INSPECTIONS_MAX + 1] {
        let mut server = Server::new(1, settings());
        let query = || Query::Closes(ClosesWanted::default());
        let answers: Vec<_> = (0..count).map(|_| ask_within(&server, 0, query(), 1, PATIENCE)).collect();
        server.turn(0);
        let answered = answers.iter().filter(|answer| answer.try_recv().is_ok()).count();
        assert_eq!(answered, count.min(INSPECTIONS_MAX));
        server.finish();
    }
}

#[test]
fn the_shards_divide_the_rooms_among_themselves() {
    let mut server = Server::new(3, settings());
    let clients: Vec<Client> =
        (0..300).map(|room| server.connect(room % 3, &format!("/rooms/r{room}"))).collect();
    for (at, client) in clients.iter().enumerate().take(5) {
        (0..=at).for_each(|_| server.feed(*client, &text("to me")));
    }
    server.settle();
    // A room stays for its history when its members have gone.
    server.feed(clients[4], &close(1000, ""));
    server.settle();
    let found: Vec<RoomSummary> =
        (0..3).flat_map(|shard| rooms(&mut server, shard, RoomSort::Messages, 1000)).collect();
    let names: BTreeSet<&str> = found.iter().map(|room| room.name.as_str()).collect();
    assert_eq!((found.len(), names.len()), (300, 300), "each once");
    let of = |name: &str| found.iter().find(|room| room.name.as_str() == name).unwrap();
    let empty = of("r4");
    assert_eq!((empty.members, empty.shards, empty.extent.last), (0, 0, 5));
    assert_eq!((of("r3").members, of("r3").shards), (1, 1));
    assert_eq!(of("r3").traffic.messages, 0.4, "four in ten seconds");
    assert_eq!(of("r9").traffic.messages, 0.0);
    server.finish();
}

#[test]
fn rooms_rank_by_what_is_asked() {
    let mut server = Server::new(1, settings());
    let often = server.connect(0, "/rooms/often");
    let large = server.connect(0, "/rooms/large");
    let _crowd: Vec<Client> = (0..3).map(|_| server.connect(0, "/rooms/crowd")).collect();
    (0..10).for_each(|_| server.feed(often, &text("hi")));
    server.feed(large, &text(&"x".repeat(10_000)));
    server.settle();
    for (sort, first) in [
        (RoomSort::Messages, "often"),
        (RoomSort::Bytes, "large"),
        (RoomSort::Members, "crowd"),
        (RoomSort::History, "large"),
    ] {
        let all = rooms(&mut server, 0, sort, 10);
        assert_eq!((all.len(), all[0].name.as_str()), (3, first), "{sort:?}");
        assert_eq!(rooms(&mut server, 0, sort, 1).len(), 1);
    }
    server.finish();
}

#[test]
fn a_close_is_remembered_with_its_cause_its_room_and_how_far_behind_it_was() {
    let config = Config { history_messages: 5, ..Config::default() };
    let plan = RouterPlan::default();
    let mut server = Server::with_rooms(1, settings(), config.mailbox_bytes, plan, config.room_settings());
    let sender = server.connect(0, "/rooms/a");
    let slow = server.connect(0, "/rooms/a");
    let leaves = server.connect(0, "/echo");
    let slow_key = key_of(&server, slow);
    server.socket(slow).room = 0;
    burst(&mut server, sender, 7);
    server.socket(slow).room = usize::MAX;
    server.settle();
    server.feed(leaves, &close(4321, "bye"));
    server.settle();
    let all = closes(&mut server, ClosesWanted::default());
    assert_eq!(all.len(), 2);
    let cut = closes(&mut server, ClosesWanted { room: Some(name("a")), ..ClosesWanted::default() });
    let [cut] = &cut[..] else { panic!("{cut:?}") };
    assert_eq!(cut.cause.kind(), CloseKind::OutOfWindow);
    assert_eq!((cut.code, cut.behind_messages, cut.memberships), (Some(CloseCode::POLICY_VIOLATION), 7, 1));
    assert_eq!(cut.connection.map(|id| id.key), Some(slow_key));
    assert_eq!((cut.client, cut.endpoint, cut.events), (cut.connection, Some(1), false));
    let wanted = ClosesWanted { cause: Some(CloseKind::PeerClosed), ..ClosesWanted::default() };
    let [gone] = &closes(&mut server, wanted)[..] else { panic!("one") };
    assert_eq!((gone.code.map(CloseCode::as_u16), &gone.room, gone.memberships), (Some(4321), &None, 0));
    let elsewhere = ClosesWanted { address: Some([127, 0, 0, 1].into()), ..ClosesWanted::default() };
    assert!(closes(&mut server, elsewhere).is_empty(), "these came over a unix socket");
    server.finish();
}

#[test]
fn refusals_are_remembered_and_a_flood_of_them_hides_no_other_close() {
    let mut server = Server::new(1, settings());
    let leaves = server.connect(0, "/echo");
    server.feed(leaves, &close(1000, ""));
    server.settle();
    for _ in 0..CLOSES_KEPT + 1 {
        let socket = server.net.borrow_mut().open();
        let refused = server.adopt_socket(0, socket, Admission::Full { limit: 1 });
        server.settle();
        server.socket(refused).eof = true;
        server.settle();
    }
    let wanted = |cause| ClosesWanted { cause: Some(cause), ..ClosesWanted::default() };
    let refused = closes(&mut server, wanted(CloseKind::ServerFull));
    assert_eq!(refused.len(), CLOSES_KEPT);
    assert!(refused.iter().all(|closed| closed.endpoint.is_none() && closed.code.is_none()));
    assert_eq!(closes(&mut server, wanted(CloseKind::PeerClosed)).len(), 1);
    server.finish();
}

#[test]
fn who_is_still_to_be_sent_to_does_not_lag() {
    let mut server = Server::new(1, Settings { fan_out_members_max: 2, ..settings() });
    let members: Vec<Client> = (0..6).map(|_| server.connect(0, "/rooms/a")).collect();
    let sender = server.connect(0, "/rooms/a");
    // One of the first two, who are sent to in the first turn, takes nothing.
    server.socket(members[1]).room = 0;
    burst(&mut server, sender, 1);
    let query = Query::Connections { room: Some(name("a")), sort: ConnectionSort::Lag };
    let answer = ask_within(&server, 0, query, 10, PATIENCE);
    server.turn(0);
    let findings = answer.try_recv().expect("an answer");
    let Found::Connections(seen) = findings.found else { panic!("connections were asked for") };
    let lagging: Vec<u64> =
        seen.iter().filter(|(lag, _)| *lag > 0).map(|(_, seen)| seen.connection.key.as_u64()).collect();
    assert_eq!(lagging, [key_of(&server, members[1]).as_u64()]);
    server.settle();
    server.finish();
}
