//! The link that asks CoAP nodes for their readings.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::values::{
    self, ByteSize, Id, Interval, LinkFilter, NamedFile, NodeUrl, ResourcePath,
};
use crate::pipeline::Pattern;

/// CoAP nodes that are asked.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct CoapPollLink {
    /// Nodes by the name of their device: `coap://host`, and `:port` where it is not 5683.
    #[serde(default)]
    pub(crate) nodes: BTreeMap<Id, NodeUrl>,
    /// A file with more nodes, a name and an address on each line. It is looked at again every 10 s;
    /// what has changed in it applies at once.
    #[serde(default)]
    pub(crate) node_list: Option<NamedFile>,
    /// The nodes of that file.
    #[serde(skip)]
    pub(crate) listed: Vec<ListedNode>,
    /// What nodes are asked for, by names of your choice.
    pub(crate) resources: BTreeMap<Id, PollResource>,
    /// How often a resource is read that has no `interval` of its own: 1s to 8760h.
    #[serde(default = "default_interval", deserialize_with = "values::span::<_, 1, 31_536_000>")]
    pub(crate) interval: Interval,
    /// Longest pause before a node that does not answer is asked again: 10s to 24h.
    #[serde(default = "default_max_backoff", deserialize_with = "values::span::<_, 10, 86_400>")]
    pub(crate) max_backoff: Interval,
    /// Largest representation to fetch, 1KiB to 1MiB; a larger one is given up and counted.
    #[serde(default = "default_max_body", deserialize_with = "values::size::<_, 1024, 0x10_0000>")]
    pub(crate) max_body: ByteSize,
    /// Whether a node may name the device of a reading: by SenML's base name, or `device` in JSON.
    /// Otherwise readings are always those of the node that was asked.
    #[serde(default)]
    pub(crate) own_names: bool,
}

/// A resource of nodes, or several that are found by their links.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct PollResource {
    /// Path of the resource, and its query: `/sensors/temp?unit=c`. Either this or `discover`.
    #[serde(default)]
    pub(crate) path: Option<ResourcePath>,
    /// What the links in a node's `/.well-known/core` must have, so that the resources behind them
    /// are asked for: `rt`, `if`, `ct`, `href` or any other attribute, with `*` at the end for any
    /// rest. Each of these must hold.
    #[serde(default, deserialize_with = "values::filters")]
    #[schemars(length(min = 1))]
    pub(crate) discover: Option<Vec<LinkFilter>>,
    /// How often it is read: 1s to 8760h; the `interval` of the link where there is none.
    #[serde(default, deserialize_with = "values::span_option::<_, 1, 31_536_000>")]
    pub(crate) interval: Option<Interval>,
    /// Whether it is observed (RFC 7641): the node says by itself when it has changed. Where the node
    /// cannot, it is read at each `interval`.
    #[serde(default)]
    pub(crate) observe: bool,
    /// The format to ask for; the node chooses where there is none.
    #[serde(default)]
    pub(crate) accept: Option<Accept>,
    /// Name of the reading where the payload does not name it; the path where there is none.
    #[serde(default, deserialize_with = "values::filled_option")]
    #[schemars(length(min = 1))]
    pub(crate) name: Option<String>,
    /// Unit of a plain value, such as `Cel`.
    #[serde(default, deserialize_with = "values::filled_option")]
    #[schemars(length(min = 1))]
    pub(crate) unit: Option<String>,
    /// Nodes that have it, by name; `*` and `?` stand for any characters and any one.
    #[serde(default)]
    pub(crate) nodes: Pattern,
}

/// A Content-Format to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(crate) enum Accept {
    /// text/plain (0): one value.
    #[serde(rename = "text")]
    Text,
    /// application/octet-stream (42): bytes.
    #[serde(rename = "octet-stream")]
    OctetStream,
    /// application/json (50): an object or one value.
    #[serde(rename = "json")]
    Json,
    /// application/senml+json (110).
    #[serde(rename = "senml+json")]
    SenmlJson,
    /// application/senml+cbor (112).
    #[serde(rename = "senml+cbor")]
    SenmlCbor,
}

/// A node of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedNode {
    /// The name of its device.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) url: NodeUrl,
}

impl CoapPollLink {
    /// The nodes of the configuration and of its list.
    pub(crate) fn all_nodes(&self) -> impl Iterator<Item = (&str, &NodeUrl)> {
        let named = self.nodes.iter().map(|(name, url)| (name.as_str(), url));
        named.chain(self.listed.iter().map(|node| (node.name.as_str(), &node.url)))
    }
}

const fn default_interval() -> Interval {
    Interval::seconds(60)
}

const fn default_max_backoff() -> Interval {
    Interval::seconds(600)
}

const fn default_max_body() -> ByteSize {
    ByteSize::kib(64)
}
