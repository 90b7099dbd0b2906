//! Runs seeds on all cores, and says how a failing one is run again.

use std::cell::RefCell;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::plan::Plan;
use crate::trace::Trace;
use crate::world::World;

/// Seeds that `cargo test` runs.
const SEEDS: u64 = 1_000;

/// Runs one seed to its end, and returns the hash of what happened.
pub fn run(plan: Plan, trace: &Rc<RefCell<Trace>>) -> u64 {
    let mut world = World::new(plan, Rc::clone(trace));
    world.storm();
    world.end();
    let hash = trace.borrow().hash();
    hash
}

/// What failed and how, for whoever has to mend it. The same seed runs once more, with its trace.
fn explain(seed: u64) -> Option<String> {
    let trace = Rc::new(RefCell::new(Trace::new(true)));
    let failed = catch_unwind(AssertUnwindSafe(|| run(Plan::draw(seed), &trace))).err()?;
    let text = failed.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| failed.downcast_ref::<&str>().copied()).unwrap_or("no text").to_owned();
    let shown = trace.borrow().show();
    let plan = Plan::draw(seed);
    Some(format!(
        "{shown}-- the plan: {plan:?}\n-- seed {seed}: {text}\nrun it again: SIM_SEED={seed} cargo test --test \
         simulation every_seed"
    ))
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// The seeds that the environment asks for.
fn wanted() -> std::ops::Range<u64> {
    if let Some(seed) = number("SIM_SEED") {
        return seed..seed + 1;
    }
    let first = number("SIM_FIRST").unwrap_or(0);
    first..first + number("SIM_SEEDS").unwrap_or(SEEDS)
}

/// The first seed that fails, if one does.
fn first_failure(seeds: std::ops::Range<u64>) -> Option<u64> {
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(None);
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while failed.lock().expect("no holder panics").is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let trace = Rc::new(RefCell::new(Trace::new(false)));
                    if catch_unwind(AssertUnwindSafe(|| run(Plan::draw(seed), &trace))).is_err() {
                        failed.lock().expect("no holder panics").get_or_insert(seed);
                    }
                }
            });
        }
    });
    failed.into_inner().expect("no holder panics")
}

#[test]
fn every_seed_is_clean() {
    if let Some(seed) = first_failure(wanted()) {
        panic!(
            "{}",
            explain(seed).unwrap_or_else(|| format!("seed {seed} failed, and did not when run again"))
        );
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..40 {
        let hash = || {
            let trace = Rc::new(RefCell::new(Trace::new(false)));
            run(Plan::draw(seed), &trace)
        };
        assert_eq!(hash(), hash(), "seed {seed}");
    }
}
