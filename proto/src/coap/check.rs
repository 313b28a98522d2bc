//! What a server checks of a request before anybody looks at it, whatever it travelled in.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::{Code, MessageOptions, Method, OptionNumber, Options, Request, Response};

/// Why a request does not reach the caller.
pub(super) struct Refusal {
    /// What to answer instead.
    pub(super) response: Response,
    /// Whether a Non-confirmable request is rejected in silence (RFC 7252 §5.4.1).
    pub(super) silent_if_non_confirmable: bool,
}

/// Turns a message into a request, or says what to answer instead; `recognised` are the critical
/// options that the caller handles.
pub(super) fn check_request(
    code: Code,
    options: MessageOptions<'_>,
    payload: &[u8],
    confirmable: bool,
    recognised: &[OptionNumber],
) -> Result<Request, Refusal> {
    let refusal = |code, text: &str| Refusal {
        response: Response::new(code).diagnostic(text),
        silent_if_non_confirmable: false,
    };
    let Some(method) = Method::from_code(code) else {
        return Err(refusal(Code::METHOD_NOT_ALLOWED, "unknown method"));
    };
    let options = Options::recognise(options, recognised).map_err(|unrecognised| Refusal {
        silent_if_non_confirmable: true,
        ..refusal(Code::BAD_OPTION, &unrecognised.to_string())
    })?;
    // RFC 7252 §5.10.2
    if options.first(OptionNumber::PROXY_URI).is_some()
        || options.first(OptionNumber::PROXY_SCHEME).is_some()
    {
        return Err(refusal(Code::PROXYING_NOT_SUPPORTED, "this is not a proxy"));
    }
    let request = Request { method, options, payload: Vec::new(), confirmable };
    request.check_uri().map_err(|fault| refusal(Code::BAD_REQUEST, &fault.to_string()))?;
    Ok(Request { payload: payload.to_vec(), ..request })
}
