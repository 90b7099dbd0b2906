//! Datagrams to the service manager: the protocol of `sd_notify(3)`.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// A manager that does not take a datagram for so long gets none; it reads the next.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of a status; what is longer is cut. A terminal shows less.
const STATUS_BYTES_MAX: usize = 400;

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Connections are served; a reload is over.
    Ready,
    /// The configuration is read again, since this time of the machine's monotonic clock.
    Reloading(Duration),
    /// The shutdown has begun.
    Stopping,
    /// Everything turns.
    Watchdog,
    /// The start, reload or stop at hand may go on for so long from now.
    ExtendTimeout(Duration),
    /// One line for people.
    Status(String),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Ready => f.write_str("READY=1"),
            Notice::Reloading(now) => write!(f, "RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()),
            Notice::Stopping => f.write_str("STOPPING=1"),
            Notice::Watchdog => f.write_str("WATCHDOG=1"),
            Notice::ExtendTimeout(time) => write!(f, "EXTEND_TIMEOUT_USEC={}", time.as_micros()),
            Notice::Status(line) => {
                // A line feed would begin another assignment.
                let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                write!(f, "STATUS={}", &line[..line.floor_char_boundary(STATUS_BYTES_MAX)])
            }
        }
    }
}

/// The way to the service manager.
#[derive(Debug)]
pub struct Notifier {
    socket: UnixDatagram,
    address: SocketAddr,
    has_failed: bool,
}

impl Notifier {
    /// One for the address in `NOTIFY_SOCKET`: a path, or `@` and an abstract name.
    ///
    /// # Errors
    ///
    /// It is neither, or there is no descriptor left.
    pub fn new(address: &OsStr) -> io::Result<Notifier> {
        let address = match address.as_bytes() {
            [b'/', ..] => SocketAddr::from_pathname(address)?,
            #[cfg(target_os = "linux")]
            [b'@', name @ ..] => {
                use std::os::linux::net::SocketAddrExt;
                SocketAddr::from_abstract_name(name)?
            }
            _ => return Err(io::Error::other("a path or an abstract unix socket is allowed")),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Notifier { socket, address, has_failed: false })
    }

    /// Tells all of these at once. A failure is logged, the first of a series: we serve on, and a manager that
    /// waits for us will do what it does then.
    pub fn tell(&mut self, notices: &[Notice]) {
        let lines: Vec<String> = notices.iter().map(Notice::to_string).collect();
        let sent = self.socket.send_to_addr(lines.join("\n").as_bytes(), &self.address);
        if let Err(error) = &sent
            && !self.has_failed
        {
            tracing::warn!(%error, "the service manager cannot be told how we are");
        }
        self.has_failed = sent.is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_written_as_the_protocol_has_them() {
        for (notice, text) in [
            (Notice::Ready, "READY=1"),
            (Notice::Reloading(Duration::from_millis(7)), "RELOADING=1\nMONOTONIC_USEC=7000"),
            (Notice::Stopping, "STOPPING=1"),
            (Notice::Watchdog, "WATCHDOG=1"),
            (Notice::ExtendTimeout(Duration::from_secs(5)), "EXTEND_TIMEOUT_USEC=5000000"),
            (Notice::Status("one\nREADY=1\u{1b}".to_owned()), "STATUS=one READY=1 "),
        ] {
            assert_eq!(notice.to_string(), text);
        }
    }

    #[test]
    fn a_long_status_is_cut_at_a_character() {
        for (seen, kept) in [(399, 399), (400, 400), (401, 400)] {
            let shown = Notice::Status("x".repeat(seen)).to_string();
            assert_eq!(shown.len(), "STATUS=".len() + kept);
        }
        let wide = Notice::Status("ä".repeat(201)).to_string();
        assert_eq!(wide.chars().count(), "STATUS=".len() + 200);
        let odd = Notice::Status(format!("x{}", "ä".repeat(200))).to_string();
        assert_eq!(odd.len(), "STATUS=".len() + 399);
    }

    #[test]
    fn addresses_are_paths_or_abstract_names() {
        for address in ["relative", "vsock:2:1", "", "/"] {
            let allowed = Notifier::new(OsStr::new(address)).is_ok();
            assert_eq!(allowed, address == "/", "{address:?}");
        }
        assert_eq!(Notifier::new(OsStr::new("@name")).is_ok(), cfg!(target_os = "linux"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_manager_that_is_gone_or_does_not_read_stops_nothing() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("fanfare-notify-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let mut notifier = Notifier::new(OsStr::new(&format!("@{name}"))).unwrap();
        notifier.tell(&[Notice::Ready, Notice::Status("fine".to_owned())]);
        let mut datagram = [0; 64];
        let received = manager.recv(&mut datagram).unwrap();
        assert_eq!(&datagram[..received], b"READY=1\nSTATUS=fine");
        assert!(!notifier.has_failed);
        notifier.socket.set_nonblocking(true).unwrap();
        while !notifier.has_failed {
            notifier.tell(&[Notice::Watchdog]);
        }
        manager.recv(&mut datagram).unwrap();
        notifier.tell(&[Notice::Watchdog]);
        assert!(!notifier.has_failed, "it reads again");
        drop(manager);
        notifier.tell(&[Notice::Watchdog]);
        assert!(notifier.has_failed);
    }
}
