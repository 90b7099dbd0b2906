//! The one line that says how the server is doing.

use std::time::Duration;

use fanfare::ServerHandle;
use fanfare::shard::Counter;
use fanfare::time::Time;

/// What was counted when.
#[derive(Clone, Copy, Debug)]
struct Counted {
    at: Time,
    messages_in: u64,
    messages_out: u64,
}

/// Looks at the server's counters, and says what they have done in between.
#[derive(Debug)]
pub struct Status {
    server: ServerHandle,
    last: Counted,
    /// Said behind the numbers until it no longer holds.
    note: Option<String>,
}

impl Status {
    /// Nothing counted yet.
    pub fn new(server: ServerHandle, now: Time) -> Status {
        Status { server, last: Counted { at: now, messages_in: 0, messages_out: 0 }, note: None }
    }

    /// What people have to know beside the numbers, if there is anything.
    pub fn set_note(&mut self, note: Option<String>) {
        self.note = note;
    }

    /// How much is going on.
    pub fn running(&mut self, now: Time) -> String {
        let counted = Counted {
            at: now,
            messages_in: self.server.counter(Counter::MessagesIn),
            messages_out: self.server.counter(Counter::Deliveries),
        };
        let last = std::mem::replace(&mut self.last, counted);
        let line = running_line(
            self.server.counter(Counter::Connections),
            self.server.rooms() as u64,
            rate(counted.messages_in - last.messages_in, now.since(last.at)),
            rate(counted.messages_out - last.messages_out, now.since(last.at)),
        );
        match &self.note {
            Some(note) => format!("{line}; {note}"),
            None => line,
        }
    }

    /// How much a shutdown has left to do, and for how long it may.
    pub fn draining(&self, left: Duration) -> String {
        let connections = self.server.counter(Counter::Connections);
        format!("draining: {} left, for up to {} s", counted(connections, "connection"), left.as_secs())
    }
}

fn running_line(connections: u64, rooms: u64, rate_in: u64, rate_out: u64) -> String {
    let (connections, rooms) = (counted(connections, "connection"), counted(rooms, "room"));
    format!("{connections}, {rooms}, {} messages/s in, {} out", grouped(rate_in), grouped(rate_out))
}

/// How many in a second, rounded.
fn rate(count: u64, time: Duration) -> u64 {
    if time.is_zero() { 0 } else { (count as f64 / time.as_secs_f64()).round() as u64 }
}

fn counted(count: u64, thing: &str) -> String {
    format!("{} {thing}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// A number with a comma at each thousand.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_for_people() {
        let line = running_line(12_345, 1, 999, 1_234_567);
        assert_eq!(line, "12,345 connections, 1 room, 999 messages/s in, 1,234,567 out");
        assert_eq!(running_line(1, 0, 0, 0), "1 connection, 0 rooms, 0 messages/s in, 0 out");
    }

    #[test]
    fn rates_are_of_the_time_that_has_gone_by() {
        assert_eq!(rate(10, Duration::from_secs(2)), 5);
        assert_eq!(rate(10, Duration::from_millis(500)), 20);
        assert_eq!(rate(10, Duration::ZERO), 0);
    }
}
