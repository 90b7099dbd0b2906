//! Rings of this machine, where it lets us have one.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use super::*;

/// One that was never switched on, where this machine lets us have one.
pub fn ring_that_refuses() -> Option<SendRing> {
    let ring = IoUring::builder().setup_submit_all().setup_r_disabled().build(SENDS_MAX as u32);
    Some(SendRing { ring: Some(told(ring)?), answers: Box::new([0; SENDS_MAX]) })
}

/// One, where this machine lets us have one.
pub fn ring_of_this_machine() -> Option<SendRing> {
    told(SendRing::new())
}

/// Says that a test is skipped, if it is.
fn told<T>(ring: io::Result<T>) -> Option<T> {
    if let Err(error) = &ring {
        eprintln!("skipped: needs an io_uring: {error}");
    }
    ring.ok()
}

fn pair() -> (UnixStream, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    (near, far)
}

/// What was told of those that were cut, in the order of their places.
fn cut(ring: &mut SendRing, sends: &[OneSend<'_>]) -> Vec<(usize, Result<usize, ErrorKind>)> {
    let mut cut = Vec::new();
    ring.send(sends, |at, sent| cut.push((at, sent.map_err(|error| error.kind())))).unwrap();
    cut.sort_unstable_by_key(|(at, _)| *at);
    cut
}

#[test]
fn more_than_there_may_be_are_not_even_begun() {
    let Some(mut ring) = ring_of_this_machine() else { return };
    let (near, far) = pair();
    let sends = [OneSend { socket: near.as_fd(), bytes: b"x" }; SENDS_MAX + 1];
    assert_eq!(ring.send(&sends, |at, sent| panic!("{at} {sent:?}")).unwrap_err().from, 0);
    drop(near);
    assert_eq!((&far).read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn a_machine_that_lets_us_have_one_lets_us_send_by_it() {
    assert_eq!(SendRing::probe().is_ok(), ring_of_this_machine().is_some());
}

#[test]
fn over_tcp_too_what_is_not_taken_is_told() {
    let Some(mut ring) = ring_of_this_machine() else { return };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let [(near, mut far), (reset, gone)] = [(); 2].map(|()| {
        let far = std::net::TcpStream::connect(address).unwrap();
        let near = listener.accept().unwrap().0;
        near.set_nonblocking(true).unwrap();
        (near, far)
    });
    rustix::net::sockopt::set_socket_linger(&gone, Some(std::time::Duration::ZERO)).unwrap();
    drop(gone);
    let bytes = vec![7; 16 << 20];
    let sends = [&near, &reset].map(|near| OneSend { socket: near.as_fd(), bytes: &bytes });
    let told = cut(&mut ring, &sends);
    let [(0, Ok(part)), (1, Err(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe))] = told[..] else {
        panic!("{told:?}")
    };
    assert!(0 < part && part < bytes.len());
    drop(near);
    let mut received = Vec::new();
    far.read_to_end(&mut received).unwrap();
    assert!(received == bytes[..part]);
}

#[test]
fn a_ring_that_refuses_has_sent_nothing() {
    let Some(mut ring) = ring_that_refuses() else { return };
    let (near, far) = pair();
    let sends = [OneSend { socket: near.as_fd(), bytes: b"x" }];
    for _ in 0..2 {
        let refused = ring.send(&sends, |at, sent| panic!("{at} {sent:?}")).unwrap_err();
        assert_eq!(refused.from, 0);
    }
    drop(near);
    assert_eq!((&far).read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn each_gets_its_own_as_many_as_there_may_be() {
    let Some(mut ring) = ring_of_this_machine() else { return };
    let pairs: Vec<_> = (0..SENDS_MAX).map(|_| pair()).collect();
    let pieces: Vec<Vec<u8>> = (0..SENDS_MAX).map(|number| vec![number as u8; 1 + number]).collect();
    for count in [1, 2, SENDS_MAX - 1, SENDS_MAX] {
        let sends = pairs.iter().zip(&pieces).take(count);
        let sends: Vec<OneSend<'_>> =
            sends.map(|((near, _), bytes)| OneSend { socket: near.as_fd(), bytes }).collect();
        assert_eq!(cut(&mut ring, &sends), []);
        for ((_, far), bytes) in pairs.iter().zip(&pieces).take(count) {
            let mut received = vec![0; bytes.len()];
            (&mut &*far).read_exact(&mut received).unwrap();
            assert_eq!(&received, bytes);
        }
    }
}

#[test]
fn what_a_socket_does_not_take_is_told_and_harms_nobody_else() {
    let Some(mut ring) = ring_of_this_machine() else { return };
    let [free, narrow, full, gone] = [(); 4].map(|()| pair());
    for (near, _) in [&narrow, &full] {
        rustix::net::sockopt::set_socket_send_buffer_size(near, 4 << 10).unwrap();
    }
    while (&full.0).write(&[0; 512]).is_ok() {}
    let (gone, far) = gone;
    drop(far);
    let bytes = vec![7; 1 << 20];
    let sends =
        [(&free.0, &bytes[..100]), (&narrow.0, &bytes[..]), (&full.0, &bytes[..]), (&gone, &bytes[..])];
    let sends = sends.map(|(near, bytes)| OneSend { socket: near.as_fd(), bytes });
    let told = cut(&mut ring, &sends);
    let [(1, Ok(part)), (2, Err(ErrorKind::WouldBlock)), (3, Err(ErrorKind::BrokenPipe))] = told[..] else {
        panic!("{told:?}")
    };
    assert!(0 < part && part < bytes.len());
    for ((_, far), expected) in [(&free, 100), (&narrow, part)] {
        far.set_nonblocking(true).unwrap();
        let mut received = vec![0; bytes.len()];
        assert_eq!((&mut &*far).read(&mut received).unwrap(), expected);
        assert_eq!(received[..expected], bytes[..expected]);
    }
}
