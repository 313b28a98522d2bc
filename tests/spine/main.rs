//! From the wire to the broker: the built gateway between real devices' tools and Mosquitto.
//!
//! Needs Debian's mosquitto, mosquitto-clients, libcoap3-bin and socat, and aiocoap and
//! pymodbus as `tests/setup` installs them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod clock;
mod coap;
mod coap_directory;
mod coap_discovery;
mod coap_poll;
mod coap_resources;
mod coap_tcp;
mod coap_uploads;
mod commanded;
mod decoders;
mod faulty;
mod frames;
#[path = "../harness.rs"]
mod harness;
mod links;
mod modbus;
mod mqtt5;
mod publishing;
mod pubsub;
mod serial;
mod simulated;
mod sockets;
