//! Settings on their way to the acceptor.

use crossbeam_channel::{Receiver, Sender};

use super::acceptor::AcceptorSettings;
use crate::shard::Untaken;

type News = (AcceptorSettings, Untaken);

/// The acceptor's end. The default never gets any.
#[derive(Debug)]
pub struct LiveSettings(Receiver<News>);

/// The other end. What is sent is looked at after the acceptor's next wait: wake it.
#[derive(Clone, Debug)]
pub struct LiveSettingsSender(Sender<News>);

impl Default for LiveSettings {
    fn default() -> LiveSettings {
        LiveSettings(crossbeam_channel::never())
    }
}

impl LiveSettings {
    /// Both ends.
    pub fn channel() -> (LiveSettingsSender, LiveSettings) {
        let (sender, receiver) = crossbeam_channel::unbounded();
        (LiveSettingsSender(sender), LiveSettings(receiver))
    }

    /// Takes the oldest.
    pub fn take(&self) -> Option<(AcceptorSettings, Untaken)> {
        self.0.try_recv().ok()
    }
}

impl LiveSettingsSender {
    /// Sends some. An acceptor that has ended lets go of them at once.
    pub fn send(&self, settings: AcceptorSettings, untaken: Untaken) {
        // It fails only when nobody is left to take it.
        let _ = self.0.send((settings, untaken));
    }
}
