//! Listening sockets that whoever started the process has opened for it: socket activation.

use std::os::fd::OwnedFd;

/// Listening sockets under the names that they were passed with. Several may have the same.
#[derive(Debug, Default)]
pub struct PassedSockets(Vec<(String, OwnedFd)>);

impl PassedSockets {
    /// Adds a socket that listens, TCP or unix.
    pub fn add(&mut self, name: impl Into<String>, socket: OwnedFd) {
        self.0.push((name.into(), socket));
    }

    /// The sockets of this name, in their order.
    pub(super) fn take(&mut self, name: &str) -> Vec<OwnedFd> {
        let named = self.0.extract_if(.., |(known, _)| known == name);
        named.map(|(_, socket)| socket).collect()
    }

    /// What there is to choose from, for a complaint.
    pub(super) fn names(&self) -> String {
        if self.0.is_empty() {
            return "none was passed".to_owned();
        }
        let names: Vec<String> = self.0.iter().map(|(name, _)| name.escape_debug().to_string()).collect();
        format!("passed are: {}", names.join(", "))
    }

    /// Whoever passed a socket wants it to be used: connections would wait there for ever.
    pub(super) fn warn_of_those_left(&self) {
        for (name, _) in &self.0 {
            tracing::warn!("the passed socket {name:?} is closed, as no fd:{name} asks for it");
        }
    }
}
