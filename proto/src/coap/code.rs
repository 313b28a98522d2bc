//! Codes: what a message is (RFC 7252 §3, §12.1).

use core::fmt;

/// The code of a message: three bits of class, five bits of detail, shown as `2.04`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u8);

/// What the class of a code says that a message carries (RFC 7252 §12.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CodeKind {
    /// 0.00
    Empty,
    /// 0.01–0.31
    Request,
    /// 2.00–5.31
    Response,
    /// Classes 1, 6 and 7; over a connection class 7 is signalling (RFC 8323 §5.1)
    Reserved,
}

impl Code {
    /// 0.00: the message is Empty.
    pub const EMPTY: Self = Self::new(0, 0);

    /// 2.01 Created
    pub const CREATED: Self = Self::new(2, 1);
    /// 2.02 Deleted
    pub const DELETED: Self = Self::new(2, 2);
    /// 2.03 Valid; a response with it never has a payload (RFC 7252 §5.9.1.3)
    pub const VALID: Self = Self::new(2, 3);
    /// 2.04 Changed
    pub const CHANGED: Self = Self::new(2, 4);
    /// 2.05 Content
    pub const CONTENT: Self = Self::new(2, 5);
    /// 2.31 Continue (RFC 7959 §2.9.1)
    pub const CONTINUE: Self = Self::new(2, 31);

    /// 4.00 Bad Request
    pub const BAD_REQUEST: Self = Self::new(4, 0);
    /// 4.01 Unauthorized
    pub const UNAUTHORIZED: Self = Self::new(4, 1);
    /// 4.02 Bad Option
    pub const BAD_OPTION: Self = Self::new(4, 2);
    /// 4.03 Forbidden
    pub const FORBIDDEN: Self = Self::new(4, 3);
    /// 4.04 Not Found
    pub const NOT_FOUND: Self = Self::new(4, 4);
    /// 4.05 Method Not Allowed
    pub const METHOD_NOT_ALLOWED: Self = Self::new(4, 5);
    /// 4.06 Not Acceptable
    pub const NOT_ACCEPTABLE: Self = Self::new(4, 6);
    /// 4.08 Request Entity Incomplete (RFC 7959 §2.9.2)
    pub const REQUEST_ENTITY_INCOMPLETE: Self = Self::new(4, 8);
    /// 4.09 Conflict (RFC 8132)
    pub const CONFLICT: Self = Self::new(4, 9);
    /// 4.12 Precondition Failed
    pub const PRECONDITION_FAILED: Self = Self::new(4, 12);
    /// 4.13 Request Entity Too Large
    pub const REQUEST_ENTITY_TOO_LARGE: Self = Self::new(4, 13);
    /// 4.15 Unsupported Content-Format
    pub const UNSUPPORTED_CONTENT_FORMAT: Self = Self::new(4, 15);
    /// 4.22 Unprocessable Entity (RFC 8132)
    pub const UNPROCESSABLE_ENTITY: Self = Self::new(4, 22);
    /// 4.29 Too Many Requests (RFC 8516)
    pub const TOO_MANY_REQUESTS: Self = Self::new(4, 29);

    /// 5.00 Internal Server Error
    pub const INTERNAL_SERVER_ERROR: Self = Self::new(5, 0);
    /// 5.01 Not Implemented
    pub const NOT_IMPLEMENTED: Self = Self::new(5, 1);
    /// 5.02 Bad Gateway
    pub const BAD_GATEWAY: Self = Self::new(5, 2);
    /// 5.03 Service Unavailable
    pub const SERVICE_UNAVAILABLE: Self = Self::new(5, 3);
    /// 5.04 Gateway Timeout
    pub const GATEWAY_TIMEOUT: Self = Self::new(5, 4);
    /// 5.05 Proxying Not Supported
    pub const PROXYING_NOT_SUPPORTED: Self = Self::new(5, 5);
    /// 5.08 Hop Limit Reached (RFC 8768)
    pub const HOP_LIMIT_REACHED: Self = Self::new(5, 8);

