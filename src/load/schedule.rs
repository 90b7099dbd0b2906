//! When each message of an open loop is due: at even distances, flow after flow.

/// The due times of the flows that one thread sends.
#[derive(Debug)]
pub struct Schedule {
    /// Nanoseconds between two messages of all flows.
    interval: f64,
    flows_in_all: u64,
    begin: u64,
    /// The numbers of the flows and their places, in the order of the numbers.
    places: Vec<(u32, u32)>,
    /// The message of each flow that is due next, counted from 0, and which of the flows is.
    next: (u64, usize),
}

impl Schedule {
    /// `rate` messages a second over `flows_in_all`, from `begin` on in nanoseconds; `places` are those of
    /// the flows that are sent here, by their numbers.
    pub fn new(rate: f64, flows_in_all: u32, begin: u64, mut places: Vec<(u32, u32)>) -> Schedule {
        places.sort_unstable();
        let flows_in_all = u64::from(flows_in_all.max(1));
        Schedule { interval: 1e9 / rate, flows_in_all, begin, places, next: (0, 0) }
    }

    /// When a message of a flow is due.
    pub fn time(&self, id: u32, message: u64) -> u64 {
        let place = message as f64 * self.flows_in_all as f64 + f64::from(id);
        self.begin.saturating_add((place * self.interval) as u64)
    }

    /// When the next message is due; never without a flow.
    pub fn next(&self) -> Option<u64> {
        let (message, at) = self.next;
        self.places.get(at).map(|(id, _)| self.time(*id, message))
    }

    /// Takes the next message that is due up to `until`, and gives when it was due and the place of its flow.
    pub fn take_due(&mut self, until: u64) -> Option<(u64, u32)> {
        let time = self.next().filter(|time| *time <= until)?;
        let (message, at) = self.next;
        self.next = if at + 1 == self.places.len() { (message + 1, 0) } else { (message, at + 1) };
        Some((time, self.places[at].1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_at_even_distances_whichever_thread_sends_them() {
        let mut times = Vec::new();
        for places in [vec![(2, 1), (0, 0)], vec![(1, 0), (3, 1)]] {
            let mut schedule = Schedule::new(1000.0, 4, 5_000_000, places.clone());
            while let Some(time) = schedule.next().filter(|time| *time < 25_000_000) {
                let (due, at) = schedule.take_due(time).unwrap();
                assert_eq!(due, time);
                let (id, _) = places.iter().find(|(_, place)| *place == at).unwrap();
                times.push((time, *id));
            }
        }
        times.sort_unstable();
        let expected: Vec<(u64, u32)> =
            (0..20u32).map(|at| (5_000_000 + u64::from(at) * 1_000_000, at % 4)).collect();
        assert_eq!(times, expected);
    }

    #[test]
    fn nothing_is_due_too_early_and_nothing_without_flows() {
        let mut schedule = Schedule::new(10.0, 1, 1000, vec![(0, 5)]);
        assert_eq!(schedule.take_due(999), None);
        assert_eq!(schedule.take_due(1000), Some((1000, 5)));
        assert_eq!(schedule.next(), Some(100_001_000));
        assert_eq!(Schedule::new(10.0, 1, 0, vec![]).next(), None);
    }

    #[test]
    fn a_long_run_does_not_drift() {
        let schedule = Schedule::new(1_000_000.0, 3, 0, vec![(0, 0)]);
        // An hour.
        let off = schedule.time(0, 1_200_000_000).abs_diff(3_600_000_000_000);
        assert!(off < 1000, "{off}");
    }
}
