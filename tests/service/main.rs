//! A server as a service: how it is, seen from outside; sockets that are passed to it; and what the binary tells
//! a service manager, which is played here.

#![cfg(target_os = "linux")]

#[path = "../support/mod.rs"]
mod support;

mod activation;
mod hang;
mod health;
mod manager;
mod notices;
mod reloading;
