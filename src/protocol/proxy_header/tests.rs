//! Headers of both versions, whole and cut, and everything that is none.

use proptest::prelude::*;

use super::*;

/// What `--max-head` is in these tests.
const LIMIT: usize = 8 << 10;

type Outcome = Result<Option<(usize, ProxySource)>, ProxyHeaderError>;

/// What comes of bytes that arrive in pieces; the size counts from the first of them.
fn receive(pieces: &[&[u8]], bytes_max: usize) -> Outcome {
    let (mut header, mut before) = (ProxyHeader::default(), 0);
    for piece in pieces {
        if let Some((size, source)) = header.receive(piece, bytes_max)? {
            return Ok(Some((before + size, source)));
        }
        before += piece.len();
        assert!(header.heap_bytes() <= 128, "what follows the addresses is not kept");
    }
    Ok(None)
}

/// The same of one piece, and of every two, and byte for byte: it may make no difference.
fn received(bytes: &[u8]) -> Outcome {
    let whole = receive(&[bytes], LIMIT);
    for at in 0..=bytes.len() {
        assert_eq!(receive(&[&bytes[..at], &bytes[at..]], LIMIT), whole, "split at {at}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(receive(&single, LIMIT), whole);
    whole
}

fn client(address: &str) -> ProxySource {
    ProxySource::Client(address.parse().unwrap())
}

/// A header of version 2 with this command and family, and these bytes behind.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family][..], &length, rest].concat()
}

fn four() -> Vec<u8> {
    [&[192, 0, 2, 7][..], &[10, 0, 0, 1], &4711u16.to_be_bytes(), &443u16.to_be_bytes()].concat()
}

fn six() -> Vec<u8> {
    let source: Ipv6Addr = "2001:db8::7".parse().unwrap();
    let ports = [4711u16.to_be_bytes(), 443u16.to_be_bytes()].concat();
    [&source.octets()[..], &Ipv6Addr::LOCALHOST.octets(), &ports].concat()
}

#[test]
fn lines_of_version_1_name_a_client_or_nobody() {
    let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(LINE_BYTES_MAX - 16));
    for (line, source) in [
        ("PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n", client("192.0.2.7:4711")),
        ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", client("255.255.255.255:65535")),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 0 443\r\n", client("192.0.2.7:0")),
        ("PROXY TCP6 2001:db8::7 ::1 4711 443\r\n", client("[2001:db8::7]:4711")),
        ("PROXY UNKNOWN\r\n", ProxySource::Proxy),
        ("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", ProxySource::Proxy),
        (&longest, ProxySource::Proxy),
    ] {
        let behind = format!("{line}GET / HTTP/1.1\r\n");
        assert_eq!(received(behind.as_bytes()), Ok(Some((line.len(), source))), "{line}");
        for cut in 0..line.len() {
            assert_eq!(receive(&[&line.as_bytes()[..cut]], LIMIT), Ok(None), "{line} cut at {cut}");
        }
    }
}

#[test]
fn a_line_has_107_bytes_at_most() {
    for (bytes, fine) in [(106, true), (107, true), (108, false)] {
        let line = format!("PROXY UNKNOWN {}\r\n", "f".repeat(bytes - 16));
        assert_eq!(line.len(), bytes);
        let wanted =
            if fine { Ok(Some((bytes, ProxySource::Proxy))) } else { Err(ProxyHeaderError::LineTooLong) };
        assert_eq!(received(line.as_bytes()), wanted);
    }
    // One that does not end is not waited for.
    let endless = [LINE_START, &[b'f'; 1000]].concat();
    assert_eq!(received(&endless), Err(ProxyHeaderError::LineTooLong));
}

#[test]
fn malformed_lines_are_refused() {
    for line in [
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP5 192.0.2.7 10.0.0.1 4711 443\r\n",
        "PROXY tcp4 192.0.2.7 10.0.0.1 4711 443\r\n",
        "PROXY TCP4  192.0.2.7 10.0.0.1 4711 443\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 4711 443 \r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 4711 443 5\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 4711\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 65536 443\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 +80 443\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 080 443\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 -1 443\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 4711 x\r\n",
        "PROXY TCP4 192.0.2.07 10.0.0.1 4711 443\r\n",
        "PROXY TCP4 192.0.2 10.0.0.1 4711 443\r\n",
        "PROXY TCP4 192.0.2.7 host 4711 443\r\n",
        "PROXY TCP4 ::1 ::1 4711 443\r\n",
        "PROXY TCP6 192.0.2.7 10.0.0.1 4711 443\r\n",
        "PROXY TCP6 [::1] ::1 4711 443\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY TCP4 \u{e9} 10.0.0.1 4711 443\r\n",
    ] {
        assert_eq!(received(line.as_bytes()), Err(ProxyHeaderError::Line), "{line}");
    }
}

