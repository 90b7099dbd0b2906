//! Masking: what a client must do and a server must not (RFC 6455 §5.1, §5.3).

use fanfare::Config;
use fanfare::protocol::{Opcode, push_client_frame, push_server_frame};

use crate::common::{Frame, text};
use crate::peers::everything;

fn unmasked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    push_server_frame(&mut frame, opcode, payload);
    frame
}

#[test]
fn nothing_of_a_frame_that_is_not_masked_reaches_anybody() {
    for opcode in [Opcode::Text, Opcode::Binary, Opcode::Ping, Opcode::Close] {
        let mut server = everything(1, &Config::default());
        let [peer, member] = [(); 2].map(|()| server.connect(0, "/rooms/a"));
        server.feed(peer, &[text("masked"), unmasked(opcode, b"\x03\xe8"), text("behind")].concat());
        server.settle();
        assert_eq!(server.take_texts(member), ["masked"], "{opcode:?}");
        let (code, reason) = server.take_close(peer);
        assert_eq!((code, reason.contains("not masked")), (1002, true), "{opcode:?}: {reason}");
        server.finish();
    }
}

#[test]
fn a_key_of_zeros_is_a_key() {
    let mut server = everything(1, &Config::default());
    let peer = server.connect(0, "/echo");
    for length in [0, 1, 125, 126, 65_535, 65_536] {
        let mut frame = Vec::new();
        push_client_frame(&mut frame, Opcode::Binary, true, &vec![0xA5; length], [0; 4]);
        server.feed(peer, &frame);
        server.settle();
        assert_eq!(server.take_frames(peer), [Frame::binary(&vec![0xA5; length])]);
    }
    server.finish();
}
