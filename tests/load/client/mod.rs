//! A client process: it is told by its standard input what to do, reports on its standard output, and ends
//! with its conductor.

mod books;
mod bytewise;
mod events;
mod fleeting;
mod garbage;
mod http;
mod link;
mod member;
mod play;
mod post;
mod process;
mod slow;
mod websocket;

pub use process::run;
