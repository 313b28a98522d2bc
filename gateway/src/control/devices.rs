//! The devices of a gateway: those that were heard of last, and those that have registered.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use proto::Instant;
use serde::Serialize;

use super::commands::OperationLine;
use super::{Answer, AnswerError, End};
use crate::clock;
use crate::commands::CommandsHandle;
use crate::nodes::Node;
use crate::pipeline::rfc3339_text;
use crate::source::Heard;
use crate::status::Status;

/// A device, as `gateway devices --json` prints it.
#[derive(Serialize)]
struct DeviceLine<'a> {
    name: &'a str,
    source: &'a str,
    /// Where it is registered, else where its last message came from.
    address: &'a str,
    /// When its last readings came; none where there were none yet.
    last_heard: Option<String>,
    /// Readings since the start of the gateway, or since it was forgotten in between.
    readings: u64,
    /// Its registrations: one for each sector.
    registrations: Vec<RegistrationLine<'a>>,
    /// What may be done with it.
    operations: Vec<OperationLine>,
}

/// A registration in a resource directory (RFC 9176).
#[derive(Serialize)]
struct RegistrationLine<'a> {
    location: &'a str,
    base: &'a str,
    /// The socket of that, where it names an address; with its link where that is link-local.
    address: Option<SocketAddr>,
    sector: Option<&'a str>,
    registered_seconds: u64,
    expires_seconds: u64,
    /// As links (RFC 6690).
    resources: Vec<String>,
}

/// All of them, by source and name.
pub(super) async fn list(answer: &mut Answer, status: &Status) -> Result<End, AnswerError> {
    let mut devices: BTreeMap<(String, String), (Option<Heard>, Vec<Node>)> = BTreeMap::new();
    for (source, of_source) in &status.sources {
        for (name, heard) in of_source.heard() {
            devices.entry((source.to_string(), name)).or_default().0 = Some(heard);
        }
    }
    // Those that an operation names are there before they were heard of.
    for (source, name) in status.commands.iter().flat_map(CommandsHandle::named_devices) {
        devices.entry((source, name)).or_default();
    }
    for node in status.nodes.registered() {
        let key = (node.source.to_string(), node.name.clone());
        devices.entry(key).or_default().1.push(node);
    }
    let now = clock::now();
    for ((source, name), (heard, nodes)) in &devices {
        let registered = nodes.first().map(|node| node.base.as_str());
        let address = registered.or(heard.as_ref().map(|heard| heard.address.as_str()));
        answer.line(&DeviceLine {
            name,
            source,
            address: address.unwrap_or_default(),
            last_heard: heard.as_ref().map(|heard| rfc3339_text(heard.last)),
            readings: heard.as_ref().map_or(0, |heard| heard.readings),
            registrations: nodes.iter().map(|node| RegistrationLine::of(node, now)).collect(),
            operations: OperationLine::of(status.commands.as_ref(), source, name),
        })?;
        answer.send_if_much().await?;
    }
    Ok(End::Complete)
}

impl<'a> RegistrationLine<'a> {
    fn of(node: &'a Node, now: Instant) -> Self {
        Self {
            location: &node.location,
            base: &node.base,
            address: node.address,
            sector: node.sector.as_deref(),
            registered_seconds: now.saturating_since(node.registered).as_secs(),
            expires_seconds: node.expires.saturating_since(now).as_secs(),
            resources: node.links.iter().map(ToString::to_string).collect(),
        }
    }
}
