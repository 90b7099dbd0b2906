//! The journal of systemd in its native protocol: a datagram for each record, with its fields as the journal's.
//!
//! It is sent by the log's thread: the crate that `tracing` has for it sends from the thread that logs, where a
//! journald that is behind would stop a worker.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use super::lines;
use super::record::Record;

/// Where journald listens (systemd.journal(7), "native").
const SOCKET: &str = "/run/systemd/journal/socket";

/// What the journal calls this program, as in `journalctl -t fanfare`.
const IDENTIFIER: &str = "fanfare";

/// The way to journald.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    socket: Option<UnixDatagram>,
}

impl Default for Journal {
    fn default() -> Journal {
        Journal::at(Path::new(SOCKET))
    }
}

impl Journal {
    fn at(path: &Path) -> Journal {
        Journal { path: path.to_owned(), socket: None }
    }

    /// Sends a record. It may wait for journald.
    ///
    /// # Errors
    ///
    /// What the operating system says when there is no journald. The next record is tried again.
    pub fn send(&mut self, record: &Record) -> io::Result<()> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => UnixDatagram::unbound()?,
        };
        socket.send_to(&datagram(record), &self.path)?;
        self.socket = Some(socket);
        Ok(())
    }
}

/// Whether standard error is the journal's, which `$JOURNAL_STREAM` names by device and inode (systemd.exec(5)).
pub fn has_standard_error() -> bool {
    let named = std::env::var("JOURNAL_STREAM").ok();
    let file = rustix::fs::fstat(std::io::stderr()).ok();
    named.zip(file).is_some_and(|(named, file)| is_stream(&named, file.st_dev, file.st_ino))
}

fn is_stream(named: &str, device: u64, inode: u64) -> bool {
    named.split_once(':').is_some_and(|(named_device, named_inode)| {
        named_device.parse() == Ok(device) && named_inode.parse() == Ok(inode)
    })
}

fn datagram(record: &Record) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    // Who reads the journal without its fields sees who and why all the same.
    push_field(&mut out, "MESSAGE", &lines::message(record));
    push_field(&mut out, "PRIORITY", &lines::priority(record.level).to_string());
    push_field(&mut out, "SYSLOG_IDENTIFIER", IDENTIFIER);
    for (name, value) in &record.fields {
        push_field(&mut out, &field_name(name), &value.to_string());
    }
    out
}

/// The journal's names are of A to Z, digits and underscores; those that begin with an underscore are its own.
fn field_name(name: &str) -> String {
    let allowed = |character: char| if character.is_ascii_alphanumeric() { character } else { '_' };
    let name: String = name.chars().map(allowed).collect();
    name.trim_start_matches('_').to_ascii_uppercase()
}

/// A value with an end of line in it has its length in front.
fn push_field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tracing::Level;

    use super::super::record::{TEXT_BYTES_MAX, Value};
    use super::*;

    fn record() -> Record {
        let fields = vec![
            ("connection", Value::Shown("0-100000000".into())),
            ("room", Value::Text("two\nlines".into())),
            ("cause", Value::Text("shutdown".into())),
            ("code", Value::Unsigned(1001)),
        ];
        Record { time: Duration::ZERO, level: Level::INFO, message: "closed: bye".into(), fields }
    }

    #[test]
    fn a_record_is_one_datagram_with_its_fields() {
        let expected = [
            &b"MESSAGE=closed: bye connection=0-100000000 room=\"two\\nlines\" cause=\"shutdown\" code=1001\n"[..],
            b"PRIORITY=6\nSYSLOG_IDENTIFIER=fanfare\nCONNECTION=0-100000000\n",
            b"ROOM\n\x09\0\0\0\0\0\0\0two\nlines\nCAUSE=shutdown\nCODE=1001\n",
        ];
        let directory = std::env::temp_dir().join(format!("fanfare-journal-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let path = directory.join("socket");
        let mut journal = Journal::at(&path);
        journal.send(&record()).expect_err("nobody is there");
        let journald = UnixDatagram::bind(&path).unwrap();
        let mut got = vec![0; 64 << 10];
        for _ in 0..2 {
            journal.send(&record()).unwrap();
            let bytes = journald.recv(&mut got).unwrap();
            assert_eq!(String::from_utf8_lossy(&got[..bytes]), String::from_utf8_lossy(&expected.concat()));
        }
        let long = "x".repeat(TEXT_BYTES_MAX);
        let fields = vec![("room", Value::Text(long.clone())); 16];
        journal.send(&Record { message: long, fields, ..record() }).expect("the largest that is made");
        drop(journald);
        std::fs::remove_dir_all(&directory).unwrap();
        journal.send(&record()).expect_err("nobody is there any more");
    }

    #[test]
    fn the_journal_is_known_by_device_and_inode() {
        for (named, is) in
            [("9:41", true), ("9:42", false), ("8:41", false), ("", false), ("9", false), ("9:41 ", false)]
        {
            assert_eq!(is_stream(named, 9, 41), is, "{named:?}");
        }
    }

    #[test]
    fn names_are_what_the_journal_takes() {
        for (name, expected) in
            [("room", "ROOM"), ("left_out", "LEFT_OUT"), ("_a.b", "A_B"), ("r#type", "R_TYPE")]
        {
            assert_eq!(field_name(name), expected);
        }
    }
}
