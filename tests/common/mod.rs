//! What the tests of whole shards share: a simulated operating system, shards on one thread, and the
//! client's side of the protocol.

#![allow(dead_code, unused_imports)] // each test crate uses its own part

pub mod capture;
pub mod endpoints;
pub mod frames;
pub mod listener;
pub mod server;
pub mod sim;

pub use frames::{Frame, binary, client_frame, close, frames, ping, pong, request, split_response, text};
pub use listener::{Gate, SimGauge, acceptor_settings};
pub use server::{Client, Server, settings};
