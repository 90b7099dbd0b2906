//! The report of a soak: one HTML file that needs nothing else.

mod page;
mod plot;
mod tables;

pub use page::{About, html};
