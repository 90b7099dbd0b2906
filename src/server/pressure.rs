//! Whether memory or descriptors are nearly used up, and what is done about it: nobody else is let in, and slow
//! consumers have to go.

use std::time::Duration;

use crate::endpoint::Scarcity;
use crate::shard::ShedOrder;
use crate::time::Time;

use super::AcceptorSettings;
use super::gauge::{Gauge, Level, Usage};

/// Between two looks at what is in use.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The same while too much of it is.
const CLOSE_LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Connections that have to go after one look for want of descriptors at most: not all who come would stay.
const SHED_MAX: usize = 64;

/// What the acceptor knows of what is in use.
#[derive(Debug)]
pub struct Pressure {
    gauge: Option<Box<dyn Gauge>>,
    look_at: Time,
    memory: Option<Level>,
    /// Descriptors beside those of connections, and how many there may be of all.
    others: u64,
    descriptors_max: u64,
    /// Connections that were not let in for want of descriptors since the latest look.
    turned_away: usize,
    usage: Usage,
}

impl Pressure {
    /// Nothing is known yet. Without a gauge it stays so.
    pub fn new(gauge: Option<Box<dyn Gauge>>) -> Pressure {
        Pressure {
            gauge,
            look_at: Time::ZERO,
            memory: None,
            others: 0,
            descriptors_max: u64::MAX,
            turned_away: 0,
            usage: Usage::default(),
        }
    }

    /// What was in use at the latest look.
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// When it wants to look again.
    pub fn look_at(&self) -> Option<Time> {
        self.gauge.as_ref().map(|_| self.look_at)
    }

    /// Looks at what is in use, if it is time. Returns what the shards have to give back, all together.
    pub fn look(&mut self, settings: &AcceptorSettings, sockets: usize, now: Time) -> [Option<ShedOrder>; 2] {
        let Some(gauge) = self.gauge.as_mut().filter(|_| self.look_at <= now) else { return [None; 2] };
        // What cannot be seen now is as it was.
        let (memory, descriptors) = (gauge.memory(settings.memory_limit), gauge.descriptors(now));
        self.usage.publish(memory, descriptors);
        let is_over = memory.is_some_and(|level| level.excess(settings.shed_at_percent) > 0);
        // Some of it may only be kept by the allocator: until that is known nothing changes.
        let is_settling = is_over && gauge.give_back(now);
        if !is_settling {
            self.memory = memory.or(self.memory);
        }
        if let Some(Level { used, limit }) = descriptors {
            (self.others, self.descriptors_max) = (used.saturating_sub(sockets as u64), limit);
        }
        let memory_order = if is_settling { None } else { self.memory_order(settings) };
        let orders = [memory_order, self.descriptors_order(settings)];
        let pressed = is_settling || orders.iter().any(Option::is_some);
        self.look_at = now + if pressed { CLOSE_LOOK_INTERVAL } else { LOOK_INTERVAL };
        orders
    }

    /// What there is too little of to let another one in beside so many sockets.
    pub fn scarcity(&mut self, settings: &AcceptorSettings, sockets: usize) -> Option<Scarcity> {
        if self.memory.is_some_and(|level| level.excess(settings.shed_at_percent) > 0) {
            return Some(Scarcity::Memory);
        }
        let used = self.others + sockets as u64 + 1;
        if (Level { used, limit: self.descriptors_max }).excess(settings.shed_at_percent) > 0 {
            self.turned_away += 1;
            return Some(Scarcity::Descriptors);
        }
        None
    }

    fn memory_order(&self, settings: &AcceptorSettings) -> Option<ShedOrder> {
        let (percent, scarcity) = (settings.shed_at_percent, Scarcity::Memory);
        let excess = self.memory.map_or(0, |level| level.excess(percent));
        let bytes = usize::try_from(excess).unwrap_or(usize::MAX);
        (bytes > 0).then_some(ShedOrder { scarcity, percent, connections: usize::MAX, bytes })
    }

    /// As many have to go as would have come, up to a bound.
    fn descriptors_order(&mut self, settings: &AcceptorSettings) -> Option<ShedOrder> {
        let (percent, scarcity) = (settings.shed_at_percent, Scarcity::Descriptors);
        let connections = std::mem::take(&mut self.turned_away).min(SHED_MAX);
        (connections > 0).then_some(ShedOrder { scarcity, percent, connections, bytes: usize::MAX })
    }
}
