//! Coming back: a position in a room is honoured in full or refused, and every door counts alike.

#[path = "../support/mod.rs"]
mod support;

mod agreement;
mod forgotten;
mod publishers;
mod seams;
mod starts;
mod torn;
