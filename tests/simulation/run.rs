//! Runs seeds on all cores, and says how a failing one is run again.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
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

/// How often something was met.
type Met = BTreeMap<&'static str, u64>;

/// Runs one seed to its end, and says what it has met; the trace has the rest.
pub fn run(plan: Plan, trace: &Rc<RefCell<Trace>>) -> Met {
    let mut world = World::new(plan, Rc::clone(trace));
    world.storm();
    world.end();
    let (met, batches) = (world.met(), world.truth.take_batches());
    drop(world);
    let held = batches.iter().filter(|batch| batch.strong_count() > 0).count();
    assert_eq!(held, 0, "batches of {} that are never freed", batches.len());
    met
}

/// What failed and how, for whoever has to mend it. The same seed runs once more, with its trace.
fn explain(seed: u64) -> Option<String> {
    let trace = Rc::new(RefCell::new(Trace::new(true)));
    let failed = catch_unwind(AssertUnwindSafe(|| run(Plan::draw(seed), &trace))).err()?;
    let text = text_of(&*failed);
    let shown = trace.borrow().show(env::var("SIM_TRACE").is_ok());
    let plan = Plan::draw(seed);
    Some(format!(
        "{shown}-- the plan: {plan:?}\n-- seed {seed}: {text}\nrun it again: SIM_SEED={seed} cargo test --test \
         simulation every_seed"
    ))
}

/// What a panic said.
pub fn text_of(failed: &(dyn Any + Send)) -> &str {
    let text = failed.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| failed.downcast_ref::<&str>().copied()).unwrap_or("no text")
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
    let (first, count) = (number("SIM_FIRST").unwrap_or(0), number("SIM_SEEDS").unwrap_or(SEEDS));
    assert_ne!(count, 0, "SIM_SEEDS=0 would run nothing; 1 or more are allowed");
    first..first + count
}

/// What all seeds have met, or the first that fails.
fn run_all(seeds: std::ops::Range<u64>) -> Result<Met, u64> {
    let next = AtomicU64::new(seeds.start);
    let (failed, met) = (Mutex::new(None), Mutex::new(Met::new()));
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
                    match catch_unwind(AssertUnwindSafe(|| run(Plan::draw(seed), &trace))) {
                        Ok(more) => add(&mut met.lock().expect("no holder panics"), more),
                        Err(_) => drop(failed.lock().expect("no holder panics").get_or_insert(seed)),
                    }
                }
            });
        }
    });
    let met = met.into_inner().expect("no holder panics");
    failed.into_inner().expect("no holder panics").map_or(Ok(met), Err)
}

fn add(all: &mut Met, more: Met) {
    for (what, count) in more {
        *all.entry(what).or_default() += count;
    }
}

#[test]
fn every_seed_is_clean() {
    let seeds = wanted();
    let count = seeds.end - seeds.start;
    let met = match run_all(seeds) {
        Ok(met) => met,
        Err(seed) => {
            let again = format!("seed {seed} failed, and did not when it was run again");
            panic!("{}", explain(seed).unwrap_or(again))
        }
    };
    if env::var("SIM_MET").is_ok() {
        met.iter().for_each(|(what, count)| println!("{count:>12} {what}"));
    }
    if count >= SEEDS {
        let never: Vec<&&str> = met.iter().filter(|(_, count)| **count == 0).map(|(what, _)| what).collect();
        assert!(never.is_empty(), "no seed of {count} has met {never:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..40 {
        let hash = || {
            let trace = Rc::new(RefCell::new(Trace::new(false)));
            run(Plan::draw(seed), &trace);
            trace.borrow().hash()
        };
        assert_eq!(hash(), hash(), "seed {seed}");
    }
}
