//! Other settings in the middle of the storm. No limit is ever above the plan's, so that what the oracle holds the
//! server to stands.

use std::time::Duration;

use fanfare::config::Config;

use crate::chance::Chance;
use crate::plan::draw_config;
use crate::trace::NOBODY;
use crate::world::World;

impl World {
    /// Goes on with settings that are drawn anew.
    pub fn some_reload(&mut self) {
        let config = variant(&self.plan.config, &mut self.chance);
        self.reload(&config);
        self.reloaded = true;
        *self.truth.met.entry(RELOAD).or_default() += 1;
    }

    /// Goes back to those of the plan.
    pub fn end_reloads(&mut self) {
        if std::mem::take(&mut self.reloaded) {
            let config = self.plan.config.clone();
            self.reload(&config);
        }
    }

    fn reload(&mut self, config: &Config) {
        self.trace.borrow_mut().note(NOBODY, "reload", config.ping_interval.as_millis() as u64);
        let settings = self.plan.settings(config);
        self.server.reload_with(config, settings, self.plan.mailbox_bytes);
        if let Some(gate) = &mut self.gate {
            gate.reload(config.acceptor_settings(config.max_connections.unwrap_or(usize::MAX)));
        }
    }
}

/// What one is counted as.
pub const RELOAD: &str = "a reload";

/// A configuration that a plan could have, but for what clients expect by the plan, and limits above it. (With a
/// longer age what was refused as too old can be held again.)
fn variant(plan: &Config, chance: &mut Chance) -> Config {
    let other = draw_config(chance);
    let exempt = ["none", "127.0.0.0/8", "10.0.0.0/8"];
    Config {
        max_memberships: plan.max_memberships.min(other.max_memberships),
        max_connections: plan.max_connections.min(other.max_connections),
        connections_per_address: plan.connections_per_address.min(other.connections_per_address),
        handshakes_per_address: other.handshakes_per_address,
        exempt_network: vec![chance.pick(&exempt).parse().expect("a network")],
        handshake_timeout: other.handshake_timeout,
        http_idle_timeout: other.http_idle_timeout,
        message_timeout: other.message_timeout,
        ping_interval: other.ping_interval,
        pong_timeout: other.pong_timeout,
        close_timeout: plan.close_timeout.min(other.close_timeout),
        write_timeout: plan.write_timeout.min(other.write_timeout),
        presence_grace: if chance.one_in(8) { Duration::ZERO } else { other.presence_grace },
        presence_members: plan.presence_members.min(other.presence_members),
        history_bytes: plan.history_bytes.min(other.history_bytes),
        history_messages: plan.history_messages.min(other.history_messages),
        command_rate: other.command_rate,
        message_rate: other.message_rate,
        byte_rate: other.byte_rate,
        ping_rate: other.ping_rate,
        rate_grace: other.rate_grace,
        queue_bytes: plan.queue_bytes.min(other.queue_bytes),
        reply_bytes: plan.reply_bytes.min(other.reply_bytes),
        linger_bytes: other.linger_bytes,
        ..plan.clone()
    }
}
