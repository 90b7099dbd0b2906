//! What a member has said itself is nothing that it misses.

use super::lag::{burst, resume, skips, with_policy};
use crate::common::text;

#[test]
fn a_members_own_messages_are_not_counted_as_skipped() {
    let mut server = with_policy("latest", 100);
    let slow = server.connect(0, "/rooms/a");
    let other = server.connect(0, "/rooms/a");
    server.socket(slow).room = 0;
    for (speaker, number) in [(slow, 0), (slow, 1), (other, 2), (slow, 3), (slow, 4), (other, 5)] {
        burst(&mut server, speaker, number..number + 1);
    }
    resume(&mut server, slow);
    assert_eq!((server.take_texts(slow), skips(&server)), (vec!["m5".to_owned()], [0, 1, 1, 0]));
    server.socket(slow).room = 0;
    burst(&mut server, slow, 6..9);
    burst(&mut server, other, 9..10);
    resume(&mut server, slow);
    assert_eq!((server.take_texts(slow), skips(&server)), (vec!["m9".to_owned()], [0, 1, 1, 0]));
    server.feed(slow, &[text("own"), text("own")].concat());
    server.feed(other, &text("theirs"));
    server.settle();
    assert_eq!(server.take_texts(slow), ["theirs"]);
    assert_eq!(skips(&server), [0, 2, 2, 0], "the other has missed one of the two");
    server.finish();
}
