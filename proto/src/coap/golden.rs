//! Messages of the RFCs, byte for byte, for tests.

/// RFC 7252 appendix A, figure 16: GET /temperature.
pub(super) const GET: &[u8] = b"\x40\x01\x7d\x34\xbbtemperature";
/// RFC 7252 appendix A, figure 16: its piggybacked response.
pub(super) const GET_RESPONSE: &[u8] = b"\x60\x45\x7d\x34\xff22.3 C";
/// RFC 7252 appendix A, figure 17: the same with a token.
pub(super) const TOKEN_GET: &[u8] = b"\x41\x01\x7d\x35\x20\xbbtemperature";
/// RFC 7252 appendix A, figure 17.
pub(super) const TOKEN_GET_RESPONSE: &[u8] = b"\x61\x45\x7d\x35\x20\xff22.3 C";
/// RFC 7252 appendix A, figure 20: a request that is answered separately.
pub(super) const SLOW_GET: &[u8] = b"\x41\x01\x7d\x38\x53\xbbtemperature";
/// RFC 7252 appendix A, figure 20: its empty Acknowledgement.
pub(super) const SLOW_GET_ACK: &[u8] = b"\x60\x00\x7d\x38";
/// RFC 7252 appendix A, figure 20: its separate response.
pub(super) const SEPARATE_RESPONSE: &[u8] = b"\x41\x45\xad\x7b\x53\xff22.3 C";
/// RFC 7252 appendix A, figure 20: the Acknowledgement of the response.
pub(super) const SEPARATE_RESPONSE_ACK: &[u8] = b"\x60\x00\xad\x7b";
/// RFC 7252 appendix A, figure 21: a response that comes unexpected.
pub(super) const UNEXPECTED_RESPONSE: &[u8] = b"\x41\x45\xad\x7c\x64\xff22.3 C";
/// RFC 7252 appendix A, figure 21: what the client says to it.
pub(super) const UNEXPECTED_RESPONSE_RESET: &[u8] = b"\x70\x00\xad\x7c";
/// RFC 7252 appendix A, figure 22: a Non-confirmable request.
pub(super) const NON_GET: &[u8] = b"\x51\x01\x7d\x40\x75\xbbtemperature";
/// RFC 7252 appendix A, figure 22: its response, in a message of its own.
pub(super) const NON_GET_RESPONSE: &[u8] = b"\x51\x45\xad\x7d\x75\xff22.3 C";
/// RFC 7252 appendix A, figure 23: GET /temperature of a group.
pub(super) const GROUP_GET: &[u8] = b"\x51\x01\x7d\x41\x86\xbbtemperature";
/// RFC 7252 §4.3: the "CoAP ping".
pub(super) const PING: &[u8] = b"\x40\x00\x12\x34";
/// GET coap://example.net/.well-known/core of RFC 7252 appendix B, with the query of RFC 6690
/// §5: Uri-Host, two Uri-Path, Uri-Query.
pub(super) const DISCOVERY: &[u8] =
    b"\x44\x01\x00\x01\xca\xfe\xba\xbe\x3bexample.net\x8b.well-known\x04core\x4d\x03rt=temperature-c";
/// PUT with all forms of delta and length of RFC 7252 §3.1: a length of 13 + 7, a delta of 13 + 48
/// (Size1 is 60) and one of 269 + 1719 (2048 is reserved for vendors, §12.2).
pub(super) const EXTENDED: &[u8] = b"\x48\x03\xff\xff\x01\x02\x03\x04\x05\x06\x07\x08\
    \xbd\x07twenty-bytes-segment\x11\x32\xd1\x23\x02\xe2\x06\xb7\xff\xff\xff{}";

/// What parsers of CoAP have read beyond its end, wrapped around at or looped over: options and
/// payload of a message (RFC 7252 §3.1), none of which is well-formed.
pub(super) const BROKEN: &[(&str, &[u8])] = &[
    ("an extended delta beyond the end", b"\xd0"),
    ("half of a long delta", b"\xe0\x00"),
    ("an extended length beyond the end", b"\x0d"),
    ("half of a long length", b"\xbe\x00"),
    ("both extended, and only one there", b"\xdd\x00"),
    ("the longest length and nothing there", b"\xbe\xff\xff"),
    ("the longest length and delta", b"\xee\xff\xff\xff\xff"),
    ("a value one byte short", b"\xb2a"),
    ("a value that takes the marker along", b"\xb3a\xffb\xb9"),
    ("a number that wraps at once", b"\xe0\xff\xff"),
    ("a number that wraps by one", b"\xe0\xfe\xf2\x10"),
    ("a number that wraps in steps", b"\xe0\x80\x00\xe0\x80\x00"),
    ("the reserved delta", b"\xf1a"),
    ("the reserved length", b"\x1f"),
    ("a marker without payload", b"\xb1a\xff"),
];

/// All of them, with a name for a failing test.
pub(super) const ALL: &[(&str, &[u8])] = &[
    ("GET", GET),
    ("GET_RESPONSE", GET_RESPONSE),
    ("TOKEN_GET", TOKEN_GET),
    ("TOKEN_GET_RESPONSE", TOKEN_GET_RESPONSE),
    ("SLOW_GET", SLOW_GET),
    ("SLOW_GET_ACK", SLOW_GET_ACK),
    ("SEPARATE_RESPONSE", SEPARATE_RESPONSE),
    ("SEPARATE_RESPONSE_ACK", SEPARATE_RESPONSE_ACK),
    ("UNEXPECTED_RESPONSE", UNEXPECTED_RESPONSE),
    ("UNEXPECTED_RESPONSE_RESET", UNEXPECTED_RESPONSE_RESET),
    ("NON_GET", NON_GET),
    ("NON_GET_RESPONSE", NON_GET_RESPONSE),
    ("GROUP_GET", GROUP_GET),
    ("PING", PING),
    ("DISCOVERY", DISCOVERY),
    ("EXTENDED", EXTENDED),
];
