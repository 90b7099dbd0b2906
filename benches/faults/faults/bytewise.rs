//! F6: honest clients that send byte by byte.

use std::time::Duration;

use crate::finding::Round;
use crate::load::cast::{Cast, Role};
use crate::rounds::{Fault, Title};
use crate::settings::{Size, set_flag};
use crate::stage::{PATIENCE, Stage};

const CAST: &str = "bytewise";
const EVERY_MS: u64 = 10;
/// Parts of a core that all of them may cost the server.
const CORES_MAX: f64 = 0.1;

pub struct Bytewise;

fn every_ms(size: &Size) -> u64 {
    if size.smoke { 1 } else { EVERY_MS }
}

impl Fault for Bytewise {
    fn title(&self) -> Title {
        Title::new("F6", "F6", "byte-by-byte senders, 1 B/10 ms")
    }

    fn done(&self, size: &Size) -> String {
        let count = size.share(1_000);
        format!(
            "{count} send their handshakes and messages to /echo in segments of one byte each {EVERY_MS} ms"
        )
    }

    fn window(&self, size: &Size) -> Duration {
        // A handshake has 160 bytes.
        size.window.max(Duration::from_millis(400 * every_ms(size)))
    }

    fn set_up(&self, size: &Size, setup: &mut crate::load::Setup) {
        if size.smoke {
            set_flag(&mut setup.flags, "--handshake-timeout", "60s");
        }
    }

    fn begin(&mut self, stage: &mut Stage<'_>) {
        let role = Role::Bytewise { every_ms: every_ms(stage.size) };
        stage.load.begin(&Cast::new(CAST, stage.size.share(1_000), role).apart());
    }

    fn end(&mut self, stage: &mut Stage<'_>, round: &Round) {
        stage.load.until("their messages come back", PATIENCE, |state| state.received(CAST) > 0);
        let echoed = stage.load.state.received(CAST);
        stage.bars.must("their messages come back", echoed > 0, echoed, "> 0");
        let cores = round.fault.server_cores - round.base.server_cores;
        stage.bars.at_most("CPU that they cost the server", cores, CORES_MAX, "cores");
        stage.leave(&[CAST]);
    }

    fn casts(&self) -> Vec<&'static str> {
        vec![CAST]
    }
}
