//! Reason codes (MQTT 5 §2.4), and what the broker says beside them.

use std::fmt;

/// The longest text of the broker that is kept.
const MAX_TEXT: usize = 256;

/// Codes that are treated in their own way.
pub(in crate::broker) mod code {
    pub(in crate::broker) const UNSUPPORTED_PROTOCOL_VERSION: u8 = 0x84;
    pub(in crate::broker) const CLIENT_IDENTIFIER_NOT_VALID: u8 = 0x85;
    pub(in crate::broker) const BAD_USER_NAME_OR_PASSWORD: u8 = 0x86;
    pub(in crate::broker) const NOT_AUTHORIZED: u8 = 0x87;
    pub(in crate::broker) const SERVER_UNAVAILABLE: u8 = 0x88;
    pub(in crate::broker) const SERVER_BUSY: u8 = 0x89;
    pub(in crate::broker) const TOPIC_FILTER_INVALID: u8 = 0x8f;
    pub(in crate::broker) const PACKET_IDENTIFIER_IN_USE: u8 = 0x91;
    pub(in crate::broker) const PACKET_TOO_LARGE: u8 = 0x95;
    pub(in crate::broker) const QUOTA_EXCEEDED: u8 = 0x97;
    pub(in crate::broker) const RETAIN_NOT_SUPPORTED: u8 = 0x9a;
    pub(in crate::broker) const QOS_NOT_SUPPORTED: u8 = 0x9b;
}

/// A reason code with what the broker says to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::broker) struct Reason {
    pub(in crate::broker) code: u8,
    /// Reason String, cut to a bearable length.
    pub(in crate::broker) text: Option<Box<str>>,
    /// Server Reference: another broker to use (MQTT 5 §4.13).
    pub(in crate::broker) server: Option<Box<str>>,
}

impl Reason {
    pub(in crate::broker) const fn of(code: u8) -> Self {
        Self { code, text: None, server: None }
    }

    /// MQTT 5 §2.4: codes below 0x80 are success.
    pub(in crate::broker) const fn is_success(&self) -> bool {
        self.code < 0x80
    }

    /// The code's standard name as one word.
    pub(in crate::broker) const fn name(&self) -> &'static str {
        name(self.code)
    }

    /// A text of the broker as it is kept.
    pub(super) fn keep(text: &str) -> Box<str> {
        match text.char_indices().nth(MAX_TEXT) {
            Some((end, _)) => text.get(..end).unwrap_or_default().into(),
            None => text.into(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:#04x})", self.name().replace('_', " "), self.code)?;
        if let Some(text) = &self.text {
            write!(f, ": {text:?}")?;
        }
        if let Some(server) = &self.server {
            write!(f, "; the broker says to use {server:?}")?;
        }
        Ok(())
    }
}

/// The names of MQTT 5 §2.4.
const fn name(code: u8) -> &'static str {
    match code {
        0x00 => "success",
        0x04 => "disconnect_with_will_message",
        0x10 => "no_matching_subscribers",
        0x80 => "unspecified_error",
        0x81 => "malformed_packet",
        0x82 => "protocol_error",
        0x83 => "implementation_specific_error",
        0x84 => "unsupported_protocol_version",
        0x85 => "client_identifier_not_valid",
        0x86 => "bad_user_name_or_password",
        0x87 => "not_authorized",
        0x88 => "server_unavailable",
        0x89 => "server_busy",
        0x8a => "banned",
        0x8b => "server_shutting_down",
        0x8c => "bad_authentication_method",
        0x8d => "keep_alive_timeout",
        0x8e => "session_taken_over",
        0x8f => "topic_filter_invalid",
        0x90 => "topic_name_invalid",
        0x91 => "packet_identifier_in_use",
        0x92 => "packet_identifier_not_found",
        0x93 => "receive_maximum_exceeded",
        0x94 => "topic_alias_invalid",
        0x95 => "packet_too_large",
        0x96 => "message_rate_too_high",
        0x97 => "quota_exceeded",
        0x98 => "administrative_action",
        0x99 => "payload_format_invalid",
        0x9a => "retain_not_supported",
        0x9b => "qos_not_supported",
        0x9c => "use_another_server",
        0x9d => "server_moved",
        0x9e => "shared_subscriptions_not_supported",
        0x9f => "connection_rate_exceeded",
        0xa0 => "maximum_connect_time",
        0xa1 => "subscription_identifiers_not_supported",
        0xa2 => "wildcard_subscriptions_not_supported",
        _ => "unknown_reason",
    }
}
