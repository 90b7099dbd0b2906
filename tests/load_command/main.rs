//! `fanfare load` against the real server, and against one that lies: what it counts, what it finds, what it
//! refuses.

mod flags;
mod liar;
mod lies;
mod real;
mod run;
#[allow(dead_code)] // what the tests of the binary itself use
#[path = "../support/running.rs"]
mod running;
mod scenarios;
