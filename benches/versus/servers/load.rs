//! What a server on tokio is told of the load that it will have: its buffers are chosen by it, so that it needs no
//! second call of the kernel where this server needs one, and no memory that an idle connection has no use for.

use std::io;

use fanfare::shard::RECEIVE_BYTES;

/// Of a frame's header, with a mask key.
const HEADER_BYTES_MAX: usize = 14;
/// What fits the buffers that the libraries have by themselves.
const SMALL_BYTES_MAX: usize = 4 << 10;

/// What each connection sends, or gets.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub message_bytes: usize,
    pub in_flight: usize,
}

impl Load {
    /// From the bytes of a message and how many are under way at a time.
    ///
    /// # Errors
    ///
    /// If it is anything else.
    pub fn parse(arguments: &[String]) -> io::Result<Load> {
        let number = |text: &String| text.parse().ok();
        let load = match arguments {
            [message_bytes, in_flight] => number(message_bytes).zip(number(in_flight)),
            _ => None,
        };
        let (message_bytes, in_flight) =
            load.ok_or_else(|| io::Error::other("expected BYTES IN_FLIGHT, two numbers"))?;
        Ok(Load { message_bytes, in_flight })
    }

    /// All that a connection has under way.
    pub fn burst_bytes(self) -> usize {
        self.in_flight * (self.message_bytes + HEADER_BYTES_MAX)
    }

    /// Of a buffer that takes all that a connection has under way, and what this server reads at once at least; none
    /// where the library's own take it.
    pub fn large_bytes(self) -> Option<usize> {
        let burst_bytes = self.burst_bytes();
        (burst_bytes > SMALL_BYTES_MAX).then(|| burst_bytes.max(RECEIVE_BYTES))
    }

    /// Whether messages come one by one, so that there is nothing to collect.
    pub fn is_one_by_one(self) -> bool {
        self.in_flight == 1
    }
}
