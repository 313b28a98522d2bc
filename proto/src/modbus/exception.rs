//! Exception codes (AP §7).

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use super::request::EXCEPTION;

/// Why a server does not do what it was asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Exception(pub u8);

impl Exception {
    /// The server does not have this function.
    pub const ILLEGAL_FUNCTION: Self = Self(1);
    /// It does not have these addresses.
    pub const ILLEGAL_DATA_ADDRESS: Self = Self(2);
    /// It does not take this count or value.
    pub const ILLEGAL_DATA_VALUE: Self = Self(3);
    /// It failed on the way.
    pub const SERVER_DEVICE_FAILURE: Self = Self(4);
    /// It will take a while.
    pub const ACKNOWLEDGE: Self = Self(5);
    /// It is busy.
    pub const SERVER_DEVICE_BUSY: Self = Self(6);
    /// Its memory is damaged.
    pub const MEMORY_PARITY_ERROR: Self = Self(8);
    /// A gateway has no way to the unit.
    pub const GATEWAY_PATH_UNAVAILABLE: Self = Self(10);
    /// A gateway got no answer from the unit.
    pub const GATEWAY_TARGET_FAILED: Self = Self(11);

    /// The protocol data unit that refuses a request of this function (AP §7).
    #[must_use]
    pub fn encode(self, function: u8) -> Vec<u8> {
        vec![function | EXCEPTION, self.0]
    }

    /// A short name to count by.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ILLEGAL_FUNCTION => "exception_1_illegal_function",
            Self::ILLEGAL_DATA_ADDRESS => "exception_2_illegal_data_address",
            Self::ILLEGAL_DATA_VALUE => "exception_3_illegal_data_value",
            Self::SERVER_DEVICE_FAILURE => "exception_4_server_device_failure",
            Self::ACKNOWLEDGE => "exception_5_acknowledge",
            Self::SERVER_DEVICE_BUSY => "exception_6_server_device_busy",
            Self::MEMORY_PARITY_ERROR => "exception_8_memory_parity_error",
            Self::GATEWAY_PATH_UNAVAILABLE => "exception_10_gateway_path_unavailable",
            Self::GATEWAY_TARGET_FAILED => "exception_11_gateway_target_failed_to_respond",
            Self(_) => "exception_other",
        }
    }

    /// Whether it is about the addresses or the count: less at a time may be answered.
    #[must_use]
    pub const fn is_about_the_range(self) -> bool {
        matches!(self, Self::ILLEGAL_DATA_ADDRESS | Self::ILLEGAL_DATA_VALUE)
    }

    /// Whether a gateway says that the unit itself did not answer.
    #[must_use]
    pub const fn is_absence(self) -> bool {
        matches!(self, Self::GATEWAY_PATH_UNAVAILABLE | Self::GATEWAY_TARGET_FAILED)
    }
}

/// What it means, and what to look at.
impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = match *self {
            Self::ILLEGAL_FUNCTION => {
                "illegal function: the device has no such table; see `table` of the registers"
            }
            Self::ILLEGAL_DATA_ADDRESS => {
                "illegal data address: the device has no such register; see `at`, which counts from 0, and \
                 `table`"
            }
            Self::ILLEGAL_DATA_VALUE => {
                "illegal data value: the device does not give so many at once; see `max_read`"
            }
            Self::SERVER_DEVICE_FAILURE => "server device failure: the device could not do it",
            Self::ACKNOWLEDGE => "acknowledge: the device will take a while",
            Self::SERVER_DEVICE_BUSY => "server device busy: a longer `interval` may help",
            Self::MEMORY_PARITY_ERROR => "memory parity error: the device is damaged",
            Self::GATEWAY_PATH_UNAVAILABLE => {
                "gateway path unavailable: the converter has no line to the unit"
            }
            Self::GATEWAY_TARGET_FAILED => {
                "gateway target device failed to respond: the converter got no answer from the unit"
            }
            Self(_) => "not in the standard",
        };
        write!(f, "exception {}, {meaning}", self.0)
    }
}
