//! Reason codes (MQTT 5 §2.4).

use std::fmt;
use std::str::FromStr;

macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident = $code:literal $name:literal,)*) => {
        /// Why something was done or not done. MQTT 3.1.1 knows only the five of its CONNACK; over
        /// that version the others are told as the nearest of those, or by closing the connection.
        ///
        /// Written as its name or as its number: `quota-exceeded`, `0x97`, `151`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[$doc])* $reason = $code,)*
        }

        impl Reason {
            /// Every reason code of the specification.
            pub const ALL: &[Self] = &[$(Self::$reason,)*];

            /// Its name in lower case.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$reason => $name,)*
                }
            }

            /// The reason with that number.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$reason),)*
                    _ => None,
                }
            }
        }
    };
}

reasons! {
    /// Also normal disconnection, and granted QoS 0.
    Success = 0x00 "success",
    /// A subscription was granted at QoS 1.
    GrantedQos1 = 0x01 "granted-qos-1",
    /// A subscription was granted at QoS 2.
    GrantedQos2 = 0x02 "granted-qos-2",
    /// The client goes and wants its will to be published.
    DisconnectWithWill = 0x04 "disconnect-with-will",
    /// The message was accepted, but nobody is subscribed to it.
    NoMatchingSubscribers = 0x10 "no-matching-subscribers",
    /// There was nothing to unsubscribe from.
    NoSubscriptionExisted = 0x11 "no-subscription-existed",
    /// None of the others.
    UnspecifiedError = 0x80 "unspecified-error",
    /// The packet cannot be parsed.
    MalformedPacket = 0x81 "malformed-packet",
    /// The packet breaks a rule.
    ProtocolError = 0x82 "protocol-error",
    /// The packet is valid and not accepted by this implementation.
    ImplementationSpecificError = 0x83 "implementation-specific-error",
    /// Code 1 of MQTT 3.1.1.
    UnsupportedProtocolVersion = 0x84 "unsupported-protocol-version",
    /// Code 2 of MQTT 3.1.1.
    ClientIdentifierNotValid = 0x85 "client-identifier-not-valid",
    /// Code 4 of MQTT 3.1.1.
    BadUserNameOrPassword = 0x86 "bad-user-name-or-password",
    /// Code 5 of MQTT 3.1.1.
    NotAuthorized = 0x87 "not-authorized",
    /// Code 3 of MQTT 3.1.1.
    ServerUnavailable = 0x88 "server-unavailable",
    /// Try again later.
    ServerBusy = 0x89 "server-busy",
    /// This client is not let in any more.
    Banned = 0x8a "banned",
    /// The server ends.
    ServerShuttingDown = 0x8b "server-shutting-down",
    /// The authentication method is not supported.
    BadAuthenticationMethod = 0x8c "bad-authentication-method",
    /// The client was silent for too long.
    KeepAliveTimeout = 0x8d "keep-alive-timeout",
    /// Another connection uses the client id.
    SessionTakenOver = 0x8e "session-taken-over",
    /// The topic filter is not accepted.
    TopicFilterInvalid = 0x8f "topic-filter-invalid",
    /// The topic name is not accepted.
    TopicNameInvalid = 0x90 "topic-name-invalid",
    /// The packet identifier is in use.
    PacketIdentifierInUse = 0x91 "packet-identifier-in-use",
    /// The packet identifier is not known: the sessions differ.
    PacketIdentifierNotFound = 0x92 "packet-identifier-not-found",
    /// More unacknowledged publishes than the Receive Maximum.
    ReceiveMaximumExceeded = 0x93 "receive-maximum-exceeded",
    /// The topic alias is zero, too high or unknown.
    TopicAliasInvalid = 0x94 "topic-alias-invalid",
    /// The packet is longer than the Maximum Packet Size.
    PacketTooLarge = 0x95 "packet-too-large",
    /// Too much in too short a time.
    MessageRateTooHigh = 0x96 "message-rate-too-high",
    /// A limit was exceeded.
    QuotaExceeded = 0x97 "quota-exceeded",
    /// An operator did it.
    AdministrativeAction = 0x98 "administrative-action",
    /// The payload is not in the format that it claims.
    PayloadFormatInvalid = 0x99 "payload-format-invalid",
    /// The server retains nothing.
    RetainNotSupported = 0x9a "retain-not-supported",
    /// The QoS is above the Maximum QoS.
    QosNotSupported = 0x9b "qos-not-supported",
    /// Use another server for now.
    UseAnotherServer = 0x9c "use-another-server",
    /// Use another server from now on.
    ServerMoved = 0x9d "server-moved",
    /// There are no shared subscriptions here.
    SharedSubscriptionsNotSupported = 0x9e "shared-subscriptions-not-supported",
    /// Too many connections in too short a time.
    ConnectionRateExceeded = 0x9f "connection-rate-exceeded",
    /// The connection has lasted long enough.
    MaximumConnectTime = 0xa0 "maximum-connect-time",
    /// There are no subscription identifiers here.
    SubscriptionIdentifiersNotSupported = 0xa1 "subscription-identifiers-not-supported",
    /// There are no wildcards here.
    WildcardSubscriptionsNotSupported = 0xa2 "wildcard-subscriptions-not-supported",
}

impl Reason {
    /// Its number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Whether it says that something failed (§2.4: 0x80 and above).
    pub const fn is_error(self) -> bool {
        self.code() >= 0x80
    }

    /// The return code of CONNACK in MQTT 3.1.1 that says most nearly the same (§3.2.2.3).
    pub(super) const fn connect_return_code(self) -> u8 {
        match self.code() {
            0x84 => 1,
            0x85 => 2,
            0x86 => 4,
            0x87 | 0x8a | 0x8c => 5,
            code if code >= 0x80 => 3,
            _ => 0,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No reason has that name or number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no reason; write a name like quota-exceeded or a number like 0x97 (MQTT 5 §2.4)")]
pub struct UnknownReason(String);

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        let code = match text.strip_prefix("0x") {
            Some(digits) => u8::from_str_radix(digits, 16),
            None => text.parse(),
        };
        let known = match code {
            Ok(code) => Self::from_code(code),
            Err(_) => Self::ALL.iter().copied().find(|reason| reason.name() == text),
        };
        known.ok_or_else(|| UnknownReason(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_found_by_its_name_and_its_number() {
        for &reason in Reason::ALL {
            assert_eq!(reason.name().parse(), Ok(reason));
            assert_eq!(reason.code().to_string().parse(), Ok(reason));
            assert_eq!(format!("{:#04x}", reason.code()).parse(), Ok(reason));
            assert_eq!(Reason::from_code(reason.code()), Some(reason));
        }
        for wrong in ["", "5", "0x", "256", "quota", "Success"] {
            assert!(wrong.parse::<Reason>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn refusals_are_one_of_the_five_of_mqtt_3_1_1() {
        // MQTT 3.1.1 §3.2.2.3, Table 3.1
        for &reason in Reason::ALL.iter().filter(|reason| reason.is_error()) {
            assert!((1..=5).contains(&reason.connect_return_code()), "{reason}");
        }
    }
}
