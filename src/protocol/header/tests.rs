//! Tests of the frame headers.

use super::*;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn done(bytes: &[u8], role: Role) -> (FrameHeader, usize) {
    match decode_header(bytes, role) {
        Ok(Decoded::Done { header, size }) => (header, size),
        other => panic!("{bytes:x?} gave {other:?}"),
    }
}

/// A binary frame's header with a length in the 64-bit form.
fn header_64(length: u64) -> Vec<u8> {
    let mut bytes = vec![0x82, 127];
    bytes.extend(length.to_be_bytes());
    bytes
}

#[test]
fn the_sample_frames_of_the_rfc() {
    // RFC 6455 §5.7.
    let mut out = Vec::new();
    push_server_frame(&mut out, Opcode::Text, b"Hello");
    assert_eq!(out, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);

    out.clear();
    push_client_frame(&mut out, Opcode::Text, true, b"Hello", KEY);
    let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(out, masked);

    assert_eq!(*encode_server_header(Opcode::Text, false, 3), [0x01, 0x03], "first fragment");
    assert_eq!(*encode_server_header(Opcode::Continuation, true, 2), [0x80, 0x02], "last fragment");
    out.clear();
    push_server_frame(&mut out, Opcode::Ping, b"Hello");
    assert_eq!(out, [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    out.clear();
    push_client_frame(&mut out, Opcode::Pong, true, b"Hello", KEY);
    assert_eq!(out[..2], [0x8a, 0x85]);
    assert_eq!(*encode_server_header(Opcode::Binary, true, 256), [0x82, 0x7E, 0x01, 0x00]);
    assert_eq!(*encode_server_header(Opcode::Binary, true, 65536), [0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]);
}

#[test]
fn every_pair_of_first_bytes_is_decided_in_both_roles() {
    for role in [Role::Server, Role::Client] {
        for first in 0..=255_u8 {
            let early = decode_header(&[first], role);
            for second in 0..=255_u8 {
                let late = decode_header(&[first, second], role);
                let expected = expected_error(first, second, role);
                assert_eq!(late.err(), expected, "{first:x} {second:x} {role:?}");
                if early.is_err() {
                    assert_eq!(late, early, "an early error stays");
                }
            }
        }
    }
}

fn expected_error(first: u8, second: u8, role: Role) -> Option<ProtocolError> {
    let (bits, opcode) = (first >> 4 & 7, first & 15);
    if bits != 0 {
        return Some(ProtocolError::ReservedBits { bits });
    }
    if !matches!(opcode, 0..=2 | 8..=10) {
        return Some(ProtocolError::ReservedOpcode { opcode });
    }
    if opcode >= 8 && first < 128 {
        return Some(ProtocolError::FragmentedControl);
    }
    match (role, second >= 128) {
        (Role::Server, false) => return Some(ProtocolError::NotMasked),
        (Role::Client, true) => return Some(ProtocolError::Masked),
        _ => {}
    }
    (opcode >= 8 && second & 127 > 125).then_some(ProtocolError::ControlTooLong)
}

#[test]
fn the_first_byte_alone_refuses_reserved_bits_opcodes_and_fragmented_control() {
    for (first, error) in [
        (0xC1, ProtocolError::ReservedBits { bits: 4 }),
        (0x91, ProtocolError::ReservedBits { bits: 1 }),
        (0x83, ProtocolError::ReservedOpcode { opcode: 3 }),
        (0x8B, ProtocolError::ReservedOpcode { opcode: 11 }),
        (0x09, ProtocolError::FragmentedControl),
    ] {
        assert_eq!(decode_header(&[first], Role::Server), Err(error));
    }
}

#[test]
fn lengths_of_16_bits_must_be_minimal() {
    for (length, allowed) in [(0_u16, false), (125, false), (126, true), (65535, true)] {
        let [high, low] = length.to_be_bytes();
        let decoded = decode_header(&[0x82, 126, high, low], Role::Client);
        if allowed {
            assert_eq!(done(&[0x82, 126, high, low], Role::Client).0.payload_bytes, u64::from(length));
        } else {
            assert_eq!(decoded, Err(ProtocolError::LengthNotMinimal));
        }
    }
}

#[test]
fn lengths_of_64_bits_must_be_minimal_and_below_two_to_the_63rd() {
    let masked = |length| {
        let mut bytes = header_64(length);
        bytes[1] |= 0x80;
        bytes
    };
    for (length, error, proved_at) in [
        (0, ProtocolError::LengthNotMinimal, 8),
        (125, ProtocolError::LengthNotMinimal, 8),
        (126, ProtocolError::LengthNotMinimal, 8),
        (65535, ProtocolError::LengthNotMinimal, 8),
        (1 << 63, ProtocolError::LengthTopBit, 3),
        (u64::MAX, ProtocolError::LengthTopBit, 3),
    ] {
        for (bytes, role) in [(header_64(length), Role::Client), (masked(length), Role::Server)] {
            for size in 0..=bytes.len() {
                let decoded = decode_header(&bytes[..size], role);
                match size < proved_at {
                    true => assert!(matches!(decoded, Ok(Decoded::NeedMore(_))), "{length} {size}"),
                    false => assert_eq!(decoded, Err(error), "{length} {size}"),
                }
            }
        }
    }
    let allowed = [65536, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1];
    for length in allowed {
        let (header, size) = done(&header_64(length), Role::Client);
        assert_eq!((header.payload_bytes, size), (length, 10));
    }
}

#[test]
fn a_part_of_a_header_needs_at_least_what_is_missing_and_never_more() {
    for length in [0, 1, 125, 126, 65535, 65536] {
        let mut bytes = encode_server_header(Opcode::Binary, true, length).to_vec();
        bytes[1] |= 0x80;
        bytes.extend(KEY);
        for size in 0..bytes.len() {
            let missing = bytes.len() - size;
            match decode_header(&bytes[..size], Role::Server) {
                Ok(Decoded::NeedMore(more)) if size < 2 => assert_eq!(more, 2 - size),
                Ok(Decoded::NeedMore(more)) => assert_eq!(more, missing),
                other => panic!("{size} bytes gave {other:?}"),
            }
        }
        let (header, size) = done(&bytes, Role::Server);
        assert_eq!(size, bytes.len());
        assert_eq!(header.mask, Some(KEY));
        assert_eq!(header.payload_bytes, length as u64);
        bytes.extend([0xFF; 40]);
        assert_eq!(done(&bytes, Role::Server), (header, size));
    }
}

#[test]
fn control_frames_carry_at_most_125_bytes() {
    for (length, allowed) in [(124, true), (125, true), (126, false), (127, false)] {
        let decoded = decode_header(&[0x89, length], Role::Client);
        assert_eq!(decoded.is_ok(), allowed, "{length}");
    }
}

#[test]
fn encoded_headers_change_size_at_the_boundaries() {
    for (length, size) in [(0, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)] {
        let header = encode_server_header(Opcode::Text, true, length);
        assert_eq!(header.len(), size);
        let (decoded, decoded_size) = done(&header, Role::Client);
        assert_eq!((decoded.payload_bytes, decoded_size), (length as u64, size));
    }
}

#[test]
fn opcodes_round_trip_and_reserved_ones_do_not_exist() {
    for opcode in 0..=255 {
        match Opcode::try_from(opcode) {
            Ok(found) => {
                assert_eq!(found as u8, opcode);
                assert_eq!(found.is_control(), opcode >= 8);
            }
            Err(error) => assert_eq!(error, ProtocolError::ReservedOpcode { opcode }),
        }
    }
}

#[test]
fn the_size_of_a_server_frame_is_known_beforehand() {
    for payload_bytes in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
        let mut frame = Vec::new();
        push_server_frame(&mut frame, Opcode::Binary, &vec![0; payload_bytes]);
        assert_eq!(frame.len(), server_frame_bytes(payload_bytes), "{payload_bytes}");
    }
}
