//! CoAP messaging (RFC 7252, RFC 8323) as state machines without socket, clock and random source.
//!
//! | Part | What it is |
//! |---|---|
//! | [`Message`] | a checked view of a datagram; [`Malformed`] says what is wrong with one |
//! | [`Request`], [`Response`] | what messages carry, owned, with all options as (number, value) |
//! | [`Target`], [`ETag`], [`content_format`] | conditions, validity and negotiation, as methods of requests and responses |
//! | [`Observers`], [`Observation`] | who observes what (RFC 7641), for a server and a client |
//! | [`link_format`] | what resources there are (RFC 6690) |
//! | [`directory`] | what resources others have (RFC 9176) |
//! | [`Endpoint`] | server and client in one: reliability, de-duplication, matching, limits |
//! | [`StreamEndpoint`] | the same over a connection (RFC 8323): framing, signalling, matching, limits |
//! | [`Request::count_hop`], [`NoResponse`], [`Response::retry_after`] | RFC 8768, RFC 7967, RFC 8516 |
//! | [`Node`] | the same for whole requests and responses: block-wise transfers (RFC 7959), observation, Echo (RFC 9175) |
//! | [`StreamNode`] | that over a connection, with BERT |
//!
//! Messages are read with a view of our own, because it is strict and costs no allocation, and
//! written by ourselves, because that is a copy: [`Options`] have the form that they have in a
//! message. `coap-lite` is the judge of both in tests. Options travel as a generic list, so that an extension can be built on top of the endpoint, as the node is: it adds its
//! critical options to [`EndpointConfig::request_options`] and finds them in [`Request::options`].
//!
//! Not here: multicast requests as a client (RFC 7252 §8.2), caching and proxying (§5.6, §5.7).

mod arena;
mod block;
mod check;
mod client;
mod code;
mod compact;
mod conditions;
mod config;
pub mod content_format;
mod dedup;
pub mod directory;
mod echo;
mod encode;
mod endpoint;
mod etag;
mod event;
#[cfg(test)]
mod golden;
mod hop_limit;
mod inline;
pub mod link_format;
mod location;
mod malformed;
mod message;
mod no_response;
mod node;
mod observe;
mod option;
mod options;
mod own_requests;
mod peers;
mod request;
mod response;
mod server;
mod stats;
mod tcp;
mod timers;
mod token;
mod transmission;
mod transport;

pub use block::{Block, BlockFault, BlockSize, Budget, DownloadFault, TransferConfig, UploadFault};
pub use client::{CallError, CallEvent, CallId};
pub use code::{Code, CodeKind, Method};
pub use conditions::Target;
pub use config::{EndpointConfig, MAX_RETRANSMIT_LIMIT, REQUEST_OPTIONS};
pub use echo::EchoConfig;
pub use encode::Prepared;
pub use endpoint::Endpoint;
pub use etag::ETag;
pub use event::{
    Delivery, Event, ExchangeId, FailReason, NotificationId, Output, RequestError, RequestId,
};
pub use malformed::{Fault, Malformed};
pub use message::{Message, MessageOptions, MessageType};
pub use no_response::NoResponse;
pub use node::{Node, NodeConfig, NodeEvent, NodeOutput};
pub use observe::{
    Due, Observation, ObserveConfig, Observers, Registration, ResourceId, SequenceNumber,
};
pub use option::{Definition, OptionNumber};
pub use options::Options;
pub use request::{Request, UriFault, check_segment};
pub use response::Response;
pub use server::{Ask, ServerConfig};
pub use stats::{ServerStats, Stats};
pub use tcp::{
    Capabilities, CloseReason, Release, StreamConfig, StreamEndpoint, StreamEvent, StreamFault,
    StreamNode, StreamNodeConfig, StreamNodeEvent, StreamNodeOutput, StreamOutput, StreamStats,
};
pub use token::Token;
