//! The opening handshake of the servers that have none of their own: by hand, as cheap as it gets.

use fanfare::protocol::accept_key;

/// More headers than the generator sends.
const HEADERS_MAX: usize = 32;

/// The path, and the answer to a whole request to upgrade; none if it is not whole or not one.
pub fn answer(request: &[u8]) -> Option<(String, Vec<u8>)> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    if !head.parse(request).ok()?.is_complete() {
        return None;
    }
    let key = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("sec-websocket-key"))?;
    let accept = accept_key(std::str::from_utf8(key.value).ok()?);
    let mut response =
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            .to_vec();
    response.extend_from_slice(&accept);
    response.extend_from_slice(b"\r\n\r\n");
    Some((head.path?.to_owned(), response))
}
