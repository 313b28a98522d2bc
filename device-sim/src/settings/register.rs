//! Registers of Modbus as they are written: what the gateway reads, and what simulated units hold.

use proto::modbus::{Format, Order, Table};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A table of registers or bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RegisterTable {
    /// Holding registers, function 3.
    #[default]
    Holding,
    /// Input registers, function 4.
    Input,
    /// Coils, function 1.
    Coil,
    /// Discrete inputs, function 2.
    Discrete,
}

/// What registers hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RegisterType {
    /// A bit.
    Bool,
    /// 16 bits without a sign.
    U16,
    /// 16 bits with a sign.
    I16,
    /// Two registers without a sign.
    U32,
    /// Two registers with a sign.
    I32,
    /// Four registers without a sign.
    U64,
    /// Four registers with a sign.
    I64,
    /// Two registers, a float.
    F32,
    /// Four registers, a double.
    F64,
    /// Text of `length` registers, up to a zero byte.
    String,
}

/// In which order bytes come, as it is named for the four bytes of two registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RegisterOrder {
    /// The highest byte first.
    #[default]
    Abcd,
    /// The lowest register first, the high byte of each first.
    Cdab,
    /// The highest register first, the low byte of each first.
    Badc,
    /// The lowest byte first.
    Dcba,
}

impl RegisterTable {
    /// The table.
    pub const fn table(self) -> Table {
        match self {
            Self::Holding => Table::HoldingRegisters,
            Self::Input => Table::InputRegisters,
            Self::Coil => Table::Coils,
            Self::Discrete => Table::DiscreteInputs,
        }
    }
}

impl RegisterType {
    /// The format of a number; `None` for bits and text.
    pub const fn number(self) -> Option<Format> {
        match self {
            Self::U16 => Some(Format::U16),
            Self::I16 => Some(Format::I16),
            Self::U32 => Some(Format::U32),
            Self::I32 => Some(Format::I32),
            Self::U64 => Some(Format::U64),
            Self::I64 => Some(Format::I64),
            Self::F32 => Some(Format::F32),
            Self::F64 => Some(Format::F64),
            Self::Bool | Self::String => None,
        }
    }
}

impl RegisterOrder {
    /// The order.
    pub const fn order(self) -> Order {
        match self {
            Self::Abcd => Order::Abcd,
            Self::Cdab => Order::Cdab,
            Self::Badc => Order::Badc,
            Self::Dcba => Order::Dcba,
        }
    }
}
