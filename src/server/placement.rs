//! How many workers there are and on which cores they run.

use std::fmt;
use std::str::FromStr;

use core_affinity::CoreId;

use crate::id::{SHARDS_MAX, ShardId};

/// Whether and where workers are pinned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pin {
    /// One core each, if there are as many cores as workers and no quota shares them out otherwise.
    #[default]
    Auto,
    /// The scheduler decides.
    Off,
    /// These cores, in turn.
    Cores(Vec<usize>),
}

/// Why a text is no [`Pin`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected auto, off, or core numbers such as 0,2,4-7")]
pub struct PinError;

/// No machine has a core with a higher number.
const CORE_MAX: usize = 4095;

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Pin, PinError> {
        match text {
            "auto" => return Ok(Pin::Auto),
            "off" => return Ok(Pin::Off),
            _ => {}
        }
        let number = |digits: &str| digits.parse().ok().filter(|core| *core <= CORE_MAX).ok_or(PinError);
        let mut cores = Vec::new();
        for part in text.split(',') {
            match part.split_once('-') {
                Some((first, last)) => {
                    let (first, last) = (number(first)?, number(last)?);
                    if first > last {
                        return Err(PinError);
                    }
                    cores.extend(first..=last);
                }
                None => cores.push(number(part)?),
            }
        }
        Ok(Pin::Cores(cores))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pin::Auto => f.write_str("auto"),
            Pin::Off => f.write_str("off"),
            Pin::Cores(cores) => {
                let cores: Vec<String> = cores.iter().map(usize::to_string).collect();
                f.write_str(&cores.join(","))
            }
        }
    }
}

/// The workers of a server and their cores.
#[derive(Debug)]
pub struct Placement {
    cores: Vec<Option<CoreId>>,
    note: &'static str,
}

impl Placement {
    /// Decides, from what this process may use.
    pub fn new(workers: Option<usize>, pin: &Pin) -> Placement {
        let usable = std::thread::available_parallelism().map_or(1, usize::from);
        let allowed = core_affinity::get_core_ids().unwrap_or_default();
        Placement::decide(workers, pin, usable, &allowed)
    }

    /// `usable` respects quotas, `allowed` is the affinity mask.
    fn decide(workers: Option<usize>, pin: &Pin, usable: usize, allowed: &[CoreId]) -> Placement {
        let workers = workers.unwrap_or(usable).clamp(1, SHARDS_MAX);
        let unpinned = |note| Placement { cores: vec![None; workers], note };
        match pin {
            Pin::Off => unpinned("not pinned (--pin off)"),
            Pin::Cores(cores) => {
                let at = |worker: usize| Some(CoreId { id: cores[worker % cores.len()] });
                Placement { cores: (0..workers).map(at).collect(), note: "" }
            }
            Pin::Auto if allowed.is_empty() => {
                tracing::warn!("the cores of this process are unknown; workers are not pinned");
                unpinned("not pinned (no affinity here)")
            }
            // Pinning under a quota would put every container onto the same first cores.
            Pin::Auto if usable < allowed.len() => unpinned("not pinned (a CPU quota is in force)"),
            Pin::Auto if workers > allowed.len() => unpinned("not pinned (more workers than cores)"),
            Pin::Auto => {
                Placement { cores: allowed[..workers].iter().map(|core| Some(*core)).collect(), note: "" }
            }
        }
    }

    /// How many workers.
    pub fn workers(&self) -> usize {
        self.cores.len()
    }

    /// The core of one worker, if it is pinned.
    pub fn core(&self, shard: ShardId) -> Option<CoreId> {
        self.cores[shard.index()]
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, ", self.cores.len(), if self.cores.len() == 1 { "worker" } else { "workers" })?;
        if !self.note.is_empty() {
            return f.write_str(self.note);
        }
        let cores: Vec<String> = self.cores.iter().flatten().map(|core| core.id.to_string()).collect();
        write!(f, "pinned to {} {}", if cores.len() == 1 { "core" } else { "cores" }, cores.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cores(numbers: &[usize]) -> Vec<CoreId> {
        numbers.iter().map(|id| CoreId { id: *id }).collect()
    }

    #[test]
    fn lists_of_cores_are_read_and_shown() {
        assert_eq!("0,2,4-6".parse(), Ok(Pin::Cores(vec![0, 2, 4, 5, 6])));
        assert_eq!("0,2,4-6".parse::<Pin>().unwrap().to_string(), "0,2,4,5,6");
        for wrong in ["", "a", "1,", "3-1", "-1", "99999", "on"] {
            assert_eq!(wrong.parse::<Pin>(), Err(PinError), "{wrong}");
        }
    }

    #[test]
    fn automatic_placement_takes_the_allowed_cores() {
        let placement = Placement::decide(None, &Pin::Auto, 2, &cores(&[4, 6]));
        assert_eq!(placement.to_string(), "2 workers, pinned to cores 4, 6");
        let one = Placement::decide(Some(1), &Pin::Auto, 2, &cores(&[4, 6]));
        assert_eq!(one.to_string(), "1 worker, pinned to core 4");
    }

    #[test]
    fn automatic_placement_leaves_quotas_and_crowds_to_the_scheduler() {
        let quota = Placement::decide(None, &Pin::Auto, 2, &cores(&[0, 1, 2, 3]));
        assert_eq!(quota.to_string(), "2 workers, not pinned (a CPU quota is in force)");
        let crowd = Placement::decide(Some(8), &Pin::Auto, 2, &cores(&[0, 1]));
        assert_eq!(crowd.to_string(), "8 workers, not pinned (more workers than cores)");
        let unknown = Placement::decide(Some(2), &Pin::Auto, 2, &[]);
        assert_eq!(unknown.workers(), 2);
        assert_eq!(unknown.core(ShardId::new(1)), None);
    }

    #[test]
    fn listed_cores_are_used_in_turn() {
        let placement = Placement::decide(Some(3), &Pin::Cores(vec![7, 8]), 4, &[]);
        assert_eq!(placement.to_string(), "3 workers, pinned to cores 7, 8, 7");
    }
}
