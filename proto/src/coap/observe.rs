//! Observing resources (RFC 7641): both ends without the messages.
//!
//! [`Observers`] is the server's list, [`Observation`] what a client knows of one. The messages
//! and their reliability are the [`Endpoint`](super::Endpoint)'s, where a notification is sent
//! with [`notify`](super::Endpoint::notify) and received as an
//! [`Event::Notification`](super::Event::Notification).

mod observation;
mod observers;
mod sequence;

pub use observation::Observation;
pub use observers::{Due, ObserveConfig, Observers, Registration, ResourceId};
pub use sequence::SequenceNumber;