#[test]
fn headers_of_version_2_name_a_client_or_nobody() {
    let tlvs = [&[0x04, 0, 3][..], b"abc", &[0x02, 0, 0]].concat();
    let unix = vec![b'u'; 216];
    for (command, family, addresses, source) in [
        (PROXY, 0x11, four(), client("192.0.2.7:4711")),
        (PROXY, 0x12, four(), client("192.0.2.7:4711")),
        (PROXY, 0x21, six(), client("[2001:db8::7]:4711")),
        (PROXY, 0x22, six(), client("[2001:db8::7]:4711")),
        (PROXY, 0x00, Vec::new(), ProxySource::Proxy),
        (PROXY, 0x31, unix.clone(), ProxySource::Proxy),
        (PROXY, 0x32, unix, ProxySource::Proxy),
        (LOCAL, 0x00, Vec::new(), ProxySource::Proxy),
        // Whatever else it says.
        (LOCAL, 0x11, four(), ProxySource::Proxy),
        (LOCAL, 0xff, Vec::new(), ProxySource::Proxy),
        (LOCAL, 0x21, Vec::new(), ProxySource::Proxy),
    ] {
        for rest in [addresses.clone(), [addresses, tlvs.clone()].concat()] {
            let bytes = binary(command, family, &rest);
            let behind = [&bytes, &b"GET"[..]].concat();
            assert_eq!(received(&behind), Ok(Some((bytes.len(), source))), "{command:#x} {family:#x}");
            assert_eq!(receive(&[&bytes[..bytes.len() - 1]], LIMIT), Ok(None));
        }
    }
}

#[test]
fn what_version_2_does_not_have_is_refused() {
    for command in (0..=255).filter(|command| ![LOCAL, PROXY].contains(command)) {
        let bytes = binary(command, 0x11, &four());
        assert_eq!(receive(&[&bytes], LIMIT), Err(ProxyHeaderError::Command(command)));
    }
    let known = [0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32];
    for family in (0..=255).filter(|family| !known.contains(family)) {
        let bytes = binary(PROXY, family, &six());
        assert_eq!(receive(&[&bytes], LIMIT), Err(ProxyHeaderError::Family(family)));
    }
    for (family, needed) in [(0x11, 12), (0x12, 12), (0x21, 36), (0x22, 36), (0x31, 216), (0x32, 216)] {
        for bytes in [0, needed - 1] {
            let short = binary(PROXY, family, &vec![0; bytes]);
            assert_eq!(received(&short), Err(ProxyHeaderError::TooShort { bytes, needed }));
        }
        assert!(matches!(received(&binary(PROXY, family, &vec![0; needed])), Ok(Some(_))));
    }
}

#[test]
fn a_header_is_no_longer_than_a_request_head_may_be() {
    for (limit, fine) in [(1023, false), (1024, true), (1025, true)] {
        let bytes = binary(PROXY, 0x11, &[four(), vec![0; 1024 - 28]].concat());
        assert_eq!(bytes.len(), 1024);
        let wanted = if fine {
            Ok(Some((1024, client("192.0.2.7:4711"))))
        } else {
            Err(ProxyHeaderError::TooLong { bytes: 1024, limit: 1023 })
        };
        assert_eq!(receive(&[&bytes], limit), wanted, "{limit}");
        // By what it announces, before that comes.
        if !fine {
            assert_eq!(receive(&[&bytes[..FIXED_BYTES]], limit), wanted);
        }
    }
}

#[test]
fn what_begins_otherwise_is_refused_at_its_first_wrong_byte() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"PROXX TCP4",
        b"proxy ",
        b"\x16\x03\x01",
        b"\r\n\r\n\0\r\nQUIX",
        b"\0",
        b"PROXY\t",
    ] {
        assert_eq!(received(bytes), Err(ProxyHeaderError::Missing), "{bytes:?}");
    }
    for (start, rest) in [(LINE_START, 6), (&SIGNATURE[..], 12)] {
        for at in 0..rest {
            let mut wrong = start.to_vec();
            wrong[at] ^= 1;
            assert_eq!(receive(&[&wrong[..=at]], LIMIT), Err(ProxyHeaderError::Missing), "{at}");
        }
    }
}

proptest! {
    #[test]
    fn a_client_is_read_as_it_was_written(ip: IpAddr, to: Ipv4Addr, port: u16, tlvs in prop::collection::vec(any::<u8>(), 0..300)) {
        let to = match ip {
            IpAddr::V4(_) => IpAddr::V4(to),
            IpAddr::V6(_) => IpAddr::V6(to.to_ipv6_mapped()),
        };
        let (family, word) = if ip.is_ipv4() { (0x11, "TCP4") } else { (0x21, "TCP6") };
        let octets = |ip: IpAddr| match ip {
            IpAddr::V4(four) => four.octets().to_vec(),
            IpAddr::V6(six) => six.octets().to_vec(),
        };
        let wanted = ProxySource::Client(SocketAddr::new(ip, port));
        let line = format!("PROXY {word} {ip} {to} {port} 1\r\n");
        prop_assert_eq!(receive(&[line.as_bytes()], LIMIT), Ok(Some((line.len(), wanted))));
        let rest = [octets(ip), octets(to), port.to_be_bytes().to_vec(), vec![0, 1], tlvs].concat();
        let bytes = binary(PROXY, family, &rest);
        prop_assert_eq!(receive(&[&bytes], LIMIT), Ok(Some((bytes.len(), wanted))));
    }

    /// Bytes of anybody, most of them nearly a header: nothing panics, and no split makes a difference.
    #[test]
    fn anything_is_read_or_refused_however_it_is_split(
        which in 0..4usize,
        wrong in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        noise in prop::collection::vec(any::<u8>(), 0..64),
        at in any::<prop::sample::Index>(),
    ) {
        let mut bytes = match which {
            0 => b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n".to_vec(),
            1 => binary(PROXY, 0x11, &four()),
            2 => binary(PROXY, 0x21, &six()),
            _ => Vec::new(),
        };
        for (index, byte) in wrong {
            if !bytes.is_empty() {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
        }
        bytes.extend(noise);
        let at = at.index(bytes.len() + 1);
        prop_assert_eq!(receive(&[&bytes[..at], &bytes[at..]], LIMIT), receive(&[&bytes], LIMIT));
    }
}
