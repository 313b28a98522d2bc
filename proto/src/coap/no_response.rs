//! No-Response: what a client does not want to hear (RFC 7967).

use super::{Code, OptionNumber, Request};

/// The classes of responses that a client is not interested in.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NoResponse(u32);

impl NoResponse {
    /// Not interested in 2.xx (RFC 7967 §2.1).
    pub const SUCCESS: u32 = 2;
    /// Not interested in 4.xx.
    pub const CLIENT_ERROR: u32 = 8;
    /// Not interested in 5.xx.
    pub const SERVER_ERROR: u32 = 16;

    /// What the option of a request says; without it a client is interested in everything.
    pub fn of(request: &Request) -> Self {
        Self(request.options.first_uint(OptionNumber::NO_RESPONSE).unwrap_or(0))
    }

    /// Whether a response with this code is to be left out.
    pub const fn covers(self, code: Code) -> bool {
        match code.class() {
            0 => false,
            class => self.0 >> (class - 1) & 1 == 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coap::Method;

    #[test]
    fn each_bit_is_a_class() {
        // RFC 7967 §2.1, table 2
        let covered = |value: &[u8]| {
            let request = Request::new(Method::Put).option(OptionNumber::NO_RESPONSE, value);
            [Code::CHANGED, Code::NOT_FOUND, Code::SERVICE_UNAVAILABLE]
                .map(|code| NoResponse::of(&request).covers(code))
        };
        assert_eq!(covered(&[]), [false; 3], "interested in all");
        assert_eq!(covered(&[2]), [true, false, false]);
        assert_eq!(covered(&[8]), [false, true, false]);
        assert_eq!(covered(&[16]), [false, false, true]);
        assert_eq!(covered(&[26]), [true; 3]);
    }

    #[test]
    fn without_the_option_everything_is_sent() {
        let none = NoResponse::of(&Request::new(Method::Put));
        assert!((0..=255).all(|byte| !none.covers(Code::from_byte(byte))));
    }
}
