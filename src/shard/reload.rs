//! Other settings while everything goes on. No connection ends by it: what is held already stays, and what
//! comes next is measured anew.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::endpoint::{EndpointSettings, RouterPlan};
use crate::reactor::{Io, Tick};
use crate::slab::Key;

use super::session::{Flag, Session};
use super::settings::Settings;
use super::{Core, Shard};

/// What all shards are told anew.
#[derive(Debug)]
pub struct Reload {
    /// Limits and deadlines.
    pub settings: Arc<Settings>,
    /// The same paths, with other rules about who may use them.
    pub plan: Arc<RouterPlan>,
    /// What the endpoints are told.
    pub endpoints: EndpointSettings,
    /// Goes with the last shard that lets go of this.
    pub untaken: Untaken,
}

/// Held for as long as a change is not taken by all it is for.
#[derive(Clone, Debug)]
pub struct Untaken(
    #[expect(dead_code, reason = "it is the end of its life that says something")] Sender<Infallible>,
);

/// The other side of [`Untaken`].
#[derive(Debug)]
pub struct Taken(Receiver<Infallible>);

impl Untaken {
    /// One, and who waits for the end of all its clones.
    pub fn pair() -> (Untaken, Taken) {
        let (sender, receiver) = crossbeam_channel::bounded(0);
        (Untaken(sender), Taken(receiver))
    }
}

impl Taken {
    /// Waits until no [`Untaken`] is left, and says whether that was within `most`.
    pub fn wait(&self, most: Duration) -> bool {
        self.0.recv_timeout(most) == Err(RecvTimeoutError::Disconnected)
    }
}

impl<I: Io> Shard<I> {
    /// Takes other settings. Deadlines that run stay as they are; the next ones are new.
    pub(super) fn reload(&mut self, reload: &Reload) {
        let before = self.core.settings.ping_interval;
        if reload.settings.ping_interval > before {
            self.keep_interval(before);
        }
        let core = &mut self.core;
        core.settings = Arc::clone(&reload.settings);
        core.quiet_until = Tick::after(core.now + core.settings.ping_interval);
        core.router.set_plan(Arc::clone(&reload.plan));
        for endpoint in core.router.endpoints_mut() {
            if catch_unwind(AssertUnwindSafe(|| endpoint.reload(&reload.endpoints))).is_err() {
                tracing::error!("an endpoint panicked as it was told of a reload");
            }
        }
        core.rooms.renew_rules();
    }

    /// Whoever was told that a heartbeat comes so often would take a longer silence for our death.
    fn keep_interval(&mut self, interval: Duration) {
        let Shard { connections, core, .. } = self;
        let keys: Vec<Key> = connections.keys().collect();
        let mut somebody_had = false;
        for key in keys {
            let Some(slot) = connections.get_mut(key) else { continue };
            if slot.session.is(Flag::OwnHeartbeat) {
                somebody_had |= slot.session.is(Flag::KeepsInterval);
                slot.session.set(Flag::KeepsInterval, true);
            }
        }
        let kept = if somebody_had { core.kept_interval } else { Duration::MAX };
        core.kept_interval = kept.min(interval);
    }
}

impl<S> Core<S> {
    /// When one whose endpoint asks for life in its own way is next asked.
    pub(super) fn heartbeat_due(&self, session: &Session) -> Tick {
        match session.is(Flag::KeepsInterval) {
            true => self.quiet_until.min(Tick::after(self.now + self.kept_interval)),
            false => self.quiet_until,
        }
    }
}
