//! The HTTP door to the rooms over real sockets: what each request gives, and what hostile, slow and
//! leaving clients meet.

#[path = "../support/mod.rs"]
mod support;

mod access;
mod bodies;
mod events;
mod persistence;
mod publish;
