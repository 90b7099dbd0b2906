//! A client process: it is told by its standard input what to do, reports on its standard output, and ends
//! with its conductor.

mod books;
mod bytewise;
mod events;
mod fated;
mod fleeting;
mod garbage;
mod http;
mod knock;
mod link;
mod member;
mod play;
mod post;
mod process;
mod slow;
mod storm;
mod subscriber;
mod websocket;

pub use process::run;
