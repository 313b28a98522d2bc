//! Responses, as a server writes them.

use alloc::vec;
use alloc::vec::Vec;

use super::request::{packed, put_counted};
use super::{Exception, Request};

/// What a server answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// To a read of coils or discrete inputs: as many as were asked for.
    Bits(Vec<bool>),
    /// To a read of registers: as many as were asked for.
    Registers(Vec<u16>),
    /// To a write that was done.
    Written,
    /// To a request that was not done.
    Exception(Exception),
}

impl Response {
    /// The protocol data unit that answers `request`.
    #[must_use]
    pub fn encode(&self, request: &Request) -> Vec<u8> {
        let function = request.function();
        let counted = |bytes: &[u8]| {
            let mut pdu = vec![function];
            put_counted(&mut pdu, bytes);
            pdu
        };
        match self {
            Self::Bits(bits) => counted(&packed(bits)),
            Self::Registers(values) => {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
                counted(&bytes)
            }
            Self::Written => {
                let mut pdu = request.encode().unwrap_or_default();
                pdu.truncate(request.response_len());
                pdu
            }
            Self::Exception(exception) => exception.encode(function),
        }
    }
}
