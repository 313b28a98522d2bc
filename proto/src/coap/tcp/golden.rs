//! Messages of RFC 8323, byte for byte, and others that follow its rules, for tests.

/// RFC 8323 §3.2: a 2.03 with the token 7f, without options and payload.
pub(super) const VALID: &[u8] = b"\x01\x43\x7f";
/// RFC 8323 §5.7: a Ping with the token 42.
pub(super) const PING: &[u8] = b"\x01\xe2\x42";
/// RFC 8323 §5.7: its Pong.
pub(super) const PONG: &[u8] = b"\x01\xe3\x42";
/// A CSM without options: base values (RFC 8323 §5.3).
pub(super) const CSM: &[u8] = b"\x00\xe1";
/// What aiocoap 0.4.12 sends first: Max-Message-Size 1 MiB, Block-Wise-Transfer.
pub(super) const AIOCOAP_CSM: &[u8] = b"\x50\xe1\x23\x10\x00\x00\x20";
/// What libcoap 4.3.1 sends first: Max-Message-Size 8 MiB + 256, Block-Wise-Transfer.
pub(super) const LIBCOAP_CSM: &[u8] = b"\x50\xe1\x23\x80\x01\x00\x20";
/// GET /temperature of RFC 7252 appendix A, figure 17, as RFC 8323 §3.2 frames it.
pub(super) const GET: &[u8] = b"\xc1\x01\x20\xbbtemperature";
/// Its response.
pub(super) const GET_RESPONSE: &[u8] = b"\x71\x45\x20\xff22.3 C";
/// A POST whose length takes one more byte (RFC 8323 §3.2): 13 + 5.
pub(super) const POST: &[u8] = b"\xd2\x05\x02\xca\xfe\xb1r\x11\x32\xff{\"temp\":21.5}";
/// A Ping that wants to know when everything before it is done (RFC 8323 §5.4.1).
pub(super) const CUSTODY_PING: &[u8] = b"\x11\xe2\x43\x20";
/// A Release with an Alternative-Address and a Hold-Off of 60 s (RFC 8323 §5.5).
pub(super) const RELEASE: &[u8] = b"\xd0\x05\xe4\x2bexample.org\x21\x3c\xffbye";
/// An Abort with Bad-CSM-Option 1 and a diagnostic payload (RFC 8323 §5.6).
pub(super) const ABORT: &[u8] = b"\x60\xe5\x21\x01\xffwhy";
/// An Empty message (RFC 8323 §3.4).
pub(super) const EMPTY: &[u8] = b"\x00\x00";

/// All of them, with a name for a failing test.
pub(super) const ALL: &[(&str, &[u8])] = &[
    ("VALID", VALID),
    ("PING", PING),
    ("PONG", PONG),
    ("CSM", CSM),
    ("AIOCOAP_CSM", AIOCOAP_CSM),
    ("LIBCOAP_CSM", LIBCOAP_CSM),
    ("GET", GET),
    ("GET_RESPONSE", GET_RESPONSE),
    ("POST", POST),
    ("CUSTODY_PING", CUSTODY_PING),
    ("RELEASE", RELEASE),
    ("ABORT", ABORT),
    ("EMPTY", EMPTY),
];
