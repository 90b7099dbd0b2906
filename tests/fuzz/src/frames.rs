//! Target `frames`: an open connection in both roles against [`reference`], however its bytes are cut.

use fanfare::protocol::{Decoded, Limits, Role, decode_header};

use super::choices::{Choices, Cuts};
use super::events::{Run, only_events};
use super::reference;

/// Longer streams find nothing that shorter ones do not, as the limits are small too.
const STREAM_BYTES_MAX: usize = 2048;

/// Choices: role and limits, our Close, four cuts. Then the stream.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let (first, close_after) = (choices.byte(), choices.byte());
    let role = if first & 1 == 0 { Role::Server } else { Role::Client };
    let message_bytes_max = [400, 125, 2, 100_000][usize::from(first >> 1 & 3)];
    let fragments_max = [5, 1, 2, 1024][usize::from(first >> 3 & 3)];
    let limits = Limits { message_bytes_max, fragments_max, ..Limits::default() };
    let close_after = if close_after > 8 { usize::MAX } else { usize::from(close_after) };
    let cuts = Cuts::new(&mut choices);
    let stream = choices.rest();
    let stream = &stream[..stream.len().min(STREAM_BYTES_MAX)];
    check(&Run { role, limits, close_after }, stream, cuts);
    check_header(stream, role);
}

/// The connection gives what the reference gives: byte by byte at the very byte, else the same events.
pub fn check(run: &Run, stream: &[u8], cuts: Cuts) {
    let expected = reference::events(run, stream);
    assert_eq!(run.events(&Cuts::BYTES.pieces(stream)), expected, "byte by byte");
    let expected = only_events(&expected);
    assert_eq!(only_events(&run.events(&[stream])), expected, "as a whole");
    assert_eq!(only_events(&run.events(&cuts.pieces(stream))), expected, "cut by {cuts:?}");
}

/// A header asks for no more than it has, and what is wrong with it stays wrong.
fn check_header(bytes: &[u8], role: Role) {
    let mut needed = 0;
    for size in 0..=bytes.len().min(14) {
        match decode_header(&bytes[..size], role) {
            Ok(Decoded::NeedMore(more)) => {
                assert!(more > 0);
                needed = needed.max(size + more);
            }
            Ok(Decoded::Done { size: used, .. }) => {
                assert!(used == size && needed <= used, "{needed} bytes were asked for of {used}");
                return;
            }
            Err(error) => {
                assert_eq!(decode_header(bytes, role), Err(error), "more bytes mend nothing");
                return;
            }
        }
    }
}
