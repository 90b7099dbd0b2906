//! `/metrics`: what the shards, the acceptor and the process count, in the text formats of Prometheus.
//!
//! Every number is of the end of a turn that came after the request: the shards are asked for it first.

mod families;
mod page;
mod process;

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::registry::Registry;

use super::probes::PATIENCE;
use crate::endpoint::http::Answer;
use crate::endpoint::{Asked, DynamicResource, RouterPlan};
use crate::protocol::Refusal;
use crate::server::View;
use process::Process;

/// What the names of our own metrics begin with.
const PREFIX: &str = "fanfare";
/// The format that scrapers ask for by name; everybody else gets the older one.
const OPEN_METRICS: &str = "application/openmetrics-text";
const OPEN_METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Adds the path.
pub fn add(plan: &mut RouterPlan, view: &View) {
    let process = Arc::new(Process::start(view));
    let mut registry = Registry::default();
    registry.register_collector(Box::new(OfProcess(Arc::clone(&process))));
    let own = registry.sub_registry_with_prefix(PREFIX);
    own.register_collector(Box::new(OfServer { view: view.clone(), process }));
    let view = view.clone();
    plan.add_dynamic(
        "/metrics",
        DynamicResource::new(move |asked| {
            view.ask_shards(PATIENCE);
            let mut page = String::new();
            let (content_type, encoded) = if wants_open_metrics(asked) {
                (OPEN_METRICS_TYPE, text::encode(&mut page, &registry))
            } else {
                (prometheus_text::CONTENT_TYPE, prometheus_text::encode(&mut page, &registry))
            };
            match encoded {
                Ok(()) => Ok(Answer::new(content_type, page.into_bytes())),
                Err(error) => Err(Refusal::new(500, format!("the metrics cannot be written: {error}"))),
            }
        }),
    );
}

fn wants_open_metrics(asked: &Asked<'_>) -> bool {
    let accept = asked.header("Accept").and_then(|value| str::from_utf8(value).ok());
    accept.is_some_and(|accept| accept.contains(OPEN_METRICS))
}

/// The metrics of this server.
#[derive(Debug)]
struct OfServer {
    view: View,
    process: Arc<Process>,
}

impl Collector for OfServer {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        families::encode(&mut page::Page::new(encoder, &self.view), &self.process)
    }
}

/// The metrics that every process has, under the names that all of them have.
#[derive(Debug)]
struct OfProcess(Arc<Process>);

impl Collector for OfProcess {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.encode(&mut encoder)
    }
}
