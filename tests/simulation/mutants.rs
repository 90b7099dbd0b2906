//! The oracle can fail: every fault that was put into the code is found.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use fanfare::mutant::{Mutant, arm};

use crate::plan::Plan;
use crate::run::{run, text_of};
use crate::trace::Trace;

/// Seeds in which a fault has to be found.
const SEEDS: u64 = 1_000;
/// Of so many opportunities a fault takes one.
fn rarity(mutant: Mutant) -> u32 {
    match mutant {
        Mutant::WrongPosition | Mutant::StaleEvent | Mutant::MovedMember => 1,
        _ => 20,
    }
}

#[test]
fn every_mutant_is_found() {
    let mut missed = Vec::new();
    for mutant in Mutant::ALL {
        arm(Some(mutant), rarity(mutant));
        let fails = |seed: &u64| {
            let trace = Rc::new(RefCell::new(Trace::new(false)));
            let failed = catch_unwind(AssertUnwindSafe(|| run(Plan::draw(*seed), &trace))).err();
            failed
                .map(|failed| println!("{mutant:?} is found by seed {seed}: {}", text_of(&*failed)))
                .is_some()
        };
        if !(0..SEEDS).any(|seed| fails(&seed)) {
            missed.push(mutant);
        }
        arm(None, 1);
    }
    assert!(missed.is_empty(), "not found in {SEEDS} seeds: {missed:?}");
}
