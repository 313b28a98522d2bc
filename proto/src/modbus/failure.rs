//! Why a request did not get its answer.

use super::Exception;

/// What is wrong with a protocol data unit that should answer a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// The server said no.
    #[error("{0}")]
    Exception(Exception),
    /// It answers another function.
    #[error("it answers function {found}, not {expected}")]
    Function {
        /// In the answer.
        found: u8,
        /// In the request.
        expected: u8,
    },
    /// It does not have as many bytes as were asked for.
    #[error("it is {found} bytes long, not {expected}")]
    Length {
        /// In the answer.
        found: usize,
        /// As the request asks for.
        expected: usize,
    },
    /// It does not repeat what was to be written.
    #[error("it confirms something else than what was written")]
    Echo,
}

/// Why a request failed, or what was heard and discarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// Nothing came in time.
    #[error("no answer in time")]
    Timeout,
    /// What came has a wrong checksum.
    #[error(
        "the checksum is wrong: check baud rate, parity, wiring and termination, and that no two \
         units have one address"
    )]
    Checksum,
    /// Too little came.
    #[error("the answer ended early")]
    Truncated,
    /// Another unit answers.
    #[error("unit {0} answered instead: is it late, or are there two masters?")]
    Unit(u8),
    /// An answer to an earlier request, or to none.
    #[error("it came too late, or was not asked for; a longer `timeout` may help")]
    Late,
    /// The stream is not Modbus TCP.
    #[error("not Modbus TCP; for RTU frames over TCP use `rtu_over_tcp` instead of `tcp`")]
    NotModbus,
    /// The link was lost.
    #[error("the link was lost")]
    Disconnected,
    /// The answer is not one to this request.
    #[error("{0}")]
    Answer(#[from] Fault),
}

impl Failure {
    /// A short name to count by.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Checksum => "checksum",
            Self::Truncated => "truncated",
            Self::Unit(_) => "wrong_unit",
            Self::Late => "late",
            Self::NotModbus => "not_modbus",
            Self::Disconnected => "disconnected",
            Self::Answer(Fault::Exception(exception)) => exception.reason(),
            Self::Answer(Fault::Function { .. }) => "wrong_function",
            Self::Answer(Fault::Length { .. }) => "wrong_length",
            Self::Answer(Fault::Echo) => "wrong_echo",
        }
    }
}
