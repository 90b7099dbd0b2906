//! `/metrics`: it agrees with what clients count, number for number, is well formed, and has every name that
//! the documentation, the alerts and the dashboard use.

#[path = "../support/mod.rs"]
mod support;

mod client;
mod counting;
mod form;
mod hang;
mod names;
mod page;
