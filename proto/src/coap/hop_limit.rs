//! Hop-Limit: how many proxies a request may still pass (RFC 8768).

use super::{Code, OptionNumber, Request, Response};

/// What a proxy puts into a request without the option (RFC 8768 §3).
const INITIAL: u32 = 16;

impl Request {
    /// Counts a hop before the request is forwarded, or gives what to answer instead: 5.08 when it
    /// has gone round in circles, 4.00 for a limit that never was one (RFC 8768 §3).
    pub fn count_hop(&mut self) -> Result<(), Response> {
        let left = match self.options.first_uint(OptionNumber::HOP_LIMIT) {
            None => INITIAL,
            Some(0) => {
                let text = "a Hop-Limit is 1 to 255";
                return Err(Response::new(Code::BAD_REQUEST).diagnostic(text));
            }
            Some(1) => return Err(Response::new(Code::HOP_LIMIT_REACHED)),
            Some(limit) => limit - 1,
        };
        self.options.replace_uint(OptionNumber::HOP_LIMIT, left);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coap::Method;

    fn count(value: &[u8]) -> Result<Option<u32>, Code> {
        let mut request = Request::new(Method::Get).option(OptionNumber::HOP_LIMIT, value);
        request.count_hop().map_err(|response| response.code)?;
        Ok(request.options.first_uint(OptionNumber::HOP_LIMIT))
    }

    #[test]
    fn each_hop_counts_and_the_last_is_refused() {
        // RFC 8768 §3
        assert_eq!(count(&[255]), Ok(Some(254)));
        assert_eq!(count(&[2]), Ok(Some(1)));
        assert_eq!(count(&[1]), Err(Code::HOP_LIMIT_REACHED));
        assert_eq!(count(&[0]), Err(Code::BAD_REQUEST));
        assert_eq!(count(&[]), Err(Code::BAD_REQUEST));
    }

    #[test]
    fn a_request_without_a_limit_gets_16() {
        // RFC 8768 §3
        let mut request = Request::new(Method::Get);
        assert_eq!(request.count_hop(), Ok(()));
        assert_eq!(request.options.first(OptionNumber::HOP_LIMIT), Some(&[16][..]));
    }
}