    /// 7.01 CSM, Capabilities and Settings (RFC 8323 §5.3)
    pub const CSM: Self = Self::new(7, 1);
    /// 7.02 Ping (RFC 8323 §5.4)
    pub const PING: Self = Self::new(7, 2);
    /// 7.03 Pong (RFC 8323 §5.4)
    pub const PONG: Self = Self::new(7, 3);
    /// 7.04 Release (RFC 8323 §5.5)
    pub const RELEASE: Self = Self::new(7, 4);
    /// 7.05 Abort (RFC 8323 §5.6)
    pub const ABORT: Self = Self::new(7, 5);

    /// The code `class.detail`; only the lowest three and five bits count.
    pub const fn new(class: u8, detail: u8) -> Self {
        Self(class << 5 | detail & 0x1f)
    }

    /// The code as it stands in the header.
    pub const fn from_byte(byte: u8) -> Self {
        Self(byte)
    }

    /// The code as it stands in the header.
    pub const fn as_byte(self) -> u8 {
        self.0
    }

    /// 0–7
    pub const fn class(self) -> u8 {
        self.0 >> 5
    }

    /// 0–31
    pub const fn detail(self) -> u8 {
        self.0 & 0x1f
    }

    /// What a message with this code carries.
    pub const fn kind(self) -> CodeKind {
        match (self.class(), self.detail()) {
            (0, 0) => CodeKind::Empty,
            (0, _) => CodeKind::Request,
            (2..=5, _) => CodeKind::Response,
            _ => CodeKind::Reserved,
        }
    }

    /// Whether this is a response of class 2.
    pub const fn is_success(self) -> bool {
        self.class() == 2
    }

    /// Whether this is a response of class 4 or 5.
    pub const fn is_error(self) -> bool {
        self.class() == 4 || self.class() == 5
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.class(), self.detail())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The methods that have a definition (RFC 7252 §5.8, RFC 8132 §2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Method {
    /// 0.01
    Get,
    /// 0.02, the only one besides PATCH that is not idempotent
    Post,
    /// 0.03
    Put,
    /// 0.04
    Delete,
    /// 0.05
    Fetch,
    /// 0.06
    Patch,
    /// 0.07
    IPatch,
}

impl Method {
    /// The method of a request code, `None` if it has no definition.
    pub const fn from_code(code: Code) -> Option<Self> {
        Some(match code.0 {
            1 => Self::Get,
            2 => Self::Post,
            3 => Self::Put,
            4 => Self::Delete,
            5 => Self::Fetch,
            6 => Self::Patch,
            7 => Self::IPatch,
            _ => return None,
        })
    }

    /// The code that stands for the method in the header.
    pub const fn code(self) -> Code {
        Code(match self {
            Self::Get => 1,
            Self::Post => 2,
            Self::Put => 3,
            Self::Delete => 4,
            Self::Fetch => 5,
            Self::Patch => 6,
            Self::IPatch => 7,
        })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Fetch => "FETCH",
            Self::Patch => "PATCH",
            Self::IPatch => "iPATCH",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn codes_print_as_the_rfc_writes_them() {
        // RFC 7252 §5.2: 4.03 is 0x83.
        assert_eq!(Code::FORBIDDEN.as_byte(), 0x83);
        assert_eq!(Code::CHANGED.to_string(), "2.04");
        assert_eq!(Code::TOO_MANY_REQUESTS.to_string(), "4.29");
    }

    #[test]
    fn every_byte_has_the_kind_of_the_registry() {
        // RFC 7252 §12.1
        for byte in 0..=u8::MAX {
            let expected = match byte {
                0x00 => CodeKind::Empty,
                0x01..=0x1f => CodeKind::Request,
                0x40..=0xbf => CodeKind::Response,
                0x20..=0x3f | 0xc0..=0xff => CodeKind::Reserved,
            };
            assert_eq!(Code::from_byte(byte).kind(), expected, "{byte:#04x}");
        }
    }

    #[test]
    fn methods_survive_their_code() {
        for byte in 0..=u8::MAX {
            let code = Code::from_byte(byte);
            let method = Method::from_code(code);
            assert_eq!(method.is_some(), (1..=7).contains(&byte), "{code}");
            assert!(method.is_none_or(|method| method.code() == code));
        }
    }
}
