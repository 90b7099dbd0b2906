//! Every two first bytes of a connection's frames, each on a connection of its own.

use fanfare::Config;
use fanfare::endpoint::CloseKind;

use crate::peers::{assert_served, everything, open_crowd};

/// Whether two first bytes are wrong whatever follows (RFC 6455 §5.2), or as no message is open (§5.4).
fn is_wrong(first: u8, second: u8) -> bool {
    let (opcode, length) = (first & 0x0F, second & 0x7F);
    let control = opcode >= 8;
    let known = matches!(opcode, 0 | 1 | 2 | 8 | 9 | 10);
    first & 0x70 != 0 || !known || second & 0x80 == 0 || control && (first & 0x80 == 0 || length > 125)
}

#[test]
fn no_two_first_bytes_hurt_anybody() {
    let mut server = everything(1, &Config::default());
    let neighbour = server.connect(0, "/echo");
    let mut wrong = 0;
    for first in 0..=u8::MAX {
        let peers = open_crowd(&mut server, "/echo", 256, 1 << 10, 1 << 10);
        for (second, peer) in (0..=u8::MAX).zip(&peers) {
            server.feed(*peer, &[first, second]);
        }
        server.settle();
        for (second, peer) in (0..=u8::MAX).zip(&peers) {
            match is_wrong(first, second) {
                true => assert_eq!(server.take_close(*peer).0, 1002, "{first:#x} {second:#x}"),
                false => assert_eq!(server.socket(*peer).output, b"", "{first:#x} {second:#x}"),
            }
            wrong += u64::from(is_wrong(first, second));
            // Zeros are a length, a key, a payload, and the next header.
            server.feed(*peer, &[0; 40]);
        }
        server.settle();
        for peer in peers {
            server.socket(peer).eof = true;
        }
        server.settle();
        assert_served(&mut server, neighbour);
        // What is closed keeps no memory of the test's own.
        server.net.borrow_mut().sockets.iter_mut().skip(1).for_each(|socket| {
            socket.output = Vec::new();
            socket.sends = Vec::new();
        });
    }
    assert!(server.closes(CloseKind::ProtocolError) >= wrong, "{wrong}");
    assert_eq!(server.closes(CloseKind::EndpointPanic), 0);
    server.finish();
}
