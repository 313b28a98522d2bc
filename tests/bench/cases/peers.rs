//! Programs of others, and the gateway on the same work.

use super::links::gateway;
use super::{Case, WINDOW, case};
use crate::gateway::Setup;
use crate::load::stream_lines;
use crate::peers::{self, Client};

/// A case, and what it is held against.
pub(super) const RATIOS: &[(&str, &str)] =
    &[("backlog-w100", "paho-c"), ("backlog-w100", "paho-python"), ("gateway-stream", "node-red")];

const STREAM: &str = "link = { type = \"tcp\", bind = ADDRESS }\n\
                      frame = { type = \"lines\" }\n\
                      decode = { type = \"json\", device = \"device\", seq = \"seq\" }";
const PEERS: u32 = 100_000;

/// Clients that publish, and a flow from lines to publishes.
pub(super) fn peers() -> Vec<Case> {
    let client = |name, what, client: Client| Case {
        missing: Box::new(move || client.missing()),
        ..case(name, what, move |plan| client.publish(plan, PEERS, WINDOW))
    };
    vec![
        client("paho-c", "publishes of paho's C client, window 100", Client::PahoC),
        client("paho-python", "publishes of paho's Python client, window 100", Client::PahoPython),
        case("gateway-stream", "JSON lines over TCP without replies → store → PUBACK", |plan| {
            gateway(plan, PEERS, &Setup::new(STREAM, WINDOW), |ledger, to| stream_lines(ledger, to))
        }),
        Case {
            missing: Box::new(peers::node_red_missing),
            ..case("node-red", "the same lines through a flow, kept in memory → PUBACK", |plan| {
                peers::node_red(plan, PEERS)
            })
        },
    ]
}
